import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { loadModel } from "twinfer";
import { Registry } from "../support/fixture.js";
import { withMemoryLimit } from "../support/memory.js";
import { chain, onnx } from "../support/onnx.js";
import { DIST } from "../support/server.js";
import type { Site } from "../support/server.js";
import { serveRegistry } from "../support/site.js";

const MIB = 1 << 20;
const SIDE = 512;

/** Packages of 1 and 10 MiB of weights. The one of 100 MiB is measured natively: same code, same counts. */
const registry = new Registry();
const sizes = [1, 10].map((layers) => {
  const model = chain(layers, SIDE);
  registry.add({ name: `chain-${layers}`, model });
  return { name: `chain-${layers}`, file: model.length };
});
const relu = [{ op: "Relu", inputs: ["x"], outputs: ["y"] }];
registry.add({
  name: "rectifier",
  model: onnx({ nodes: relu, inputs: [{ name: "x", type: "FP32", shape: ["N", SIDE] }], outputs: [{ name: "y", type: "FP32", shape: ["N", SIDE] }] }),
});
let site: Site;
let folder: string;

before(async () => {
  site = await serveRegistry(registry);
  folder = mkdtempSync(join(tmpdir(), "twinfer-memory-"));
});

after(async () => {
  await site.close();
  rmSync(folder, { recursive: true });
});

/** An engine whose memory, which never shrinks, grows by so many bytes at most. */
function engine(growth: number): URL {
  const path = join(folder, `${growth}.wasm`);
  writeFileSync(path, withMemoryLimit(readFileSync(join(DIST, "twinfer_web_bg.wasm")), growth));
  return pathToFileURL(path);
}

describe("loading", () => {
  for (const { name, file } of sizes) {
    test(`${name} takes two and a half times its size and 4 MiB at most`, async () => {
      const engineUrl = engine(2.5 * file + 4 * MIB);
      const model = await loadModel(`${site.origin}/registry/${name}`, { engineUrl, thread: "main" });
      const { y } = await model.run({ x: { shape: [1, SIDE], data: new Float32Array(SIDE).fill(1) } });
      assert.equal(y?.data.length, SIDE);
      await model.close();
    });
  }
});

test("an input is in the engine once, and so is an output", async () => {
  const rows = (24 * MIB) / 4 / SIDE;
  // It is computed in place; a second copy of either would not fit.
  const engineUrl = engine(24 * MIB + 8 * MIB);
  const model = await loadModel(`${site.origin}/registry/rectifier`, { engineUrl, thread: "main" });
  const data = Float32Array.from({ length: rows * SIDE }, (_, at) => at % 3);
  const { y } = await model.run({ x: { shape: [rows, SIDE], data } });
  assert.deepEqual(y?.data.slice(-3), data.slice(-3));
  await model.close();
});
