// The timeline: a canvas that zooms, shows frames on hover, and lets bounds be dragged.
import { clock, one, settled } from "./common.js";
import { CURVE, GAP, RULER, SEGMENTS, drawCurve, drawGaps, drawPlayhead, drawRuler, drawSegments, rowsOf } from "./lanes.js";

const GRIP = 6, DRAG = 4, PARTS = 120, MAX_ZOOM = 4096;

export class TimelineView {
  constructor(store, player) {
    this.store = store;
    this.player = player;
    this.canvas = one("canvas");
    this.pan = one("pan");
    this.preview = one("preview");
    this.filter = "";
    this.drag = null;
    this.marks = [null, null];
    this.dirty = false;
    this.onAdd = () => {};
    this.listen();
  }

  begin(document) {
    this.start = document.start;
    this.end = document.end;
    this.from = this.start;
    this.to = this.end;
    this.lanes = document.lanes;
    this.gaps = document.gaps;
    this.frame = document.frame_seconds;
    this.hasVideo = !document.no_video;
    this.arrange();
  }

  // ------------------------------------------------------------------------- geometry

  x(seconds) {
    return ((seconds - this.from) / (this.to - this.from)) * this.width;
  }

  seconds(x) {
    return this.from + (x / this.width) * (this.to - this.from);
  }

  /** Rows and their places, after segments or the window changed. */
  arrange() {
    this.rows = rowsOf(this.store.segments);
    let y = RULER + 4;
    this.places = this.rows.map((row) => {
      const place = { row, y };
      y += SEGMENTS + GAP;
      return place;
    });
    this.curves = this.lanes.map((lane) => {
      const place = { lane, y };
      y += CURVE + GAP;
      return place;
    });
    this.height = y;
    this.resize();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.parentElement.clientWidth;
    this.canvas.style.height = `${this.height}px`;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.ratio = ratio;
    this.draw();
  }

  zoom(factor, around = this.player.time) {
    const whole = this.end - this.start, now = this.to - this.from;
    const middle = around >= this.from && around <= this.to ? around : (this.from + this.to) / 2;
    const length = Math.min(whole, Math.max(whole / MAX_ZOOM, this.frame * 10, now / factor));
    this.show(middle - ((middle - this.from) / now) * length, length);
  }

  fit() {
    this.show(this.start, this.end - this.start);
  }

  show(from, length) {
    this.from = Math.min(Math.max(from, this.start), this.end - length);
    this.to = this.from + length;
    const rest = this.end - this.start - length;
    this.pan.hidden = rest < 1e-6;
    this.pan.value = rest > 0 ? Math.round((1000 * (this.from - this.start)) / rest) : 0;
    this.draw();
  }

  /** Move the view if less than a quarter of a span is in it; else it stays under the mouse. */
  reveal(start, end) {
    const length = this.to - this.from;
    const seen = Math.min(end, this.to) - Math.max(start, this.from);
    if (seen >= 0 && seen >= 0.25 * Math.min(end - start, length)) return;
    this.show((start + Math.min(end, start + length)) / 2 - length / 2, length);
  }

  // -------------------------------------------------------------------------- drawing

  draw() {
    if (this.dirty) return;
    this.dirty = true;
    requestAnimationFrame(() => {
      this.dirty = false;
      this.paint();
    });
  }

  theme() {
    const style = getComputedStyle(document.documentElement);
    const value = (name) => style.getPropertyValue(`--${name}`).trim();
    return Object.fromEntries(["ink", "quiet", "line", "rail", "gap", "accent"].map((n) => [n, value(n)]).concat([["font", "system-ui, sans-serif"]]));
  }

  paint() {
    if (this.rows === undefined) return;
    const pen = this.canvas.getContext("2d"), theme = this.theme();
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    drawRuler(pen, this, theme, clock);
    const look = {
      color: (segment) => this.store.colors[segment.label] || "#8a8a8a",
      chosen: (segment) => this.store.chosen.has(segment.id),
      dim: (segment) => this.filter !== "" && !segment.label.toLowerCase().includes(this.filter),
      bounds: (segment) => this.bounds(segment),
    };
    for (const { row, y } of this.places) {
      drawSegments(pen, this, theme, row, y, look);
      drawGaps(pen, this, theme, this.gaps, y, SEGMENTS);
    }
    for (const { lane, y } of this.curves) drawCurve(pen, this, theme, lane, y);
    const { drag } = this;
    const marks = drag?.kind === "add" && drag.at !== null ? [drag.start, drag.at] : this.marks;
    drawPlayhead(pen, this, theme, this.player.time, this.height, marks);
  }

  /** Where a segment is drawn: while a bound is dragged, its neighbour goes along. */
  bounds(segment) {
    const drag = this.drag;
    if (!drag || drag.kind !== "bound") return segment;
    if (segment.id === drag.segment.id) return drag.side === "start" ? { start: drag.at, end: segment.end } : { start: segment.start, end: drag.at };
    if (drag.neighbour && segment.id === drag.neighbour.id) return drag.side === "start" ? { start: segment.start, end: drag.at } : { start: drag.at, end: segment.end };
    return segment;
  }

  // --------------------------------------------------------------------------- mouse

  rowAt(y) {
    return this.places.find((place) => y >= place.y && y <= place.y + SEGMENTS);
  }

  segmentAt(x, y) {
    const place = this.rowAt(y);
    if (!place) return null;
    const seconds = this.seconds(x);
    return place.row.segments.find((segment) => segment.start <= seconds && seconds < segment.end) || null;
  }

