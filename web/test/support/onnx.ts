/** Writes small ONNX files: a few nodes without weights, enough to see bytes go in and out. */

export interface Graph {
  nodes: { op: string; inputs: string[]; outputs: string[] }[];
  inputs: TensorType[];
  outputs: TensorType[];
}

export interface TensorType {
  name: string;
  type: keyof typeof ELEMENTS;
  /** Numbers are fixed axes, texts free ones. */
  shape: readonly (number | string)[];
  /** A list of such tensors, or one that may be absent; a map, or a list of maps, with such values. */
  kind?: "sequence" | "optional" | "map" | "maps";
  /** Of maps. */
  keys?: "INT64" | "STRING";
}

/** Numbers of ONNX's data types. */
const ELEMENTS = {
  FP32: 1, UINT8: 2, INT8: 3, UINT16: 4, INT16: 5, INT32: 6, INT64: 7, STRING: 8, BOOL: 9, FP16: 10, FP64: 11, UINT32: 12, UINT64: 13,
  COMPLEX64: 14, COMPLEX128: 15, BF16: 16, FP8E4M3FN: 17, FP8E4M3FNUZ: 18, FP8E5M2: 19, FP8E5M2FNUZ: 20, UINT4: 21, INT4: 22,
  FP4E2M1: 23, FP8E8M0: 24, UINT2: 25, INT2: 26,
} as const;

const IR_VERSION = 8;
const OPSET = 17;

/** A model; of a later version of the operators, where it has types that were not there before. */
export function onnx({ nodes, inputs, outputs }: Graph, version = OPSET): Uint8Array<ArrayBuffer> {
  const graph = [
    ...nodes.flatMap((node) => field(1, nodeProto(node))),
    ...field(2, text("graph")),
    ...inputs.flatMap((input) => field(11, valueInfo(input))),
    ...outputs.flatMap((output) => field(12, valueInfo(output))),
  ];
  return Uint8Array.from([...number(1, IR_VERSION), ...field(7, graph), ...opset("", version)]);
}

/** `y = x`. */
export function identity(x: Omit<TensorType, "name">): Uint8Array<ArrayBuffer> {
  return onnx({ nodes: [{ op: "Identity", inputs: ["x"], outputs: ["y"] }], inputs: [{ ...x, name: "x" }], outputs: [{ ...x, name: "y" }] }, 25);
}

/** A scikit-learn `DictVectorizer` as skl2onnx exports it. */
export function dictVectorizer(words: readonly string[]): Uint8Array<ArrayBuffer> {
  const strings = 8;
  const vocabulary = [...field(1, text("string_vocabulary")), ...words.flatMap((word) => field(9, text(word))), ...number(20, strings)];
  const node = [...field(1, text("x")), ...field(2, text("y")), ...field(4, text("DictVectorizer")), ...field(5, vocabulary), ...field(7, text(ML))];
  const inputs = field(11, valueInfo({ name: "x", type: "FP32", shape: [], kind: "map", keys: "STRING" }));
  const graph = [...field(1, node), ...field(2, text("graph")), ...inputs, ...field(12, valueInfo({ name: "y", type: "FP32", shape: ["N", words.length] }))];
  return Uint8Array.from([...number(1, IR_VERSION), ...field(7, graph), ...opset("", OPSET), ...opset(ML, 1)]);
}

const ML = "ai.onnx.ml";

function opset(domain: string, version: number): number[] {
  return field(8, [...field(1, text(domain)), ...number(2, version)]);
}

/** `y = x + x`. */
export function doubling(type: TensorType["type"], shape: TensorType["shape"]): Uint8Array<ArrayBuffer> {
  return onnx({
    nodes: [{ op: "Add", inputs: ["x", "x"], outputs: ["y"] }],
    inputs: [{ name: "x", type, shape }],
    outputs: [{ name: "y", type, shape }],
  });
}

/** `y = x + x + x`. */
export function tripling(type: TensorType["type"], shape: TensorType["shape"]): Uint8Array<ArrayBuffer> {
  return onnx({
    nodes: [
      { op: "Add", inputs: ["x", "x"], outputs: ["d"] },
      { op: "Add", inputs: ["d", "x"], outputs: ["y"] },
    ],
    inputs: [{ name: "x", type, shape }],
    outputs: [{ name: "y", type, shape }],
  });
}

