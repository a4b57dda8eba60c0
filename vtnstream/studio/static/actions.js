// What buttons and keys do to segments.
import { announce, one, parseClock } from "./common.js";

export class Actions {
  constructor(store, player, timeline, list) {
    Object.assign(this, { store, player, timeline, list });
    timeline.onAdd = (start, end) => this.addSpan(start, end);
  }

  ids() {
    return [...this.store.chosen];
  }

  needChosen() {
    if (!this.store.chosen.size) announce("Choose a segment first.");
    return this.store.chosen.size > 0;
  }

  confirm() {
    const ids = this.store.chosenSegments().filter((s) => s.by !== "person").map((s) => s.id);
    if (this.needChosen() && ids.length) this.store.change({ kind: "confirm", ids });
    else if (this.store.chosen.size) announce("A person has confirmed this already.");
  }

  /** The playhead, at a frame. */
  get now() {
    return this.timeline.snapped(this.player.time);
  }

  split() {
    const at = this.now, inside = (s) => s.start < at - 1e-6 && at < s.end - 1e-6;
    const chosen = this.store.chosenSegments().filter(inside);
    const [target] = chosen.length ? chosen : this.store.at(at).filter(inside);
    if (target) this.store.change({ kind: "split", ids: [target.id], at });
    else announce("The playhead is inside no segment: move it to where the split should be.");
  }

  merge() {
    if (!this.needChosen()) return;
    const chosen = this.store.chosenSegments();
    if (chosen.length === 1) {
      const next = this.store.segments.find((s) => s.start >= chosen[0].end - 1e-6 && s.track === chosen[0].track && s.id !== chosen[0].id);
      if (!next) {
        announce("There is no segment after this one.");
        return;
      }
      chosen.push(next);
    }
    this.store.change({ kind: "merge", ids: chosen.map((s) => s.id), label: chosen[0].label });
  }

  remove() {
    if (!this.needChosen()) return;
    const last = this.store.chosenSegments().at(-1);
    const next = this.store.segments.find((s) => s.start >= last.end - 1e-6 && s.id !== last.id);
    this.store.change({ kind: "delete", ids: this.ids() }).then(() => next && this.store.choose([next.id]));
  }

  relabel(label) {
    const ids = this.store.chosenSegments().filter((s) => s.label !== label || s.by !== "person").map((s) => s.id);
    if (label && ids.length) this.store.change({ kind: "relabel", ids, label });
  }

  bound(side, at) {
    const chosen = this.store.chosenSegments();
    if (!this.needChosen() || chosen.length !== 1 || Number.isNaN(at)) return;
    const [segment] = chosen;
    if (Math.abs(segment[side] - at) < 1e-6) return;
    this.store.change({ kind: "move", ids: [segment.id], [side]: at, neighbour: true });
  }

  markIn() {
    this.timeline.marks[0] = this.now;
    this.showMarks();
  }

  markOut() {
    this.timeline.marks[1] = this.now;
    this.showMarks();
  }

  showMarks() {
    const [from, to] = this.timeline.marks;
    const text = (mark) => (mark === null ? "…" : mark.toFixed(2));
    one("marks").textContent = from === null && to === null ? "" : `${text(from)} – ${text(to)} s`;
    this.timeline.draw();
  }

  add() {
    const [from, to] = this.timeline.marks;
    if (from === null || to === null || from === to) {
      announce("Mark the start (I) and the end (O) first.");
      return;
    }
    this.timeline.marks = [null, null];
    this.showMarks();
    this.addSpan(Math.min(from, to), Math.max(from, to));
  }

  /** Add a segment, and ask for its label. */
  addSpan(start, end) {
    const label = this.store.chosenSegments()[0]?.label || this.list.shown[0]?.label || "new";
    this.store.change({ kind: "add", start, end, label }).then((done) => done && one("label").select());
  }

  /** The segment that the model is least sure of and that no person has named. */
  nextUnsure() {
    const open = this.store.segments.filter((s) => s.by !== "person" && s.score !== null && !this.store.chosen.has(s.id));
    const [first] = open.sort((a, b) => a.score - b.score);
    if (!first) {
      announce("A person has confirmed every segment.");
      return;
    }
    this.store.choose([first.id]);
    this.player.seekTo(first);
  }

  /** Moments of all videos that look like the chosen segments, in the library. */
  findSimilar() {
    if (!this.needChosen()) return;
    const chosen = this.store.chosenSegments();
    const start = Math.min(...chosen.map((s) => s.start)), end = Math.max(...chosen.map((s) => s.end));
    location.assign(`/?like=${this.store.name}@${start.toFixed(3)}-${end.toFixed(3)}`);
  }

  undo() {
    if (this.store.canUndo) this.store.change({ kind: "undo" });
  }

  redo() {
    if (this.store.canRedo) this.store.change({ kind: "redo" });
  }

  zoomIn() {
    this.timeline.zoom(2);
  }

  zoomOut() {
    this.timeline.zoom(0.5);
  }

  zoomFit() {
    this.timeline.fit();
  }

  /** Label number k of the colours, for the digits. */
  label(k) {
    const label = Object.keys(this.store.colors)[k];
    if (label && this.needChosen()) this.relabel(label);
  }
}

/** Keys of the page: key -> what it does. Fields keep their own keys. */
export function listenToKeys(actions) {
  const { player, list } = actions;
  const keys = {
    " ": () => player.toggle(), ",": () => player.step(-1), ".": () => player.step(1),
    "[": () => actions.bound("start", actions.now), "]": () => actions.bound("end", actions.now),
    s: () => actions.split(), m: () => actions.merge(), c: () => actions.confirm(),
    Delete: () => actions.remove(), Backspace: () => actions.remove(),
    l: () => one("label").select(), Enter: () => one("label").select(),
    i: () => actions.markIn(), o: () => actions.markOut(), a: () => actions.add(),
    "+": () => actions.zoomIn(), "=": () => actions.zoomIn(), "-": () => actions.zoomOut(), 0: () => actions.zoomFit(),
    n: () => actions.nextUnsure(), f: () => actions.findSimilar(), "/": () => one("filter").focus(),
  };
  const arrows = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input:not([type=checkbox], [type=range]), select, textarea");
    if (event.ctrlKey || event.metaKey) {
      if (field || event.key.toLowerCase() !== "z") return;
      event.preventDefault();
      if (event.shiftKey) actions.redo();
      else actions.undo();
      return;
    }
    if ((event.key === "Escape" || event.key === "Enter") && field) field.blur();
    if (event.altKey || field || event.target.closest("video, input")) return;
    if ((event.key === " " || event.key === "Enter") && event.target.closest("button, a, summary")) return;
    const action = Object.hasOwn(keys, event.key) ? keys[event.key] : keys[event.key.toLowerCase()];
    const digit = /^[1-9]$/.test(event.key) ? Number(event.key) : 0;
    if (!action && !digit && !arrows[event.key]) return;
    event.preventDefault();
    if (arrows[event.key]) list.step(arrows[event.key], event.shiftKey);
    else if (digit) actions.label(digit - 1);
    else action();
  });
}

/** Times as people type them, or nothing if they cannot be read. */
export function typedTime(text) {
  const seconds = parseClock(text);
  if (Number.isNaN(seconds)) announce(`"${text}" is no time: write 83.5, 1:23.5 or 1:02:03`, "error");
  return seconds;
}
