// Times as text, and marks of a time axis. The studio loads this file as a module; the static page
// holds it without its exports.

/** 1:02:03.4, as everywhere in vtnstream; digits after the point are cut, not rounded. */
export function clock(seconds, digits = 1) {
  const scale = 10 ** digits;
  const whole = Math.floor(Math.max(0, seconds) * scale + 1e-6) / scale;
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const rest = (whole % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

/** Seconds between two marks of an axis, so that each has room for its text. */
export function tickStep(secondsPerPixel, room) {
  return STEPS.find((step) => step / secondsPerPixel >= room) || STEPS[STEPS.length - 1];
}

/** A hair after the start of a segment: browsers may round a time to the frame before. */
export function insideOf(segment) {
  return segment.start + Math.min(0.002, (segment.end - segment.start) / 2);
}
