import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { loadModel } from "twinfer";
import type { ErrorCode, InputValue, Model, PredictOptions, TensorInput } from "twinfer";
import { fails } from "../support/expect.js";
import { RECORD_PIPELINE, Registry, pathOf, sampleRegistry } from "../support/fixture.js";
import { withMemoryLimit } from "../support/memory.js";
import { doubling, onnx } from "../support/onnx.js";
import { DIST, serve } from "../support/server.js";
import type { Site } from "../support/server.js";
import { HTML, send, serveRegistry } from "../support/site.js";

const registry = sampleRegistry();
const digest = registry.digests["record"] ?? "";
const model = registry.layer(digest, "model.onnx");
let site: Site;
/** How the server answers a path, where it does not give the file. */
const answers = new Map<string, (response: ServerResponse) => void>();

before(async () => {
  site = await serveRegistry(registry, (_, response, path) => {
    const answer = answers.get(path.replace("/registry/", ""));
    answer?.(response);
    return answer !== undefined;
  });
});

after(() => site.close());

describe("a registry that answers wrongly", () => {
  const bytes = (path: string): Uint8Array => registry.files.get(path) ?? new Uint8Array();
  const html = (response: ServerResponse): void => send(response, HTML, "text/html");
  const status = (code: number) => (response: ServerResponse) => void response.writeHead(code).end("no");
  const damaged = (response: ServerResponse): void => send(response, bytes(model).map((byte, at) => (at === 9 ? byte ^ 1 : byte)));
  const truncated = (response: ServerResponse): void => send(response, bytes(model).slice(0, -5));
  const longer = (response: ServerResponse): void => send(response, new Uint8Array([...bytes(model), 0]));
  const cut = (response: ServerResponse): void => {
    response.writeHead(200, { "content-length": 1000 });
    response.write("half");
    setTimeout(() => response.destroy(), 20);
  };
  const endless = (response: ServerResponse): void => {
    response.writeHead(200);
    const timer = setInterval(() => response.write(new Uint8Array(1 << 16)), 1);
    response.on("close", () => clearInterval(timer));
  };
  const cases: [string, string, (response: ServerResponse) => void, ErrorCode, RegExp][] = [
    ["no index", "index.json", status(404), "not_found", /index\.json answered with status 404/],
    ["an index behind a login", "index.json", status(401), "unauthorized", /401/],
    ["a server that fails", "index.json", status(500), "network", /500/],
    ["a page as index", "index.json", html, "invalid_manifest", /HTML page/],
    ["an index that is no JSON", "index.json", (r) => send(r, Uint8Array.of(1, 2)), "invalid_manifest", /index\.json/],
    ["an empty index", "index.json", (r) => send(r, new Uint8Array()), "invalid_manifest", /index\.json/],
    ["an index without end", "index.json", endless, "invalid_manifest", /more than/],
    ["no manifest", pathOf(digest), status(404), "missing_blob", /404/],
    ["a page as manifest", pathOf(digest), html, "size_mismatch", /HTML page/],
    ["no model", model, status(404), "missing_blob", /model\.onnx/],
    ["a page as model", model, html, "size_mismatch", /model\.onnx.*HTML page/],
    ["a damaged model", model, damaged, "digest_mismatch", /model\.onnx/],
    ["a truncated model", model, truncated, "size_mismatch", /model\.onnx/],
    ["a model that is too long", model, longer, "size_mismatch", /model\.onnx/],
    ["a model without end", model, endless, "size_mismatch", /model\.onnx/],
    ["a transfer that breaks off", model, cut, "network", /broke off/],
  ];
  for (const [what, path, answer, code, message] of cases) {
    for (const thread of ["worker", "main"] as const) {
      test(`${what}, ${thread}`, { timeout: 20_000 }, async () => {
        answers.set(path, answer);
        await fails(loadModel(`${site.origin}/registry/record:1.0.0`, { thread }), code, message);
        answers.clear();
      });
    }
  }

  test("after all of them it loads", async () => {
    await (await loadModel(`${site.origin}/registry/record:1.0.0`)).close();
  });

  test("a pinned manifest that is missing, a page, or another one", async () => {
    const pinned = `${site.origin}/registry/record@${digest}`;
    answers.set(pathOf(digest), status(404));
    await fails(loadModel(pinned), "unknown_version", /404/);
    answers.set(pathOf(digest), html);
    await fails(loadModel(pinned), "digest_mismatch", /HTML page/);
    answers.set(pathOf(digest), (response) => send(response, bytes(pathOf(registry.digests["bytes"] ?? ""))));
    await fails(loadModel(pinned), "digest_mismatch");
    answers.clear();
  });

  test("names, versions and addresses that do not exist", async () => {
    await fails(loadModel(`${site.origin}/registry/nothing`), "unknown_model", /it has audio, bytes, integers/);
    await fails(loadModel(`${site.origin}/registry/record:9.9.9`), "unknown_version", /1\.0\.0/);
    await fails(loadModel(`${site.origin}/registry/Record`), "invalid_reference");
    await fails(loadModel(`${site.origin}/registry/record@sha256:00`), "invalid_digest");
    await fails(loadModel("http://127.0.0.1:9/registry/record"), "network", /could not be fetched/);
    await fails(loadModel("ftp://host/registry/record"), "invalid_reference", /ftp:/);
    await fails(loadModel("/no/such/folder/record"), "not_found");
  });
});

