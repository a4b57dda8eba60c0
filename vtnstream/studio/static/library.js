// The library: a page of videos at a time, however many there are.
import { beginAsking } from "./ask.js";
import { follow, hasEnded, submit } from "./jobs.js";
import { announce, api, clock, drawPages, el, one, percent, plural, settled } from "./common.js";

const SIZE = 60;
const FIELDS = ["text", "label", "state", "sort"];
const STATES = { partial: "partial", failed: "failed", new: "not analysed" };
let start = 0, asked = 0;

function badge(kind, text) {
  return el("span", { class: `badge ${kind}` }, text);
}

function badges(row) {
  const found = [];
  if (STATES[row.state]) found.push(badge(row.state, STATES[row.state]));
  if (row.checked) found.push(badge("checked", "checked"));
  else if (row.revision) found.push(badge("corrected", "corrected"));
  return found;
}

function poster(row) {
  const frame = el("span", { class: "poster" });
  if (row.state === "failed" || row.state === "new") return frame;
  const image = el("img", { src: `/api/results/${row.id}/poster`, alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.remove());
  frame.append(image);
  if (row.length) frame.append(el("span", { class: "length" }, clock(row.length, 0)));
  return frame;
}

/** Analyse videos, and show their results when they are there. */
async function analyse(ids, button) {
  button.disabled = true;
  try {
    const job = await submit("/api/jobs", { ids });
    button.textContent = "waiting …";
    const end = await follow(job.id, (now) => {
      if (!hasEnded(now)) button.textContent = now.state === "running" ? `analysing … ${Math.round(100 * now.share)} %` : "waiting …";
    });
    announce(end.state === "failed" ? end.note : `Analysis ${end.state}.`, end.state === "failed" ? "error" : "");
    await load();
  } catch (error) {
    announce(error.message, "error");
    button.disabled = false;
  }
}

function card(row) {
  const facts = [];
  if (row.label) facts.push(row.label);
  if (row.segments) facts.push(plural(row.segments, "segment"));
  if (row.score !== null && row.segments) facts.push(`score ${percent(row.score)}`);
  const text = el("span", { class: "text" },
    el("strong", {}, el("bdi", {}, row.name)),
    el("span", { class: "facts" }, ...facts.map((fact) => el("span", {}, el("bdi", {}, fact)))),
    row.problem ? el("span", { class: "problem" }, row.problem) : null,
    el("span", { class: "badges" }, ...badges(row)));
  if (row.state === "new") {
    const button = el("button", { type: "button", "aria-label": `Analyse ${row.name}` }, "Analyse");
    button.addEventListener("click", () => analyse([row.id], button));
    text.append(button);
  }
  const shown = row.state === "done" || row.state === "partial";
  const inner = shown ? el("a", { href: `/video/${row.id}` }, poster(row), text) : el("div", {}, poster(row), text);
  return el("li", { class: `card ${row.state}`, "data-id": row.id }, inner);
}

function query() {
  const values = new URLSearchParams();
  for (const name of FIELDS) if (one(name).value) values.set(name, one(name).value);
  if (start) values.set("start", start);
  return values;
}

/** The address holds the query, and what is asked for in words. */
function remember(values) {
  const kept = new URLSearchParams(values), given = new URLSearchParams(location.search);
  for (const name of ["ask", "like"]) if (given.get(name)) kept.set(name, given.get(name));
  history.replaceState(null, "", kept.size ? `?${kept}` : location.pathname);
}

function sayCount(page) {
  const scanning = page.scanning ? " The folders are still being searched …" : "";
  const all = page.total === page.found ? "" : ` of ${page.found.toLocaleString("en")}`;
  one("count").textContent = page.found || page.scanning
    ? `${page.total.toLocaleString("en")}${all} ${page.found === 1 ? "video" : "videos"}.${scanning}`
    : "There is no result and no video in these folders. Make results with: vtnstream timeline VIDEOS -o FOLDER";
}

async function load() {
  const number = ++asked;
  const values = query();
  remember(values);
  values.set("size", SIZE);
  let page;
  try {
    page = await api(`/api/results?${values}`);
  } catch (error) {
    one("problem").textContent = error.message;
    one("problem").hidden = false;
    return;
  }
  if (number !== asked) return;
  one("problem").hidden = true;
  one("cards").replaceChildren(...page.rows.map(card));
  const waiting = page.rows.filter((row) => row.state === "new").map((row) => row.id);
  one("all").hidden = waiting.length < 2 || one("state").value !== "new";
  one("all").disabled = false;
  one("all").textContent = `Analyse these ${waiting.length} videos`;
  one("all").onclick = () => analyse(waiting, one("all"));
  sayCount(page);
  const last = Math.max(0, Math.ceil(page.total / SIZE) - 1), current = Math.floor(start / SIZE);
  one("page").textContent = last ? `Page ${current + 1} of ${last + 1}` : "";
  one("previous").disabled = current === 0;
  one("next").disabled = current >= last;
  document.querySelector(".pager").hidden = last === 0;
  if (page.scanning) setTimeout(() => number === asked && load(), 1000);
}

async function loadLabels() {
  const labels = await api("/api/labels");
  const chosen = new URLSearchParams(location.search).get("label") || "";
  one("label").append(...labels.map(({ label, count }) => el("option", { value: label }, `${label} (${count})`)));
  one("label").value = chosen;
}

function turn(pages) {
  start = Math.max(0, start + pages * SIZE);
  load();
  scrollTo({ top: 0 });
}

async function begin() {
  drawPages();
  const given = new URLSearchParams(location.search);
  await loadLabels().catch((error) => announce(error.message, "error"));
  for (const name of FIELDS) if (given.get(name)) one(name).value = given.get(name);
  start = Number(given.get("start")) || 0;
  const again = () => { start = 0; load(); };
  one("text").addEventListener("input", settled(250, again));
  for (const name of FIELDS.slice(1)) one(name).addEventListener("change", again);
  one("filters").addEventListener("submit", (event) => { event.preventDefault(); again(); });
  one("previous").addEventListener("click", () => turn(-1));
  one("next").addEventListener("click", () => turn(1));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, select")) {
      event.preventDefault();
      one("text").focus();
    }
  });
  await load();
  await beginAsking().catch((error) => announce(error.message, "error"));
}

begin();
