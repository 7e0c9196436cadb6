// The page of the API. No framework and no build step.

import { TERMINAL, Problem, ask, events, read } from "./api.js";
import { at, element } from "./dom.js";
import { makeFields, markFields, readParams } from "./form.js";

const LIST_EVERY_MS = 3000;
const PAGE_SIZE = 15;
const TIMELINE_MAX = 500;
const page = { tasks: [], limit: PAGE_SIZE, job: null, stream: null, key: null };

function show(error) {
  if (error && error.name === "AbortError") return;
  const lines = error ? [error.message, ...(error.errors || []).map((one) => `${one.field || ""}  ${one.message || ""}`)] : [];
  const text = lines.join("\n");
  if (at("problem").textContent !== text) at("problem").textContent = text;
  at("problem").hidden = !error;
  at("problem").dataset.code = (error && error.code) || "";
  if (error && error.code === "unauthenticated") at("key").setAttribute("aria-invalid", "true");
  else at("key").removeAttribute("aria-invalid");
}

async function attempt(work) {
  try {
    await work();
    show(null);
  } catch (error) {
    show(error);
  }
}

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function submit() {
  const button = at("submit").querySelector("button");
  button.disabled = true;
  markFields([]);
  try {
    const body = { task: at("task").value, params: readParams() };
    if (at("queue").value.trim()) body.queue = at("queue").value.trim();
    if (at("priority").value) body.priority = Number(at("priority").value);
    // The same form sent again after a lost answer is the same job; a changed one is another.
    const asked = JSON.stringify(body);
    if (!page.key || page.key.asked !== asked) page.key = { asked, value: newKey() };
    const job = await read("/v1/jobs", { method: "POST", body, headers: { "Idempotency-Key": page.key.value } });
    page.key = null;
    announce(`Accepted: ${job.task}`);
    await choose(job.id);
    await listJobs();
  } catch (error) {
    markFields(error.errors || []);
    throw error;
  } finally {
    button.disabled = false;
  }
}

async function listTasks() {
  const found = await read("/v1/tasks");
  page.tasks = Array.isArray(found) ? found : found.tasks;
  const chosen = at("task").value;
  const options = page.tasks.map((task) => element("option", { value: task.name, textContent: task.name }));
  at("task").replaceChildren(...options);
  if (page.tasks.some((task) => task.name === chosen)) at("task").value = chosen;
  at("task-description").textContent = page.tasks.length ? "" : "No worker has published a task yet.";
  if (page.tasks.length) makeFields(page.tasks.find((task) => task.name === at("task").value));
}

// The list of jobs.

async function listJobs() {
  const state = at("filter").value;
  const found = await read(`/v1/jobs?limit=${page.limit}${state ? `&state=${state}` : ""}`);
  const focused = document.activeElement && document.activeElement.dataset.id;
  at("jobs").replaceChildren(...found.jobs.map((job) => element("li", {}, jobButton(job))));
  if (focused) [...at("jobs").querySelectorAll("button")].find((button) => button.dataset.id === focused)?.focus();
  at("no-jobs").hidden = found.jobs.length > 0;
  at("no-jobs").textContent = state ? `No job is ${state}.` : "No jobs yet: submit one.";
  at("more").hidden = !found.next || page.limit >= 100;
}

function jobButton(job) {
  const said = job.state === "running" ? job.progress.message : job.error && job.state !== "succeeded" ? job.error.message : job.id;
  const button = element(
    "button",
    { type: "button", onclick: () => attempt(() => choose(job.id)) },
    element("span", { className: `state ${job.state}`, textContent: job.state + percent(job) }),
    element("span", { className: "name", textContent: job.task }),
    element("span", { className: "said", textContent: said || job.id }),
    element("span", { className: "when", textContent: ago(job.created_at) }),
  );
  button.dataset.id = job.id;
  button.setAttribute("aria-current", String(job.id === (page.job && page.job.id)));
  return button;
}

const percent = (job) => (job.state === "running" ? ` ${Math.floor(job.progress.fraction * 100)} %` : "");

function ago(moment) {
  const seconds = Math.max(0, (Date.now() - Date.parse(moment)) / 1000);
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.floor(seconds)} s`;
}

// One job.

async function choose(id) {
  if (page.stream) page.stream.abort();
  const stream = (page.stream = new AbortController());
  history.replaceState(null, "", `#${id}`);
  at("timeline").replaceChildren();
  at("result-box").hidden = true;
  await drawJob(await read(`/v1/jobs/${id}`, { signal: stream.signal }));
  for (const button of at("jobs").querySelectorAll("button")) button.setAttribute("aria-current", String(button.dataset.id === id));
  follow(id, stream.signal);
}

