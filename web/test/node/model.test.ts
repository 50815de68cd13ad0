import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { cache, loadModel } from "twinfer";
import type { AudioSamples, Progress } from "twinfer";
import { fails } from "../support/expect.js";
import { pathOf, sampleRegistry, wav } from "../support/fixture.js";
import type { Site } from "../support/server.js";
import { serveRegistry } from "../support/site.js";

const registry = sampleRegistry();
let site: Site;
let folder: string;

before(async () => {
  site = await serveRegistry(registry);
  folder = mkdtempSync(join(tmpdir(), "twinfer-test-"));
  registry.write(folder);
});

after(async () => {
  await site.close();
  rmSync(folder, { recursive: true });
});

for (const thread of ["worker", "main"] as const) {
  describe(`on the ${thread} thread`, () => {
    const load = (name: string) => loadModel(`${site.origin}/registry/${name}`, { thread });

    test("a record goes in, an answer comes out", async () => {
      const model = await load("record:1.0.0");
      const { doubled, prediction } = await model.predict<{ doubled: (number | string)[][] }>({ record: { a: 1, b: 0.1 } });
      // 0.1 in single precision, widened exactly: what the server sends.
      assert.deepEqual(doubled, [[2, 0.20000000298023224]]);
      assert.deepEqual(prediction.outputs, { doubled });
      assert.equal(prediction.digest, registry.digests["record"]);
      assert.equal(prediction.mode, "strict");
      assert(prediction.timing.engine >= 0 && prediction.timing.total >= prediction.timing.engine);
      assert.deepEqual(await model.predict({ record: { a: 1 } }).then((p) => p["doubled"]), [[2, "NaN"]]);
      await model.close();
    });

    test("the model says what it is", async () => {
      const model = await load("record");
      assert.deepEqual([model.name, model.version, model.digest], ["record", "1.0.0", registry.digests["record"]]);
      assert.deepEqual(model.signature.inputs, [{ name: "x", dtype: "FP32", shape: [1, 2] }]);
      assert.equal(model.config.pipeline?.input.kind, "record");
      assert.deepEqual(
        model.layers.map((layer) => layer.annotations?.["org.opencontainers.image.title"]),
        ["twinfer.json", "model.onnx", "golden.json"],
      );
      await model.close();
    });

    test("bytes and pixels go through their pipelines", async () => {
      const bytes = await load("bytes");
      const content = new TextEncoder().encode("abcdefgh");
      for (const source of [content, content.buffer, new Blob([content]), new DataView(content.buffer)]) {
        assert.deepEqual((await bytes.predict({ content: source }))["tokens"], [[194, 196, 198, 208]]);
      }
      await bytes.close();
      const picture = await load("picture");
      const data = Uint8ClampedArray.from({ length: 16 }, (_, at) => at);
      const { pixels } = await picture.predict<{ pixels: number[][][][] }>({ picture: { width: 2, height: 2, data } });
      assert.deepEqual(pixels, [[[[0, 2, 4], [8, 10, 12]], [[16, 18, 20], [24, 26, 28]]]]);
      const made = await picture.preprocess({ picture: { width: 2, height: 2, data } });
      assert.deepEqual(made["x"]?.data, Float32Array.of(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14));
      await picture.close();
    });

    test("sounds and texts go through their pipelines", async () => {
      const audio = await load("audio");
      const samples = [0.5, -0.25, 0.125];
      const file = wav(samples, 2);
      const channels = [Float32Array.of(1, 0, 0), Float32Array.of(0, -0.5, 0.25)];
      const buffer = { sampleRate: 8000, numberOfChannels: 2, getChannelData: (at: number) => channels[at] };
      const sources = [file, file.buffer, new Blob([file]), new DataView(file.buffer), { sampleRate: 8000, channels }, buffer as unknown as AudioSamples];
      for (const source of sources) {
        assert.deepEqual((await audio.predict({ audio: source }))["samples"], [samples.map((sample) => 2 * sample)]);
      }
      // The caller's own stay usable, and another rate is resampled.
      assert.equal(channels[0]?.length, 3);
      const made = await audio.preprocess({ audio: { sampleRate: 16000, channels: [new Float32Array(100)] } });
      assert.deepEqual(made["x"]?.shape, [1, 50]);
      await audio.close();
      const text = await load("text");
      for (const [given, texts] of [["größer 😀", ["größer 😀"]], [["a", ""], ["a", ""]]] as const) {
        assert.deepEqual((await text.predict({ text: given }))["texts"], texts);
      }
      await text.close();
    });

    test("tensors go in and come out, with any length of a free axis", async () => {
      const model = await load("vectors");
      for (const rows of [1, 3, 0]) {
        const data = Float32Array.from({ length: 2 * rows }, (_, at) => at / 2);
        const { y } = await model.run({ x: { shape: [rows, 2], data } });
        assert.deepEqual(y, { dtype: "FP32", shape: [rows, 2], data: data.map((v) => 2 * v) });
      }
      // A model without a pipeline answers a prediction with every output.
      assert.deepEqual((await model.predict({ x: { shape: [1, 2], data: [1, NaN] } }))["y"], [[2, "NaN"]]);
      await model.close();
    });

    test("64-bit integers stay exact", async () => {
      const model = await load("integers");
      const { y } = await model.run({ x: { shape: [2], data: [2n ** 61n + 1n, -3] } });
      assert.deepEqual(y?.data, BigInt64Array.of(2n ** 62n + 2n, -6n));
      await model.close();
    });

    test("the examples are ready to predict, and the self-test runs them", async () => {
      const model = await load("record");
      const examples = await model.examples();
      assert.deepEqual(examples.map((example) => example.name), ["small", "missing"]);
      for (const { inputs, parameters, outputs } of examples) {
        assert.deepEqual((await model.predict(inputs, { parameters })).prediction.outputs, outputs);
      }
      const seen: number[][] = [];
      const report = await model.selfTest({ onProgress: (...done) => seen.push(done) });
      assert.deepEqual([report.passed, report.failed, report.digest], [2, 0, model.digest]);
      assert.deepEqual(seen, [[1, 2], [2, 2]]);
      await model.close();
      const without = await load("vectors");
      assert.deepEqual(await without.examples(), []);
      assert.equal((await without.selfTest()).cases.length, 0);
      await without.close();
    });

    test("a closed model says so, also to the calls that wait", async () => {
      const model = await load("record");
      const waiting = [1, 2, 3].map((a) => model.predict({ record: { a } }));
      const outcomes = Promise.allSettled(waiting);
      // Inputs are packed before calls are queued: let that happen.
      await new Promise((resolve) => setImmediate(resolve));
      await model.close();
      for (const outcome of await outcomes) {
        if (outcome.status === "rejected") assert.equal((outcome.reason as { code: string }).code, "closed");
      }
      await fails(model.predict({ record: { a: 1 } }), "closed", /record/);
      await fails(model.run({}), "closed");
      await fails(model.selfTest(), "closed");
      await model.close();
    });

    test("a cancelled call rejects at once, and the next ones are served", async () => {
      const model = await load("record");
      const controller = new AbortController();
      const first = model.predict({ record: { a: 1 } });
      const second = model.predict({ record: { a: 2 } }, { signal: controller.signal });
      controller.abort();
      await fails(second, "aborted");
      await first;
      await fails(model.predict({ record: { a: 2 } }, { signal: AbortSignal.abort() }), "aborted");
      await fails(model.selfTest({ signal: AbortSignal.abort() }), "aborted");
      assert.deepEqual((await model.predict({ record: { a: 3, b: 0 } }))["doubled"], [[6, 0]]);
      await model.close();
    });
  });
}

