// Carries the cases of tests/e2e/test_clients.py out with the JavaScript client, under Node and in a browser.
import * as stoker from "./stoker.js";

const OPERATIONS = {
  async request(api, params) {
    return { outputs: await api.doAPIRequest(params) };
  },
  async progress(api, params) {
    const told = [];
    let result = null;
    const outputs = await api.doAPIRequest(
      params,
      (value) => (result = value),
      (info, data) => told.push([info.job_state, data]),
    );
    return { outputs, states: told.map(([state]) => state), same: result === outputs };
  },
  async submit(api, params) {
    return { outputs: await api.result(await api.submit(params)) };
  },
  async twice(api, params) {
    const name = `test-${Math.random()}`;
    const ids = [await api.submit(params, { idempotencyKey: name }), await api.submit(params, { idempotencyKey: name })];
    await api.result(ids[0]);
    return { same: ids[0] === ids[1] };
  },
  async stream(api, params) {
    const steps = [];
    for await (const event of api.stream(await api.submit(params))) {
      if (event.type === "result") return { steps, outputs: event.result };
      steps.push(event.data.step ?? 0);
    }
  },
  async cancel(api, params) {
    const jobId = await api.submit(params);
    for await (const event of api.stream(jobId)) {
      if (event.info.job_state === "processing") break;
    }
    const states = [await api.cancel(jobId)];
    const error = await api.result(jobId).catch(describe);
    return { ...error, states: [...states, await api.cancel(jobId)] };
  },
  async late(api, params) {
    const jobId = await api.submit(params);
    const error = await api.result(jobId, { timeout: 0 }).catch(describe);
    await api.cancel(jobId);
    return { ...error, same: error.error.job_id === jobId };
  },
  async unknown(api) {
    return { outputs: await api.result("no-such-job") };
  },
  async login(api) {
    await api.doAPILogin();
    return { same: typeof api.clientSessionAuthKey === "string" };
  },
  async describe(api) {
    return { names: await api.getEndpointList(), outputs: await api.getEndpointDetails() };
  },
  async file(api, { image }) {
    const bytes = new stoker.Media(image).bytes;
    const outputs = [];
    for (const form of [image, bytes, bytes.buffer, new Blob([bytes])]) {
      const result = await api.doAPIRequest({ image: form });
      outputs.push(result.seen[0], new stoker.Media(result.image).type);
    }
    return { outputs };
  },
};

function describe(error) {
  if (!(error instanceof stoker.StokerClientError)) throw error;
  const { name, status, code, errors = {}, jobId = null } = error;
  return { error: { kind: name, status, code, errors, job_id: jobId } };
}

export async function run(waves) {
  const outcomes = [];
  for (const cases of waves) outcomes.push(...(await runAtOnce(cases)));
  return Object.fromEntries(outcomes);
}

function runAtOnce(cases) {
  const outcomes = cases.map(async ({ name, op, url, endpoint, key, params }) => {
    const api = new stoker.ModelAPI(url, endpoint, key);
    const outcome = await OPERATIONS[op](api, params)
      .catch(describe)
      .catch((error) => ({ broke: `${error.stack ?? error}` }));
    return [name, outcome];
  });
  return Promise.all(outcomes);
}