async function drawJob(job) {
  page.job = job;
  at("no-job").hidden = true;
  at("job").hidden = false;
  at("job-title").textContent = job.task;
  drawState(job);
  drawProgress(job.progress.fraction, job.error && TERMINAL.has(job.state) && job.state !== "succeeded" ? job.error.message : job.progress.message);
  at("params").textContent = JSON.stringify(job.params, null, 2);
  const facts = [
    ["Id", job.id, "id"],
    ["Queue", job.queue],
    ["Attempt", job.attempt || "none yet"],
    ["Retries", `${job.retries} of ${job.retries_max}`],
    ["Interruptions", job.interruptions],
    ["Submitted", clock(job.created_at)],
    ["Started", clock(job.started_at)],
    ["Checkpoint", clock(job.checkpointed_at)],
    ["Finished", clock(job.finished_at)],
    ["Replay of", job.origin_id, "id"],
  ].filter(([, value]) => value !== null && value !== "");
  at("facts").replaceChildren(
    ...facts.map(([name, value, kind]) =>
      element("div", { className: kind ? "wide" : "" }, element("dt", { textContent: name }), element("dd", { textContent: value, className: kind || "" })),
    ),
  );
  if (job.state === "succeeded" && at("result-box").hidden) {
    const answer = await read(`/v1/jobs/${job.id}/result`);
    if (page.job.id !== job.id) return;
    at("result").textContent = JSON.stringify(answer.result, null, 2);
    at("result-box").hidden = false;
  }
}

function drawState(job) {
  at("job-state").className = `state ${job.state}`;
  at("job-state").textContent = job.cancel_requested && !TERMINAL.has(job.state) ? "stopping" : job.state;
  at("progress").className = job.state;
  at("message").className = job.state === "failed" || job.state === "dead" ? "wrong" : "";
  at("cancel").hidden = TERMINAL.has(job.state);
  at("cancel").disabled = job.cancel_requested;
  at("replay").hidden = job.state !== "failed" && job.state !== "dead";
}

function drawProgress(fraction, message) {
  page.job.progress = { fraction, message };
  at("progress").value = fraction;
  at("message").textContent = [`${Math.floor(fraction * 100)} %`, message].filter(Boolean).join(" · ");
  document.title = `${TERMINAL.has(page.job.state) ? page.job.state : `${Math.floor(fraction * 100)} %`} · ${page.job.task} · Longhaul`;
  const entry = at("jobs").querySelector('[aria-current="true"] .state');
  if (entry) [entry.className, entry.textContent] = [`state ${page.job.state}`, page.job.state + percent(page.job)];
}

const clock = (moment) => (moment ? new Date(moment).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium", hourCycle: "h23" }) : "");

// Last-Event-ID resumes where a stream broke.
async function follow(id, signal) {
  let last = 0;
  let pause = 250;
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": String(last) } : {}) };
      const response = await ask(`/v1/jobs/${id}/events`, { headers, signal });
      if (response.status === 204) return; // it has ended, and nothing is new
      at("live").textContent = "live";
      for await (const event of events(response.body)) {
        if (event.id <= last) continue;
        [last, pause] = [event.id, 250];
        await happened(id, event);
        if (TERMINAL.has(event.type)) {
          at("live").textContent = "";
          await listJobs();
          return;
        }
      }
      const job = await read(`/v1/jobs/${id}`, { signal });
      if (TERMINAL.has(job.state) && job.last_event_id <= last) return;
    } catch (error) {
      if (signal.aborted) return;
      at("live").textContent = "connecting again";
      if (error instanceof Problem && error.code !== "unreachable") show(error);
      if (["unknown_job", "unauthenticated", "forbidden"].includes(error.code)) return;
    }
    await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(pause * 2, 5000);
  }
}

