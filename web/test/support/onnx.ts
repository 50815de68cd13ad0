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
  shape: (number | string)[];
}

/** Numbers of ONNX's data types. */
const ELEMENTS = { FP32: 1, UINT8: 2, INT32: 6, INT64: 7, STRING: 8, BOOL: 9, FP64: 11 } as const;

const IR_VERSION = 8;
const OPSET = 17;

export function onnx({ nodes, inputs, outputs }: Graph): Uint8Array<ArrayBuffer> {
  const graph = [
    ...nodes.flatMap((node) => field(1, nodeProto(node))),
    ...field(2, text("graph")),
    ...inputs.flatMap((input) => field(11, valueInfo(input))),
    ...outputs.flatMap((output) => field(12, valueInfo(output))),
  ];
  return Uint8Array.from([...number(1, IR_VERSION), ...field(7, graph), ...field(8, [...field(1, []), ...number(2, OPSET)])]);
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

function valueInfo({ name, type, shape }: TensorType): number[] {
  const dims = shape.flatMap((axis) => field(1, typeof axis === "number" ? number(1, axis) : field(2, text(axis))));
  const tensor = [...number(1, ELEMENTS[type]), ...field(2, dims)];
  return [...field(1, text(name)), ...field(2, field(1, tensor))];
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
