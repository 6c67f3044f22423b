// The JavaScript client against a fetch of the tests' own: what no server needs to be there for.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as stoker from "../../../client/js/stoker.js";

const KEY = "a-key-that-nobody-may-see";

/** Give an API whose answers come from a list: [status, body, headers], or a function of the request's options. */
function api(answers, options = {}) {
  const requests = [];
  const fetch = async (url, init) => {
    requests.push({ url, ...init });
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (typeof answer === "function") return answer(init);
    const [status, body, headers] = answer;
    return new Response(JSON.stringify(body), { status, headers });
  };
  return [new stoker.ModelAPI("https://stoker.test/prefix/", "a/b", KEY, { fetch, ...options }), requests];
}

/** A fetch that nobody answers: it ends when it is aborted, as the real one does. */
const never = ({ signal }) =>
  new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason));
  });

/** A stream that tells one thing, then nothing more. */
const silent = ({ signal }) => {
  const body = { job_id: "j", job_state: "processing", progress: { progress: 5 } };
  const start = (controller) => {
    controller.enqueue(new TextEncoder().encode(`id: 1\ndata: ${JSON.stringify(body)}\n\n`));
    signal.addEventListener("abort", () => controller.error(signal.reason));
  };
  return new Response(new ReadableStream({ start }));
};

test("the key travels in a header, and the endpoint is one segment of the path", async () => {
  const [client, sent] = api([[200, { success: true, text: "x" }]]);
  assert.equal((await client.doAPIRequest({ text: "hi" })).text, "x");
  assert.equal(sent[0].url, "https://stoker.test/prefix/a%2Fb");
  assert.equal(sent[0].headers.get("Authorization"), `Bearer ${KEY}`);
  assert.ok(!sent[0].body.includes(KEY));
});

test("a caller's signal ends a call that is held, a pause, a stream", async () => {
  const reason = new Error("enough");
  const calls = [
    [[never], (client, signal) => client.doAPIRequest({}, null, null, { signal })],
    [[[503, {}, { "Retry-After": "30" }]], (client, signal) => client.submit({}, { signal })],
    [[silent], async (client, signal) => { for await (const _ of client.stream("j", { signal })); }],
    [[[200, { success: true, job_id: "j" }], silent], (client, signal) => client.doAPIRequest({}, null, () => {}, { signal })],
  ];
  for (const [answers, call] of calls) {
    const [client] = api(answers);
    const controller = new AbortController();
    const rejected = assert.rejects(call(client, controller.signal), reason);
    setTimeout(() => controller.abort(reason), 20);
    await rejected;
  }
});

test("a signal that was aborted before ends a call at once", async () => {
  const [client] = api([never]);
  const reason = new Error("before");
  await assert.rejects(client.result("j", { signal: AbortSignal.abort(reason) }), reason);
});

test("a time that is over is told with the job, also while it is followed", async () => {
  const [client] = api([[200, { success: true, job_id: "j" }], silent], { timeout: 0.05 });
  await assert.rejects(client.doAPIRequest({}, null, () => {}), (error) => {
    assert.ok(error instanceof stoker.Timeout);
    return error.jobId === "j";
  });
});

test("who is told to come back in an hour is not kept waiting", async () => {
  const [client, requests] = api([[429, { success: false, error: ["slow"], code: "too_many_requests" }, { "Retry-After": "3600" }]]);
  await assert.rejects(client.submit({}), (error) => error instanceof stoker.RateLimited && error.retryAfter === 3600);
  assert.equal(requests.length, 1);
});

test("a stream that is refused in the middle is told as any refusal", async () => {
  const refusal = { success: false, error: ["Key not valid"], code: "key_not_valid" };
  const [client] = api([() => new Response(`event: refused\ndata: ${JSON.stringify(refusal)}\n\n`), [401, refusal]]);
  const follow = async () => { for await (const _ of client.stream("j")); };
  await assert.rejects(follow, (error) => error instanceof stoker.Unauthorized);
});

test("what is final is not sent again, and a passing failure as the same job", async () => {
  for (const status of [400, 401, 403, 404, 500]) {
    const [client, requests] = api([[status, { success: false, error: ["no"] }]]);
    await assert.rejects(client.submit({}), (error) => error.status === status);
    assert.equal(requests.length, 1);
  }
  const [client, requests] = api([() => Promise.reject(new TypeError("reset")), [200, { success: true, job_id: "j" }]]);
  assert.equal(await client.submit({}), "j");
  const keys = requests.map(({ headers }) => headers.get("Idempotency-Key"));
  assert.deepEqual([keys.length, new Set(keys).size], [2, 1]);
});

test("no text of an error holds the key", async () => {
  const body = { success: false, error: [`Bearer ${KEY}`], errors: { text: [`${KEY} is wrong`] } };
  const [client] = api([[400, body]]);
  await assert.rejects(client.submit({}), (error) => !JSON.stringify([error, error.message]).includes(KEY));
});

test("parameters that cannot be sent are refused before anything is sent", async () => {
  const [client, requests] = api([[200, {}]]);
  for (const params of [{ key: "x" }, { job_id: "x" }, { scale: NaN }, { list: [Infinity] }]) {
    await assert.rejects(client.submit(params), TypeError);
  }
  assert.equal(requests.length, 0);
});

test("what cannot be a server or a key is refused without being told", () => {
  for (const url of ["stoker.test", "ftp://stoker.test", "https://me:hidden@stoker.test", "https://a/?b"]) {
    assert.throws(() => new stoker.ModelAPI(url, "x"), (error) => error instanceof TypeError && !error.message.includes("hidden"));
  }
  assert.throws(() => new stoker.ModelAPI("https://a", "x", "schlüssel"), (error) => !error.message.includes("schl"));
});

test("files are taken apart, and large ones put together", async () => {
  const bytes = new Uint8Array(200_001).map((_, index) => index % 251);
  const [client, requests] = api([[200, { success: true }]]);
  await client.doAPIRequest({ files: [new Blob([bytes], { type: "audio/wav" }), bytes.subarray(1, 3)] });
  const [wav, part] = JSON.parse(requests[0].body).files;
  assert.equal(new stoker.Media(wav).type, "audio/wav");
  assert.deepEqual(new stoker.Media(wav).bytes, bytes);
  assert.deepEqual([...new stoker.Media(part).bytes], [1, 2]);
  assert.equal((await new stoker.Media(wav).blob().arrayBuffer()).byteLength, bytes.length);
  assert.throws(() => new stoker.Media("https://a/b.png"), TypeError);
});
