/**
 * The JavaScript client of Stoker, for browsers and Node 18 or newer. Types and words: stoker.d.ts.
 *
 * Each call that failed for a passing reason is sent again. Jobs carry an Idempotency-Key, so none runs twice by it.
 */

const HOLD = 50; // s that the server may hold an answer back: many proxies break off after 60
const SILENCE = 60; // s without an answer, beside those; a stream gives a sign of life every 15 s
const STEADY = 10; // s; a stream that lived so long is not one of several failures in a row
const BREATH = 0.3; // s between two questions, should the server hold none
const FIRST_PAUSE = 0.5; // s before the first other try; doubles
const LONGEST_PAUSE = 8; // s
const LONGEST_RETRY_AFTER = 60; // s; who is told to come back later is told to the caller
const RUNNING = ["queued", "processing"];
const RESERVED = ["key", "client_session_auth_key", "wait_for_result", "job_id"];

export class StokerClientError extends Error {
  constructor(message, { status = null, code = null, ...more } = {}) {
    super(message);
    this.name = new.target.name;
    Object.assign(this, { status, code, ...more });
  }
}
export class ConnectionFailed extends StokerClientError {}
export class Timeout extends StokerClientError {}
export class Unauthorized extends StokerClientError {}
export class LoginFailed extends Unauthorized {}
export class Forbidden extends StokerClientError {}
export class BadRequest extends StokerClientError {}
export class EndpointNotFound extends BadRequest {}
export class ServerBusy extends StokerClientError {}
export class QueueFull extends ServerBusy {}
export class RateLimited extends ServerBusy {}
export class Unavailable extends ServerBusy {}
export class ServerError extends StokerClientError {}
export class JobError extends StokerClientError {}
export class JobFailed extends JobError {}
export class JobCanceled extends JobError {}
export class JobLapsed extends JobError {}
export class JobNotFound extends JobError {}

const ENDED_WITHOUT_RESULT = new Map([
  ["failed", JobFailed],
  ["canceled", JobCanceled],
  ["lapsed", JobLapsed],
]);

export class ModelAPI {
  #server;
  #token;
  #retries;
  #timeout;
  #fetch;

  constructor(apiServer, endpointName, apiKey = null, { timeout = Infinity, retries = 6, fetch } = {}) {
    this.#server = checkServer(apiServer);
    if (!endpointName) throw new TypeError("the name of the endpoint is empty");
    this.endpointName = endpointName;
    this.clientSessionAuthKey = null;
    this.#token = cleanKey(apiKey);
    this.#retries = retries;
    this.#timeout = timeout;
    this.#fetch = fetch ?? ((...request) => globalThis.fetch(...request));
  }

