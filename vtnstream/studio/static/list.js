// The list of segments: only the rows that are to be seen exist, so that thousands cost nothing.
import { clock, el, one, percent } from "./common.js";

const ROW = 36, MARGIN = 8;

export class SegmentList {
  constructor(store, player) {
    this.store = store;
    this.player = player;
    this.box = one("list");
    this.spacer = this.box.firstElementChild;
    this.shown = [];
    this.cursor = null;
    this.box.addEventListener("scroll", () => this.draw());
    this.box.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  /** Take the segments that match, in order of time. */
  fill(filter) {
    const { segments } = this.store;
    this.shown = filter ? segments.filter((s) => s.label.toLowerCase().includes(filter)) : segments;
    this.spacer.style.height = `${this.shown.length * ROW}px`;
    one("count").textContent = this.shown.length === segments.length ? `${segments.length}` : `${this.shown.length} of ${segments.length}`;
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - MARGIN);
    const count = Math.ceil(this.box.clientHeight / ROW) + 2 * MARGIN;
    const rows = this.shown.slice(first, first + count).map((segment, k) => this.row(segment, first + k));
    this.spacer.replaceChildren(...rows);
    const active = this.shown.find((s) => this.store.chosen.has(s.id));
    if (active && rows.some((row) => row.id === `s-${active.id}`)) this.box.setAttribute("aria-activedescendant", `s-${active.id}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  row(segment, place) {
    const swatch = el("i", { "aria-hidden": "true" });
    swatch.style.background = this.store.colors[segment.label] || "#8a8a8a";
    const made = el("div", {
      class: "row", role: "option", id: `s-${segment.id}`, "data-id": segment.id,
      "aria-selected": String(this.store.chosen.has(segment.id)),
      "aria-setsize": this.shown.length, "aria-posinset": place + 1,
    },
    el("span", { class: "number" }, clock(segment.start, 2)),
    el("span", { class: "number" }, clock(segment.end, 2)),
    el("span", { class: "number quiet" }, clock(segment.end - segment.start, 2)),
    el("span", { class: "name" }, swatch, el("bdi", {}, segment.label)),
    el("span", { class: "number" }, segment.score === null ? "–" : percent(segment.score)),
    el("span", { class: `by ${segment.by}` }, segment.by === "person" ? "person" : "model"));
    made.style.top = `${place * ROW}px`;
    return made;
  }

  click(event) {
    const row = event.target.closest(".row");
    if (!row) return;
    const id = row.dataset.id, { store } = this;
    if (event.shiftKey && this.cursor) {
      const ids = this.shown.map((s) => s.id);
      const [a, b] = [ids.indexOf(this.cursor), ids.indexOf(id)].sort((x, y) => x - y);
      store.choose(ids.slice(Math.max(a, 0), b + 1));
    } else if (event.ctrlKey || event.metaKey) {
      const chosen = new Set(store.chosen);
      if (!chosen.delete(id)) chosen.add(id);
      store.choose(chosen);
      this.cursor = id;
    } else {
      this.cursor = id;
      store.choose([id]);
      this.player.seekTo(store.segments.find((s) => s.id === id));
    }
  }

  /** Choose the segment before or after. */
  step(direction, extend = false) {
    if (!this.shown.length) return;
    const chosen = this.shown.map((s, k) => (this.store.chosen.has(s.id) ? k : -1)).filter((k) => k >= 0);
    const at = direction > 0 ? chosen.at(-1) : chosen[0];
    const next = at === undefined ? this.nearest() : Math.min(this.shown.length - 1, Math.max(0, at + direction));
    const segment = this.shown[next];
    this.cursor = segment.id;
    this.store.choose(extend ? [...this.store.chosen, segment.id] : [segment.id]);
    this.player.seekTo(segment);
  }

  nearest() {
    const found = this.shown.findIndex((s) => s.end > this.player.time);
    return found < 0 ? this.shown.length - 1 : found;
  }

  /** Scroll to the chosen segment. */
  reveal() {
    const place = this.shown.findIndex((s) => this.store.chosen.has(s.id));
    if (place < 0) return;
    const top = place * ROW, { scrollTop, clientHeight } = this.box;
    if (top < scrollTop) this.box.scrollTop = top;
    else if (top + ROW > scrollTop + clientHeight) this.box.scrollTop = top + ROW - clientHeight;
  }
}
