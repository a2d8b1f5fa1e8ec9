// Digests, commands and tokens: shown short, copied whole.

const SHOWN_MS = 1600;

export function startCopy(root: ParentNode & EventTarget): void {
  root.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-copy-button]") : null;
    const holder = button?.closest<HTMLElement>("[data-copy]");
    if (!button || !holder) return;
    void copy(holder.dataset["copy"] ?? "").then((done) => {
      if (done) acknowledge(holder);
    });
  });
}

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

// The clipboard API needs a secure context; a portal on plain HTTP in an intranet has none.
function copyBySelection(text: string): boolean {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

function acknowledge(holder: HTMLElement): void {
  holder.setAttribute("data-copied", "");
  announce(document.body.dataset["copied"] ?? "");
  const use = holder.querySelector("[data-copy-button] use");
  const before = use?.getAttribute("href");
  if (use && before && !before.endsWith("#check")) {
    use.setAttribute("href", before.replace(/#.*$/, "#check"));
    window.setTimeout(() => use.setAttribute("href", before), SHOWN_MS);
  }
  window.setTimeout(() => holder.removeAttribute("data-copied"), SHOWN_MS);
}

let speaker: HTMLElement | null = null;

function announce(words: string): void {
  if (!speaker) {
    speaker = document.createElement("div");
    speaker.className = "visually-hidden";
    speaker.setAttribute("role", "status");
    document.body.append(speaker);
  }
  speaker.textContent = words;
}
