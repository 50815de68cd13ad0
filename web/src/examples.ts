import type { Blob as GoldenBlob, Golden, GoldenCase, GoldenTensor, ModelConfig } from "./generated/types.js";
import { fromWireValues } from "./tensors.js";
import type { Example, InputValue, JsonValue } from "./types.js";

/** Golden examples with inputs that `predict` takes. */
export function toExamples({ cases }: Golden, { pipeline }: ModelConfig): Example[] {
  const name = pipeline?.input.name ?? "input";
  return cases.map((golden) => toExample(golden, name));
}

function toExample({ name, input, parameters, expect }: GoldenCase, inputName: string): Example {
  const mediaType = blobOf(input)?.media_type;
  return {
    name,
    inputs: inputsOf(input, inputName),
    parameters: (parameters ?? {}) as Record<string, JsonValue>,
    ...(expect.outputs && { outputs: expect.outputs as Record<string, JsonValue> }),
    ...(mediaType && { mediaType }),
  };
}

function inputsOf(input: GoldenCase["input"], name: string): Record<string, InputValue> {
  if ("tensors" in input) return Object.fromEntries(input.tensors.map((tensor) => [tensor.name, tensorOf(tensor)]));
  if ("record" in input) return { [name]: input.record as Record<string, number> };
  if ("text" in input) return { [name]: input.text };
  return { [name]: bytesOfBlob(blobOf(input) ?? {}) };
}

/** The file that an input is. */
function blobOf(input: GoldenCase["input"]): GoldenBlob | undefined {
  if ("picture" in input) return input.picture;
  if ("audio" in input) return input.audio;
  return "bytes" in input ? input.bytes : undefined;
}

function tensorOf({ name, dtype, shape, data }: GoldenTensor): InputValue {
  const elements = "strings" in data ? data.strings : fromBase64(data.base64);
  const { [name]: tensor } = fromWireValues([{ name, dtype, shape, data: elements }]);
  // A golden tensor is named: it is there.
  return tensor as InputValue;
}

function bytesOfBlob({ base64 }: GoldenBlob): Uint8Array<ArrayBuffer> {
  return fromBase64(base64 ?? "");
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}
