// The grant request as a sentence that changes with the form. The template comes from the server in the
// reader's language; values are set as text, never as markup.

export function startSentence(): void {
  const form = document.querySelector<HTMLFormElement>("form[data-sentence-form]");
  const sentence = document.querySelector<HTMLElement>("[data-sentence]");
  if (!form || !sentence) return;
  const update = (): void => {
    render(sentence, values(form, sentence));
    showLearns(checked(form, "operations"));
    showCost(form);
  };
  form.addEventListener("input", update);
  form.addEventListener("change", update);
  update();
}

function values(form: HTMLFormElement, sentence: HTMLElement): Record<string, string> {
  const words = sentence.dataset;
  const operations = checked(form, "operations").map((name) => sentence.getAttribute(`data-operation-${name}`) ?? name);
  const columns = checked(form, "columns");
  const days = whole(form, "days");
  return {
    consumer: words["consumer"] ?? "",
    operations: joined(operations, words) || "…",
    dataset: words["dataset"] ?? "",
    columns:
      columns.length === 0
        ? (words["columnCount"] === "0" ? (words["allColumns"] ?? "") : "…")
        : (words["someColumns"] ?? "{columns}").replace("{columns}", () => joined(columns, words)),
    purpose: text(form, "purpose") || (words["anyPurpose"] ?? "…"),
    quota: whole(form, "quota")?.toLocaleString("en") ?? "…",
    expiry: days === null ? "…" : day(days),
    cohort: words["cohort"] ?? "",
  };
}

function render(sentence: HTMLElement, filled: Record<string, string>): void {
  const parts = (sentence.dataset["template"] ?? "").split(/\{(\w+)\}/);
  const nodes: Node[] = parts.map((part, index) => {
    if (index % 2 === 0) return document.createTextNode(part);
    const bold = document.createElement(filled[part] === "…" ? "span" : "b");
    if (filled[part] === "…") bold.className = "gap";
    bold.textContent = filled[part] ?? "";
    return bold;
  });
  const next = nodes.map((node) => node.textContent).join("");
  // A screen reader hears the sentence again only when it has changed.
  if (sentence.textContent !== next) sentence.replaceChildren(...nodes);
}

function showLearns(operations: string[]): void {
  for (const item of document.querySelectorAll<HTMLElement>("[data-learns] [data-operation]")) {
    item.hidden = !operations.includes(item.dataset["operation"] ?? "");
  }
}

function showCost(form: HTMLFormElement): void {
  const cost = document.querySelector<HTMLElement>("[data-cost]");
  const quota = whole(form, "quota");
  if (cost) cost.textContent = quota === null ? "–" : (quota * Number(cost.dataset["price"])).toLocaleString("en");
}

function joined(items: string[], words: DOMStringMap): string {
  if (items.length < 2) return items.join("");
  return items.slice(0, -1).join(words["separator"] ?? ", ") + (words["last"] ?? ", ") + items[items.length - 1];
}

function checked(form: HTMLFormElement, name: string): string[] {
  return [...form.querySelectorAll<HTMLInputElement>(`input[name="${name}"]:checked`)].map((input) => input.value);
}

function text(form: HTMLFormElement, name: string): string {
  const field = form.elements.namedItem(name);
  return field instanceof HTMLInputElement || field instanceof HTMLSelectElement ? field.value.trim() : "";
}

function whole(form: HTMLFormElement, name: string): number | null {
  const typed = text(form, name);
  return /^\d{1,15}$/.test(typed) ? Number(typed) : null;
}

function day(days: number): string {
  const at = new Date(Date.now() + days * 86_400_000);
  if (Number.isNaN(at.getTime())) return "…";
  const language = document.documentElement.lang || "en";
  return new Intl.DateTimeFormat(language.startsWith("zh") ? "zh-Hans-CN" : "en-GB", {
    dateStyle: "long",
    timeZone: "UTC",
  }).format(at);
}