  async doAPILogin({ signal } = {}) {
    const call = { purpose: "login", method: "POST", path: `${this.#path}/login`, body: "{}" };
    const token = (await this.#ask(call, { signal })).client_session_auth_key;
    if (typeof token !== "string") throw new LoginFailed("the server gave no session token");
    this.clientSessionAuthKey = token;
    return token;
  }

  async doAPIRequest(params, resultCallback = null, progressCallback = null, options = {}) {
    const talk = this.#talk(options);
    const result = await (progressCallback
      ? this.#runAndTell(params, progressCallback, talk)
      : this.#run(params, talk));
    await resultCallback?.(result);
    return result;
  }

  async submit(params, { idempotencyKey = uniqueName(), ...options } = {}) {
    return this.#submit(params, idempotencyKey, this.#talk(options));
  }

  async result(jobId, options = {}) {
    return this.#await(jobId, this.#talk(options));
  }

  async *stream(jobId, { signal } = {}) {
    let seen = null;
    let failures = 0;
    for (;;) {
      const call = eventsCall(jobId, seen);
      const opened = now();
      try {
        for await (const { id, data } of this.#events(call, signal)) {
          const body = parseObject(data);
          if (!body) throw new ServerError("the stream holds something else than JSON objects");
          if (body.success === false) {  // about the stream: the next call is told why
            throw new ConnectionFailed(`the server ended the stream of job ${jobId}`);
          }
          const result = outcome(call, 200, body, this.#token);
          if (result) {
            yield { type: "result", result };
            return;
          }
          seen = id;
          failures = 0;
          yield { type: "progress", ...report(body) };
        }
        throw new ConnectionFailed(`the stream of job ${jobId} broke off`);
      } catch (error) {
        failures = now() - opened > STEADY ? 1 : failures + 1;
        await this.#pauseOrThrow(failures, error, { signal, deadline: Infinity });
      }
    }
  }

  async cancel(jobId, { signal } = {}) {
    const call = { purpose: "cancel", method: "DELETE", path: `/jobs/${encodeURIComponent(jobId)}`, jobId };
    return (await this.#ask(call, { signal })).job_state;
  }

  async getEndpointList({ signal } = {}) {
    return (await this.#ask({ method: "GET", path: "/api/endpoints" }, { signal })).endpoints ?? [];
  }

  async getEndpointDetails(endpointName = this.endpointName, { signal } = {}) {
    const path = `/api/endpoints/${encodeURIComponent(endpointName)}`;
    return this.#ask({ method: "GET", path }, { signal });
  }

  get #path() {
    return `/${encodeURIComponent(this.endpointName)}`;
  }

  #talk({ signal, timeout = this.#timeout, progressErrorCallback }) {
    return { signal, deadline: now() + timeout, progressErrorCallback };
  }

  async #submit(params, idempotencyKey, talk) {
    const body = await jobBody(params, false);
    return acceptedJobId(await this.#ask(this.#jobCall(body, idempotencyKey), talk));
  }

  async #run(params, talk) {
    const call = this.#jobCall(await jobBody(params, true), uniqueName(), holdUntil(talk.deadline));
    const body = await this.#ask(call, talk);
    return RUNNING.includes(body.job_state) ? this.#await(acceptedJobId(body), talk) : body;
  }

  async #runAndTell(params, progressCallback, talk) {
    const jobId = await this.#submit(params, uniqueName(), talk);
    const timer = timed(talk.signal, talk.deadline - now());
    try {
      for await (const event of this.stream(jobId, { signal: timer.signal })) {
        if (event.type === "result") return event.result;
        await progressCallback(event.info, event.data);
      }
    } catch (error) {
      throw timer.isOver() ? notInTime(jobId) : error;
    } finally {
      timer.stop();
    }
  }

  async #await(jobId, talk) {
    const path = `/jobs/${encodeURIComponent(jobId)}`;
    for (;;) {
      const call = { purpose: "progress", method: "GET", path, jobId, hold: holdUntil(talk.deadline) };
      const body = await this.#ask(call, talk);
      const result = outcome(call, 200, body, this.#token);
      if (result) return result;
      const left = talk.deadline - now();
      if (left <= 0) throw notInTime(jobId);
      await sleep(Math.min(BREATH, left), talk.signal);
    }
  }

  #jobCall(body, idempotencyKey, hold) {
    const headers = { "Idempotency-Key": idempotencyKey };
    return { purpose: "job", method: "POST", path: this.#path, body, headers, hold };
  }

  /** Send a call until it is answered; gives the JSON object of the answer. */
  async #ask(call, talk) {
    for (let failures = 1; ; failures += 1) {
      try {
        return await this.#send(call, talk.signal, async (response) => {
          const body = parseObject(await response.text());
          return interpret(call, response, body, this.#token);
        });
      } catch (error) {
        await this.#pauseOrThrow(failures, error, talk);
      }
    }
  }

  async *#events(call, signal) {
    const timer = timed(signal, SILENCE);
    try {
      const response = await this.#request(call, timer.signal);
      if (response.status !== 200) {
        interpret(call, response, parseObject(await response.text()), this.#token);
        return;
      }
      const reader = response.body.getReader();
      try {
        const parser = new EventReader();
        for (;;) {
          timer.restart();
          const { value, done } = await reader.read();
          if (done) return;
          for (const event of parser.feed(value)) {
            timer.rest(); // the caller may take as long as it likes
            yield event;
          }
        }
      } finally {
        reader.cancel().catch(() => {});
      }
    } catch (error) {
      throw failure(error, call, timer, signal, this.#server);
    } finally {
      timer.stop();
    }
  }

  async #send(call, signal, read) {
    const timer = timed(signal, SILENCE + (call.hold ?? 0));
    try {
      return await read(await this.#request(call, timer.signal));
    } catch (error) {
      throw failure(error, call, timer, signal, this.#server);
    } finally {
      timer.stop();
    }
  }

  #request({ method, path, body, hold, headers }, signal) {
    const all = new Headers({ Accept: "application/json", ...headers });
    if (body !== undefined) all.set("Content-Type", "application/json");
    if (this.#token) all.set("Authorization", `Bearer ${this.#token}`);
    if (hold !== undefined) all.set("Prefer", `wait=${hold}`);
    const redirect = "manual"; // no server of ours redirects a call; a key must not go elsewhere
    return this.#fetch(this.#server + path, { method, body, headers: all, signal, redirect, cache: "no-store" });
  }

  async #pauseOrThrow(failures, error, { signal, deadline = Infinity, progressErrorCallback }) {
    const seconds = failures <= this.#retries ? pause(failures, error) : null;
    if (seconds === null || now() + seconds > deadline) throw error;
    progressErrorCallback?.(error.message);
    await sleep(seconds, signal);
  }
}

