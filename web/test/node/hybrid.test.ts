import assert from "node:assert/strict";
import type { IncomingMessage, ServerResponse } from "node:http";
import { after, before, beforeEach, describe, test } from "node:test";
import { TwinferError, loadModel, provenanceOf } from "twinfer";
import type { ConsentRequest, HybridOptions, LoadOptions } from "twinfer";
import { fails } from "../support/expect.js";
import { BYTES_PIPELINE, sampleRegistry } from "../support/fixture.js";
import { identity } from "../support/onnx.js";
import type { Site } from "../support/server.js";
import { HTML, send, serveRegistry } from "../support/site.js";

/**
 * What hybrid models send and what they make of answers, with a server that answers whatever a test wants. The real
 * one is in `test/browser/hybrid.test.ts`.
 */

const registry = sampleRegistry();
registry.add({ name: "lists", model: identity({ type: "FP32", shape: [], kind: "sequence" }) });
const digest = registry.digests["record"] ?? "";
let site: Site;
/** How the server answers; nothing: it must not be asked. */
let respond: ((request: IncomingMessage, response: ServerResponse, body: Buffer) => void) | undefined;
let seen: { path: string; query: string; headers: IncomingMessage["headers"]; body: Buffer }[];
let asked: ConsentRequest[];

before(async () => {
  site = await serveRegistry(registry, async (request, response, path) => {
    if (!path.startsWith("/models/v2/")) return false;
    const body = Buffer.from(await new Response(request as never).arrayBuffer());
    seen.push({ path, query: new URL(request.url ?? "", site.origin).search, headers: request.headers, body });
    if (respond) respond(request, response, body);
    else response.writeHead(500).end("it was asked");
    return true;
  });
});

after(() => site.close());

beforeEach(() => {
  respond = undefined;
  [seen, asked] = [[], []];
});

const hybrid = (more: Partial<HybridOptions> = {}): HybridOptions => ({
  server: `${site.origin}/models`,
  consent: (request) => asked.push(request) > 0,
  ...more,
});

/** A model whose engine is nowhere. */
const broken = (name: string, more: Partial<HybridOptions> = {}, options: LoadOptions = {}) =>
  loadModel(`${site.origin}/registry/${name}`, { engineUrl: `${site.origin}/nowhere.wasm`, hybrid: hybrid(more), ...options });

const json = (response: ServerResponse, value: unknown, status = 200): void =>
  void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));

const outputs = (value: object, of = digest) => (_: IncomingMessage, response: ServerResponse) =>
  json(response, { model_name: "record", model_version: "1.0.0", digest: of, mode: "strict", outputs: value, timing: { load_ms: 0, predict_ms: 1.5 } });

/** Metadata first, then this. */
const described = (answer: typeof respond, inputs: object[] = [], results: object[] = []) => (request: IncomingMessage, response: ServerResponse, body: Buffer) =>
  request.method === "GET" ? json(response, { name: "x", inputs, outputs: results }) : answer?.(request, response, body);

