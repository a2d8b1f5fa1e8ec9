// The circulation chart: bands from providers to consumers, drawn from the rows of the table beside it, so the
// table is the one source. "t" changes between the two.

const SVG = "http://www.w3.org/2000/svg";
const WIDEST = 980;
const NARROWEST = 280;
const WIDEST_SIDE = 190;
const SIDE_SHARE = 0.32;
const LETTER = 8.2;
const NODE_WIDTH = 10;
const GAP = 22;
const MIN_HEIGHT = 120;
const PER_NODE = 64;
const TOP = 34;

interface Flow {
  from: string;
  to: string;
  units: number;
}

interface Column {
  total: number;
  y: number;
  height: number;
  offset: number;
}

export function startCirculation(): void {
  const box = document.querySelector<HTMLElement>("[data-chart]");
  const table = document.querySelector<HTMLElement>("[data-chart-table]");
  const toggle = document.querySelector<HTMLButtonElement>("[data-chart-toggle]");
  if (!box || !table || !toggle) return;
  const flows = [...table.querySelectorAll<HTMLTableRowElement>("tbody tr[data-units]")].map((row) => ({
    from: row.dataset["from"] ?? "",
    to: row.dataset["to"] ?? "",
    units: Number(row.dataset["units"]),
  }));
  if (flows.length === 0) return;
  const figure = document.createElement("figure");
  figure.className = "chart";
  box.append(figure);
  // Drawn for the width there is, so that its words keep their size on a narrow screen.
  let drawn = 0;
  const redraw = (): void => {
    const width = Math.round(Math.min(Math.max(figure.clientWidth, NARROWEST), WIDEST));
    if (box.hidden || width === drawn) return;
    drawn = width;
    figure.replaceChildren(draw(flows, box.dataset, width));
  };
  new ResizeObserver(redraw).observe(box);

  const show = (chart: boolean): void => {
    box.hidden = !chart;
    table.hidden = chart;
    redraw();
    const words = toggle.querySelector("span");
    if (words) words.textContent = (chart ? toggle.dataset["asTable"] : toggle.dataset["asChart"]) ?? "";
  };
  toggle.hidden = false;
  toggle.addEventListener("click", () => show(box.hidden));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "t" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement) return;
    show(box.hidden);
  });
  show(true);
}

function draw(flows: Flow[], words: DOMStringMap, width: number): SVGSVGElement {
  const side = Math.min(WIDEST_SIDE, width * SIDE_SHARE);
  const letters = Math.floor(side / LETTER);
  const left = totals(flows, (flow) => flow.from);
  const right = totals(flows, (flow) => flow.to);
  const sum = flows.reduce((total, flow) => total + flow.units, 0);
  const most = Math.max(left.size, right.size);
  const height = Math.max(MIN_HEIGHT, most * PER_NODE);
  const scale = (height - GAP * (most - 1)) / sum;
  place(left, scale, height);
  place(right, scale, height);

  const svg = element("svg", { viewBox: `0 0 ${width} ${height + TOP + 24}`, role: "img" });
  svg.append(label(side, 14, words["from"] ?? "", "end", "head"), label(width - side, 14, words["to"] ?? "", "start", "head"));
  for (const flow of flows) {
    const from = left.get(flow.from);
    const to = right.get(flow.to);
    if (!from || !to) continue;
    const thickness = Math.max(flow.units * scale, 1.5);
    const band = element("path", {
      class: "band",
      d: ribbon(side + NODE_WIDTH, from.y + from.offset, width - side - NODE_WIDTH, to.y + to.offset, thickness),
    });
    const title = element("title", {});
    title.textContent = `${flow.from} → ${flow.to}: ${flow.units.toLocaleString("en")} ${words["unit"] ?? ""}`;
    band.append(title);
    svg.append(band);
    from.offset += flow.units * scale;
    to.offset += flow.units * scale;
  }
  column(svg, left, side, side - 8, "end", letters);
  column(svg, right, width - side - NODE_WIDTH, width - side + 8, "start", letters);
  return svg;
}

function totals(flows: Flow[], key: (flow: Flow) => string): Map<string, Column> {
  const found = new Map<string, Column>();
  for (const flow of flows) {
    const column = found.get(key(flow)) ?? { total: 0, y: 0, height: 0, offset: 0 };
    column.total += flow.units;
    found.set(key(flow), column);
  }
  return found;
}

function place(columns: Map<string, Column>, scale: number, height: number): void {
  const used = [...columns.values()].reduce((sum, column) => sum + column.total * scale, 0);
  let y = TOP + (height - used - GAP * (columns.size - 1)) / 2;
  for (const column of columns.values()) {
    column.y = y;
    column.height = Math.max(column.total * scale, 1.5);
    y += column.total * scale + GAP;
  }
}

function column(
  svg: SVGSVGElement,
  columns: Map<string, Column>,
  x: number,
  textX: number,
  anchor: string,
  letters: number,
): void {
  for (const [name, place] of columns) {
    svg.append(element("rect", { class: "node", x, y: place.y, width: NODE_WIDTH, height: place.height }));
    const middle = place.y + place.height / 2;
    svg.append(label(textX, middle - 2, shortened(name, letters), anchor, ""));
    svg.append(label(textX, middle + 14, place.total.toLocaleString("en"), anchor, "figure"));
  }
}

function ribbon(x1: number, y1: number, x2: number, y2: number, thickness: number): string {
  const middle = (x1 + x2) / 2;
  return (
    `M${x1},${y1}C${middle},${y1} ${middle},${y2} ${x2},${y2}` +
    `v${thickness}C${middle},${y2 + thickness} ${middle},${y1 + thickness} ${x1},${y1 + thickness}Z`
  );
}

// A Chinese character is as wide as two Latin letters.
function shortened(name: string, letters: number): string {
  let room = letters;
  let kept = "";
  for (const letter of name) {
    room -= letter > "\u2e7f" ? 2 : 1;
    if (room < 0) return `${kept.trimEnd()}…`;
    kept += letter;
  }
  return name;
}

function label(x: number, y: number, words: string, anchor: string, kind: string): SVGTextElement {
  const text = element("text", { x, y, "text-anchor": anchor, class: kind });
  text.textContent = words;
  return text;
}

function element<K extends keyof SVGElementTagNameMap>(
  name: K,
  attributes: Record<string, string | number>,
): SVGElementTagNameMap[K] {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}
