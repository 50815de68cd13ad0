import { TwinferError } from "./errors.js";
import type { DType, Signature, TensorSpec, ValueKind } from "./generated/types.js";
import type { NamedValue, WebTensor, WebValue } from "./glue.js";
import type { MapOutput, ModelInput, ModelOutput, TensorInput, TensorOutput, TypedArray } from "./types.js";
import type { WireMaps, WireTensor, WireValue } from "./wire.js";

type Constructor = { new (buffer: ArrayBuffer, offset: number, length: number): TypedArray; readonly BYTES_PER_ELEMENT: number; readonly name: string };

/** The typed array of each data type; types without one in JavaScript travel as their bits. */
const ARRAYS: Readonly<Record<Exclude<DType, "BYTES">, Constructor>> = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP16: Uint16Array,
  BF16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
  FP8E4M3FN: Uint8Array,
  FP8E4M3FNUZ: Uint8Array,
  FP8E5M2: Uint8Array,
  FP8E5M2FNUZ: Uint8Array,
  FP8E8M0: Uint8Array,
  FP4E2M1: Uint8Array,
  UINT4: Uint8Array,
  INT4: Uint8Array,
  UINT2: Uint8Array,
  INT2: Uint8Array,
  COMPLEX64: Float32Array,
  COMPLEX128: Float64Array,
};

/** Bits of the integer types, and whether they have a sign. */
const INTEGERS: Partial<Record<DType, { bits: number; signed: boolean }>> = {
  UINT8: { bits: 8, signed: false },
  UINT16: { bits: 16, signed: false },
  UINT32: { bits: 32, signed: false },
  UINT64: { bits: 64, signed: false },
  INT8: { bits: 8, signed: true },
  INT16: { bits: 16, signed: true },
  INT32: { bits: 32, signed: true },
  INT64: { bits: 64, signed: true },
};

/** Whether a value under a name of `predict` is a tensor rather than an input of the pipeline. */
export function isTensor(value: unknown): value is TensorInput {
  const { shape, data } = (value ?? {}) as Partial<TensorInput>;
  return Array.isArray(shape) && typeof data === "object";
}

/** Named values as bytes. What the typed arrays hold is not copied yet. */
export function toWireValues(values: Readonly<Record<string, ModelInput>>, signature: Signature): WireValue[] {
  if (typeof values !== "object" || values === null) {
    throw new TwinferError("invalid_input", `expected an object of named tensors, got ${kindOf(values)}`);
  }
  const inputs = [...signature.inputs, ...(signature.optional ?? [])];
  return Object.entries(values).map(([name, value]) => {
    const spec = inputs.find((input) => input.name === name);
    if (spec) return toWireValue(name, value, spec, spec.kind ?? "tensor");
    const names = inputs.map((input) => `\`${input.name}\``).join(", ");
    throw new TwinferError("unknown_input", `there is no input \`${name}\`; the model takes ${names}`);
  });
}

/** Where a tensor may also be left out (`null`), or is one of a list, the value shows which it is. */
function toWireValue(name: string, value: ModelInput, spec: TensorSpec, kind: ValueKind): WireValue {
  if (kind === "optional") {
    const optional = value === null ? null : toWireValue(name, value, spec, Array.isArray(value) ? "sequence" : "tensor");
    return { name, optional };
  }
  if (kind === "maps") return toWireMaps(name, value, spec);
  if (kind !== "sequence") return toWireTensor(name, value, spec);
  if (!Array.isArray(value)) {
    throw new TwinferError("invalid_input", `input \`${name}\` must be a list of tensors, got ${kindOf(value)}`);
  }
  const sequence = (value as readonly ModelInput[]).map((item, at) => toWireValue(`${name}[${at}]`, item, spec, Array.isArray(item) ? "sequence" : "tensor"));
  return { name, sequence };
}

/** A map, or several, as JSON: the engine makes columns of them. */
function toWireMaps(name: string, value: ModelInput, { dtype, keys = "BYTES" }: TensorSpec): WireMaps {
  const maps = Array.isArray(value) ? (value as readonly ModelInput[]).map((map, at) => mapText(`${name}[${at}]`, map, dtype)) : [mapText(name, value, dtype)];
  return { name, dtype, keys, maps: `[${maps.join()}]` };
}

