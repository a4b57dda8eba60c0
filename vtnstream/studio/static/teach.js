// Train on corrections, watch it, and compare before and after.
import { announce, api, clock, drawPages, el, one } from "./common.js";
import { follow, hasEnded, line, submit } from "./jobs.js";
import { beginSuggesting, offerModels } from "./suggest.js";

const SVG = "http://www.w3.org/2000/svg";
const followed = new Set();

function shape(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Loss and accuracy over the epochs, both between their lowest and highest value. */
function curve(metrics, read, label) {
  const values = metrics.map(read).filter((value) => typeof value === "number");
  if (values.length < 2) return null;
  const low = Math.min(...values), high = Math.max(...values), range = high - low || 1;
  const points = values.map((value, k) => `${(300 * k) / (values.length - 1)},${46 - (42 * (value - low)) / range}`);
  const text = `${label}: ${values[0].toPrecision(3)} → ${values.at(-1).toPrecision(3)}`;
  return el("figure", { class: "curve" },
    shape("svg", { viewBox: "0 0 300 50", role: "img", "aria-label": text, preserveAspectRatio: "none" },
      shape("polyline", { points: points.join(" ") })),
    el("figcaption", {}, text));
}

function strip(spans, end, colors) {
  const bars = spans.map(([from, to, label]) => shape("rect", {
    x: (1000 * from) / end, width: Math.max(1, (1000 * (to - from)) / end - 1), y: 0, height: 20, fill: colors(label),
  }, shape("title", {}, `${label}, ${clock(from)} – ${clock(to)}`)));
  return shape("svg", { class: "strip", viewBox: "0 0 1000 20", preserveAspectRatio: "none", "aria-hidden": "true" }, ...bars);
}

const HUES = ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#edc948", "#ff9da7", "#9c755f", "#86a8d9"];

/** Why the agreement of a held-out video is low, where no training could have made it high. */
function unseen(held) {
  if (!held.unseen?.length) return null;
  const labels = held.unseen.flatMap((label, k) => [k ? ", " : "", el("bdi", {}, label)]);
  return el("p", { class: "notice partial" }, "No training video has the labels ", ...labels, ": the new model cannot find them here. Correct another video with them, and train again.");
}

function comparison(held) {
  const labels = [...new Set([...held.truth, ...held.old, ...held.new].map((span) => span[2]))].sort();
  const colors = (label) => HUES[labels.indexOf(label) % HUES.length];
  const end = Math.max(0.001, ...[...held.truth, ...held.old, ...held.new].map((span) => span[1]));
  const row = (name, spans, note) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "wide" }, strip(spans, end, colors)), el("td", { class: "number" }, note));
  return el("div", { class: "held" },
    el("h3", {}, el("a", { href: `/video/${held.id}` }, el("bdi", {}, held.name))),
    el("table", {},
      row("before", held.old, `${held.before.toFixed(1)} %`),
      row("corrected", held.truth, "agreement"),
      row("new model", held.new, `${held.after.toFixed(1)} %`)),
    unseen(held),
    el("p", { class: "legend" }, ...labels.map((label) => {
      const swatch = el("i", { "aria-hidden": "true" });
      swatch.style.background = colors(label);
      return el("span", {}, swatch, el("bdi", {}, label));
    })));
}

async function useModel(name) {
  const { rows } = await api("/api/results?state=open&size=500");
  const ids = rows.filter((row) => row.state !== "new").map((row) => row.id);
  if (!ids.length) {
    announce("Every video has been checked: there is nothing to analyse again.");
    return;
  }
  await start("/api/jobs", { ids, model: name });
}

function model(found) {
  const mean = (key) => found.comparison.reduce((sum, held) => sum + held[key], 0) / found.comparison.length;
  const summary = found.comparison.length
    ? `On ${found.comparison.length} held-out: ${mean("before").toFixed(1)} % of the time agreed with your corrections before, ${mean("after").toFixed(1)} % with the new model.`
    : found.ready ? "No video was held out: correct at least three to compare." : "Not finished.";
  const button = el("button", { type: "button", onclick: () => useModel(found.name) }, "Use it for the videos not checked yet");
  return el("article", { class: "model" },
    el("h3", {}, el("bdi", {}, found.name)),
    el("p", {}, summary),
    el("div", { class: "curves" },
      ...[curve(found.metrics, (m) => m.loss, "loss"), curve(found.metrics, (m) => m.validation.accuracy, "accuracy on validation")].filter(Boolean)),
    ...found.comparison.map(comparison),
    found.ready ? el("p", {}, button) : null);
}

async function drawModels() {
  const models = await api("/api/models");
  if (models.length) one("models").replaceChildren(...models.map(model));
  offerModels(models.filter((found) => found.ready).map((found) => found.name));
}

function drawJob(job) {
  const old = document.querySelector(`#jobs [data-id="${job.id}"]`);
  if (old) old.replaceWith(line(job));
  else one("jobs").prepend(line(job));
}

function watch(job) {
  if (hasEnded(job) || followed.has(job.id)) return;
  followed.add(job.id);
  let last = "";
  follow(job.id, (now) => {
    drawJob(now);
    if (now.kind === "train" && now.note !== last) drawModels().catch(() => {});
    last = now.note;
  }).then(() => drawModels(), (error) => announce(error.message, "error"));
}

async function start(path, body) {
  one("problem").hidden = true;
  try {
    const job = await submit(path, body);
    drawJob(job);
    watch(job);
  } catch (error) {
    one("problem").textContent = error.message;
    one("problem").hidden = false;
  }
}

/** Which videos a training would hold out, and what it could not learn for them. */
function drawPlan({ held_out: held }) {
  one("plan").replaceChildren(...held.map((video) => el("li", {}, el("a", { href: `/video/${video.id}` }, el("bdi", {}, video.name)), " would be held out.", unseen(video))));
}

async function begin() {
  drawPages();
  one("train").addEventListener("submit", (event) => {
    event.preventDefault();
    const body = { name: one("name").value.trim(), backbone: one("backbone").value.trim() };
    if (one("epochs").value.trim()) body.epochs = Number(one("epochs").value) || 0;
    start("/api/training", body);
  });
  try {
    const [corrected, checked, jobs, models, plan] = await Promise.all([
      api("/api/results?state=corrected&size=1"), api("/api/results?state=checked&size=1"), api("/api/jobs"), api("/api/models"), api("/api/training"),
    ]);
    one("ready").textContent = `${corrected.total} ${corrected.total === 1 ? "video is" : "videos are"} corrected, ${checked.total} of them checked as a whole. With three or more, some are held out to compare before and after.`;
    drawPlan(plan);
    one("name").value = `corrections-${models.length + 1}`;
    one("jobs").replaceChildren(...jobs.map(line));
    if (!jobs.length) one("jobs").append(el("li", { class: "quiet" }, "None yet."));
    jobs.forEach(watch);
    await drawModels();
    await beginSuggesting(drawJob);
  } catch (error) {
    announce(error.message, "error");
  }
}

begin();
