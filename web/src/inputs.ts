import { TwinferError, describe } from "./errors.js";
import type { ModelConfig, Signature } from "./generated/types.js";
import { bytesOf, isTensor, kindOf, toWireValues } from "./tensors.js";
import type { AudioSource, ByteSource, InputValue, ModelInput, Pixels } from "./types.js";
import type { WireInput, WireValue } from "./wire.js";

/** An input on its way, with the buffers that are handed over. */
export interface Packed<T> {
  value: T;
  transfer: Transferable[];
}

/** How buffers of the caller are treated. */
export interface Ownership {
  /** The engine is on another thread: what is sent must be its own. */
  away: boolean;
  /** The caller gives the buffers away. */
  given: boolean;
}

/** The input of `predict`, for the engine. */
export async function packInput(
  inputs: Readonly<Record<string, InputValue>>,
  { pipeline }: ModelConfig,
  signature: Signature,
  ownership: Ownership,
): Promise<Packed<WireInput>> {
  if (typeof inputs !== "object" || inputs === null) {
    throw new TwinferError("invalid_input", `expected an object of named inputs, got ${kindOf(inputs)}`);
  }
  const entries = Object.entries(inputs);
  if (!pipeline || (entries.length > 0 && entries.every(([, value]) => isTensor(value)))) {
    const { value: tensors, transfer } = packTensors(inputs as Record<string, ModelInput>, signature, ownership);
    return { value: { kind: "tensors", tensors }, transfer };
  }
  const { name, kind } = pipeline.input;
  const other = entries.find(([key]) => key !== name);
  if (other) {
    throw new TwinferError("unknown_input", `there is no input \`${other[0]}\`; the model takes \`${name}\` (${kind})`);
  }
  const value = inputs[name];
  if (value === undefined || value === null) {
    throw new TwinferError("missing_input", `input \`${name}\` (${kind}) is missing`);
  }
  switch (kind) {
    case "picture":
      return packPicture(name, value, ownership);
    case "bytes":
      return packBytes(name, value, ownership, "bytes");
    case "audio":
      return packAudio(name, value, ownership);
    case "text":
      return { value: { kind: "text", texts: toTexts(name, value) }, transfer: [] };
    case "record":
      return { value: { kind: "record", record: toRecord(name, value) }, transfer: [] };
  }
}

/** Values for the engine. */
export function packTensors(
  tensors: Readonly<Record<string, ModelInput>>,
  signature: Signature,
  ownership: Ownership,
): Packed<WireValue[]> {
  const transfer: Transferable[] = [];
  const pack = (one: WireValue): WireValue => {
    if ("sequence" in one) return { ...one, sequence: one.sequence.map(pack) };
    if ("maps" in one) return one;
    if ("optional" in one) return { ...one, optional: one.optional && pack(one.optional) };
    if (!(one.data instanceof Uint8Array)) return one;
    const { value: data, transfer: own } = packView(one.data, ownership);
    transfer.push(...own);
    return { ...one, data };
  };
  const value = toWireValues(tensors, signature).map(pack);
  // Two tensors on one buffer: it can be handed over only once.
  return { value, transfer: [...new Set(transfer)] };
}

async function packPicture(name: string, value: InputValue, ownership: Ownership): Promise<Packed<WireInput>> {
  if (isBytes(value)) return packBytes(name, value, ownership, "picture");
  if (isPixels(value)) {
    const { width, height } = value;
    const { value: data, transfer } = packView(value.data, ownership);
    return { value: { kind: "pixels", pixels: { width, height, data } }, transfer };
  }
  if (!isDrawable(value)) {
    const wanted = "bytes of a PNG, JPEG or WebP file, a Blob, an ImageData, an ImageBitmap, a canvas or an image element";
    throw new TwinferError("invalid_input", `input \`${name}\` must be a picture (${wanted}), got ${kindOf(value)}`);
  }
  try {
    // A copy in any case, so the caller's own stays usable; it is read on the engine's thread.
    const bitmap = await createImageBitmap(value);
    return { value: { kind: "bitmap", bitmap }, transfer: [bitmap] };
  } catch (error) {
    const text = `input \`${name}\`: the browser cannot draw it (${describe(error)}); is it loaded, and larger than 0 x 0?`;
    throw new TwinferError("invalid_picture", text, { cause: error });
  }
}

export async function packBytes(name: string, value: InputValue, ownership: Ownership, kind: "picture" | "bytes" | "audio"): Promise<Packed<{ kind: "picture" | "bytes" | "audio"; bytes: Uint8Array }>> {
  if (!isBytes(value)) {
    const hint = typeof value === "string" ? "; encode text with TextEncoder" : "";
    throw new TwinferError("invalid_input", `input \`${name}\` must be bytes (ArrayBuffer, typed array or Blob), got ${kindOf(value)}${hint}`);
  }
  try {
    if (isBlob(value)) {
      const bytes = new Uint8Array(await value.arrayBuffer());
      return { value: { kind, bytes }, transfer: ownership.away ? [bytes.buffer] : [] };
    }
    const view = value instanceof ArrayBuffer ? new Uint8Array(value) : bytesOf(value);
    const { value: bytes, transfer } = packView(view, ownership);
    return { value: { kind, bytes }, transfer };
  } catch (error) {
    // A file that changed since it was chosen, or a buffer that was handed over before.
    throw new TwinferError("invalid_input", `input \`${name}\` cannot be read: ${describe(error)}`, { cause: error });
  }
}