function mapText(name: string, map: ModelInput, dtype: DType): string {
  if (typeof map !== "object" || map === null || Array.isArray(map) || ArrayBuffer.isView(map)) {
    throw new TwinferError("invalid_input", `input \`${name}\` must be a map, a plain object or a Map, got ${kindOf(map)}`);
  }
  const entries: [unknown, unknown][] = map instanceof Map ? [...map] : Object.entries(map);
  const texts = entries.map(([key, value]) => `${JSON.stringify(String(key))}:${cellText(name, key, value, dtype)}`);
  return `{${texts.join()}}`;
}

function cellText(name: string, key: unknown, value: unknown, dtype: DType): string {
  if (dtype === "BYTES" ? typeof value === "string" : typeof value === "bigint") {
    return typeof value === "bigint" ? String(value) : JSON.stringify(value);
  }
  if (typeof value !== "number" || dtype === "BYTES" || (dtype === "INT64" && !Number.isSafeInteger(value))) {
    const wanted = dtype === "BYTES" ? "a string" : dtype === "INT64" ? "a whole number (beyond 2^53 as bigint)" : "a number";
    const got = typeof value === "number" ? String(value) : kindOf(value);
    throw new TwinferError("invalid_input", `input \`${name}\`: the value of \`${String(key)}\` is ${got}, expected ${wanted}`);
  }
  if (!Number.isFinite(value)) return `"${value}"`;
  return Object.is(value, -0) ? "-0.0" : String(value);
}

function toWireTensor(name: string, tensor: ModelInput, spec: TensorSpec): WireTensor {
  if (!isTensor(tensor)) {
    throw new TwinferError("invalid_input", `input \`${name}\` must be a tensor, { shape, data }, got ${kindOf(tensor)}`);
  }
  const dtype = tensor.dtype ?? spec.dtype;
  return { name, dtype, shape: axes(name, tensor.shape), data: elements(name, dtype, tensor.data) };
}

function axes(name: string, shape: readonly number[]): Uint32Array {
  const wrong = shape.find((axis) => !(Number.isInteger(axis) && axis >= 0 && axis < 2 ** 32));
  if (wrong !== undefined) {
    throw new TwinferError("wrong_shape", `input \`${name}\`: an axis is ${wrong}, expected a whole number that is not negative`);
  }
  return Uint32Array.from(shape);
}

/** The elements of a tensor as bytes, or as texts. */
export function elements(name: string, dtype: DType, data: TensorInput["data"]): Uint8Array | readonly string[] {
  if (ArrayBuffer.isView(data)) return typedElements(name, dtype, data as TypedArray);
  if (!Array.isArray(data)) {
    throw new TwinferError("invalid_input", `input \`${name}\`: data must be a typed array or a list, got ${kindOf(data)}`);
  }
  if (dtype === "BYTES") {
    check(name, dtype, data, (value) => typeof value === "string", "strings");
    return data as readonly string[];
  }
  return bytesOf(plainElements(name, dtype, data));
}

function typedElements(name: string, dtype: DType, data: TypedArray): Uint8Array {
  const wanted = dtype === "BYTES" ? undefined : ARRAYS[dtype];
  // Canvas pixels come clamped; the bytes are those of a Uint8Array.
  const given = data.constructor === Uint8ClampedArray ? Uint8Array : data.constructor;
  // Not every runtime has it; where there is one, it has the same bits.
  const halves = dtype === "FP16" && given.name === "Float16Array";
  if (given !== wanted && !halves) {
    const instead = wanted ? `a ${wanted.name}` : "a list of strings";
    throw new TwinferError("wrong_dtype", `input \`${name}\` is ${dtype}: give ${instead}, not a ${data.constructor.name}`);
  }
  return bytesOf(data);
}

