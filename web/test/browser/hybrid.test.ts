import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, openPage } from "../support/browser.js";
import { Registry, PICTURE_PIPELINE } from "../support/fixture.js";
import { withMemoryLimit } from "../support/memory.js";
import { chain, doubling, onnx } from "../support/onnx.js";
import { pageFolder } from "../support/page-folder.js";
import { DIST } from "../support/server.js";
import { pack, serveModels } from "../support/twinfer.js";
import type { Server } from "../support/twinfer.js";

/** Models that are computed in a real page, and where that fails by a real `twinfer serve`. */

const SAMPLES = ["face-detector", "file-type", "tumour-risk", "sound-type", "text-language"] as const;
const MIB = 1 << 20;
const SIDE = 512;
const LIMIT = { timeout: 120_000 };

let browser: Browser;
let server: Server;
let folder: string;
let page: Page;
let complaints: string[];
/** What the page asked of the server's models. */
let sent: string[];

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "twinfer-hybrid-"));
  const registry = join(folder, "registry");
  const made = new Registry();
  made.add({ name: "small-picture", model: doubling("FP32", [1, 2, 2, 3]), pipeline: PICTURE_PIPELINE });
  made.add({ name: "chain", model: chain(12, SIDE) });
  const relu = [{ op: "Relu", inputs: ["x"], outputs: ["y"] }];
  made.add({ name: "rectifier", model: onnx({ nodes: relu, inputs: [{ name: "x", type: "FP32", shape: ["N", SIDE] }], outputs: [{ name: "y", type: "FP32", shape: ["N", SIDE] }] }) });
  made.write(registry);
  pack(SAMPLES, registry);
  const engine = readFileSync(join(DIST, "twinfer_web_bg.wasm"));
  const tight = { "tight.wasm": withMemoryLimit(engine, 6 * MIB) };
  server = await serveModels(registry, pageFolder(join(folder, "page"), tight));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.close();
  rmSync(folder, { recursive: true });
});

beforeEach(async () => {
  ({ page, complaints } = await openPage(browser, `${server.origin}/`));
  sent = [];
  page.on("request", (request) => {
    const { pathname } = new URL(request.url());
    if (pathname.startsWith("/v2/")) sent.push(pathname);
  });
});

afterEach(() => page.context().close());

