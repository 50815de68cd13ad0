// Takes the initializers out of the inputs of an ONNX graph. Old exporters list every weight as
// an input too; onnxruntime then treats weights as values that a caller may replace and folds
// nothing into them, which would make it slower than it is.

const GRAPH = 7; // of ModelProto
const INITIALIZER = 5; // of GraphProto
const INPUT = 11; // of GraphProto
const TENSOR_NAME = 8; // of TensorProto
const VALUE_NAME = 1; // of ValueInfoProto

/** @param {Uint8Array} model @returns {Uint8Array} */
export function withoutWeightInputs(model) {
  const fields = [...parse(model)];
  const at = fields.findIndex((field) => field.number === GRAPH);
  const graph = [...parse(fields[at].payload)];
  const weights = new Set(graph.filter((f) => f.number === INITIALIZER).map((f) => text(f.payload, TENSOR_NAME)));
  const kept = graph.filter((f) => f.number !== INPUT || !weights.has(text(f.payload, VALUE_NAME)));
  if (kept.length === graph.length) return model;
  const body = concat(kept.map((f) => f.whole));
  const changed = concat([varint((GRAPH << 3) | 2), varint(body.length), body]);
  return concat(fields.map((f, index) => (index === at ? changed : f.whole)));
}

/** The fields of a protobuf message: number, payload of bytes and messages, and the whole bytes. */
function* parse(bytes) {
  let at = 0;
  const read = () => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const start = at;
    const key = read();
    let payload = new Uint8Array();
    switch (key & 7) {
      case 0:
        read();
        break;
      case 1:
        at += 8;
        break;
      case 2: {
        const length = read();
        payload = bytes.subarray(at, at + length);
        at += length;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        throw new Error(`wire type ${key & 7} at byte ${start}: not an ONNX file`);
    }
    yield { number: key >>> 3, payload, whole: bytes.subarray(start, at) };
  }
}

function text(message, number) {
  for (const field of parse(message)) if (field.number === number) return new TextDecoder().decode(field.payload);
  return "";
}

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return new Uint8Array([...bytes, value]);
}

function concat(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
