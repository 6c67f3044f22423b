/** Inputs by name: JSON values, and files as Blob, File, typed array, ArrayBuffer or data URL. */
export type Params = Record<string, unknown>;

/** success, job_id, ep_version, the outputs by name (files are data URLs: see Media), and the timings in seconds. */
export type Result = Record<string, any>;

export type JobState = "queued" | "processing" | "done" | "failed" | "canceled" | "lapsed";

/** Where a job stands. */
export interface ProgressInfo {
  job_id: string;
  job_state: "queued" | "processing";
  /** What the model reported last, usually percent from 0 to 100; 0 before its first report. */
  progress: number;
  /** Rank from 1 while the job is queued, then 0. */
  queue_position: number;
  /** Seconds until the result is expected; -1 when no worker is online. */
  estimate: number;
}

/** Partial outputs that the model gave so far, by name. */
export type ProgressData = Record<string, any>;

export type JobEvent =
  | { type: "progress"; info: ProgressInfo; data: ProgressData }
  | { type: "result"; result: Result };

export interface CallOptions {
  /** Ends the call; it rejects with the signal's reason. The job goes on: see `cancel`. */
  signal?: AbortSignal;
}

export interface WaitOptions extends CallOptions {
  /** Seconds to wait for the result; default: the constructor's. 0 only looks. Then the call rejects with Timeout. */
  timeout?: number;
  /** Called with a sentence when a call fails and will be sent again. */
  progressErrorCallback?: (text: string) => void;
}

export interface SubmitOptions extends CallOptions {
  /**
   * A name for this submission, up to 255 ASCII characters: whoever submits the same inputs by the same name within a
   * day, perhaps after a restart, gets the same job. Default: a new one.
   */
  idempotencyKey?: string;
}

export interface ModelAPIOptions {
  /** Seconds to wait for the result of a job; default: for ever. */
  timeout?: number;
  /**
   * So many failures of a call in a row are followed by another try (default 6). The pauses double, from half a second
   * to 8 s; `Retry-After` is honoured up to a minute.
   */
  retries?: number;
  /** In place of the global `fetch`. */
  fetch?: typeof fetch;
}

/**
 * Calls one endpoint of one server.
 *
 * Every call that fails for a passing reason (no connection, 429, 502, 503, 504) is sent again; no job runs twice by it.
 * Wrong arguments reject with TypeError, everything else with a StokerClientError.
 */
export class ModelAPI {
  /**
   * @param apiServer base URL, such as "https://api.example.org"; a path in front of the routes may follow
   * @param endpointName as the server lists it
   * @param apiKey API key, or a session token in its place; sent in a header, never in a URL
   */
  constructor(apiServer: string, endpointName: string, apiKey?: string | null, options?: ModelAPIOptions);

  readonly endpointName: string;
  /** Session token of the last login, good in place of an API key. */
  clientSessionAuthKey: string | null;

  /** Check the API key, and keep the session token that the server gives. Requests need no login. */
  doAPILogin(options?: CallOptions): Promise<string>;

  /** Run a job and wait for its result; with a callback for progress, follow it by its stream. */
  doAPIRequest(
    params: Params,
    resultCallback?: ((result: Result) => unknown) | null,
    progressCallback?: ((info: ProgressInfo, data: ProgressData) => unknown) | null,
    options?: WaitOptions,
  ): Promise<Result>;

  /** Submit a job; gives its id at once. */
  submit(params: Params, options?: SubmitOptions): Promise<string>;

  /** Wait for the result of a job. */
  result(jobId: string, options?: WaitOptions): Promise<Result>;

  /** Follow a job until its result; a stream that breaks off is taken up where it was. */
  stream(jobId: string, options?: CallOptions): AsyncGenerator<JobEvent, void, void>;

  /**
   * End a job that waits or runs. Gives its state: "canceled"; "queued" or "processing" if a worker will stop it within
   * seconds; another one if it had ended before.
   */
  cancel(jobId: string, options?: CallOptions): Promise<JobState>;

  /** Names of the server's endpoints; with an API key, of those that it may call. */
  getEndpointList(options?: CallOptions): Promise<string[]>;

  /** Title, limits, workers and parameters of an endpoint. */
  getEndpointDetails(endpointName?: string, options?: CallOptions): Promise<Record<string, any>>;
}

/** A file among the outputs of a job: `new Media(result.image).blob()`. */
export class Media {
  /** @param url a data URL in base64 */
  constructor(url: string);
  /** As the data URL names it, such as "image/png". */
  readonly type: string;
  readonly bytes: Uint8Array;
  blob(): Blob;
}

/** The base of all errors of this module but TypeError. */
export class StokerClientError extends Error {
  /** HTTP status of the answer; null without an answer. */
  readonly status: number | null;
  /** The server's short name of the error, such as "queue_full". */
  readonly code: string | null;
}
/** No connection, or it broke before the answer. */
export class ConnectionFailed extends StokerClientError {}
/** No result within the time given; the job may go on. */
export class Timeout extends StokerClientError {
  readonly jobId: string | null;
}
/** 401: the API key is missing or not valid. */
export class Unauthorized extends StokerClientError {}
export class LoginFailed extends Unauthorized {}
/** 403: the key is valid, but not for this endpoint. */
export class Forbidden extends StokerClientError {}
/** 400 and other 4xx: the inputs are wrong. */
export class BadRequest extends StokerClientError {
  /** The sentences for each input that is wrong. */
  readonly errors: Record<string, string[]>;
}
export class EndpointNotFound extends BadRequest {}
/** Try again later; nothing was accepted. */
export class ServerBusy extends StokerClientError {
  /** Seconds; null when the server named no time. */
  readonly retryAfter: number | null;
}
/** 429: the endpoint's queue has no free slot. */
export class QueueFull extends ServerBusy {}
/** 429: too many requests with this key. */
export class RateLimited extends ServerBusy {}
/** 503: the server cannot take jobs at present; 409: it takes the same one just now. */
export class Unavailable extends ServerBusy {}
/** Other 5xx, or an answer that is not the server's protocol. */
export class ServerError extends StokerClientError {}
/** The job was accepted, and there is no result. */
export class JobError extends StokerClientError {
  readonly jobId: string | null;
}
/** The model refused the job or broke on it. */
export class JobFailed extends JobError {}
export class JobCanceled extends JobError {}
/** The job waited longer than its endpoint allows. */
export class JobLapsed extends JobError {}
/** The server does not know the job (any more). */
export class JobNotFound extends JobError {}
