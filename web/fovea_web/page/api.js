/** Calls of the gateway. Addresses are relative to the page's, so that it works behind a prefix. */

const KEY = "fovea-key";

const address = (path) => new URL(path, document.baseURI).href;

/** The server's problem (RFC 9457), or the reason for a missing answer. */
export class Problem extends Error {
  constructor({ type = "", title = "", status = 0, detail = "", errors = [] }, retryAfter = null) {
    super(detail || title || "The request failed");
    this.kind = type.split("/").pop();
    Object.assign(this, { title, status, detail, errors, retryAfter });
  }
}

/** This tab's key, if the gateway needs one. */
export const keys = {
  get: () => sessionStorage.getItem(KEY),
  set: (key) => sessionStorage.setItem(KEY, key),
};

async function request(path, options = {}) {
  const headers = new Headers(options.headers);
  if (keys.get()) headers.set("Authorization", `Bearer ${keys.get()}`);
  let response;
  try {
    response = await fetch(address(path), { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ type: "/problems/unreachable", detail: "" });
  }
  if (response.ok) return response;
  throw await toProblem(response);
}

async function toProblem(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  const record = { title: response.statusText, status: response.status };
  try {
    Object.assign(record, await response.json());
  } catch {
    // A proxy in front of the gateway has its own form of answers.
  }
  return new Problem(record, retryAfter);
}

export async function getJson(path) {
  return (await request(path)).json();
}

export async function getBlob(path) {
  return (await request(path)).blob();
}

/** A form with the picture's bytes; lists travel as JSON text. */
function toForm(blob, name, parameters) {
  const form = new FormData();
  if (blob) form.append("image", blob, name);
  for (const [key, value] of Object.entries(parameters)) {
    form.append(key, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return form;
}

/**
 * Sends one request about a picture: {result, steps, totalMs}. steps: [{name, ms}] timed by the
 * server; totalMs: timed by the browser.
 */
export function ask(path, picture, parameters, signal) {
  return post(path, { body: toForm(picture?.blob, picture?.name, parameters), signal });
}

/** The same with JSON, for requests without a picture. */
export function askJson(path, parameters, signal) {
  const headers = { "Content-Type": "application/json" };
  return post(path, { headers, body: JSON.stringify(parameters), signal });
}

async function post(path, options) {
  const start = performance.now();
  const response = await request(path, { method: "POST", ...options });
  const result = await response.json();
  const totalMs = performance.now() - start;
  return { result, steps: toSteps(response.headers.get("Server-Timing")), totalMs };
}

/** "decode;dur=3.1, fovea;dur=50" as [{name: "decode", ms: 3.1}, …]. */
export function toSteps(header) {
  return (header ?? "").split(",").map((entry) => {
    const [name, ...parameters] = entry.split(";").map((part) => part.trim());
    const duration = parameters.find((one) => one.startsWith("dur="));
    return { name, ms: duration ? Number(duration.slice(4)) : NaN };
  }).filter((step) => step.name && Number.isFinite(step.ms));
}

/**
 * Runs one job at a time and then only the newest of those that came meanwhile, so that a click
 * does not wait for earlier ones. Skipped jobs resolve to undefined.
 */
export class Newest {
  #running = false;
  #waiting = null;
  #abort = new AbortController();

  async run(job) {
    if (this.#running) {
      this.#waiting?.(false);
      const mine = await new Promise((resolve) => { this.#waiting = resolve; });
      if (!mine) return undefined;
    }
    this.#running = true;
    const { signal } = this.#abort;
    try {
      const result = await job(signal);
      return signal.aborted || this.#waiting ? undefined : result;
    } catch (error) {
      if (signal.aborted || this.#waiting) return undefined;
      throw error;
    } finally {
      this.#release();
    }
  }

  /** Drops the running job and the waiting one. */
  cancel() {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#waiting?.(false);
    this.#waiting = null;
  }

  #release() {
    const next = this.#waiting;
    this.#waiting = null;
    this.#running = next !== null;
    next?.(true);
  }
}