describe("packages that are wrong", () => {
  const wrong = new Registry();
  const good = { model: doubling("FP32", [1, 2]), pipeline: RECORD_PIPELINE };
  const cases: [string, ErrorCode, RegExp][] = [];
  const add = (name: string, code: ErrorCode, message: RegExp, parts: Partial<Parameters<Registry["add"]>[0]>): void => {
    wrong.add({ ...good, name, ...parts });
    cases.push([name, code, message]);
  };
  const random = Uint8Array.from({ length: 5000 }, (_, at) => (at * 7919) % 251);
  const conv = onnx({
    nodes: [{ op: "NoSuchOperator", inputs: ["x"], outputs: ["y"] }],
    inputs: [{ name: "x", type: "FP32", shape: [1, 2] }],
    outputs: [{ name: "y", type: "FP32", shape: [1, 2] }],
  });
  add("empty-model", "invalid_model", /./, { model: new Uint8Array() });
  add("truncated-model", "invalid_model", /./, { model: good.model.slice(0, -20) });
  add("foreign-model", "invalid_model", /./, { model: random });
  add("page-model", "invalid_model", /./, { model: HTML });
  add("unknown-operator", "unsupported_operator", /NoSuchOperator/, { model: conv });
  add("newer-format", "unsupported_format_version", /update Twinfer/, { config: { format_version: 2 } });
  add("unknown-field", "unknown_field", /surprise/, { config: { surprise: 1 } });
  add("unknown-manifest-field", "unknown_field", /surprise/, { manifest: { surprise: 1 } });
  add("newer-manifest", "unsupported_format_version", /schemaVersion/, { manifest: { schemaVersion: 3 } });
  add("other-artifact", "invalid_manifest", /artifactType/, { manifest: { artifactType: "application/json" } });
  add("no-layers", "invalid_package", /model\.onnx/, { manifest: { layers: [] } });
  add("other-name", "invalid_package", /`somebody`/, { config: { name: "somebody" } });
  add("wrong-tensor", "invalid_package", /nothing/, {
    pipeline: { ...RECORD_PIPELINE, input: { ...RECORD_PIPELINE.input, tensor: "nothing" } },
  });
  for (const [name, code, message] of cases) {
    test(name, async (t) => {
      const place = await serveRegistry(wrong);
      t.after(() => place.close());
      await fails(loadModel(`${place.origin}/registry/${name}:1.0.0`), code, message);
    });
  }
});

describe("an engine that is not there", () => {
  const engines = new Map<string, (response: ServerResponse) => void>();
  let engineSite: Site;
  before(async () => {
    engineSite = await serve({ twinfer: DIST }, (_, response, path) => {
      engines.get(path)?.(response);
      return engines.has(path);
    });
    const wasm = readFileSync(join(DIST, "twinfer_web_bg.wasm"));
    engines.set("/page.wasm", (response) => send(response, HTML, "text/html"));
    engines.set("/page-as-wasm.wasm", (response) => send(response, HTML, "application/wasm"));
    engines.set("/truncated.wasm", (response) => send(response, wasm.subarray(0, 100_000), "application/wasm"));
    engines.set("/untyped.wasm", (response) => send(response, wasm, "text/plain"));
  });
  after(() => engineSite.close());

  for (const [name, code, message] of [
    ["missing.wasm", "not_found", /404/],
    ["page.wasm", "network", /an HTML page, not WebAssembly/],
    ["page-as-wasm.wasm", "network", /could not be read and compiled/],
    ["truncated.wasm", "network", /could not be read and compiled/],
  ] as const) {
    test(name, async () => {
      await fails(loadModel(`${site.origin}/registry/record`, { engineUrl: `${engineSite.origin}/${name}` }), code, message);
    });
  }

  test("a wrong content type alone does no harm", async () => {
    const loaded = await loadModel(`${site.origin}/registry/record`, { engineUrl: `${engineSite.origin}/untyped.wasm` });
    await loaded.close();
  });
});

