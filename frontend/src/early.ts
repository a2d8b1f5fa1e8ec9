// Runs before the first paint: pages without a script keep everything open and hide what needs one.
document.documentElement.classList.add("js");