describe("the server answers as the page does", () => {
  for (const name of SAMPLES) {
    test(`all golden examples of ${name}: over the budget, and without SIMD`, LIMIT, async () => {
      const seen = await page.evaluate(async (name) => {
        const { loadModel } = await window.twinfer;
        const address = `/registry/${name}`;
        const consent = (): boolean => true;
        const here = await loadModel(address);
        const over = await loadModel(address, { hybrid: { server: location.origin, consent, latencyBudgetMs: 1e-9 } });
        const validate = WebAssembly.validate;
        WebAssembly.validate = () => false;
        const old = await loadModel(address, { hybrid: { server: location.origin, consent } });
        WebAssembly.validate = validate;
        // Of some only the tensors are known, and `predict` has none to give.
        const examples = (await here.examples()).filter(({ outputs }) => outputs !== undefined);
        const [first] = examples;
        if (!first) throw new Error("there are no examples");
        for (let count = 0; count < 8; count++) await over.predict(first.inputs, { parameters: first.parameters });
        const answers = [];
        for (const { name, inputs, parameters } of examples) {
          const [one, two, three] = [await here.predict(inputs, { parameters }), await over.predict(inputs, { parameters }), await old.predict(inputs, { parameters })];
          answers.push({ name, same: [two, three].map(({ prediction }) => JSON.stringify(prediction.outputs) === JSON.stringify(one.prediction.outputs)), two: two.prediction, three: three.prediction });
        }
        const { engine, digest, version } = old;
        for (const model of [here, over, old]) await model.close();
        return { answers, engine, digest, version, local: here.digest };
      }, name);
      assert.equal(seen.digest, seen.local);
      assert.deepEqual(seen.engine, { kind: "none" });
      assert.ok(seen.answers.length > 0);
      // Later ones may be of the page again: where the server is the slower one, it is not asked for long.
      const [first] = seen.answers;
      assert.deepEqual([first?.two.where, first?.two.why], ["server", "latency"]);
      for (const { name, same, two, three } of seen.answers) {
        assert.deepEqual(same, [true, true], name);
        assert.deepEqual([three.where, three.why, three.digest, three.version], ["server", "unsupported_device", seen.local, seen.version]);
        assert.equal(three.mode, two.mode);
      }
      // Exactly this package was asked for, and nothing else.
      const paths = new Set(sent.map((path) => decodeURIComponent(path)));
      assert.deepEqual([...paths].filter((path) => !path.startsWith(`/v2/models/${name}/versions/${seen.local}`)), []);
      assert.deepEqual(complaints, []);
    });
  }

  test("pixels are sent without a loss, and tensors in binary form", LIMIT, async () => {
    const seen = await page.evaluate(async () => {
      const { loadModel, provenanceOf } = await window.twinfer;
      const hybrid = { server: location.origin, consent: () => true };
      const outputs: unknown[] = [];
      const data = new Uint8ClampedArray([255, 0, 0, 255, 1, 2, 3, 128, 0, 0, 255, 0, 10, 20, 30, 7]);
      const canvas = new OffscreenCanvas(2, 2);
      canvas.getContext("2d")?.putImageData(new ImageData(new Uint8ClampedArray(data.map((value, at) => (at % 4 === 3 ? 255 : value))), 2, 2), 0, 0);
      const pictures = [{ width: 2, height: 2, data }, new ImageData(data, 2, 2), canvas, await createImageBitmap(canvas)];
      const here = await loadModel("/registry/small-picture");
      const numbers = Float32Array.from({ length: 2 * 512 }, (_, at) => at / 7 - 50);
      const local = await loadModel("/registry/rectifier");
      const validate = WebAssembly.validate;
      WebAssembly.validate = () => false;
      const there = await loadModel("/registry/small-picture", { hybrid });
      const remote = await loadModel("/registry/rectifier", { hybrid });
      WebAssembly.validate = validate;
      for (const picture of pictures) outputs.push([(await here.predict({ picture }))["pixels"], (await there.predict({ picture }))["pixels"]]);
      const input = { x: { shape: [2, 512], data: numbers } };
      const [one, two] = [await local.run(input), await remote.run(input)];
      const same = JSON.stringify([...(one["y"]?.data as Float32Array)]) === JSON.stringify([...(two["y"]?.data as Float32Array)]);
      return { outputs, same, shape: two["y"]?.shape, provenance: [provenanceOf(one), provenanceOf(two)] };
    });
    for (const [here, there] of seen.outputs as [unknown, unknown][]) assert.deepEqual(there, here);
    assert.deepEqual([seen.same, seen.shape], [true, [2, 512]]);
    assert.deepEqual(seen.provenance.map((one) => [one?.where, one?.why]), [["page", undefined], ["server", "unsupported_device"]]);
  });

  test("samples are sent without a loss", LIMIT, async () => {
    const seen = await page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      const here = await loadModel("/registry/sound-type");
      const validate = WebAssembly.validate;
      WebAssembly.validate = () => false;
      const there = await loadModel("/registry/sound-type", { hybrid: { server: location.origin, consent: () => true } });
      WebAssembly.validate = validate;
      const channel = (step: number): Float32Array => Float32Array.from({ length: 20_000 }, (_, at) => ((at * step) % 97) / 97 - 0.4);
      const audio = { sampleRate: 44_100, channels: [channel(3), channel(5)] };
      const [one, two] = [await here.predict({ audio }), await there.predict({ audio })];
      return { one: one.prediction.outputs, two: two.prediction.outputs, where: two.prediction.where };
    });
    assert.equal(seen.where, "server");
    assert.ok(Object.keys(seen.one).length > 0);
    assert.deepEqual(seen.two, seen.one);
  });
});

