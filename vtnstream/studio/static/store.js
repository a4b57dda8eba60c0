// The timeline of one result: what the server knows, what is chosen, and changes on their way.
import { announce, api } from "./common.js";

/** Tells "segments" after a change, "chosen" after a choice, and "saving" while one is on its way. */
export class Store extends EventTarget {
  constructor(name) {
    super();
    this.name = name;
    this.chosen = new Set();
    this.segments = [];
    this.revision = 0;
    this.waiting = 0;
    this.last = Promise.resolve();
    this.channel = new BroadcastChannel(`vtnstream-${name}`);
    this.channel.addEventListener("message", ({ data }) => this.otherTab(data));
  }

  async load() {
    this.document = await api(`/api/results/${this.name}`);
    this.take(this.document.corrected);
    return this.document;
  }

  take(corrected) {
    this.segments = corrected.segments;
    this.revision = corrected.revision;
    this.colors = corrected.colors;
    this.canUndo = corrected.can_undo;
    this.canRedo = corrected.can_redo;
    this.checked = corrected.checked;
    this.remade = corrected.remade;
    const known = new Set(this.segments.map((segment) => segment.id));
    for (const id of [...this.chosen]) if (!known.has(id)) this.chosen.delete(id);
    this.tell("segments");
  }

  tell(kind) {
    this.dispatchEvent(new Event(kind));
  }

  async reload() {
    this.take(await api(`/api/results/${this.name}/segments`));
  }

  async otherTab(revision) {
    if (revision <= this.revision || this.waiting) return;
    await this.reload().catch(() => {});
    announce("Another tab corrected this video: its changes are shown here now.");
  }

  /** Changes go to the server one after the other, each for the revision that the one before made. */
  change(action) {
    this.waiting += 1;
    this.tell("saving");
    this.last = this.last.then(() => this.send(action)).finally(() => {
      this.waiting -= 1;
      this.tell("saving");
    });
    return this.last;
  }

  async send(action) {
    const before = new Set(this.segments.map((segment) => segment.id));
    try {
      const body = { revision: this.revision, ...action };
      this.take(await api(`/api/results/${this.name}/changes`, { method: "POST", body }));
    } catch (error) {
      announce(error.message, "error");
      if (error.status === 409) {
        await this.reload().catch(() => {});
        announce("This video was changed in another tab or by another person. Their changes are shown now; make yours again.", "error");
      } else this.tell("segments");
      return false;
    }
    this.channel.postMessage(this.revision);
    this.followIds(action, before);
    return true;
  }

  /** A changed segment has a new id: choose what took the place of the chosen one. */
  followIds(action, before) {
    if (["undo", "redo", "check", "delete"].includes(action.kind)) return;
    const made = this.segments.filter((segment) => !before.has(segment.id));
    const main = made.filter((segment) => segment.id.endsWith(".0"));
    const wanted = action.kind === "relabel" || action.kind === "confirm" ? made : main;
    if (wanted.length) this.choose(wanted.map((segment) => segment.id));
  }

  choose(ids) {
    this.chosen = new Set(ids);
    this.tell("chosen");
  }

  chosenSegments() {
    return this.segments.filter((segment) => this.chosen.has(segment.id));
  }

  at(seconds) {
    return this.segments.filter((segment) => segment.start <= seconds && seconds < segment.end);
  }
}
