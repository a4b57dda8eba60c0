// The page of one video: joins the player, the timeline, the list and the corrections.
import { Actions, listenToKeys, typedTime } from "./actions.js";
import { api, clock, drawPages, el, one, percent, settled } from "./common.js";
import { SegmentGrid } from "./grid.js";
import { SegmentList } from "./list.js";
import { follow, submit } from "./jobs.js";
import { Player } from "./player.js";
import { Store } from "./store.js";
import { TimelineView } from "./timeline.js";

const name = location.pathname.split("/").at(-1);
const store = new Store(name), player = new Player(name);
const timeline = new TimelineView(store, player), list = new SegmentList(store, player);
const grid = new SegmentGrid(store, player);
const actions = new Actions(store, player, timeline, list);

function drawDocument(found) {
  document.title = `${found.name} – vtnstream studio`;
  one("title").textContent = found.name;
  one("summary").replaceChildren(...found.summary.map((facts) => el("p", { class: "facts" }, ...facts.map((fact) => el("span", {}, fact)))));
  if (found.classes.length) {
    const shown = found.classes.slice(0, 3).map(([label, score]) => el("span", {}, el("bdi", {}, label), ` ${percent(score)}`));
    one("summary").append(el("p", { class: "facts" }, "Class of the whole video: ", ...shown));
  }
  const lines = [...found.partial, ...found.notes];
  if (store.remade) lines.unshift("The result was made again after these corrections began. The corrected timeline is shown; nothing of it is lost.");
  one("notes").hidden = !lines.length;
  one("notes").classList.toggle("partial", found.partial.length > 0);
  one("notes").replaceChildren(el("ul", {}, ...lines.map((line) => el("li", {}, line))));
}

function drawChosen() {
  const chosen = store.chosenSegments();
  const [first] = chosen;
  one("fields").hidden = !first;
  one("nothing").hidden = Boolean(first);
  if (first) {
    const label = chosen.every((s) => s.label === first.label) ? first.label : "";
    if (document.activeElement !== one("label")) one("label").value = label;
    one("start").value = clock(first.start, 3);
    one("end").value = clock(chosen.at(-1).end, 3);
    one("start").disabled = one("end").disabled = chosen.length > 1;
    const says = first.by === "person" ? "A person says so." : first.score === null ? "The model says so; its bounds were moved." : `The model says so, by ${percent(first.score)}.`;
    one("who").textContent = chosen.length > 1 ? `${chosen.length} segments are chosen.` : says;
    timeline.reveal(first.start, first.end);
    list.reveal();
  }
  list.draw();
  grid.mark();
  timeline.draw();
}

function drawSegments() {
  timeline.arrange();
  list.fill(timeline.filter);
  grid.fill(list.shown);
  one("labels").replaceChildren(...Object.keys(store.colors).map((label) => el("option", { value: label })));
  document.querySelector("[data-do=undo]").disabled = !store.canUndo;
  document.querySelector("[data-do=redo]").disabled = !store.canRedo;
  one("checked").checked = store.checked;
  drawChosen();
  drawTime();
}

function drawSaved() {
  const count = store.revision === 1 ? "1 correction" : `${store.revision} corrections`;
  one("saved").textContent = store.waiting ? "Saving …" : store.revision ? `${count}, all saved` : "No corrections yet. Each is saved as you make it.";
}

function drawTime() {
  player.showTime(store.at(player.time).slice(0, 3).map((s) => s.label).join(", "));
  timeline.draw();
}

async function drawFormats() {
  const { formats } = await api("/api/about");
  one("export").append(...formats.map((format) => el("option", { value: format }, format)));
}

async function exportAs(format) {
  one("export").value = "";
  if (!format) return;
  const address = `/api/results/${name}/export/${format}`;
  // Asked first, so that a refusal is said here and not on an empty page.
  const answer = await fetch(address);
  if (!answer.ok) {
    one("problem").textContent = (await answer.json()).error;
    one("problem").hidden = false;
    return;
  }
  one("problem").hidden = true;
  const file = decodeURIComponent(answer.headers.get("content-disposition").split("''")[1]);
  const link = el("a", { href: URL.createObjectURL(await answer.blob()), download: file });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function applyFilter() {
  timeline.filter = one("filter").value.trim().toLowerCase();
  list.fill(timeline.filter);
  grid.fill(list.shown);
  timeline.draw();
}

/** A browser cannot play the file: offer a copy that it can. */
function offerCopy(way) {
  const what = way === "remux" ? "its container; a copy in another one takes seconds" : "its codec; encoding a copy takes a while";
  player.explain(`A browser cannot play this file because of ${what}. The timeline and the list work without it.`);
  const button = el("button", { type: "button" }, "Make a copy to play");
  one("novideo").append(button);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const job = await submit(`/api/results/${name}/preview`, {});
      const end = await follow(job.id, (now) => { button.textContent = now.state === "queued" ? "waiting …" : "making a copy …"; });
      if (end.state === "done") await player.begin(store.document);
      else button.textContent = end.note || end.state;
    } catch (error) {
      button.textContent = error.message;
    }
  });
}

function wire() {
  for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => actions[button.dataset.do]());
  one("chosen").addEventListener("submit", (event) => {
    event.preventDefault();
    one("label").blur();
  });
  one("label").addEventListener("change", () => actions.relabel(one("label").value.trim()));
  for (const side of ["start", "end"]) one(side).addEventListener("change", () => {
    const seconds = typedTime(one(side).value);
    if (Number.isNaN(seconds)) drawChosen();
    else actions.bound(side, seconds);
  });
  one("checked").addEventListener("change", () => store.change({ kind: "check", checked: one("checked").checked }));
  one("as-grid").addEventListener("click", () => {
    grid.show(!grid.visible, list.shown);
    drawChosen();
  });
  one("filter").addEventListener("input", settled(120, applyFilter));
  one("filter").addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    one("filter").value = ""; // browsers clear it as well, some without telling
    applyFilter();
  });
  one("export").addEventListener("change", () => exportAs(one("export").value));
  store.addEventListener("segments", () => { drawSegments(); drawSaved(); });
  store.addEventListener("chosen", drawChosen);
  store.addEventListener("saving", drawSaved);
  player.addEventListener("time", drawTime);
  player.addEventListener("unplayable", ({ detail }) => offerCopy(detail));
  listenToKeys(actions);
  addEventListener("beforeunload", (event) => store.waiting && event.preventDefault());
}

/** Go to the time that the address names, and choose the segment there. */
function goTo(text) {
  const seconds = Number(text);
  if (text === null || !Number.isFinite(seconds)) return;
  const [segment] = store.at(seconds + 1e-3);
  if (segment) store.choose([segment.id]);
  player.seek(seconds + 0.002);
  timeline.reveal(seconds, seconds);
}

async function begin() {
  drawPages();
  try {
    const found = await store.load();
    timeline.begin(found);
    drawDocument(found);
    wire();
    drawSegments();
    drawSaved();
    const playing = player.begin(found);
    goTo(new URLSearchParams(location.search).get("at"));
    await Promise.all([playing, drawFormats()]);
  } catch (error) {
    one("problem").textContent = error.message;
    one("problem").hidden = false;
    document.querySelectorAll(".stage, .timeline, .segments").forEach((part) => { part.hidden = true; });
  }
}

begin();
