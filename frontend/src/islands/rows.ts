// Tables by keyboard: "/" goes to the filter, arrows (or j and k) move between rows, Enter opens a row.

export function startRows(): void {
  const rows = [...document.querySelectorAll<HTMLTableRowElement>("table[data-rows] tbody tr")];
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (event.key === "/") {
      const field = document.querySelector<HTMLInputElement>("form[data-filter] input");
      if (field) {
        event.preventDefault();
        field.focus();
        field.select();
      }
      return;
    }
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (step && rows.length > 0) {
      const visible = rows.filter((row) => row.offsetParent !== null);
      const at = visible.indexOf(document.activeElement as HTMLTableRowElement);
      // Arrows scroll as usual until someone is among the rows; j and k enter the table.
      if (at < 0 && event.key.startsWith("Arrow")) return;
      const next = visible[Math.min(Math.max(at + step, 0), visible.length - 1)];
      if (next) {
        event.preventDefault();
        next.tabIndex = -1;
        next.focus();
      }
      return;
    }
    if (event.key === "Enter" && document.activeElement instanceof HTMLTableRowElement) {
      document.activeElement.querySelector<HTMLAnchorElement>("a[href]")?.click();
    }
  });
  // Arrows start from the table's own scroll box too.
  for (const box of document.querySelectorAll<HTMLElement>(".table-box")) {
    box.addEventListener("keydown", (event) => {
      if (event.target !== box || event.key !== "ArrowDown") return;
      const first = box.querySelector<HTMLTableRowElement>("table[data-rows] tbody tr");
      if (first) {
        event.preventDefault();
        event.stopPropagation();
        first.tabIndex = -1;
        first.focus();
      }
    });
  }
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLInputElement ||
    target instanceof HTMLTextAreaElement ||
    target instanceof HTMLSelectElement
  );
}