function plainElements(name: string, dtype: Exclude<DType, "BYTES">, data: readonly unknown[]): TypedArray {
  const integer = INTEGERS[dtype];
  switch (dtype) {
    case "BOOL":
      check(name, dtype, data, (value) => typeof value === "boolean" || value === 0 || value === 1, "true, false, 0 or 1");
      return Uint8Array.from(data as boolean[], Number);
    case "FP32":
    case "COMPLEX64":
      check(name, dtype, data, (value) => typeof value === "number", "numbers");
      return Float32Array.from(data as number[]);
    case "FP64":
    case "COMPLEX128":
      check(name, dtype, data, (value) => typeof value === "number", "numbers");
      return Float64Array.from(data as number[]);
    default:
      if (!integer) {
        const instead = `a ${ARRAYS[dtype].name} with the bits`;
        throw new TwinferError("wrong_dtype", `input \`${name}\` is ${dtype}, for which JavaScript has no number: give ${instead}`);
      }
      return integers(name, dtype, data, integer);
  }
}

function integers(name: string, dtype: DType, data: readonly unknown[], { bits, signed }: { bits: number; signed: boolean }): TypedArray {
  const least = signed ? -(2n ** BigInt(bits - 1)) : 0n;
  const most = 2n ** BigInt(signed ? bits - 1 : bits) - 1n;
  const whole = (value: unknown): value is number | bigint => typeof value === "bigint" || Number.isSafeInteger(value);
  const fits = (value: unknown): boolean => whole(value) && BigInt(value) >= least && BigInt(value) <= most;
  check(name, dtype, data, fits, `whole numbers from ${least} to ${most} (beyond 2^53 as bigint)`);
  const values = data as readonly (number | bigint)[];
  if (dtype === "INT64") return BigInt64Array.from(values, BigInt);
  if (dtype === "UINT64") return BigUint64Array.from(values, BigInt);
  const make = ARRAYS[dtype as "INT32"] as unknown as { from(values: readonly (number | bigint)[], map: (value: number | bigint) => number): TypedArray };
  return make.from(values, Number);
}

function check(name: string, dtype: DType, data: readonly unknown[], fits: (value: unknown) => boolean, wanted: string): void {
  // Not `findIndex` alone: a hole in a list reads as undefined, which must not pass.
  for (let at = 0; at < data.length; at++) {
    const value = data[at];
    if (fits(value)) continue;
    const got = typeof value === "number" || typeof value === "bigint" ? String(value) : kindOf(value);
    throw new TwinferError("invalid_input", `input \`${name}\` is ${dtype} and takes ${wanted}; element ${at} is ${got}`);
  }
}

/** The bytes under a typed array, not copied. */
export function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** What something is, for messages. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value !== "object") return value === undefined ? "nothing" : `a ${typeof value}`;
  const { constructor } = value as { constructor?: { name?: string } };
  return `an object (${constructor?.name ?? "without a class"})`;
}

/** Values of the engine by name. */
export function fromWireValues(values: readonly NamedValue[]): Record<string, ModelOutput> {
  return Object.fromEntries(values.map(({ name, ...value }) => [name, fromWireValue(value as WebValue)]));
}

function fromWireValue(value: WebValue): ModelOutput {
  if ("sequence" in value) return value.sequence.map(fromWireValue);
  if ("optional" in value) return value.optional && fromWireValue(value.optional);
  const tensor = fromWireTensor(value);
  return value.keys ? toMaps(tensor, value.keys) : tensor;
}

/** The columns of the engine as one object for each row. */
function toMaps({ shape: [rows = 0, columns = 0], data }: TensorOutput, keys: readonly (bigint | string)[]): MapOutput[] {
  const names = keys.map(String);
  const row = (at: number): MapOutput => Object.fromEntries(names.map((name, column) => [name, data[at * columns + column] ?? 0]));
  return Array.from({ length: rows }, (_, at) => row(at));
}

function fromWireTensor({ dtype, shape, data }: Omit<WebTensor, "name">): TensorOutput {
  const head = { dtype: dtype as DType, shape };
  if (Array.isArray(data)) return { ...head, data };
  const Typed = ARRAYS[dtype as Exclude<DType, "BYTES">];
  return { ...head, data: new Typed(data.buffer, data.byteOffset, data.byteLength / Typed.BYTES_PER_ELEMENT) };
}
