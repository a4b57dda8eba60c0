// What all pages share: requests, times, elements and messages.
export { clock } from "/shared/times.js";

export class ApiError extends Error {
  constructor(status, message, body) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

/** Ask the server; an answer that is no success becomes an ApiError with the server's own words. */
export async function api(path, { method = "GET", body } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "The studio does not answer: it may have been stopped. Nothing that was saved is lost.");
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ApiError(answer.status, found.error || `error ${answer.status}`, found);
  return found;
}

/** Seconds from 83, 1:23 or 1:02:03.4; NaN for anything else. */
export function parseClock(text) {
  const parts = text.trim().split(":");
  if (parts.length > 3 || !parts.every((part) => /^\d+(\.\d*)?$/.test(part))) return NaN;
  return parts.reduce((sum, part) => 60 * sum + Number(part), 0);
}

export function percent(share) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(1)}\u00a0%`;
}

export function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** An element. Text is always text, never markup. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "class") made.className = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const one = (id) => document.getElementById(id);

let region = null;

/** Say something to screen readers, and show it for a moment. */
export function announce(text, kind = "") {
  if (region === null) {
    region = el("div", { class: "toast", role: "status" });
    document.body.append(region);
  }
  region.className = `toast shown ${kind}`;
  region.textContent = text;
  clearTimeout(region.timer);
  region.timer = setTimeout(() => region.classList.remove("shown"), kind === "error" ? 8000 : 2500);
}

/** Wait until calls pause, then make the last one. */
export function settled(milliseconds, action) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), milliseconds);
  };
}

const PAGES = [["/", "Library"], ["/teach", "Teach and jobs"]];

/** The links to all pages, in the header. */
export function drawPages() {
  const here = location.pathname;
  one("pages")?.replaceChildren(
    ...PAGES.map(([href, name]) => el("a", { href, "aria-current": href === here ? "page" : null }, name)),
  );
}
