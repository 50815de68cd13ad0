/** Tensors as people write them. */

/** More elements than this are not read by a person. */
const MOST = 4096;

/** How elements lie in the bytes of a golden example, little-endian. */
const READERS = {
  BOOL: [1, (view, at) => view.getUint8(at) !== 0],
  UINT8: [1, (view, at) => view.getUint8(at)],
  INT8: [1, (view, at) => view.getInt8(at)],
  UINT16: [2, (view, at) => view.getUint16(at, true)],
  INT16: [2, (view, at) => view.getInt16(at, true)],
  UINT32: [4, (view, at) => view.getUint32(at, true)],
  INT32: [4, (view, at) => view.getInt32(at, true)],
  UINT64: [8, (view, at) => view.getBigUint64(at, true)],
  INT64: [8, (view, at) => view.getBigInt64(at, true)],
  FP32: [4, (view, at) => view.getFloat32(at, true)],
  FP64: [8, (view, at) => view.getFloat64(at, true)],
};

/** The input of a golden example with its tensors as nested arrays, where that says the same. */
export function readable(input, signature) {
  const plain = input.tensors?.map((tensor) => [tensor.name, nested(tensor)]);
  const named = new Set(signature.inputs.map((spec) => spec.name));
  if (!plain?.every(([name, value]) => value !== undefined && named.has(name))) return input;
  return Object.fromEntries(plain);
}

/** `undefined` for what has no exact form in JSON, or is too long to be read. */
function nested({ dtype, shape, data }) {
  const count = shape.reduce((all, length) => all * length, 1);
  // Without elements the arrays do not show the shape.
  if (count === 0 || count > MOST) return undefined;
  const flat = data.strings ?? decoded(dtype, data.base64);
  if (flat?.length !== count) return undefined;
  return shape.slice(1).reduceRight((list, length) => Array.from({ length: list.length / length }, (_, at) => list.slice(at * length, (at + 1) * length)), flat).slice(0, shape.length === 0 ? 1 : undefined);
}

function decoded(dtype, base64) {
  const [size, read] = READERS[dtype] ?? [];
  if (!size) return undefined;
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const values = Array.from({ length: bytes.length / size }, (_, at) => written(read(view, at * size)));
  return values.includes(undefined) ? undefined : values;
}

function written(value) {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : undefined;
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return value;
}

/** A first value to change: free axes have one element. */
export function zeros({ kind = "tensor", dtype, shape }) {
  if (kind !== "tensor") return kind === "optional" ? null : kind === "maps" ? {} : [];
  const one = dtype === "BOOL" ? false : dtype === "BYTES" ? "" : 0;
  const lengths = (shape ?? [1]).map((axis) => (typeof axis === "number" ? axis : 1));
  if (lengths.reduce((all, length) => all * length, 1) > MOST) return [];
  return lengths.reduceRight((inner, length) => Array.from({ length }, () => inner), one);
}
