/**
 * Runs the shared list of cases (made by `tests/`) where this script runs: in Node and in a
 * page the same code. It has no imports but types, so that a page can load it as it is.
 */
import type { InputValue, JsonValue, MapOutput, Model, ModelOutput, TensorInput, TensorOutput, TypedArray, loadModel } from "twinfer";

export type GoldenTensor = {
  name: string;
  dtype: TensorOutput["dtype"];
  shape: number[];
  data: { base64: string } | { strings: string[] };
  keys?: string[];
};
type GoldenInput =
  | { picture: { base64: string } }
  | { bytes: { base64: string } }
  | { audio: { base64: string } }
  | { text: string | string[] }
  | { record: Record<string, JsonValue> }
  | { tensors: GoldenTensor[] };

export type Case = { id: string; reference: string } & (
  | { kind: "predict"; input: GoldenInput; parameters?: Record<string, JsonValue> }
  | { kind: "run"; tensors: GoldenTensor[] }
);

export type Answer =
  | { outputs: Record<string, JsonValue> }
  | { tensors: GoldenTensor[] }
  | { error: { code: string; message: string } };

export interface Results {
  place: string;
  results: { id: string; runs: Answer[] }[];
}

export async function runCases(load: typeof loadModel, place: string, registry: string, cases: readonly Case[]): Promise<Results> {
  // Instances stay open: what follows bad input must find the one that got it.
  const open = new Map<string, Promise<Model>>();
  const instance = (reference: string, which: number): Promise<Model> => {
    const key = `${reference} ${which}`;
    const model = open.get(key) ?? load(`${registry}/${reference}`);
    open.set(key, model);
    // One that could not be loaded is tried again by the next case.
    model.catch(() => open.delete(key));
    return model;
  };
  const results: Results["results"] = [];
  for (const one of cases) {
    const runs: Answer[] = [];
    // Twice in one instance, once in another.
    for (const which of [1, 1, 2]) runs.push(await answer(() => instance(one.reference, which), one));
    results.push({ id: one.id, runs });
  }
  for (const model of open.values()) await (await model).close();
  return { place, results };
}

async function answer(instance: () => Promise<Model>, one: Case): Promise<Answer> {
  try {
    const model = await instance();
    if (one.kind === "run") return { tensors: toGolden(await model.run<Record<string, ModelOutput>>(fromGolden(one.tensors)), model) };
    const { prediction } = await model.predict(inputsOf(one.input, model), { parameters: one.parameters ?? {} });
    return { outputs: prediction.outputs };
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string };
    return { error: { code: code ?? "no code", message: message ?? String(error) } };
  }
}

function inputsOf(input: GoldenInput, model: Model): Record<string, InputValue> {
  if ("tensors" in input) return fromGolden(input.tensors);
  const name = model.config.pipeline?.input.name ?? "input";
  if ("record" in input) return { [name]: input.record as Record<string, number> };
  if ("text" in input) return { [name]: input.text };
  const { base64 } = "picture" in input ? input.picture : "audio" in input ? input.audio : input.bytes;
  return { [name]: fromBase64(base64) };
}

export function fromGolden(tensors: readonly GoldenTensor[]): Record<string, TensorInput> {
  return Object.fromEntries(tensors.map((tensor) => [tensor.name, tensorOf(tensor)]));
}

const ARRAYS: Partial<Record<GoldenTensor["dtype"], new (buffer: ArrayBuffer) => TypedArray>> = {
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  FP16: Uint16Array,
  BF16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
  COMPLEX64: Float32Array,
  COMPLEX128: Float64Array,
};

function tensorOf({ dtype, shape, data }: GoldenTensor): TensorInput {
  if ("strings" in data) return { dtype, shape, data: data.strings };
  const Typed = ARRAYS[dtype] ?? Uint8Array;
  return { dtype, shape, data: new Typed(fromBase64(data.base64).buffer) };
}

export function toGolden(values: Record<string, ModelOutput>, { signature }: Pick<Model, "signature">): GoldenTensor[] {
  return Object.entries(values).map(([name, value]) => {
    const spec = signature.outputs.find((output) => output.name === name);
    if (spec?.kind === "maps") return { name, ...columnsOf(value as MapOutput[], spec.dtype) };
    const { dtype, shape, data } = value as TensorOutput;
    return { name, dtype, shape, data: Array.isArray(data) ? { strings: data } : { base64: toBase64(data) } };
  });
}

/** The form of a golden example has the numbers of all maps as one tensor, and the keys beside it. */
function columnsOf(maps: MapOutput[], dtype: TensorOutput["dtype"]): Omit<GoldenTensor, "name"> {
  const keys = Object.keys(maps[0] ?? {});
  const cells = maps.flatMap((map) => keys.map((key) => map[key] ?? 0));
  const head = { dtype, shape: [maps.length, keys.length], keys };
  if (dtype === "BYTES") return { ...head, data: { strings: cells.map(String) } };
  const data = dtype === "INT64" ? BigInt64Array.from(cells, BigInt) : dtype === "FP64" ? Float64Array.from(cells, Number) : Float32Array.from(cells, Number);
  return { ...head, data: { base64: toBase64(data) } };
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function toBase64(data: TypedArray): string {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  let binary = "";
  for (let at = 0; at < bytes.length; at++) binary += String.fromCharCode(bytes[at] ?? 0);
  return btoa(binary);
}