test("a folder is a registry, in Node", async () => {
  for (const address of [`${pathToFileURL(folder).href}/record:1.0.0`, `${folder}/record`]) {
    const model = await loadModel(address);
    assert.equal(model.digest, registry.digests["record"]);
    await model.close();
  }
});

test("the caller's buffers stay, unless they are handed over", async () => {
  const model = await loadModel(`${folder}/vectors`);
  const data = Float32Array.of(1, 2);
  await model.run({ x: { shape: [1, 2], data } });
  assert.equal(data.length, 2);
  const { y } = await model.run({ x: { shape: [1, 2], data } }, { transfer: true });
  assert.deepEqual(y?.data, Float32Array.of(2, 4));
  assert.equal(data.length, 0);
  await model.close();
});

test("progress is told from the first step to the last", async () => {
  const seen: Progress[] = [];
  const model = await loadModel(`${folder}/record:1.0.0`, { onProgress: (progress) => seen.push(progress) });
  const steps = seen.map(({ status }) => status).filter((status, at, all) => status !== all[at - 1]);
  assert.deepEqual([steps[0], steps[1], steps.at(-2), steps.at(-1)], ["resolve", "engine", "load", "ready"]);
  const downloads = seen.filter((progress) => progress.status === "download");
  const last = downloads.at(-1);
  assert(last && last.loaded === last.total && last.total > 0, JSON.stringify(last));
  for (const name of ["model.onnx", "twinfer.json"]) assert(downloads.some(({ layer }) => layer === name), name);
  await model.close();
});

