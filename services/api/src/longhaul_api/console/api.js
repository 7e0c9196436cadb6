// The API as this page speaks it. `key` is read at each call, so that a key that was just typed is used.

export const TERMINAL = new Set(["succeeded", "failed", "dead", "cancelled"]);
const keyField = document.getElementById("key");

export class Problem extends Error {
  constructor(body) {
    super(body.detail || body.title || "Something went wrong.");
    this.code = body.code;
    this.errors = Array.isArray(body.errors) ? body.errors : [];
  }
}

// What becomes of a request, or of an answer, that is cut off.
function cutOff(error) {
  if (error.name === "AbortError") return error;
  return new Problem({ code: "unreachable", detail: "The API does not answer. This page goes on trying." });
}

export async function ask(path, { method = "GET", body, headers = {}, signal } = {}) {
  const all = { Accept: "application/json", ...headers };
  const key = keyField.value.trim();
  if (key) all.Authorization = `Bearer ${key}`;
  if (body !== undefined) all["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers: all, body: JSON.stringify(body), signal, cache: "no-store" });
  } catch (error) {
    throw cutOff(error);
  }
  if (response.ok) return response;
  throw new Problem(await response.json().catch(() => ({ title: `The API answered ${response.status}.` })));
}

export async function read(path, options) {
  const response = await ask(path, options);
  try {
    return await response.json();
  } catch (error) {
    throw cutOff(error);
  }
}

// The events of a job as they come: fetch, not EventSource, which can't send the key.
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer = (buffer + value).replaceAll("\r\n", "\n");
      let end;
      while ((end = buffer.indexOf("\n\n")) >= 0) {
        const block = buffer.slice(0, end);
        buffer = buffer.slice(end + 2);
        const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
        if (data.length) yield JSON.parse(data.join("\n"));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
