/** Tensors as the Open Inference Protocol v2 has them, with its binary extension; and back. */

import { TwinferError } from "../errors.js";
import type { DType, OutputSpec, Signature, TensorSpec } from "../generated/types.js";
import type { NamedValue, WebValue } from "../glue.js";
import { elements } from "../tensors.js";
import type { WireTensor, WireValue } from "../wire.js";
import type { Body } from "./predict.js";
import { base64 } from "./predict.js";

/** A tensor in `predict`: bytes in base64, in the order of the machine (little-endian), or texts. */
interface Text {
  name: string;
  datatype: string;
  shape: number[];
  data: { base64: string } | { strings: readonly string[] };
}

/** A value as text. */
export function textOf(value: WireValue): Text {
  const { name, dtype: datatype, shape, data } = flat(value);
  return { name, datatype, shape: [...shape], data: data instanceof Uint8Array ? { base64: base64(data) } : { strings: data } };
}

/** The protocol has tensors only: everything else is one text with its JSON. */
function flat(value: WireValue): WireTensor {
  if ("data" in value) return value;
  const text = "maps" in value ? value.maps : jsonOf(value);
  return { name: value.name, dtype: "BYTES", shape: Uint32Array.of(1), data: [text] };
}

function jsonOf(value: WireValue): string {
  if ("sequence" in value) return `[${value.sequence.map(jsonOf).join()}]`;
  if ("optional" in value) return value.optional ? jsonOf(value.optional) : "null";
  if ("maps" in value) return value.maps;
  return `{"shape":[${value.shape.join()}],"data":[${cellsOf(value).join()}]}`;
}

/** Arrays whose elements are numbers as JSON has them. */
const NUMBERS = {
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP32: Float32Array,
  FP64: Float64Array,
} as const;

function cellsOf({ name, dtype, data }: WireTensor): string[] {
  if (!(data instanceof Uint8Array)) return data.map((text) => JSON.stringify(text));
  if (dtype === "BOOL") return [...data].map((byte) => String(byte !== 0));
  const Typed = NUMBERS[dtype as keyof typeof NUMBERS];
  if (!Typed) throw new TwinferError("unsupported_dtype", `input \`${name}\`: ${dtype} inside of a sequence or an optional has no form in the protocol of the server`);
  // A copy begins where such an array may begin.
  const numbers: Iterable<number | bigint> = new Typed(data.slice().buffer);
  return Array.from(numbers, (one) => (typeof one === "bigint" || Number.isFinite(one) ? (Object.is(one, -0) ? "-0.0" : String(one)) : `"${one}"`));
}

/** The body of `infer`: JSON, and after it the bytes of all tensors. */
export function inferBody(values: readonly WireValue[]): Body {
  const tensors = values.map(flat).map(({ name, dtype, shape, data }) => ({ name, dtype, shape, bytes: data instanceof Uint8Array ? data : counted(data) }));
  const inputs = tensors.map(({ name, dtype, shape, bytes }) => ({ name, datatype: dtype, shape: [...shape], parameters: { binary_data_size: bytes.length } }));
  const head = new TextEncoder().encode(JSON.stringify({ parameters: { binary_data_output: true }, inputs }));
  const body = new Blob([head, ...tensors.map(({ bytes }) => bytes as Uint8Array<ArrayBuffer>)]);
  return { type: "application/octet-stream", query: "", body, headers: { "inference-header-content-length": String(head.length) } };
}