/** A file among the outputs of a job. */
export class Media {
  constructor(url) {
    const head = /^data:([^;,]*)(?:;[^;,]*)*;base64,/.exec(url);
    if (!head) throw new TypeError("not a file: expected a data URL, 'data:<type>/<format>;base64,...'");
    this.type = head[1];
    this.bytes = Uint8Array.from(atob(url.slice(head[0].length)), (character) => character.charCodeAt(0));
  }

  blob() {
    return new Blob([this.bytes], { type: this.type });
  }
}

/** Puts the pieces of a stream of server-sent events together. */
class EventReader {
  #decoder = new TextDecoder();
  #pieces = []; // of a line without its end: it may be long, and come in many
  #id = "";
  #data = [];

  *feed(bytes) {
    const [first, ...rest] = this.#decoder.decode(bytes, { stream: true }).split("\n");
    this.#pieces.push(first);
    for (const line of rest) {
      const event = this.#take(this.#pieces.join("").replace(/\r$/, ""));
      this.#pieces = [line];
      if (event) yield event;
    }
  }

  #take(line) {
    if (!line) {
      const event = this.#data.length ? { id: this.#id, data: this.#data.join("\n") } : null;
      this.#data = [];
      return event;
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (name === "data") this.#data.push(value);
    else if (name === "id") this.#id = value;
    return null;
  }
}

function eventsCall(jobId, seen) {
  const headers = { Accept: "text/event-stream", ...(seen && { "Last-Event-ID": seen }) };
  const path = `/jobs/${encodeURIComponent(jobId)}/events`;
  return { purpose: "progress", method: "GET", path, headers, jobId };
}

async function jobBody(params, wait) {
  const reserved = RESERVED.filter((name) => name in params);
  if (reserved.length) throw new TypeError(`reserved names among the parameters: ${reserved.join(", ")}`);
  return JSON.stringify({ ...(await toWire(params)), wait_for_result: wait });
}

