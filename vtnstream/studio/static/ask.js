// Find moments in all videos of the library: in words, or like a span of a video.
import { announce, api, clock, el, one, percent, plural } from "./common.js";
import { follow, hasEnded, submit } from "./jobs.js";
import { spanCard } from "./spans.js";

let asked = 0, running = null;

/** A span in the address, as ID@START-END. */
function exampleOf(text) {
  const found = /^([0-9a-f]+)@(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)$/.exec(text || "");
  return found && { id: found[1], start: Number(found[2]), end: Number(found[3]) };
}

function say(text) {
  one("answer").hidden = false;
  one("answer-note").textContent = text;
}

function progress(job) {
  if (hasEnded(job)) return;
  say(job.state === "queued" ? "Waiting for another search …" : job.share ? `Searching … ${Math.round(100 * job.share)} %` : "Searching … (the first search loads the model)");
}

/** Read the videos that the search could not see, and search again. */
async function readMissing(button, again) {
  button.disabled = true;
  try {
    const job = await submit("/api/search/features", {});
    const end = await follow(job.id, (now) => {
      button.textContent = now.state === "queued" ? "waiting …" : `reading … ${Math.round(100 * now.share)} %`;
    });
    if (end.state === "done") again();
    else announce(end.note || `Reading ${end.state}.`, "error");
  } catch (error) {
    announce(error.message, "error");
  }
}

function draw(job, again) {
  const { found, missing } = job.outcome;
  say(`${job.note[0].toUpperCase()}${job.note.slice(1)}.`);
  one("spans").replaceChildren(...found.map((span) => spanCard(span, span.name, [`match ${percent(span.score)}`])));
  if (!missing) return;
  const button = el("button", { type: "button" }, `Read ${plural(missing, "video")}`);
  button.addEventListener("click", () => readMissing(button, again));
  one("answer-note").append(` ${plural(missing, "video")} had to be left out, because the features of this model are not stored. `, button);
}

async function ask(text, example) {
  const number = ++asked;
  if (running) api(`/api/jobs/${running}`, { method: "DELETE" }).catch(() => {});
  running = null;
  one("spans").replaceChildren();
  one("answer-title").textContent = example ? `Moments like ${clock(example.start)} – ${clock(example.end)}${text ? ` and “${text}”` : ""}` : `Moments: ${text}`;
  say("Searching …");
  try {
    const job = await submit("/api/search", { text, example });
    if (number !== asked) return;
    running = job.id;
    const end = await follow(job.id, (now) => number === asked && progress(now));
    if (number !== asked) return;
    running = null;
    if (end.state === "done") draw(end, () => ask(text, example));
    else say(end.note || `The search was ${end.state}.`);
  } catch (error) {
    if (number === asked) say(error.message);
  }
}

function remember(text, like) {
  const values = new URLSearchParams(location.search);
  for (const [name, value] of [["ask", text], ["like", like]]) {
    if (value) values.set(name, value);
    else values.delete(name);
  }
  history.replaceState(null, "", values.size ? `?${values}` : location.pathname);
}

function close() {
  asked += 1;
  if (running) api(`/api/jobs/${running}`, { method: "DELETE" }).catch(() => {});
  running = null;
  one("answer").hidden = true;
  one("words").value = "";
  remember("", "");
}

/** Wire the form, and carry out the search that the address names. */
export async function beginAsking() {
  const status = await api("/api/search");
  one("words").disabled = one("find").disabled = !status.ready;
  one("ask-problem").hidden = status.ready;
  one("ask-problem").lastElementChild.textContent = status.problem;
  if (!status.ready) return;
  const given = new URLSearchParams(location.search);
  one("words").value = given.get("ask") || "";
  one("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = one("words").value.trim();
    if (!text) return;
    remember(text, "");
    ask(text, null);
  });
  one("close").addEventListener("click", close);
  const example = exampleOf(given.get("like"));
  if (one("words").value.trim() || example) await ask(one("words").value.trim(), example);
}
