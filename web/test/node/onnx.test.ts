import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { loadOnnx } from "twinfer";
import type { ModelOutput, TensorOutput } from "twinfer";
import { fails } from "../support/expect.js";
import { withMemoryLimit } from "../support/memory.js";
import { doubling, onnx } from "../support/onnx.js";
import { DIST } from "../support/server.js";

const floats = (...data: number[]) => ({ shape: [data.length], data });

for (const thread of ["worker", "main"] as const) {
  describe(`a bare ONNX file on the ${thread} thread`, () => {
    test("runs, and says what it takes and gives", async () => {
      const model = await loadOnnx(doubling("FP32", ["N"]), { thread });
      assert.deepEqual(model.signature.inputs, [{ name: "x", dtype: "FP32", shape: ["N"] }]);
      assert.deepEqual(model.opsets, ["ai.onnx:17"]);
      const [one, two] = await Promise.all([model.run({ x: floats(1, 2) }), model.run({ x: floats(3) })]);
      assert.deepEqual(one["y"]?.data, Float32Array.of(2, 4));
      assert.deepEqual(two["y"], { dtype: "FP32", shape: [1], data: Float32Array.of(6) });
      await fails(model.run({ z: floats(1) }), "unknown_input");
      await model.close();
      await fails(model.run({ x: floats(1) }), "closed");
    });

    test("sequences are lists", async () => {
      const s = { name: "s", type: "FP32", shape: ["N"], kind: "sequence" } as const;
      const bytes = onnx({
        nodes: [
          { op: "Identity", inputs: ["s"], outputs: ["t"] },
          { op: "SequenceLength", inputs: ["s"], outputs: ["n"] },
        ],
        inputs: [s],
        outputs: [{ ...s, name: "t" }, { name: "n", type: "INT64", shape: [] }],
      });
      const model = await loadOnnx(bytes, { thread });
      assert.equal(model.signature.inputs[0]?.kind, "sequence");
      const given = [floats(1, 2), floats(), floats(3)];
      const { t, n } = await model.run<{ t: TensorOutput[]; n: TensorOutput }>({ s: given });
      assert.deepEqual(t.map(({ data }) => data), [Float32Array.of(1, 2), Float32Array.of(), Float32Array.of(3)]);
      assert.deepEqual(n.data, BigInt64Array.of(3n));
      assert.deepEqual((await model.run<Record<string, ModelOutput>>({ s: [] }))["t"], []);
      await fails(model.run({ s: floats(1) }), "invalid_input", /must be a list of tensors/);
      await fails(model.run({ s: [floats(1), null] }), "invalid_input", /`s\[1\]` must be a tensor/);
      await model.close();
    });

    test("an optional is its value or null", async () => {
      const o = { name: "o", type: "FP32", shape: ["N"], kind: "optional" } as const;
      const bytes = onnx({
        nodes: [
          { op: "Identity", inputs: ["o"], outputs: ["p"] },
          { op: "OptionalHasElement", inputs: ["o"], outputs: ["has"] },
        ],
        inputs: [o],
        outputs: [{ ...o, name: "p" }, { name: "has", type: "BOOL", shape: [] }],
      });
      const model = await loadOnnx(bytes, { thread });
      type Made = { p: TensorOutput | null; has: TensorOutput };
      const there = await model.run<Made>({ o: floats(5) });
      assert.deepEqual([there.p?.data, there.has.data], [Float32Array.of(5), Uint8Array.of(1)]);
      const absent = await model.run<Made>({ o: null });
      assert.deepEqual([absent.p, absent.has.data], [null, Uint8Array.of(0)]);
      await model.close();
    });

    test("what it is not able to do has a code", async () => {
      await fails(loadOnnx(new Uint8Array(), { thread }), "invalid_model", /empty/);
      await fails(loadOnnx(Uint8Array.of(1, 2, 3), { thread }), "invalid_model");
      const x = { name: "x", type: "FP32", shape: [1] } as const;
      const unknown = onnx({ nodes: [{ op: "Frobnicate", inputs: ["x"], outputs: ["y"] }], inputs: [x], outputs: [{ ...x, name: "y" }] });
      await fails(loadOnnx(unknown, { thread }), "unsupported_operator", /`Frobnicate` of ai\.onnx \(version 17\)/);
      await fails(loadOnnx(unknown, { thread, signal: AbortSignal.abort() }), "aborted");
      await fails(loadOnnx(1 as unknown as Uint8Array, { thread }), "invalid_input", /must be bytes/);
    });

    test("a file is loaded from its address", async () => {
      const folder = mkdtempSync(join(tmpdir(), "twinfer-onnx-"));
      try {
        const file = join(folder, "model.onnx");
        writeFileSync(file, doubling("FP32", ["N"]));
        for (const address of [pathToFileURL(file), pathToFileURL(file).href]) {
          const model = await loadOnnx(address, { thread });
          assert.deepEqual((await model.run({ x: floats(4) }))["y"]?.data, Float32Array.of(8));
          await model.close();
        }
        await fails(loadOnnx(pathToFileURL(join(folder, "none.onnx")), { thread }), "not_found", /the model file/);
        await fails(loadOnnx("http://", { thread }), "invalid_reference", /no address of a model file/);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });

    test("an engine that stops is replaced by the next call", async () => {
      const folder = mkdtempSync(join(tmpdir(), "twinfer-onnx-"));
      try {
        const file = join(folder, "small.wasm");
        writeFileSync(file, withMemoryLimit(readFileSync(join(DIST, "twinfer_web_bg.wasm")), 32 << 20));
        const model = await loadOnnx(doubling("FP32", ["N"]), { thread, engineUrl: pathToFileURL(file) });
        const count = 8 << 20;
        const large = model.run({ x: { shape: [count], data: new Float32Array(count) } });
        const next = model.run({ x: floats(1) });
        await fails(large, "out_of_memory");
        assert.deepEqual((await next)["y"]?.data, Float32Array.of(2));
        await model.close();
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  });
}