describe("consent", () => {
  test("nothing is asked or sent where the device can", async () => {
    const model = await loadModel(`${site.origin}/registry/record`, { hybrid: hybrid(), thread: "main" });
    const { doubled, prediction } = await model.predict({ record: { a: 1, b: 2 } });
    assert.deepEqual(doubled, [[2, 4]]);
    assert.deepEqual([prediction.where, prediction.why, prediction.version, prediction.digest], ["page", "local_first", "1.0.0", digest]);
    await model.close();
    assert.deepEqual([asked, seen], [[], []]);
  });

  test("it is asked once, says what it is for, and until then the server hears nothing", async () => {
    respond = described(outputs({ doubled: [[2, 4]] }));
    const consent = (request: ConsentRequest): boolean => {
      assert.equal(seen.length, 0);
      return asked.push(request) > 0;
    };
    const model = await broken("record", { consent });
    const answers = await Promise.all([model.predict({ record: { a: 1, b: 2 } }), model.predict({ record: { a: 1, b: 2 } })]);
    assert.deepEqual(asked, [{ server: `${site.origin}/models/`, name: "record", version: "1.0.0", digest, reason: "engine_missing" }]);
    for (const { prediction, doubled } of answers) {
      assert.deepEqual(doubled, [[2, 4]]);
      assert.deepEqual([prediction.where, prediction.why, prediction.digest, prediction.version, prediction.timing.engine], ["server", "engine_missing", digest, "1.0.0", 1.5]);
    }
    assert.deepEqual([model.engine.kind, model.version, model.digest], ["none", "1.0.0", digest]);
    await fails(model.selfTest(), "not_found");
    await fails(model.preprocess({ record: { a: 1 } }), "not_found");
    assert.equal((await model.update()).status, "current");
    await model.close();
  });

  test("a no, a failure and what is not `true` are the error of the device, and nothing is sent", async () => {
    for (const consent of [() => false, () => "yes" as unknown as boolean, () => Promise.reject(new Error("closed the dialogue"))]) {
      await fails(broken("record", { consent }), "not_found", /nowhere\.wasm/);
    }
    assert.deepEqual(seen, []);
  });

  test("what is wrong with the package is no matter for a server", async () => {
    await fails(loadModel(`${site.origin}/registry/record:9.9.9`, { hybrid: hybrid() }), "unknown_version");
    await fails(loadModel(`${site.origin}/registry/nothing`, { hybrid: hybrid() }), "unknown_model");
    assert.deepEqual([asked, seen], [[], []]);
  });

  test("with a trust policy that nobody here could ask, nobody answers", async () => {
    const trust = { format_version: 1, rules: [], keys: {} } as never;
    await fails(broken("record", {}, { trust }), "not_found");
    assert.deepEqual([asked, seen], [[], []]);
  });
});