describe("inputs that are wrong", () => {
  const predictions: [string, string, Record<string, InputValue>, PredictOptions, ErrorCode, RegExp][] = [
    ["a missing column", "record", { record: { b: 1 } }, {}, "invalid_record", /`a`/],
    ["NaN where a number must be", "record", { record: { a: NaN } }, {}, "invalid_record", /`a`/],
    ["infinity", "record", { record: { a: Infinity } }, {}, "invalid_record", /Infinity/],
    ["text for a number", "record", { record: { a: "1" } }, {}, "invalid_record", /`a`/],
    ["an unknown column", "record", { record: { a: 1, c: 1 } }, {}, "invalid_record", /`c`/],
    ["an unknown parameter", "record", { record: { a: 1 } }, { parameters: { speed: 1 } }, "unknown_parameter", /speed/],
    ["a wrong parameter", "record", { record: { a: 1 } }, { parameters: { mode: "never" } }, "invalid_parameter", /quick/],
    ["parameters that are a list", "record", { record: { a: 1 } }, { parameters: [1] as never }, "invalid_parameter", /object/],
    ["parameters that cannot be sent", "record", { record: { a: 1 } }, { parameters: { mode: 1n } as never }, "invalid_parameter", /plain/],
    ["no input", "record", {}, {}, "missing_input", /`record`/],
    ["an unknown input", "record", { picture: { a: 1 } }, {}, "unknown_input", /`picture`/],
    ["bytes that are no picture", "picture", { picture: HTML }, {}, "invalid_picture", /PNG/],
    ["no bytes", "picture", { picture: new Uint8Array() }, {}, "invalid_picture", /./],
    ["text as picture", "picture", { picture: "photo.jpg" as never }, {}, "invalid_input", /a string/],
    ["0 x 0 pixels", "picture", { picture: { width: 0, height: 0, data: new Uint8Array() } }, {}, "invalid_picture", /./],
    ["too few pixels", "picture", { picture: { width: 2, height: 2, data: new Uint8Array(15) } }, {}, "invalid_picture", /./],
    ["30,000 x 30,000 pixels", "picture", { picture: pngOfSize(30_000, 30_000) }, {}, "picture_too_large", /30000/],
    ["bytes that are no sound", "audio", { audio: HTML }, {}, "invalid_audio", /WAV/],
    ["no samples", "audio", { audio: { sampleRate: 8000, channels: [] } }, {}, "invalid_audio", /./],
    ["channels of two lengths", "audio", { audio: { sampleRate: 8000, channels: [new Float32Array(2), new Float32Array(3)] } }, {}, "invalid_audio", /same length/],
    ["a sample that is no number", "audio", { audio: { sampleRate: 8000, channels: [Float32Array.of(0, NaN)] } }, {}, "invalid_audio", /sample 1 /],
    ["half a sample a second", "audio", { audio: { sampleRate: 0.5, channels: [new Float32Array(2)] } }, {}, "invalid_audio", /whole number/],
    ["an hour of 1 Hz", "audio", { audio: { sampleRate: 1, channels: [new Float32Array(5001)] } }, {}, "audio_too_large", /40000000/],
    ["text as a sound", "audio", { audio: "a.wav" as never }, {}, "invalid_input", /a string/],
    ["bytes as a text", "text", { text: HTML }, {}, "invalid_input", /TextDecoder/],
    ["no text at all", "text", { text: [] }, {}, "invalid_text", /./],
    ["a text that is too long", "text", { text: "a".repeat(21) }, {}, "body_too_large", /21 characters/],
    ["text as bytes", "bytes", { content: "abc" as never }, {}, "invalid_input", /TextEncoder/],
    ["a tensor of another shape", "record", { x: { shape: [2, 2], data: [1, 2, 3, 4] } }, {}, "wrong_shape", /\[1, 2\]/],
  ];
  const runs: [string, Record<string, TensorInput>, ErrorCode, RegExp][] = [
    ["no tensor", {}, "missing_input", /`x`/],
    ["another name", { z: { shape: [1, 2], data: [1, 2] } }, "unknown_input", /`z`/],
    ["another data type", { x: { dtype: "FP64", shape: [1, 2], data: [1, 2] } }, "wrong_dtype", /FP32, got FP64/],
    ["an unknown data type", { x: { dtype: "FP31" as never, shape: [1, 2], data: Float32Array.of(1, 2) } }, "wrong_dtype", /./],
    ["another rank", { x: { shape: [2], data: [1, 2] } }, "wrong_shape", /2 axes/],
    ["another axis", { x: { shape: [1, 3], data: [1, 2, 3] } }, "wrong_shape", /axis 1 must be 2/],
    ["too few elements", { x: { shape: [2, 2], data: [1, 2, 3] } }, "wrong_shape", /needs 16 bytes/],
    ["more than there is memory", { x: { shape: [2 ** 32 - 1, 2 ** 32 - 1], data: [1] } }, "wrong_shape", /./],
  ];
  for (const thread of ["worker", "main"] as const) {
    test(`each gets its code, and the instance goes on serving: ${thread}`, async () => {
      const open = new Map<string, Model>();
      const get = async (name: string): Promise<Model> => {
        const found = open.get(name) ?? (await loadModel(`${site.origin}/registry/${name}`, { thread }));
        open.set(name, found);
        return found;
      };
      for (const [what, name, inputs, options, code, message] of predictions) {
        const error = await fails((await get(name)).predict(inputs, options), code, message);
        assert(error.message.length < 600, what);
      }
      for (const [, tensors, code, message] of runs) await fails((await get("vectors")).run(tensors), code, message);
      const { doubled } = await (await get("record")).predict({ record: { a: 2, b: 2 } });
      assert.deepEqual(doubled, [[4, 4]]);
      const { y } = await (await get("vectors")).run({ x: { shape: [1, 2], data: [1, 2] } });
      assert.deepEqual(y?.data, Float32Array.of(2, 4));
      for (const one of open.values()) await one.close();
    });
  }
});