async function happened(id, event) {
  if (page.job.id !== id) return;
  const isNew = event.id > page.job.last_event_id;
  if (event.type === "progress") {
    if (isNew) drawProgress(event.data.fraction, event.data.message);
    return;
  }
  const [text, kind] = describe(event);
  const time = new Date(event.at).toLocaleTimeString(undefined, { hourCycle: "h23" });
  const line = element("li", {}, element("time", { dateTime: event.at, textContent: time }), element("span", { textContent: text, className: kind }));
  line.dataset.type = event.type;
  const timeline = at("timeline");
  const atEnd = timeline.scrollTop + timeline.clientHeight >= timeline.scrollHeight - 30;
  // Of checkpoints in a row only the newest is news.
  if (event.type === "checkpoint" && timeline.lastElementChild?.dataset.type === "checkpoint") timeline.lastElementChild.remove();
  timeline.append(line);
  while (timeline.childElementCount > TIMELINE_MAX) timeline.firstElementChild.remove();
  if (atEnd) timeline.scrollTop = timeline.scrollHeight;
  if (!isNew || event.type === "log" || event.type === "checkpoint") return;
  if (event.type !== "started") announce(`${page.job.task}: ${text}`);
  const job = await read(`/v1/jobs/${id}`);
  if (page.job.id === id) await drawJob(job);
}

function describe(event) {
  const { data, type } = event;
  const reason = [(data.error && data.error.message) || data.ending || "", evidence(data.evidence)].filter(Boolean).join(" ");
  if (type === "log") {
    const fields = Object.entries(data.fields || {}).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
    return [[data.message, ...fields].join("  "), data.level];
  }
  if (type === "checkpoint") return ["Checkpoint saved", "debug"];
  const said = {
    queued: data.origin_id ? `Queued, as a replay of ${data.origin_id}` : "Queued",
    started: `Attempt ${event.attempt} started on ${data.worker || "a worker"}`,
    retrying: `Attempt ${event.attempt} ended: ${reason}. Trying again${data.retry_after_seconds ? ` in ${data.retry_after_seconds} s` : ""}`,
    interrupted: `Attempt ${event.attempt} was interrupted: ${reason}. Another goes on`,
    cancel_requested: "Asked to stop",
    succeeded: "Succeeded",
    failed: `Failed: ${reason}`,
    dead: `Dead: ${reason}`,
    cancelled: "Cancelled",
  };
  return [said[type] || type, `happened ${type === "failed" || type === "dead" ? "error" : type === "retrying" || type === "interrupted" ? "warning" : ""}`];
}

// What is known of an attempt's end: exit code, signal, peak memory and so on.
function evidence(known) {
  const facts = Object.entries(known || {}).filter(([, value]) => value !== false && value !== "");
  return facts.length ? `(${facts.map(([name, value]) => `${name}=${value}`).join(", ")})` : "";
}

const announce = (text) => (at("announcer").textContent = text);

// What people do.

async function act(button, path) {
  button.disabled = true;
  try {
    return await read(path, { method: "POST" });
  } finally {
    button.disabled = false;
  }
}

at("submit").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(submit);
});
at("task").addEventListener("change", () => makeFields(page.tasks.find((task) => task.name === at("task").value)));
at("filter").addEventListener("change", () => attempt(listJobs));
at("more").addEventListener("click", () => {
  page.limit = Math.min(100, page.limit * 2);
  attempt(listJobs);
});
at("cancel").addEventListener("click", () => attempt(async () => drawJob(await act(at("cancel"), `/v1/jobs/${page.job.id}/cancel`))));
at("replay").addEventListener("click", () => attempt(async () => {
  const job = await act(at("replay"), `/v1/jobs/${page.job.id}/replay`);
  await choose(job.id);
  await listJobs();
}));
at("key").addEventListener("change", () => {
  sessionStorage.setItem("longhaul-key", at("key").value.trim());
  attempt(start);
});
at("theme").addEventListener("click", () => {
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (isDark ? "dark" : "light");
  localStorage.setItem("longhaul-theme", now === "dark" ? "light" : "dark");
  document.documentElement.dataset.theme = localStorage.getItem("longhaul-theme");
});

async function start() {
  await listTasks();
  await listJobs();
  const id = location.hash.slice(1);
  if (id) await choose(id);
}

async function keepListing() {
  // Quietly: only that the API is back, or gone, is said.
  if (!document.hidden) {
    try {
      if (!page.tasks.length) await listTasks();
      await listJobs();
      if (at("problem").dataset.code === "unreachable") show(null);
    } catch (error) {
      if (at("problem").hidden) show(error);
    }
  }
  setTimeout(keepListing, LIST_EVERY_MS);
}

document.documentElement.dataset.theme = localStorage.getItem("longhaul-theme") || "";
at("key").value = sessionStorage.getItem("longhaul-key") || "";
attempt(start).then(() => setTimeout(keepListing, LIST_EVERY_MS));