describe("what is sent", () => {
  const input = [{ name: "x", datatype: "FP32", shape: [-1, 2] }];

  test("a record, with its parameters, for exactly this package", async () => {
    respond = described(outputs({ doubled: [[2, "NaN"]] }));
    const model = await broken("record", { headers: async () => ({ authorization: "Bearer 7" }), timeoutMs: 2500 });
    await model.predict({ record: { a: 1, b: NaN } }, { parameters: { mode: "slow" } });
    const { path, headers, body } = seen.at(-1) ?? assert.fail();
    assert.equal(path, `/models/v2/models/record/versions/${digest}/predict`);
    assert.deepEqual(JSON.parse(body.toString()), { inputs: { record: { a: 1, b: null } }, parameters: { mode: "slow" } });
    assert.deepEqual([headers["content-type"], headers.authorization, headers["x-request-timeout"]], ["application/json", "Bearer 7", "2.5"]);
    await fails(model.predict({ record: { a: Infinity } }), "invalid_record");
    await fails(model.predict({ other: 1 as never }), "unknown_input");
    await model.close();
  });

  test("bytes as they are, with parameters in the query; as base64 where those are no texts", async () => {
    const bytes = registry.digests["bytes"] ?? "";
    assert.equal(BYTES_PIPELINE.input.name, "content");
    respond = described(outputs({ tokens: [1] }, bytes));
    const model = await broken("bytes");
    await model.predict({ content: Uint8Array.of(1, 2, 255) }, { parameters: { mode: "a b&c" } });
    const raw = seen.at(-1) ?? assert.fail();
    assert.deepEqual([raw.headers["content-type"], raw.query, [...raw.body]], ["application/octet-stream", "?mode=a+b%26c", [1, 2, 255]]);
    await model.predict({ content: new Blob([Uint8Array.of(1, 2, 255)]) }, { parameters: { count: 3 } });
    assert.deepEqual(JSON.parse(String(seen.at(-1)?.body)), { inputs: { content: { base64: "AQL/" } }, parameters: { count: 3 } });
    await model.close();
  });

  test("tensors in binary form, and what comes back so", async () => {
    const vectors = registry.digests["vectors"] ?? "";
    respond = described((_, response) => {
      const head = Buffer.from(JSON.stringify({ model_version: "1.0.0", parameters: { digest: vectors }, outputs: [
        { name: "y", datatype: "FP32", shape: [1, 2], parameters: { binary_data_size: 8 } },
        { name: "t", datatype: "BYTES", shape: [2], parameters: { binary_data_size: 12 } },
        { name: "m", datatype: "INT64", shape: [1, 2], parameters: { binary_data_size: 16, map_keys: '["a","7"]' } },
      ] }));
      const texts = Buffer.from([1, 0, 0, 0, 0x61, 3, 0, 0, 0, 0x62, 0x63, 0x64]);
      const body = Buffer.concat([head, Buffer.from(Float32Array.of(2, 4).buffer), texts, Buffer.from(BigInt64Array.of(1n, 2n ** 60n).buffer)]);
      response.writeHead(200, { "inference-header-content-length": head.length }).end(body);
    }, input);
    const model = await broken("vectors");
    const answer = await model.run<Record<string, never>>({ x: { shape: [1, 2], data: [1, 2] } });
    assert.deepEqual(answer, {
      y: { dtype: "FP32", shape: [1, 2], data: Float32Array.of(2, 4) },
      t: { dtype: "BYTES", shape: [2], data: ["a", "bcd"] },
      m: [{ a: 1n, "7": 2n ** 60n }],
    });
    assert.deepEqual(provenanceOf(answer), { where: "server", why: "engine_missing", digest: vectors, version: "1.0.0" });
    const { path, headers, body } = seen.at(-1) ?? assert.fail();
    const length = Number(headers["inference-header-content-length"]);
    assert.equal(path, `/models/v2/models/vectors/versions/${vectors}/infer`);
    assert.deepEqual(JSON.parse(body.subarray(0, length).toString()), {
      parameters: { binary_data_output: true },
      inputs: [{ name: "x", datatype: "FP32", shape: [1, 2], parameters: { binary_data_size: 8 } }],
    });
    assert.deepEqual([...body.subarray(length)], [...new Uint8Array(Float32Array.of(1, 2).buffer)]);
    // Without a pipeline tensors are the input of `predict`, too.
    respond = outputs({ y: [[2, 4]] }, vectors);
    await model.predict({ x: { shape: [1, 2], data: [1, 2] } });
    assert.deepEqual(JSON.parse(String(seen.at(-1)?.body)).inputs, { tensors: [{ name: "x", datatype: "FP32", shape: [1, 2], data: { base64: "AACAPwAAAEA=" } }] });
    await model.close();
  });

  test("pixels need a canvas, which Node has not", async () => {
    respond = described(outputs({}));
    const model = await broken("picture");
    await fails(model.predict({ picture: { width: 1, height: 1, data: new Uint8Array(4) } }), "invalid_input", /give the file/);
    await model.close();
  });
});

