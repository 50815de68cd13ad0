/** Every type of ONNX through `y = x`: what goes in comes out, from a bare file and from a package. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { loadModel, loadOnnx } from "twinfer";
import type { DType, MapOutput, ModelInput, ModelOutput, TensorInput, TensorOutput } from "twinfer";
import { fails } from "../support/expect.js";
import { Registry } from "../support/fixture.js";
import { dictVectorizer, identity } from "../support/onnx.js";
import type { TensorType } from "../support/onnx.js";
import type { Site } from "../support/server.js";
import { serveRegistry } from "../support/site.js";

interface Row {
  dtype: DType;
  /** As many as the axis is long, unless there are several to a byte. */
  data: TensorInput["data"];
  length?: number;
  /** The same as a list, where the type takes one. */
  plain?: readonly (number | bigint | boolean)[];
}

const TABLE: readonly Row[] = [
  { dtype: "BOOL", data: Uint8Array.of(1, 0), plain: [true, 0] },
  { dtype: "UINT8", data: Uint8Array.of(0, 255), plain: [0, 255] },
  { dtype: "UINT16", data: Uint16Array.of(0, 65535), plain: [0, 65535] },
  { dtype: "UINT32", data: Uint32Array.of(0, 2 ** 32 - 1), plain: [0, 2 ** 32 - 1] },
  { dtype: "UINT64", data: BigUint64Array.of(0n, 2n ** 64n - 1n), plain: [0, 2n ** 64n - 1n] },
  { dtype: "INT8", data: Int8Array.of(-128, 127), plain: [-128, 127] },
  { dtype: "INT16", data: Int16Array.of(-32768, 32767), plain: [-32768, 32767] },
  { dtype: "INT32", data: Int32Array.of(-(2 ** 31), 2 ** 31 - 1), plain: [-(2 ** 31), 2 ** 31 - 1] },
  { dtype: "INT64", data: BigInt64Array.of(-(2n ** 63n), 9007199254740991n), plain: [-(2n ** 63n), 2 ** 53 - 1] },
  { dtype: "FP32", data: Float32Array.of(Math.fround(0.1), -Infinity), plain: [0.1, -Infinity] },
  { dtype: "FP64", data: Float64Array.of(0.1, NaN), plain: [0.1, NaN] },
  { dtype: "BYTES", data: ["é", ""] },
  // 1 and -0.5, as bits.
  { dtype: "FP16", data: Uint16Array.of(0x3c00, 0xb800) },
  { dtype: "BF16", data: Uint16Array.of(0x3f80, 0xbf00) },
  { dtype: "FP8E4M3FN", data: Uint8Array.of(0x38, 0xb0) },
  { dtype: "FP8E4M3FNUZ", data: Uint8Array.of(0x40, 0xb8) },
  { dtype: "FP8E5M2", data: Uint8Array.of(0x3c, 0xb8) },
  { dtype: "FP8E5M2FNUZ", data: Uint8Array.of(0x40, 0xbc) },
  { dtype: "FP8E8M0", data: Uint8Array.of(0x7f, 0x7e) },
  { dtype: "UINT4", data: Uint8Array.of(0xf1, 0x02), length: 3 },
  { dtype: "INT4", data: Uint8Array.of(0x81, 0x07), length: 3 },
  { dtype: "FP4E2M1", data: Uint8Array.of(0x92, 0x07), length: 3 },
  { dtype: "UINT2", data: Uint8Array.of(0b11_10_01_00, 0b01), length: 5 },
  { dtype: "INT2", data: Uint8Array.of(0b11_10_01_00, 0b10), length: 5 },
  { dtype: "COMPLEX64", data: Float32Array.of(1, -0.5), length: 1, plain: [1, -0.5] },
  { dtype: "COMPLEX128", data: Float64Array.of(1, -0.5), length: 1, plain: [1, -0.5] },
];

const typeOf = (dtype: DType): TensorType["type"] => (dtype === "BYTES" ? "STRING" : dtype);

interface Runs {
  run<Outputs extends Record<string, ModelOutput> = Record<string, TensorOutput>>(inputs: Record<string, ModelInput>): Promise<Outputs>;
  close(): Promise<void>;
}

const registry = new Registry();
let site: Site;

before(async () => {
  for (const { dtype } of TABLE) registry.add({ name: dtype.toLowerCase(), model: identity({ type: typeOf(dtype), shape: ["N"] }) });
  registry.add({ name: "words", model: dictVectorizer(["a", "b", "c"]) });
  site = await serveRegistry(registry);
});

after(() => site.close());