describe("what a device lacks", () => {
  test("memory for the model: the server has it", LIMIT, async () => {
    const seen = await page.evaluate(async () => {
      const { loadModel, provenanceOf } = await window.twinfer;
      const input = { x: { shape: [1, 512], data: new Float32Array(512).fill(1) } };
      const here = await loadModel("/registry/chain");
      const asked: string[] = [];
      const hybrid = { server: location.origin, consent: ({ reason }: { reason: string }) => asked.push(reason) > 0 };
      const model = await loadModel("/registry/chain", { engineUrl: "/tight.wasm", hybrid });
      const alone = await loadModel("/registry/chain", { engineUrl: "/tight.wasm" }).catch((error: { code: string }) => error.code);
      const [one, two] = [await here.run(input), await model.run(input)];
      return { asked, alone, same: String(one["y"]?.data) === String(two["y"]?.data), provenance: provenanceOf(two), digest: here.digest };
    });
    assert.deepEqual([seen.asked, seen.alone, seen.same], [["out_of_memory"], "out_of_memory", true]);
    assert.deepEqual([seen.provenance?.where, seen.provenance?.why, seen.provenance?.digest], ["server", "out_of_memory", seen.digest]);
  });

  for (const thread of ["worker", "main"] as const) {
    test(`memory for one prediction: the server does that one, the device the next: ${thread}`, LIMIT, async () => {
      const seen = await page.evaluate(async (thread) => {
        const { loadModel, provenanceOf } = await window.twinfer;
        const asked: string[] = [];
        const hybrid = { server: location.origin, consent: ({ reason }: { reason: string }) => asked.push(reason) > 0 };
        const model = await loadModel("/registry/rectifier", { engineUrl: "/tight.wasm", thread, hybrid });
        const run = async (rows: number): Promise<unknown[]> => {
          const data = Float32Array.from({ length: rows * 512 }, (_, at) => (at % 3) - 1);
          const outputs = await model.run({ x: { shape: [rows, 512], data } }, { transfer: true });
          const right = (outputs["y"]?.data as Float32Array).every((value, at) => value === Math.max((at % 3) - 1, 0));
          return [provenanceOf(outputs)?.where, provenanceOf(outputs)?.why, right];
        };
        // 16 MiB do not fit; they do on the server.
        const answers = [await run(1), await run(8192), await run(1)];
        await model.close();
        return { answers, asked };
      }, thread);
      assert.deepEqual(seen, {
        answers: [["page", "local_first", true], ["server", "out_of_memory", true], ["page", "local_first", true]],
        asked: ["out_of_memory"],
      });
    });
  }

  test("the engine, and the network: each failure has its code", LIMIT, async () => {
    const load = () =>
      page.evaluate(async () => {
        const { loadModel } = await window.twinfer;
        const hybrid = { server: location.origin, consent: () => true };
        const model = await loadModel("/registry/tumour-risk", { engineUrl: "/nowhere.wasm", hybrid });
        const record = { "mean radius": 14.2 };
        const { prediction } = await model.predict({ record });
        const wrong = await model.predict({ record: { "mean radius": "wide" } }).catch((error: { code: string }) => error.code);
        Object.assign(window, { model });
        return [prediction.where, prediction.why, wrong];
      });
    assert.deepEqual(await load(), ["server", "engine_missing", "invalid_record"]);
    await page.context().setOffline(true);
    const offline = await page.evaluate(async () => {
      const { model } = window as unknown as { model: import("twinfer").Model };
      return model.predict({ record: { "mean radius": 1 } }).catch((error: { code: string; message: string }) => [error.code, error.message]);
    });
    assert.equal((offline as string[])[0], "network");
    assert.match((offline as string[])[1] ?? "", /could not be asked.*this device cannot do it/s);
    await page.context().setOffline(false);
  });

  test("without consent nothing is sent, and the error is the device's", LIMIT, async () => {
    const seen = await page.evaluate(async () => {
      const { loadModel } = await window.twinfer;
      let asked = 0;
      const hybrid = { server: location.origin, consent: () => ++asked < 0 };
      const code = (work: Promise<unknown>): Promise<string> => work.then(() => "done", (error: { code: string }) => error.code);
      const missing = await code(loadModel("/registry/chain", { engineUrl: "/tight.wasm", hybrid }));
      const model = await loadModel("/registry/rectifier", { engineUrl: "/tight.wasm", hybrid });
      const large = (): Promise<unknown> => model.run({ x: { shape: [8192, 512], data: new Float32Array(8192 * 512) } });
      const codes = [await code(large()), await code(large())];
      return { missing, codes, asked };
    });
    // Once for each model.
    assert.deepEqual(seen, { missing: "out_of_memory", codes: ["out_of_memory", "out_of_memory"], asked: 2 });
    assert.deepEqual(sent, []);
  });
});