describe("a server that fails", () => {
  const record = { record: { a: 1, b: 2 } };
  const cases: [what: string, answer: NonNullable<typeof respond>, code: string, message: RegExp][] = [
    ["a limit", (_, response) => json(response, { error: "slower", code: "rate_limited" }, 429), "rate_limited", /slower/],
    ["no such package", (_, response) => json(response, { error: "no such digest", code: "unknown_version" }, 404), "unknown_version", /no such digest/],
    ["a wrong input", (_, response) => json(response, { error: "column", code: "invalid_record" }, 400), "invalid_record", /column/],
    ["a proxy's page", (_, response) => response.writeHead(502, { "content-type": "text/html" }).end(HTML), "network", /status 502/],
    ["a proxy that is full", (_, response) => response.writeHead(503).end(), "overloaded", /status 503/],
    ["a page in the place of an answer", (_, response) => send(response, HTML, "text/html"), "network", /no JSON/],
    ["another answer", (_, response) => json(response, { hello: 1 }), "network", /no outputs/],
    ["another package", outputs({ doubled: 1 }, "sha256:00"), "digest_mismatch", /sha256:00/],
    ["a cut", (_, response) => void response.destroy(), "network", /could not be asked/],
    ["silence", () => undefined, "timeout", /within 200 ms/],
    ["half an answer", (_, response) => void response.writeHead(200, { "content-length": 100 }).write("{"), "timeout", /within 200 ms/],
  ];
  for (const [what, answer, code, message] of cases) {
    test(`${what} is ${code}, with what the device said`, async () => {
      respond = described(answer);
      const model = await broken("record", { timeoutMs: 200 });
      const error = await fails(model.predict(record), code as never, message);
      assert.match(error.message, /this device cannot do it: .*nowhere\.wasm/);
      assert(error.cause instanceof TwinferError && error.cause.code === "not_found");
      respond = described(outputs({ doubled: [[2, 4]] }));
      assert.deepEqual((await model.predict(record))["doubled"], [[2, 4]]);
      await model.close();
    });
  }

  test("cancelling ends the request", async () => {
    const controller = new AbortController();
    let gone = (): void => undefined;
    const closed = new Promise<void>((resolve) => (gone = resolve));
    respond = described((_, response) => {
      response.on("close", gone);
      controller.abort();
    });
    const model = await broken("record");
    await fails(model.predict(record, { signal: controller.signal }), "aborted");
    await closed;
    await fails(model.predict(record, { signal: controller.signal }), "aborted");
    assert.equal(seen.filter(({ path }) => path.endsWith("/predict")).length, 1);
    await model.close();
  });
});

test("over its budget the server answers, and where that fails the device does", async () => {
  respond = outputs({ doubled: [[2, 4]] });
  const model = await loadModel(`${site.origin}/registry/record`, { hybrid: hybrid({ latencyBudgetMs: 1e-9 }), thread: "main" });
  const one = async (): Promise<string> => {
    const { doubled, prediction } = await model.predict({ record: { a: 1, b: 2 } });
    assert.deepEqual([doubled, prediction.digest], [[[2, 4]], digest]);
    return `${prediction.where} ${prediction.why}`;
  };
  for (let count = 0; count < 8; count++) assert.equal(await one(), "page local_first");
  assert.equal(await one(), "server latency");
  assert.deepEqual(asked.map(({ reason }) => reason), ["latency"]);
  respond = (_, response) => json(response, { error: "full", code: "overloaded" }, 503);
  assert.equal(await one(), "page server_failed");
  await model.close();
});

test("over its budget without consent the device does it all, and is asked no second time", async () => {
  const consent = (request: ConsentRequest): boolean => asked.push(request) < 0;
  const model = await loadModel(`${site.origin}/registry/record`, { hybrid: hybrid({ consent, latencyBudgetMs: 1e-9 }), thread: "main" });
  const seenWhy = new Set<string | undefined>();
  for (let count = 0; count < 60; count++) seenWhy.add((await model.predict({ record: { a: 1, b: 2 } })).prediction.why);
  assert.deepEqual([seenWhy, asked.length, seen.length], [new Set(["local_first", "no_consent"]), 1, 0]);
  await model.close();
});

test("options that make no sense are refused before anything is loaded", async () => {
  const load = (hybrid: unknown) => loadModel(`${site.origin}/registry/record`, { hybrid: hybrid as HybridOptions });
  for (const wrong of [{ server: "http://x" }, { server: "ftp://x", consent: () => true }, { server: "http://x", consent: () => true, latencyBudgetMs: 0 }, { server: "http://x", consent: () => true, timeoutMs: NaN }]) {
    await fails(load(wrong), "invalid_request");
  }
});
