// Jobs: submit them, follow their progress, and show them.
import { ApiError, announce, api, el } from "./common.js";

const KINDS = { analyse: "Analyse", preview: "Copy for the browser", train: "Train", read: "Read for searches", suggest: "Suggest" };
const ENDED = ["done", "failed", "cancelled"];

export const hasEnded = (job) => ENDED.includes(job.state);

/** Follow a job until it ends; resolves to its last state. */
export function follow(number, onChange = () => {}) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(`/api/jobs/${number}/events`);
    source.addEventListener("job", ({ data }) => {
      const job = JSON.parse(data);
      onChange(job);
      if (hasEnded(job)) {
        source.close();
        resolve(job);
      }
    });
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return; // it connects again by itself
      reject(new ApiError(0, "The studio does not answer. Jobs go on when it is started again."));
    });
  });
}

export async function submit(path, body) {
  const job = await api(path, { method: "POST", body });
  return job;
}

function subject(job) {
  const { request } = job;
  if (job.kind === "train") return request.name;
  if (job.kind === "suggest") return request.model;
  if (job.kind === "read") return "all videos";
  if (job.kind === "preview") return request.video.split("/").at(-1);
  const first = request.paths[0].split("/").at(-1);
  return request.paths.length > 1 ? `${first} and ${request.paths.length - 1} more` : first;
}

async function cancel(job) {
  try {
    await api(`/api/jobs/${job.id}`, { method: "DELETE" });
  } catch (error) {
    announce(error.message, "error");
  }
}

/** A line of the list of jobs. */
export function line(job) {
  const name = `${KINDS[job.kind] || job.kind}: ${subject(job)}`;
  const bar = el("progress", { max: 1, value: job.share, "aria-label": `Progress of ${name}` });
  const stop = el("button", { type: "button", onclick: () => cancel(job) }, "Cancel");
  return el("li", { class: `job ${job.state}`, "data-id": job.id },
    el("span", { class: "what" }, el("bdi", {}, name)),
    el("span", { class: `state ${job.state}` }, job.state),
    hasEnded(job) ? null : bar,
    hasEnded(job) ? null : stop,
    job.note ? el("span", { class: "note" }, job.note) : null);
}
