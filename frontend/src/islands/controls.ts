// Small helpers of forms and frame: the folding rail, selects that submit, a question before a grave step.

export function startMenu(): void {
  const button = document.querySelector<HTMLButtonElement>("[data-menu]");
  const rail = document.getElementById("rail");
  if (!button || !rail) return;
  button.addEventListener("click", () => {
    const open = rail.toggleAttribute("data-open");
    button.setAttribute("aria-expanded", String(open));
  });
}

export function startAutosubmit(): void {
  for (const select of document.querySelectorAll<HTMLSelectElement>("select[data-autosubmit]")) {
    select.addEventListener("change", () => select.form?.requestSubmit());
  }
  // Filters apply as soon as a choice is made; typing waits for Enter, so nothing jumps under the hands.
  for (const form of document.querySelectorAll<HTMLFormElement>("form[data-filter]")) {
    form.addEventListener("change", (event) => {
      if (event.target instanceof HTMLSelectElement) form.requestSubmit();
    });
    // Empty fields stay out of the URL.
    form.addEventListener("formdata", (event) => {
      for (const [name, value] of [...event.formData.entries()]) {
        if (value === "") event.formData.delete(name);
      }
    });
  }
}

export function startConfirm(): void {
  for (const form of document.querySelectorAll<HTMLFormElement>("form[data-confirm]")) {
    form.addEventListener("submit", (event) => {
      if (!window.confirm(form.dataset["confirm"] ?? "")) event.preventDefault();
    });
  }
}

export function startCheckAll(): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-check-all]")) {
    const boxes = [...(button.closest("fieldset")?.querySelectorAll<HTMLInputElement>("input[type=checkbox]") ?? [])];
    button.hidden = false;
    button.addEventListener("click", () => {
      const all = boxes.every((box) => box.checked);
      for (const box of boxes) box.checked = !all;
      // What listens to the form (the sentence) hears of it once.
      boxes[0]?.dispatchEvent(new Event("change", { bubbles: true }));
    });
  }
}