/** Give a value with every file in it replaced by a data URL. */
async function toWire(value) {
  if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`${value} is no JSON`);
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Blob) return dataURL(new Uint8Array(await value.arrayBuffer()), value.type);
  if (value instanceof ArrayBuffer) return dataURL(new Uint8Array(value));
  if (ArrayBuffer.isView(value)) return dataURL(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  if (Array.isArray(value)) return Promise.all(value.map(toWire));
  if (typeof value.toJSON === "function") return value;
  const entries = Object.entries(value).map(async ([name, item]) => [name, await toWire(item)]);
  return Object.fromEntries(await Promise.all(entries));
}

function dataURL(bytes, type) {
  const pieces = [];
  for (let start = 0; start < bytes.length; start += 0x8000) {
    pieces.push(String.fromCharCode(...bytes.subarray(start, start + 0x8000)));
  }
  // What the type says decides nothing: the server looks at the bytes.
  return `data:${type?.split(";")[0] || "application/octet-stream"};base64,${btoa(pieces.join(""))}`;
}

function checkServer(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    throw new TypeError(`not the URL of a server: '${text}'; expected such as 'https://api.example.org'`);
  }
  if (url.username || url.password) {
    throw new TypeError("the server's URL may not carry a user or a password; pass an API key");
  }
  if (!["http:", "https:"].includes(url.protocol) || url.search || url.hash) {
    throw new TypeError(`not the URL of a server: '${text}'; expected such as 'https://api.example.org'`);
  }
  return url.href.replace(/\/+$/, "");
}

function cleanKey(key) {
  const clean = (key ?? "").trim();
  if (!/^[!-~]*$/.test(clean)) throw new TypeError("the API key holds characters other than visible ASCII ones");
  return clean || null;
}

/** Give the body of an answer that tells of success; throws what any other tells of. */
function interpret(call, response, body, token) {
  const { status, ok } = response;
  if (ok && !body) throw new ServerError("the answer is not a JSON object", { status });
  if (ok && body.success !== false) return body;
  if (call.purpose === "cancel" && body?.code === "job_ended") return body; // how the job stands
  throw refusal(call, status, body ?? {}, token, parseRetryAfter(response.headers.get("Retry-After")));
}

/** Give the result from what tells how a job stands; null while it is queued or runs. */
function outcome(call, status, body, token) {
  const state = body.job_state;
  const result = body.job_result;
  if (RUNNING.includes(state)) return null;
  if (ENDED_WITHOUT_RESULT.has(state)) {
    throw refusal(call, status, { ...(result ?? body), job_state: state }, token);
  }
  if (state !== "done" || typeof result !== "object" || result === null) {
    throw new ServerError("the server named no known state of the job", { status });
  }
  return result;
}

function refusal(call, status, body, token, retryAfter = null) {
  let text = sentence(body, status);
  const clean = (part) => (token ? String(part).replaceAll(token, "***") : String(part));
  text = clean(text);
  const code = typeof body.code === "string" ? body.code : null;
  const jobId = call.jobId ?? body.job_id ?? null;
  const JobKind = jobErrorClass(call, status, body, code, jobId);
  if (JobKind) return new JobKind(jobId ? `job ${jobId}: ${text}` : text, { status, code, jobId });
  const login = call.purpose === "login";
  if (status === 401 || (login && status < 300)) {
    return new (login ? LoginFailed : Unauthorized)(text, { status, code });
  }
  if (status === 403) return new Forbidden(text, { status, code });
  if (status === 429) {
    return new (code === "queue_full" ? QueueFull : RateLimited)(text, { status, code, retryAfter });
  }
  if (status === 503 || code === "request_in_progress") return new Unavailable(text, { status, code, retryAfter });
  if (status === 504) return new Timeout(text, { status, code, jobId });
  if (status >= 400 && status < 500) {
    const errors = Object.fromEntries(
      Object.entries(body.errors ?? {}).map(([name, texts]) => [name, [texts].flat().map(clean)]),
    );
    return new (status === 404 ? EndpointNotFound : BadRequest)(text, { status, code, errors });
  }
  return new ServerError(text, { status, code });
}

