import assert from "node:assert/strict";
import { test } from "node:test";
import type { DType, ModelInput, Signature, TensorInput, TensorOutput } from "twinfer";
import { TwinferError } from "../../errors.js";
import { fromWireValues, toWireValues } from "../../tensors.js";

function convert(dtype: DType, data: unknown, shape: unknown = [2]): Uint8Array | readonly string[] | undefined {
  const signature: Signature = { inputs: [{ name: "x", dtype, shape: [null] }], outputs: [] };
  const [tensor] = toWireValues({ x: { shape, data } as TensorInput }, signature);
  return tensor && "data" in tensor ? tensor.data : undefined;
}

function bytes(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

test("plain numbers become the bytes of the data type", () => {
  const cases: [DType, unknown[], ArrayBufferView][] = [
    ["FP32", [1.5, NaN], Float32Array.of(1.5, NaN)],
    ["FP64", [0.1, -0], Float64Array.of(0.1, -0)],
    ["INT64", [2 ** 53 - 1, -(2n ** 63n)], BigInt64Array.of(9007199254740991n, -(2n ** 63n))],
    ["UINT64", [0, 2n ** 64n - 1n], BigUint64Array.of(0n, 2n ** 64n - 1n)],
    ["INT32", [-(2 ** 31), 7n], Int32Array.of(-(2 ** 31), 7)],
    ["UINT8", [0, 255], Uint8Array.of(0, 255)],
    ["INT8", [-128, 127], Int8Array.of(-128, 127)],
    ["BOOL", [true, 0], Uint8Array.of(1, 0)],
  ];
  for (const [dtype, data, expected] of cases) assert.deepEqual(convert(dtype, data), bytes(expected), dtype);
  assert.deepEqual(convert("BYTES", ["a", ""]), ["a", ""]);
});

test("typed arrays are taken as they are, without a copy", () => {
  const whole = Float32Array.of(0, 1, 2, 3);
  const part = convert("FP32", whole.subarray(1, 3));
  assert(part instanceof Uint8Array);
  assert.equal(part.buffer, whole.buffer);
  assert.deepEqual([part.byteOffset, part.byteLength], [4, 8]);
  assert.deepEqual(convert("UINT8", Uint8ClampedArray.of(1, 2)), Uint8Array.of(1, 2));
  assert.deepEqual(convert("FP16", Uint16Array.of(0x3c00, 0)), bytes(Uint16Array.of(0x3c00, 0)));
});

test("half precision is taken from a Float16Array where there is one", () => {
  const Halves = (globalThis as { Float16Array?: { of(...numbers: number[]): Uint16Array } }).Float16Array;
  // Node 20 has none: then a class with its name, as what other realms and polyfills bring.
  const given = Halves?.of(1, 0) ?? new (class Float16Array extends Uint16Array {})([0x3c00, 0]);
  assert.deepEqual(convert("FP16", given), bytes(Uint16Array.of(0x3c00, 0)));
  assert.throws(() => convert("BF16", given), { code: "wrong_dtype" });
});

test("what a data type cannot hold is refused with a code and the place", () => {
  const cases: [string, DType, unknown, string, RegExp][] = [
    ["fraction", "INT64", [1, 1.5], "invalid_input", /element 1 is 1\.5/],
    ["unsafe integer", "INT64", [2 ** 53, 0], "invalid_input", /bigint/],
    ["too large", "INT64", [2n ** 63n, 0n], "invalid_input", /element 0 is 9223372036854775808/],
    ["NaN", "INT32", [NaN, 0], "invalid_input", /element 0 is NaN/],
    ["negative", "UINT8", [0, -1], "invalid_input", /from 0 to 255/],
    ["text", "FP32", ["1", 2], "invalid_input", /a string/],
    ["null", "FP32", [1, null], "invalid_input", /element 1 is null/],
    ["hole", "FP32", new Array(2), "invalid_input", /element 0 is nothing/],
    ["number for text", "BYTES", ["a", 1], "invalid_input", /strings/],
    ["2 as BOOL", "BOOL", [2, 0], "invalid_input", /true, false, 0 or 1/],
    ["doubles for FP32", "FP32", Float64Array.of(1, 2), "wrong_dtype", /give a Float32Array, not a Float64Array/],
    ["floats for INT64", "INT64", Float32Array.of(1, 2), "wrong_dtype", /BigInt64Array/],
    ["bytes for text", "BYTES", Uint8Array.of(1, 2), "wrong_dtype", /list of strings/],
    ["numbers for FP16", "FP16", [1, 2], "wrong_dtype", /Uint16Array with the bits/],
    ["no data", "FP32", undefined, "invalid_input", /must be a tensor/],
  ];
  for (const [what, dtype, data, code, message] of cases) {
    assert.throws(() => convert(dtype, data), (error) => {
      assert(error instanceof TwinferError, what);
      assert.equal(error.code, code, what);
      assert.match(error.message, message, what);
      return true;
    });
  }
});

test("axes are whole numbers", () => {
  for (const shape of [[-1], [1.5], [2 ** 32], [NaN], ["2"]]) {
    assert.throws(() => convert("FP32", [1, 2], shape), { code: "wrong_shape" });
  }
  assert.throws(() => convert("FP32", [1, 2], 2), { code: "invalid_input" });
});

test("a tensor that the model does not have is refused by name", () => {
  const signature: Signature = { inputs: [{ name: "a" , dtype: "FP32" }, { name: "b", dtype: "FP32" }], outputs: [] };
  assert.throws(() => toWireValues({ c: { shape: [1], data: [1] } }, signature), { code: "unknown_input", message: /`a`, `b`/ });
});

test("tensors of the engine come out as typed arrays, strings and keys", () => {
  const values = fromWireValues([
    { name: "f", dtype: "FP32", shape: [2], data: new Uint8Array(Float32Array.of(1, 2).buffer) },
    { name: "i", dtype: "INT64", shape: [1], data: new Uint8Array(BigInt64Array.of(-5n).buffer) },
    { name: "s", dtype: "BYTES", shape: [1], data: ["x"] },
    { name: "m", dtype: "FP32", shape: [1, 1], data: new Uint8Array(4), keys: [7n] },
    { name: "n", dtype: "INT64", shape: [2, 2], data: new Uint8Array(BigInt64Array.of(1n, 2n, 3n, 4n).buffer), keys: ["__proto__", "a"] },
    { name: "__proto__", dtype: "BOOL", shape: [], data: new Uint8Array(1) },
  ]);
  const out = values as Record<string, TensorOutput>;
  assert.deepEqual(out["f"]?.data, Float32Array.of(1, 2));
  assert.deepEqual(out["i"]?.data, BigInt64Array.of(-5n));
  assert.deepEqual(out["s"], { dtype: "BYTES", shape: [1], data: ["x"] });
  assert.deepEqual(values["m"], [{ 7: 0 }]);
  assert.deepEqual((values["n"] as object[]).map((map) => Object.entries(map)), [[["__proto__", 1n], ["a", 2n]], [["__proto__", 3n], ["a", 4n]]]);
  assert(Object.hasOwn(out, "__proto__"));
});

test("maps are given as plain objects or as Map, one or a list", () => {
  const text = (value: unknown, dtype: DType = "FP32", keys: DType = "BYTES"): string => {
    const signature: Signature = { inputs: [{ name: "x", kind: "maps", dtype, keys }], outputs: [] };
    const [maps] = toWireValues({ x: value as ModelInput }, signature);
    assert(maps && "maps" in maps);
    assert.deepEqual([maps.dtype, maps.keys], [dtype, keys]);
    return maps.maps;
  };
  assert.equal(text({ a: 1, 'b"': -0 }), '[{"a":1,"b\\"":-0.0}]');
  assert.equal(text([new Map([["a", NaN]]), {}]), '[{"a":"NaN"},{}]');
  assert.equal(text(new Map([[-1n, 2n ** 60n], [7n, 1n]]), "INT64", "INT64"), '[{"-1":1152921504606846976,"7":1}]');
  assert.equal(text({ 3: "a" }, "BYTES", "INT64"), '[{"3":"a"}]');
  const bad: [unknown, DType, RegExp][] = [
    [1, "FP32", /must be a map, a plain object or a Map, got a number/],
    [[{}, [1]], "FP32", /`x\[1\]` must be a map/],
    [{ a: "1" }, "FP32", /the value of `a` is a string, expected a number/],
    [{ a: null }, "FP32", /`a` is null/],
    [[{}, { a: 1.5 }], "INT64", /`x\[1\]`: the value of `a` is 1\.5, expected a whole number/],
    [{ a: 2 ** 53 }, "INT64", /beyond 2\^53 as bigint/],
    [{ a: 1 }, "BYTES", /is 1, expected a string/],
  ];
  for (const [value, dtype, message] of bad) assert.throws(() => text(value, dtype), { code: "invalid_input", message });
});