/** Texts, each with its length before it. */
function counted(texts: readonly string[]): Uint8Array {
  const encoded = texts.map((text) => new TextEncoder().encode(text));
  const bytes = new Uint8Array(encoded.reduce((sum, text) => sum + 4 + text.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const text of encoded) {
    view.setUint32(at, text.length, true);
    bytes.set(text, at + 4);
    at += 4 + text.length;
  }
  return bytes;
}

interface Output {
  name: string;
  datatype: DType;
  shape: number[];
  parameters?: { binary_data_size?: number; map_keys?: string; content_type?: string };
}

/** What `infer` answers. `odd` makes the error for what is no such answer. */
export function inferAnswer(body: ArrayBuffer, headLength: string | null, signature: Signature, odd: (what: string) => TwinferError): { values: NamedValue[]; digest: unknown; version: string } {
  const head = headLength === null ? body.byteLength : Number(headLength);
  const answer = json(body.slice(0, head)) as { model_version?: unknown; parameters?: { digest?: unknown }; outputs?: Output[] } | undefined;
  if (!answer || !Array.isArray(answer.outputs)) throw odd("the answer is no answer of the Open Inference Protocol");
  let at = head;
  const values = answer.outputs.map((output): NamedValue => {
    const { name, datatype, shape, parameters = {} } = output;
    const { binary_data_size: size } = parameters;
    if (size === undefined || at + size > body.byteLength) throw odd(`the output \`${name}\` is not there in binary form`);
    const bytes = new Uint8Array(body.slice(at, at + size));
    at += size;
    const data = datatype === "BYTES" ? uncounted(bytes, () => odd(`the texts of the output \`${name}\` are cut off`)) : bytes;
    const spec = signature.outputs.find((known) => known.name === name);
    if (parameters.content_type === "application/json" && spec) return { name, ...valueOf(spec, JSON.parse(String(data[0]))) };
    const keys = parameters.map_keys === undefined ? undefined : (JSON.parse(parameters.map_keys) as string[]);
    return { name, dtype: datatype, shape, data, ...(keys && { keys }) };
  });
  return { values, digest: answer.parameters?.digest, version: String(answer.model_version) };
}

function uncounted(bytes: Uint8Array, cutOff: () => TwinferError): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const texts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = at + 4 > bytes.length ? Infinity : view.getUint32(at, true);
    if (at + 4 + length > bytes.length) throw cutOff();
    texts.push(new TextDecoder().decode(bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return texts;
}

function json(bytes: ArrayBuffer): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

/** A sequence or an optional from its JSON, by the rules of `twinfer` (`from_json`). */
function valueOf({ kind, dtype, name }: Pick<OutputSpec, "kind" | "dtype" | "name">, value: unknown): WebValue {
  if (kind === "sequence") return { sequence: (value as unknown[]).map((item) => inside(name, dtype, item)) };
  return { optional: value === null ? null : inside(name, dtype, value) };
}

function inside(name: string, dtype: DType, value: unknown): WebValue {
  if (value === null) return { optional: null };
  if (Array.isArray(value) && hasObject(value)) return { sequence: value.map((item) => inside(name, dtype, item)) };
  const given = value as { shape?: number[]; data?: unknown };
  const nested = Array.isArray(value) || typeof value !== "object" ? value : given.data;
  const shape = given.shape ?? shapeOf(nested);
  const cells = [nested].flat(Infinity) as unknown[];
  const numbers = dtype === "FP32" || dtype === "FP64" ? cells.map(Number) : cells;
  const made = elements(name, dtype, numbers as number[]);
  return { dtype, shape, data: made instanceof Uint8Array ? (made as Uint8Array<ArrayBuffer>) : [...made] };
}

function hasObject(value: unknown): boolean {
  return Array.isArray(value) ? value.some(hasObject) : typeof value === "object" && value !== null;
}

function shapeOf(nested: unknown): number[] {
  return Array.isArray(nested) ? [nested.length, ...shapeOf(nested[0])] : [];
}

/** A signature from the metadata of the protocol: that of a package that does not say its own. */
export function signatureOf(metadata: unknown, odd: (what: string) => TwinferError): Signature {
  type Tensor = { name: string; datatype: DType; shape: number[] };
  const { inputs, outputs } = (metadata ?? {}) as { inputs?: Tensor[]; outputs?: Tensor[] };
  if (!Array.isArray(inputs) || !Array.isArray(outputs)) throw odd("it does not say what the model takes");
  const spec = ({ name, datatype, shape }: Tensor): TensorSpec => ({ name, dtype: datatype, shape: shape.map((axis) => (axis < 0 ? null : axis)) });
  return { inputs: inputs.map(spec), outputs: outputs.map((output) => ({ kind: "tensor", ...spec(output) })) };
}
