// A job's progress. Messages of the WebSocket say *that* something changed; what it looks like the server
// renders, in the reader's language, so live and reloaded pages cannot differ. Without a socket it asks every
// two seconds and says so.

const POLL_MS = 2000;
const THROTTLE_MS = 250;
const RETRY_MS = 5000;
const FINAL = new Set(["settled", "refused", "failed", "cancelled", "expired"]);

export function startLive(): void {
  const badge = document.querySelector<HTMLElement>("[data-live]");
  const target = document.getElementById("live");
  if (badge && target) new Live(badge, target).connect();
}

class Live {
  private timer: number | undefined;
  private pending = false;
  private loading = false;
  private over = false;
  private socket: WebSocket | null = null;

  constructor(
    private readonly badge: HTMLElement,
    private readonly target: HTMLElement,
  ) {}

  connect(): void {
    if (this.over) return;
    const address = new URL(this.badge.dataset["socket"] ?? "", window.location.href);
    address.protocol = window.location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    this.socket = socket;
    socket.addEventListener("open", () => {
      this.say("live");
      this.stopPolling();
      this.refreshSoon();
    });
    socket.addEventListener("message", () => this.refreshSoon());
    socket.addEventListener("close", () => {
      if (this.over) return;
      this.say("polling");
      this.poll();
      window.setTimeout(() => this.connect(), RETRY_MS);
    });
  }

  private poll(): void {
    if (this.timer === undefined) this.timer = window.setInterval(() => void this.refresh(), POLL_MS);
  }

  private stopPolling(): void {
    window.clearInterval(this.timer);
    this.timer = undefined;
  }

  private refreshSoon(): void {
    if (this.pending) return;
    this.pending = true;
    window.setTimeout(() => {
      this.pending = false;
      void this.refresh();
    }, THROTTLE_MS);
  }

  private async refresh(): Promise<void> {
    if (this.loading || this.over) return;
    this.loading = true;
    try {
      const answer = await fetch(this.badge.dataset["url"] ?? "", { credentials: "same-origin", redirect: "error" });
      if (!answer.ok) return;
      const html = await answer.text();
      const page = new DOMParser().parseFromString(html, "text/html");
      const next = [...page.body.childNodes];
      const copy = document.createElement("div");
      copy.append(...next.map((node) => document.importNode(node, true)));
      // What the reader folded or opened stays so.
      for (const part of this.target.querySelectorAll<HTMLDetailsElement>("details[data-keep]")) {
        copy.querySelector(`details[data-keep="${part.dataset["keep"] ?? ""}"]`)?.toggleAttribute("open", part.open);
      }
      // Same content: leave the page alone, so a selection or a focus survives.
      if (copy.innerHTML !== this.target.innerHTML) this.target.replaceChildren(...copy.childNodes);
      const state = this.target.querySelector("[data-live-status]");
      const head = document.querySelector("[data-live-badge]");
      if (state && head) head.replaceChildren(...[...state.cloneNode(true).childNodes]);
      if (FINAL.has(answer.headers.get("Liutong-Job-State") ?? "")) this.finish();
    } catch {
      // The next tick asks again; the badge already says how.
    } finally {
      this.loading = false;
    }
  }

  private finish(): void {
    this.over = true;
    this.stopPolling();
    this.socket?.close();
    this.say("over");
    document.querySelector("[data-live-cancel]")?.setAttribute("hidden", "");
  }

  private say(mode: "live" | "polling" | "over"): void {
    this.badge.dataset["mode"] = mode;
    const words = this.badge.querySelector<HTMLElement>("[data-live-words]");
    const key = { live: "liveOn", polling: "liveOff", over: "liveOver" }[mode];
    if (words) words.textContent = words.dataset[key] ?? "";
  }
}