test("a pinned reference asks for no index", async () => {
  site.log.length = 0;
  const digest = registry.digests["record"] ?? "";
  const model = await loadModel(`${site.origin}/registry/record@${digest}`);
  assert.equal(model.digest, digest);
  assert(!site.log.includes("/registry/index.json"));
  assert(site.log.includes(`/registry/${pathOf(digest)}`));
  await model.close();
  await fails(loadModel(`${site.origin}/registry/other@${digest}`), "invalid_package", /`record`, not `other`/);
});

test("what a prediction does not need is not fetched", async () => {
  site.log.length = 0;
  const model = await loadModel(`${site.origin}/registry/record:1.0.0`);
  const layer = (name: string): string => `/registry/${registry.layer(registry.digests["record"] ?? "", name)}`;
  assert(site.log.includes(layer("model.onnx")));
  assert(!site.log.includes(layer("golden.json")));
  assert.equal((await model.examples()).length, 2);
  assert.equal((await model.selfTest()).passed, 2);
  assert.equal(site.log.filter((path) => path === layer("golden.json")).length, 1);
  await model.close();
});

test("of two loads at the same time, cancelling one leaves the other alone", async (t) => {
  const path = registry.layer(registry.digests["picture"] ?? "", "model.onnx");
  let release = (): void => undefined;
  let held = Promise.resolve();
  let asked = 0;
  const slow = await serveRegistry(registry, async (_, response, at) => {
    if (at !== `/registry/${path}`) return false;
    asked++;
    await held;
    response.end(registry.files.get(path));
    return true;
  });
  t.after(() => slow.close());
  for (const thread of ["worker", "main"] as const) {
    asked = 0;
    held = new Promise<void>((resolve) => (release = resolve));
    const controller = new AbortController();
    const kept = loadModel(`${slow.origin}/registry/picture:1.0.0`, { thread });
    const cancelled = loadModel(`${slow.origin}/registry/picture:1.0.0`, { thread, signal: controller.signal });
    while (asked < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    controller.abort(new Error("not any more"));
    const error = await fails(cancelled, "aborted");
    assert.equal((error.cause as Error).message, "not any more");
    release();
    await (await kept).close();
  }
});

test("how the reference was looked up is said, and nothing is kept in Node", async () => {
  const digest = registry.digests["record"] ?? "";
  for (const [reference, source] of [["record", "registry"], [`record@${digest}`, "digest"]] as const) {
    const model = await loadModel(`${site.origin}/registry/${reference}`);
    assert.equal(model.source, source);
    await model.close();
  }
  await fails(loadModel(`${site.origin}/registry/record`, { policy: "offline" }), "network", /must not be asked/);
  await fails(loadModel(`${site.origin}/registry/record`, { mustKeep: true }), "storage", /mustKeep/);
  const { packages, blobs } = await cache.ls();
  assert.deepEqual([packages, blobs], [[], 0]);
  assert.deepEqual(await cache.clear(), { packages: [], blobs: 0, bytes: 0 });
  assert.equal((await cache.estimate()).persisted, false);
});

test("a mirror is asked where the first registry fails", async () => {
  const steps: string[] = [];
  const onProgress = ({ status }: Progress): void => void steps.push(status);
  const model = await loadModel("http://127.0.0.1:9/registry/record", { mirrors: [`${site.origin}/registry`], onProgress });
  assert.equal(model.digest, registry.digests["record"]);
  assert(steps.includes("retry"));
  await model.close();
});

test("options that make no sense are refused", async () => {
  await fails(loadModel(`${folder}/record`, { thread: "gpu" as never }), "invalid_request", /gpu/);
  await fails(loadModel(`${folder}/record`, { engineUrl: "http://" }), "invalid_request", /engineUrl/);
  await fails(loadModel(`${folder}/record`, { policy: "never" as never }), "invalid_request", /policy.*never/);
  await fails(loadModel(`${folder}/record`, { cache: "disk" as never }), "invalid_request", /cache.*disk/);
  await fails(loadModel(`${folder}/record`, { quota: -1 }), "invalid_request", /quota/);
  await fails(loadModel(`${folder}/record`, { mirrors: ["http://"] }), "invalid_request", /mirrors/);
  await fails(loadModel(`${folder}/record`, { signal: AbortSignal.abort() }), "aborted");
});
