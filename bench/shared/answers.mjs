// The answers of different servers in one form: `{ labels, numbers }`. Who answers something else does
// another work, so they are compared before anything is measured.

/** How a server of each kind says what it predicts, by the kind of model. All take the parsed body. */
export const readers = {
  /** `twinfer serve` (`predict`) and FastAPI. */
  outputs: {
    table: ({ outputs: { label, probabilities } }) => ({ labels: [label], numbers: [probabilities.benign, probabilities.malignant] }),
    faces: ({ outputs: { boxes } }) => ({ labels: [], numbers: boxes.flatMap(({ x, y, width, height, score }) => [x, y, width, height, score]) }),
    "file-type": ({ outputs: { content_type: one } }) => ({ labels: [one.label], numbers: [one.score] }),
  },
  /** Open Inference Protocol v2, of MLServer. */
  tensors: {
    table: (body) => ({ labels: tensor(body, "output_label"), numbers: tensor(body, "output_probability") }),
    faces: (body) => ({ labels: [], numbers: tensor(body, "boxes") }),
    "file-type": (body) => ({ labels: tensor(body, "label"), numbers: tensor(body, "score") }),
  },
  /** MLflow's scoring server. */
  predictions: {
    table: ({ predictions: { output_label: labels, output_probability: [one] } }) => ({ labels, numbers: [one.benign, one.malignant] }),
    faces: ({ predictions: [boxes] }) => ({ labels: [], numbers: boxes.flat() }),
    "file-type": ({ predictions: [{ label, score }] }) => ({ labels: [label], numbers: [score] }),
  },
};

function tensor({ outputs }, name) {
  const found = outputs.find((output) => output.name === name);
  if (!found) throw new Error(`the answer has no tensor ${name}`);
  return found.data.flat(Infinity);
}

/** Two of single precision that summed in another order, pixels included. */
const NEAR = 1e-4;

/** What is different, in a sentence; nothing where it is the same answer. */
export function difference(got, expected) {
  if (got.labels.join() !== expected.labels.join()) return `labels ${got.labels.join()}, not ${expected.labels.join()}`;
  if (got.numbers.length !== expected.numbers.length) return `${got.numbers.length} numbers, not ${expected.numbers.length}`;
  const at = got.numbers.findIndex((value, n) => !(Math.abs(value - expected.numbers[n]) <= NEAR * (1 + Math.abs(expected.numbers[n]))));
  return at < 0 ? undefined : `number ${at} is ${got.numbers[at]}, not ${expected.numbers[at]}`;
}