function jobErrorClass(call, status, { job_state: state }, code, jobId) {
  for (const name of [state, code?.replace(/^job_/, "")]) {
    if (ENDED_WITHOUT_RESULT.has(name)) return ENDED_WITHOUT_RESULT.get(name);
  }
  if (status === 410) return JobLapsed;
  if (status === 404 && (call.jobId || code === "job_not_found")) return JobNotFound;
  return status < 300 && jobId ? JobFailed : null;
}

function sentence(body, status) {
  const error = body.error ?? body.message ?? body.description;
  return String([error].flat().filter(Boolean).join("; ")).slice(0, 2000) || `the server answered with HTTP status ${status}`;
}

/** Give what a call that threw is told as: errors of this module as they are, those of fetch as one of them. */
function failure(error, call, timer, signal, server) {
  if (error instanceof StokerClientError) return error;
  if (signal?.aborted) return signal.reason;
  if (timer.isOver()) return new Timeout(`no answer from ${server} in time`, { jobId: call.jobId ?? null });
  const reason = error.cause?.message || error.cause?.code || error.message;
  return Object.assign(new ConnectionFailed(`no answer from ${server}: ${reason}`), { cause: error });
}

function notInTime(jobId) {
  return new Timeout(`job ${jobId} has no result yet, and the time to wait for it is over`, { jobId });
}

function pause(failures, error) {
  if (!isPassing(error)) return null;
  const longest = Math.min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE);
  const { retryAfter = null } = error;
  if (retryAfter === null) return longest * (0.5 + 0.5 * Math.random());
  return retryAfter > LONGEST_RETRY_AFTER ? null : retryAfter + 0.5 * longest * Math.random();
}

function isPassing(error) {
  if (error instanceof ServerBusy) return error.code !== "endpoint_disabled";
  if (error instanceof ServerError) return error.status === 502;
  return error instanceof ConnectionFailed || error instanceof Timeout;
}

function parseRetryAfter(value) {
  if (!value) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? null : Math.max(0, seconds);
}

/** Give a name that no other submission has; pages without HTTPS and Node 18 lack `crypto.randomUUID`. */
function uniqueName() {
  return globalThis.crypto?.randomUUID?.() ?? Array.from({ length: 4 }, () => Math.random().toString(36)).join("-");
}

function acceptedJobId({ job_id: jobId }) {
  if (typeof jobId !== "string" || !jobId) {
    throw new ServerError("the server accepted the job without naming its id");
  }
  return jobId;
}

function report(body) {
  const { progress = 0, queue_position = 0, estimate = -1, progress_data } = body.progress ?? {};
  const info = { job_id: body.job_id, job_state: body.job_state, progress, queue_position, estimate };
  return { info, data: progress_data ?? {} };
}

function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function holdUntil(deadline) {
  return Math.floor(Math.max(0, Math.min(HOLD, deadline - now())));
}

/** Seconds, monotonic. */
function now() {
  return performance.now() / 1000;
}

/** A signal that is aborted with the caller's, or after so many seconds. */
function timed(signal, seconds) {
  const controller = new AbortController();
  const pass = () => controller.abort(signal.reason);
  let over = false;
  let timer;
  const rest = () => clearTimeout(timer);
  const restart = () => {
    rest();
    if (seconds === Infinity) return;
    const milliseconds = Math.min(Math.max(0, seconds) * 1000, 2 ** 31 - 1);
    timer = setTimeout(() => controller.abort((over = true)), milliseconds);
  };
  const stop = () => {
    rest();
    signal?.removeEventListener("abort", pass);
  };
  if (signal?.aborted) pass();
  else signal?.addEventListener("abort", pass);
  restart();
  return { signal: controller.signal, isOver: () => over, restart, rest, stop };
}

function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) end();
    else signal?.addEventListener("abort", end);
  });
}
