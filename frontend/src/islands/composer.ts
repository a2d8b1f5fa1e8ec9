// The job composer: a role is offered only the columns that its grant allows. Without a script all columns are
// there and the server says which one the grant lacks.

export function startComposer(): void {
  const form = document.querySelector<HTMLFormElement>("form[data-composer]");
  if (!form) return;
  const grants = [...form.querySelectorAll<HTMLSelectElement>("select[data-grant-of]")];
  const update = (): void => {
    const used = new Map(grants.map((select) => [select.dataset["grantOf"] ?? "", select.value]));
    for (const select of form.querySelectorAll<HTMLSelectElement>("select:not([data-grant-of])")) {
      const allowed = chosen(select.dataset["role"], used);
      for (const option of select.options) show(option, option, allowed);
    }
    for (const box of form.querySelectorAll<HTMLInputElement>("input[type=checkbox][data-grants]")) {
      show(box, box.closest<HTMLElement>("label"), chosen(box.dataset["role"], used));
    }
  };
  form.addEventListener("change", update);
  update();
}

// The grants whose columns count: the role's, or every role's where a parameter is no role's own.
function chosen(role: string | undefined, used: Map<string, string>): string[] {
  const found = role === undefined ? [...used.values()] : [used.get(role) ?? ""];
  return found.filter((grant) => grant !== "");
}

// A column that was taken already stays in sight: hiding it would hide what the form is going to send.
function show(choice: HTMLOptionElement | HTMLInputElement, shown: HTMLElement | null, allowed: string[]): void {
  const names = choice.dataset["grants"]?.split(" ");
  if (!shown || !names) return;
  const taken = choice instanceof HTMLOptionElement ? choice.selected : choice.checked;
  shown.hidden = !taken && allowed.length > 0 && !allowed.some((grant) => names.includes(grant));
}