  /** The bound under the pointer; those of the chosen segments first. */
  boundAt(x, y) {
    const place = this.rowAt(y);
    if (!place) return null;
    let best = null;
    for (const segment of place.row.segments) {
      for (const side of ["start", "end"]) {
        const distance = Math.abs(this.x(segment[side]) - x) - (this.store.chosen.has(segment.id) ? 0.5 : 0);
        if (distance <= GRIP && (best === null || distance < best.distance)) best = { segment, side, distance, row: place.row };
      }
    }
    return best;
  }

  snapped(seconds) {
    const frames = Math.round((seconds - this.start) / this.frame);
    return Math.min(this.end, Math.max(this.start, this.start + frames * this.frame));
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => { this.drag = null; this.draw(); });
    canvas.addEventListener("pointerleave", () => { this.preview.hidden = true; });
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.pan.addEventListener("input", () => {
      const length = this.to - this.from;
      this.show(this.start + (this.pan.value / 1000) * (this.end - this.start - length), length);
    });
    new ResizeObserver(() => this.rows && this.resize()).observe(canvas.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.askPicture = settled(60, (part) => this.loadPicture(part));
  }

  down(event) {
    if (event.button !== 0) return;
    const { offsetX: x, offsetY: y } = event;
    this.canvas.setPointerCapture(event.pointerId);
    const bound = this.boundAt(x, y);
    if (bound) {
      const { segment, side, row } = bound;
      const other = side === "start" ? "end" : "start";
      const neighbour = row.segments.find((s) => s.id !== segment.id && Math.abs(s[other] - segment[side]) < 1e-6);
      this.drag = { kind: "bound", segment, side, neighbour, at: segment[side], from: x, moved: false };
      return;
    }
    const segment = this.segmentAt(x, y);
    if (segment && event.shiftKey) this.extend(segment);
    else if (segment) this.store.choose([segment.id]);
    if (!segment) this.player.seek(this.seconds(x));
    else if (!event.shiftKey) this.player.seek(this.seconds(x));
    if (!segment && this.rowAt(y)) this.drag = { kind: "add", start: this.snapped(this.seconds(x)), from: x, at: null };
    else this.drag = { kind: "seek" };
  }

  extend(segment) {
    const all = [...this.store.chosenSegments(), segment];
    const start = Math.min(...all.map((s) => s.start)), end = Math.max(...all.map((s) => s.end));
    this.store.choose(this.store.segments.filter((s) => s.start >= start && s.end <= end && s.track === segment.track).map((s) => s.id));
  }

  move(event) {
    const { offsetX: x, offsetY: y } = event;
    if (this.drag?.kind === "bound") {
      this.drag.moved = this.drag.moved || Math.abs(x - this.drag.from) > 2;
      if (this.drag.moved) this.drag.at = this.snapped(this.seconds(x));
      this.player.seek(this.drag.at);
      this.draw();
    } else if (this.drag?.kind === "add") {
      if (this.drag.at !== null || Math.abs(x - this.drag.from) > DRAG) this.drag.at = this.snapped(this.seconds(x));
      if (this.drag.at !== null) this.player.seek(this.drag.at);
      this.draw();
    } else if (this.drag && y < RULER + 4) this.player.seek(this.seconds(x));
    this.canvas.style.cursor = this.drag?.kind === "bound" || this.boundAt(x, y) ? "ew-resize" : "pointer";
    this.showPreview(x, y);
  }

  up() {
    const drag = this.drag;
    this.drag = null;
    if (drag?.kind === "add" && drag.at !== null && drag.at !== drag.start) {
      this.onAdd(Math.min(drag.start, drag.at), Math.max(drag.start, drag.at));
    }
    if (drag?.kind !== "bound") return;
    if (!drag.moved || drag.at === drag.segment[drag.side]) {
      this.store.choose([drag.segment.id]);
      return;
    }
    this.store.choose([drag.segment.id]);
    this.store.change({ kind: "move", ids: [drag.segment.id], [drag.side]: drag.at, neighbour: Boolean(drag.neighbour) });
  }

  wheel(event) {
    const length = this.to - this.from;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 200), this.seconds(event.offsetX));
    } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
      event.preventDefault();
      this.show(this.from + ((event.deltaX || event.deltaY) / this.width) * length, length);
    }
  }

  // -------------------------------------------------------------------------- preview

  showPreview(x, y) {
    const seconds = this.seconds(x), segment = this.segmentAt(x, y), box = this.preview;
    if (seconds < this.start || seconds > this.end) return;
    box.hidden = false;
    box.style.left = `${Math.min(Math.max(x - 84, 0), Math.max(0, this.width - 172))}px`;
    box.style.top = `${(this.rowAt(y)?.y ?? RULER) + SEGMENTS + 10}px`;
    box.lastElementChild.textContent = segment ? `${clock(seconds)} ${segment.label}` : clock(seconds);
    const part = Math.min(PARTS - 1, Math.floor((PARTS * (seconds - this.start)) / (this.end - this.start)));
    if (this.hasVideo && part !== this.part) this.askPicture(part);
  }

  loadPicture(part) {
    this.part = part;
    const image = this.preview.firstElementChild;
    image.onerror = () => { image.hidden = true; };
    image.onload = () => { image.hidden = false; };
    image.src = `/api/results/${this.store.name}/pictures/${part}`;
  }
}