const places: [string, (row: Row) => Promise<Runs>][] = [
  ["a bare file", ({ dtype }) => loadOnnx(identity({ type: typeOf(dtype), shape: ["N"] }), { thread: "main" })],
  ["a package", ({ dtype }) => loadModel(`${site.origin}/registry/${dtype.toLowerCase()}`, { thread: "main" })],
];

for (const [place, load] of places) {
  describe(`of ${place}`, () => {
    for (const row of TABLE) {
      const { dtype, data, plain } = row;
      test(`${dtype} goes in and comes out`, async () => {
        const model = await load(row);
        const shape = [row.length ?? (data as readonly unknown[]).length];
        for (const given of plain ? [data, plain as TensorInput["data"]] : [data]) {
          const { y } = await model.run({ x: { shape, data: given } });
          assert.deepEqual(y, { dtype, shape, data });
        }
        await model.close();
      });
    }
  });
}

test("numbers that INT64 does not hold are refused, with their place", async () => {
  const model = await loadOnnx(identity({ type: "INT64", shape: ["N"] }), { thread: "main" });
  const cases: [unknown[], RegExp][] = [
    [[0, 1.5], /`x` is INT64 .*element 1 is 1\.5/],
    [[2 ** 53], /beyond 2\^53 as bigint\); element 0 is 9007199254740992/],
    [[1n, 2n ** 63n], /from -9223372036854775808 to 9223372036854775807 .*element 1 is 9223372036854775808/],
    [[0, 0, NaN], /element 2 is NaN/],
    [["1"], /element 0 is a string/],
  ];
  for (const [data, message] of cases) {
    await fails(model.run({ x: { shape: [data.length], data: data as number[] } }), "invalid_input", message);
  }
  await model.close();
});

test("a Float16Array is FP16, where the runtime has it", async () => {
  const Halves = (globalThis as { Float16Array?: { of(...numbers: number[]): ArrayBufferView } }).Float16Array;
  // Node 20 has none: then a class with its name, as what other realms and polyfills bring.
  const given = Halves?.of(1, -0.5) ?? new (class Float16Array extends Uint16Array {})([0x3c00, 0xb800]);
  const model = await loadOnnx(identity({ type: "FP16", shape: ["N"] }), { thread: "main" });
  const { y } = await model.run({ x: { shape: [2], data: given as Uint16Array } });
  assert.deepEqual(y?.data, Uint16Array.of(0x3c00, 0xb800));
  await model.close();
});

for (const thread of ["worker", "main"] as const) {
  describe(`maps on the ${thread} thread`, () => {
    test("are plain objects or Map, one or a batch", async () => {
      const model = await loadOnnx(dictVectorizer(["a", "b", "c"]), { thread });
      assert.deepEqual(model.signature.inputs, [{ name: "x", kind: "maps", dtype: "FP32", keys: "BYTES" }]);
      const one = await model.run({ x: { b: 2, z: 9 } });
      assert.deepEqual(one["y"], { dtype: "FP32", shape: [1, 3], data: Float32Array.of(0, 2, 0) });
      const two = await model.run({ x: [{ a: 1, b: 0.5 }, new Map([["c", -1]])] });
      assert.deepEqual(two["y"], { dtype: "FP32", shape: [2, 3], data: Float32Array.of(1, 0.5, 0, 0, 0, -1) });
      assert.deepEqual((await model.run({ x: {} }))["y"]?.data, new Float32Array(3));
      await fails(model.run({ x: { a: "1" } }), "invalid_input", /the value of `a` is a string/);
      await fails(model.run({ x: 1 as unknown as ModelInput }), "invalid_input", /must be a map/);
      await model.close();
    });

    test("come out as plain objects, whatever their keys are", async () => {
      const model = await loadOnnx(identity({ type: "INT64", shape: [], kind: "maps", keys: "INT64" }), { thread });
      type Made = { y: MapOutput[] };
      const { y } = await model.run<Made>({ x: [{ "-1": 1, 7: 2n ** 60n }, new Map([[7n, 3]])] });
      assert.deepEqual(y, [{ "-1": 1n, 7: 2n ** 60n }, { "-1": 0n, 7: 3n }]);
      assert.equal(y[1]?.[7], 3n);
      await fails(model.run({ x: { a: 1 } }), "invalid_input", /the keys of the maps are INT64, and `a` is no such number/);
      await model.close();
    });

    test("are given to a package too", async () => {
      const model = await loadModel(`${site.origin}/registry/words`, { thread });
      const { y } = await model.predict({ x: [{ a: 1 }, { c: 2 }] });
      assert.deepEqual(y, [[1, 0, 0], [0, 0, 2]]);
      await model.close();
    });
  });
}