describe("an engine that stops", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "twinfer-small-"));
    const wasm = readFileSync(join(DIST, "twinfer_web_bg.wasm"));
    writeFileSync(join(folder, "small.wasm"), withMemoryLimit(wasm, 32 << 20));
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const thread of ["worker", "main"] as const) {
    test(`is replaced by the next call: ${thread}`, async () => {
      const engineUrl = pathToFileURL(join(folder, "small.wasm"));
      const small = await loadModel(`${site.origin}/registry/vectors:1.0.0`, { engineUrl, thread });
      site.log.length = 0;
      const rows = 4 << 20;
      const large = small.run({ x: { shape: [rows, 2], data: new Float32Array(2 * rows) } });
      // Queued behind it: served by the new engine.
      const next = small.run({ x: { shape: [1, 2], data: [1, 2] } });
      await fails(large, "out_of_memory", /memory/);
      assert.deepEqual((await next)["y"]?.data, Float32Array.of(2, 4));
      // The same package, by its digest: loaded once more, and only once.
      const manifest = `/registry/${pathOf(small.digest)}`;
      assert.deepEqual(site.log.filter((path) => path === manifest || path.endsWith("index.json")), [manifest]);
      const again = await small.run({ x: { shape: [2, 2], data: [1, 2, 3, 4] } });
      assert.deepEqual(again["y"]?.data, Float32Array.of(2, 4, 6, 8));
      await small.close();
    });
  }

  test("one that cannot even load says so", async () => {
    const tiny = join(folder, "tiny.wasm");
    writeFileSync(tiny, withMemoryLimit(readFileSync(join(DIST, "twinfer_web_bg.wasm")), 0));
    const error = await loadModel(`${site.origin}/registry/vectors`, { engineUrl: pathToFileURL(tiny) }).then(() => undefined, (e: { code: string }) => e);
    assert.equal(error?.code, "out_of_memory");
  });
});

/** The head of a PNG of this size, without any pixels: 30,000 x 30,000 would be 3.6 GB. */
function pngOfSize(width: number, height: number): Uint8Array {
  const ihdr = Buffer.alloc(25);
  ihdr.writeUInt32BE(13, 0);
  ihdr.write("IHDR", 4);
  ihdr.writeUInt32BE(width, 8);
  ihdr.writeUInt32BE(height, 12);
  ihdr.set([8, 6, 0, 0, 0], 16);
  ihdr.writeUInt32BE(crc32(ihdr.subarray(4, 21)), 21);
  return Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), ihdr]);
}

function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}
