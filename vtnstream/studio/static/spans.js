// Cards of spans of videos: a frame that is loaded when it is to be seen, and what is known of it.
import { clock, el } from "./common.js";

/** The address of the page of a video, at a time. */
export const placeOf = (span) => `/video/${span.id}?at=${span.start.toFixed(3)}`;

/** A frame of a span; an empty frame where none can be shown. */
export function frameOf(span, hasVideo = true) {
  const times = el("span", { class: "length" }, `${clock(span.start, 1)} – ${clock(span.end, 1)}`);
  if (!hasVideo) return el("span", { class: "poster" }, times);
  const address = `/api/results/${span.id}/frame?start=${span.start.toFixed(3)}&end=${span.end.toFixed(3)}`;
  const image = el("img", { src: address, alt: "", loading: "lazy", decoding: "async", width: 160, height: 90 });
  image.addEventListener("error", () => image.remove());
  return el("span", { class: "poster" }, image, times);
}

/** A card with a link to the span. */
export function spanCard(span, title, facts) {
  return el("li", { class: "card span" },
    el("a", { href: placeOf(span) }, frameOf(span),
      el("span", { class: "text" },
        el("strong", {}, el("bdi", {}, title)),
        el("span", { class: "facts" }, ...facts.map((fact) => el("span", {}, el("bdi", {}, fact)))))));
}
