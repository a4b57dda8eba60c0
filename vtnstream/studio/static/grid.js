// The segments as a grid of frames. Cards are made as the end of the grid comes into sight, and
// frames are loaded when they are seen, so that thousands of segments cost no more than some.
import { clock, el, one, percent } from "./common.js";
import { frameOf } from "./spans.js";

const MORE = 60;

export class SegmentGrid {
  constructor(store, player) {
    this.store = store;
    this.player = player;
    this.box = one("grid");
    this.shown = [];
    this.made = 0;
    this.end = el("li", { role: "presentation", "aria-hidden": "true" });
    this.box.addEventListener("click", (event) => this.click(event));
    new IntersectionObserver(([entry]) => entry.isIntersecting && this.more(), { root: this.box, rootMargin: "400px" }).observe(this.end);
  }

  get visible() {
    return !this.box.hidden;
  }

  /** Show the grid in place of the list, or the list again. */
  show(visible, segments) {
    this.box.hidden = !visible;
    one("list").hidden = visible;
    document.querySelector(".segments .head").hidden = visible;
    one("as-grid").setAttribute("aria-pressed", String(visible));
    if (visible) this.fill(segments);
  }

  fill(segments) {
    this.shown = segments;
    if (!this.visible) return;
    const top = this.box.scrollTop, count = Math.max(this.made, MORE);
    this.made = 0;
    this.box.replaceChildren(this.end);
    this.more(count);
    this.box.scrollTop = top;
  }

  more(count = MORE) {
    if (!this.visible || this.made >= this.shown.length) return;
    const next = this.shown.slice(this.made, this.made + count);
    this.end.before(...next.map((segment, k) => this.card(segment, this.made + k)));
    this.made += next.length;
    this.end.hidden = this.made >= this.shown.length;
  }

  card(segment, place) {
    const swatch = el("i", { "aria-hidden": "true" });
    swatch.style.background = this.store.colors[segment.label] || "#8a8a8a";
    const span = { id: this.store.name, start: segment.start, end: segment.end };
    const seconds = segment.end - segment.start;
    const length = seconds < 60 ? `${seconds.toFixed(1)} s` : clock(seconds, 0);
    return el("li", {
      class: "card span", role: "option", "data-id": segment.id, "aria-selected": String(this.store.chosen.has(segment.id)),
      "aria-setsize": this.shown.length, "aria-posinset": place + 1,
    },
    el("div", {}, frameOf(span, !this.store.document.no_video),
      el("span", { class: "text" },
        el("strong", {}, swatch, el("bdi", {}, segment.label)),
        el("span", { class: "facts" }, el("span", {}, length), el("span", {}, segment.by === "person" ? "person" : percent(segment.score))))));
  }

  click(event) {
    const card = event.target.closest(".card");
    if (!card) return;
    const segment = this.store.segments.find((s) => s.id === card.dataset.id);
    const chosen = new Set(event.ctrlKey || event.metaKey || event.shiftKey ? this.store.chosen : []);
    if (!chosen.delete(segment.id)) chosen.add(segment.id);
    this.store.choose(chosen);
    this.player.seekTo(segment);
  }

  /** Mark the chosen cards, and bring the first into sight. */
  mark() {
    if (!this.visible) return;
    const place = this.shown.findIndex((s) => this.store.chosen.has(s.id));
    if (place >= this.made) this.more(place - this.made + 1);
    for (const card of this.box.querySelectorAll(".card")) {
      card.setAttribute("aria-selected", String(this.store.chosen.has(card.dataset.id)));
    }
    const card = place < 0 ? null : this.box.children[place];
    if (!card) return;
    const top = card.offsetTop - this.box.offsetTop, { scrollTop, clientHeight } = this.box;
    if (top < scrollTop || top + card.offsetHeight > scrollTop + clientHeight) this.box.scrollTop = top - 8;
  }
}
