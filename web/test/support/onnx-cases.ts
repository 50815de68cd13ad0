/**
 * Runs the cases of `tests/onnx` where this script runs. What came out has the form of the cases, and
 * is judged by `twinfer-onnx judge`.
 */
import type { DType, MapOutput, ModelInput, ModelOutput, TensorOutput, TypedArray, loadOnnx } from "twinfer";

type Typed =
  | { dtype: DType; shape: number[]; data?: string; strings?: string[] }
  | { sequence: Typed[] }
  | { optional: Typed | null }
  | Maps;

interface Maps {
  keys: "INT64" | "BYTES";
  maps: [string | number, number][][];
}

interface Named {
  name: string;
  value: Typed;
}

export interface OnnxCase {
  name: string;
  model: string;
  sets: { inputs: Named[]; outputs: Named[] }[];
}

/** What a case gave: its outputs by set, or what was thrown. */
export type OnnxAnswer = { name: string; sets: { outputs: Named[] }[] } | { name: string; error: { code: string; message: string; stopped: boolean } };

export async function runOnnxCase(load: typeof loadOnnx, onnx: Uint8Array, { name, sets }: OnnxCase): Promise<OnnxAnswer> {
  try {
    const model = await load(onnx, { thread: "main" });
    const made: { outputs: Named[] }[] = [];
    for (const { inputs, outputs: expected } of sets) {
      const given = Object.fromEntries(inputs.map((input) => [input.name, fromTyped(input.value)]));
      const outputs = await model.run<Record<string, ModelOutput>>(given);
      // What a case does not look at is not told: of maps it could not be, without the type of their keys.
      const looked = (key: string): Typed | undefined => expected.find((output) => output.name === key)?.value;
      const entries = Object.entries(outputs).map(([key, value]) => ({ name: key, value, wanted: looked(key) }));
      made.push({ outputs: entries.flatMap(({ name: key, value, wanted }) => (wanted ? [{ name: key, value: toTyped(value, wanted) }] : [])) });
    }
    await model.close();
    return { name, sets: made };
  } catch (error) {
    const { code = "no code", message = String(error) } = error as { code?: string; message?: string };
    // `EngineStopped` is no part of the interface, its name is.
    const stopped = (error as object).constructor.name === "EngineStopped" || code === "no code";
    return { name, error: { code, message, stopped } };
  }
}

const ARRAYS: Partial<Record<DType, new (buffer: ArrayBuffer) => TypedArray>> = {
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
  COMPLEX64: Float32Array,
  COMPLEX128: Float64Array,
};

function fromTyped(value: Typed): ModelInput {
  if ("sequence" in value) return value.sequence.map(fromTyped);
  if ("optional" in value) return value.optional && fromTyped(value.optional);
  if ("maps" in value) return value.maps.map((map) => new Map<string | number, number>(map));
  const { dtype, shape, data = "", strings } = value;
  if (dtype === "BYTES") return { dtype, shape, data: strings ?? [] };
  const Typed = ARRAYS[dtype] ?? Uint8Array;
  return { dtype, shape, data: new Typed(Uint8Array.from(Buffer.from(data, "base64")).buffer) };
}

function toTyped(value: ModelOutput, expected?: Typed): Typed {
  if (value === null) return { optional: null };
  if (expected && "maps" in expected) return maps(value as MapOutput[], expected);
  if (Array.isArray(value)) return { sequence: value.map((item) => toTyped(item)) };
  const { dtype, shape, data } = value as TensorOutput;
  if (Array.isArray(data)) return { dtype, shape, strings: data };
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return { dtype, shape, data: bytes.toString("base64") };
}

/** An object has its keys as text, those that look like a number first: what type and order they have in the model only the case tells. */
function maps(got: MapOutput[], { keys, maps: [first = []] }: Maps): Typed {
  const order = first.map(([key]) => String(key));
  const place = (key: string): number => (order.includes(key) ? order.indexOf(key) : order.length);
  const named = (key: string): string | number => (keys === "INT64" ? Number(key) : key);
  const one = (map: MapOutput): [string | number, number][] =>
    Object.keys(map).sort((a, b) => place(a) - place(b)).map((key) => [named(key), Number(map[key])]);
  return { keys, maps: got.map(one) };
}
