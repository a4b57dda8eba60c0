// Spans to label next, chosen by a model that was trained here.
import { announce, api, el, one, percent } from "./common.js";
import { follow, submit } from "./jobs.js";
import { spanCard } from "./spans.js";

/** The models that can suggest. */
export function offerModels(names) {
  const chosen = one("suggest-model").value;
  one("suggest-model").replaceChildren(el("option", { value: "" }, "the latest"), ...names.map((name) => el("option", { value: name }, name)));
  one("suggest-model").value = names.includes(chosen) ? chosen : "";
  one("suggest-go").disabled = !names.length;
  if (!names.length) one("suggest-note").textContent = "There is no model of your labels yet: correct some videos and train one.";
  else if (!one("suggestions").children.length) one("suggest-note").textContent = "";
}

function draw(job) {
  one("suggest-note").textContent = `${job.note}, by ${job.outcome.model}.`;
  one("suggestions").replaceChildren(...job.outcome.found.map((span) => spanCard(span, span.name, [`${span.guess}?`, percent(span.score)])));
}

async function suggest(onJob) {
  const body = { model: one("suggest-model").value, limit: Number(one("suggest-count").value) || 20 };
  one("suggest-go").disabled = true;
  try {
    const job = await submit("/api/suggestions", body);
    one("suggest-note").textContent = "The model looks through the videos …";
    const end = await follow(job.id, onJob);
    if (end.state === "done") draw(end);
    else one("suggest-note").textContent = end.note || `The suggestions were ${end.state}.`;
  } catch (error) {
    announce(error.message, "error");
  } finally {
    one("suggest-go").disabled = false;
  }
}

/** Wire the form, and show the latest suggestions. */
export async function beginSuggesting(onJob) {
  one("suggest").addEventListener("submit", (event) => {
    event.preventDefault();
    suggest(onJob);
  });
  const latest = await api("/api/suggestions");
  if (latest) draw(latest);
}