async function packAudio(name: string, value: InputValue, ownership: Ownership): Promise<Packed<WireInput>> {
  if (isBytes(value)) return packBytes(name, value, ownership, "audio");
  if (!isSamples(value)) {
    const wanted = "bytes of a WAV file, a Blob, an AudioBuffer, or { sampleRate, channels: [Float32Array, …] }";
    throw new TwinferError("invalid_input", `input \`${name}\` must be a sound (${wanted}), got ${kindOf(value)}`);
  }
  const channels = "getChannelData" in value ? Array.from({ length: value.numberOfChannels }, (_, at) => value.getChannelData(at)) : value.channels;
  const length = channels[0]?.length ?? 0;
  if (!channels.every((channel) => channel instanceof Float32Array && channel.length === length)) {
    throw new TwinferError("invalid_audio", `input \`${name}\`: every channel must be a Float32Array, all of the same length`);
  }
  const { sampleRate } = value;
  if (!Number.isInteger(sampleRate) || sampleRate < 1 || sampleRate > 0xffff_ffff) {
    throw new TwinferError("invalid_audio", `input \`${name}\`: the sample rate must be a whole number of Hz, got ${sampleRate}`);
  }
  // One after the other: a copy in any case, which is sent on.
  const samples = new Float32Array(length * channels.length);
  channels.forEach((channel, at) => samples.set(channel, at * length));
  return { value: { kind: "samples", sampleRate, channels: channels.length, samples }, transfer: ownership.away ? [samples.buffer] : [] };
}

/** A text, or a list of them. */
function toTexts(name: string, value: InputValue): readonly string[] {
  const texts: readonly unknown[] = Array.isArray(value) ? value : [value];
  const other = texts.find((text) => typeof text !== "string");
  if (other !== undefined) {
    const hint = isBytes(other as InputValue) ? "; decode bytes with TextDecoder" : "";
    throw new TwinferError("invalid_input", `input \`${name}\` must be a text, or a list of texts, got ${kindOf(other)}${hint}`);
  }
  return texts as readonly string[];
}

/** Bytes as they are sent: as they are, handed over, or as the one copy that is made. */
function packView(view: ArrayBufferView, { away, given }: Ownership): Packed<Uint8Array> {
  const bytes = bytesOf(view);
  if (!away) return { value: bytes, transfer: [] };
  if (given && bytes.buffer instanceof ArrayBuffer) return { value: bytes, transfer: [bytes.buffer] };
  // `new Uint8Array`, not `slice`: a view of shared memory becomes one that can be sent.
  const copy = new Uint8Array(bytes);
  return { value: copy, transfer: [copy.buffer] };
}

function isBlob(value: unknown): value is globalThis.Blob {
  return typeof globalThis.Blob === "function" && value instanceof globalThis.Blob;
}

function isBytes(value: unknown): value is ByteSource {
  return value instanceof ArrayBuffer || ArrayBuffer.isView(value) || isBlob(value);
}

function isPixels(value: unknown): value is Pixels {
  const { width, height, data } = (value ?? {}) as Partial<Pixels>;
  const bytes = data instanceof Uint8ClampedArray || data instanceof Uint8Array;
  return bytes && Number.isInteger(width) && Number.isInteger(height);
}

function isSamples(value: unknown): value is Exclude<AudioSource, ByteSource> {
  const { sampleRate, channels, getChannelData } = (value ?? {}) as { sampleRate?: unknown; channels?: unknown; getChannelData?: unknown };
  return typeof sampleRate === "number" && (Array.isArray(channels) || typeof getChannelData === "function");
}

/** What the browser has decoded, or draws. */
export function isDrawable(value: unknown): value is ImageBitmapSource {
  const names = ["ImageBitmap", "HTMLImageElement", "HTMLCanvasElement", "HTMLVideoElement", "OffscreenCanvas", "VideoFrame"];
  const classes = globalThis as unknown as Record<string, (new () => unknown) | undefined>;
  return names.some((name) => {
    const known = classes[name];
    return known !== undefined && value instanceof known;
  });
}

/** A record with only what JSON has, where it means the same. */
function toRecord(name: string, value: InputValue): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  const plain = typeof value === "object" && !Array.isArray(value) && !isBytes(value);
  if (!plain) {
    throw new TwinferError("invalid_input", `input \`${name}\` must be a record, { column: value }, got ${kindOf(value)}`);
  }
  const entries: [string, unknown][] = value instanceof Map ? [...(value as ReadonlyMap<string, unknown>)] : Object.entries(value);
  for (const [column, cell] of entries) {
    const missing = cell === undefined || cell === null || Number.isNaN(cell);
    if (missing) {
      record[column] = null;
    } else if (Number.isFinite(cell) || typeof cell === "boolean" || typeof cell === "string") {
      record[column] = cell;
    } else {
      const got = typeof cell === "number" ? String(cell) : kindOf(cell);
      throw new TwinferError("invalid_record", `input \`${name}\`: column \`${column}\` is ${got}, expected a finite number`);
    }
  }
  return record;
}
