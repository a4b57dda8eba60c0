// The player, and the time that everything else follows.
import { insideOf } from "/shared/times.js";
import { api, clock, one } from "./common.js";

export class Player extends EventTarget {
  constructor(name) {
    super();
    this.name = name;
    this.video = one("video");
    this.virtual = 0;
    const tell = () => this.dispatchEvent(new Event("time"));
    for (const kind of ["timeupdate", "seeking", "loadedmetadata"]) this.video.addEventListener(kind, tell);
    this.video.addEventListener("loadedmetadata", () => {
      if (this.virtual > 0) this.video.currentTime = this.virtual; // chosen before the video was there
    });
    this.video.addEventListener("play", () => this.follow());
    this.video.addEventListener("error", () => this.explain("This browser cannot play the video. The times and the list work without it."));
  }

  async begin(document) {
    this.frame = document.frame_seconds;
    this.end = document.end;
    if (document.no_video) {
      this.explain(document.no_video);
      return;
    }
    const { way, address } = await api(`/api/results/${this.name}/playing`);
    if (address) {
      one("novideo").hidden = true;
      this.video.hidden = false;
      this.video.src = address;
    }
    if (!address) this.dispatchEvent(new CustomEvent("unplayable", { detail: way }));
  }

  /** Without a video there is still a time to mark and split at. */
  explain(text) {
    one("novideo").textContent = text;
    one("novideo").hidden = false;
    this.video.hidden = true;
    this.dispatchEvent(new Event("time"));
  }

  get ready() {
    return this.video.readyState >= 1;
  }

  get time() {
    return this.ready ? this.video.currentTime : this.virtual;
  }

  seek(seconds) {
    this.virtual = Math.min(Math.max(seconds, 0), this.end);
    if (this.ready) this.video.currentTime = this.virtual;
    else this.dispatchEvent(new Event("time"));
  }

  seekTo(segment) {
    this.seek(insideOf(segment));
  }

  step(frames) {
    this.video.pause();
    this.seek(this.time + frames * this.frame);
  }

  toggle() {
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  /** While it plays, the playhead moves with every frame of the screen. */
  follow() {
    this.dispatchEvent(new Event("time"));
    if (!this.video.paused && !this.video.ended) requestAnimationFrame(() => this.follow());
  }

  showTime(labels) {
    one("time").textContent = clock(this.time, 2);
    one("here").textContent = labels;
  }
}