/** Products with square matrices, one after the other: `4 * side * side` bytes of weights each. */
export function chain(layers: number, side: number): Uint8Array<ArrayBuffer> {
  const names = Array.from({ length: layers - 1 }, (_, at) => `h${at}`);
  const [from, to] = [["x", ...names], [...names, "y"]];
  const node = (at: number): number[] =>
    field(1, nodeProto({ op: "MatMul", inputs: [from[at] ?? "", `w${at}`], outputs: [to[at] ?? ""] }));
  const head = [...from.flatMap((_, at) => node(at)), ...field(2, text("chain"))];
  const tail = (["x", "y"] as const).flatMap((name, at) => field(11 + at, valueInfo({ name, type: "FP32", shape: ["N", side] })));
  const weights = from.map((_, at) => weight(`w${at}`, side, at + 1));
  const length = head.length + tail.length + weights.reduce((sum, bytes) => sum + bytes.length, 0);
  const before = [...number(1, IR_VERSION), ...field(8, [...field(1, []), ...number(2, OPSET)]), ...varint((7 << 3) | 2), ...varint(length)];
  return joined([Uint8Array.from([...before, ...head]), ...weights, Uint8Array.from(tail)]);
}

/** An initializer with numbers that differ for each seed. */
function weight(name: string, side: number, seed: number): Uint8Array<ArrayBuffer> {
  let state = seed;
  const values = Float32Array.from({ length: side * side }, () => (state = (state * 48271) % 0x7fffffff) / 0x7fffffff - 0.5);
  const fields = [...number(1, side), ...number(1, side), ...number(2, ELEMENTS.FP32), ...field(8, text(name))];
  const raw = [...varint((9 << 3) | 2), ...varint(values.byteLength)];
  const length = fields.length + raw.length + values.byteLength;
  const before = Uint8Array.from([...varint((5 << 3) | 2), ...varint(length), ...fields, ...raw]);
  return joined([before, new Uint8Array(values.buffer)]);
}

function joined(parts: Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The same model in a larger file: with a documentation of so many bytes, different for each seed. */
export function padded(model: Uint8Array<ArrayBuffer>, length: number, seed = 1): Uint8Array<ArrayBuffer> {
  let state = seed;
  const text = Uint8Array.from({ length }, () => 0x20 + ((state = (state * 48271) % 0x7fffffff) % 95));
  const head = Uint8Array.from([...varint((6 << 3) | 2), ...varint(length)]);
  const bytes = new Uint8Array(model.length + head.length + length);
  bytes.set(model);
  bytes.set(head, model.length);
  bytes.set(text, model.length + head.length);
  return bytes;
}

function nodeProto({ op, inputs, outputs }: Graph["nodes"][number]): number[] {
  return [
    ...inputs.flatMap((name) => field(1, text(name))),
    ...outputs.flatMap((name) => field(2, text(name))),
    ...field(3, text(`the ${op} of ${outputs.join()}`)),
    ...field(4, text(op)),
  ];
}

/** Fields of `TypeProto`. */
const KINDS = { sequence: 4, optional: 9 } as const;

function valueInfo({ name, type, shape, kind, keys = "STRING" }: TensorType): number[] {
  const dims = shape.flatMap((axis) => field(1, typeof axis === "number" ? number(1, axis) : field(2, text(axis))));
  const plain = field(1, [...number(1, ELEMENTS[type]), ...field(2, dims)]);
  const map = field(5, [...number(1, ELEMENTS[keys]), ...field(2, field(1, number(1, ELEMENTS[type])))]);
  return [...field(1, text(name)), ...field(2, typed(plain, map, kind))];
}

function typed(plain: number[], map: number[], kind: TensorType["kind"]): number[] {
  if (kind === "map") return map;
  if (kind === "maps") return field(KINDS.sequence, field(1, map));
  return kind ? field(KINDS[kind], field(1, plain)) : plain;
}

function number(key: number, value: number): number[] {
  return [...varint(key << 3), ...varint(value)];
}

function field(key: number, bytes: readonly number[]): number[] {
  return [...varint((key << 3) | 2), ...varint(bytes.length), ...bytes];
}

function text(value: string): number[] {
  return [...new TextEncoder().encode(value)];
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return [...bytes, rest];
    bytes.push((rest & 0x7f) | 0x80);
  }
}
