/** Bodies of `predict`: what a page has, in the form in which the server takes the same. */

import { TwinferError } from "../errors.js";
import type { InputStep } from "../generated/types.js";
import type { Pixels } from "../types.js";
import type { WireInput } from "../wire.js";
import { textOf } from "./tensors.js";
import { wav } from "./wav.js";

/** The body of a request. */
export interface Body {
  type: string;
  /** Without the question mark. */
  query: string;
  body: BodyInit;
  headers?: Record<string, string>;
}

const JSON_TYPE = "application/json";
const BYTES_TYPE = "application/octet-stream";

export async function predictBody(step: InputStep | undefined, input: WireInput, parameters: object): Promise<Body> {
  switch (input.kind) {
    case "bitmap":
      throw new TwinferError("internal", "a bitmap is read before it is sent");
    case "pixels":
      return content(step, await png(input.pixels), parameters);
    case "picture":
    case "bytes":
    case "audio":
      return content(step, input.bytes, parameters);
    case "samples":
      return content(step, wav(input.sampleRate, input.channels, input.samples), parameters);
    case "text": {
      const [first, ...others] = input.texts;
      return envelope(step?.name ?? "text", others.length === 0 ? first : input.texts, parameters);
    }
    case "record":
      return record(step, input.record, parameters);
    case "tensors": {
      const tensors = input.tensors.map(textOf);
      return envelope("tensors", tensors, parameters);
    }
  }
}

/** As it is; parameters beside it, where they are texts as a query string has them. */
function content(step: InputStep | undefined, bytes: Uint8Array, parameters: object): Body {
  const entries = Object.entries(parameters) as [string, unknown][];
  if (entries.every(([, value]) => typeof value === "string")) {
    return { type: BYTES_TYPE, query: String(new URLSearchParams(entries as [string, string][])), body: bytes as Uint8Array<ArrayBuffer> };
  }
  return envelope(step?.name ?? "input", { base64: base64(bytes) }, parameters);
}

function record(step: InputStep | undefined, cells: object, parameters: object): Body {
  const columns = step?.kind === "record" ? step.columns : [];
  // A column with this name makes the envelope a record.
  if (!columns.some(({ name }) => name === "inputs")) return envelope(step?.name ?? "record", cells, parameters);
  const query = new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)]));
  return { type: JSON_TYPE, query: String(query), body: JSON.stringify(cells) };
}

function envelope(name: string, value: unknown, parameters: object): Body {
  return { type: JSON_TYPE, query: "", body: JSON.stringify({ inputs: { [name]: value }, parameters }) };
}

/** Pixels as a file that loses nothing but alpha, which the engine ignores. */
async function png({ width, height, data }: Pixels): Promise<Uint8Array> {
  if (typeof globalThis.OffscreenCanvas !== "function") throw new TwinferError("invalid_input", "pixels cannot be sent to the server from here: give the file of the picture (PNG, JPEG or WebP)");
  if (data.length !== width * height * 4) throw new TwinferError("invalid_picture", `a picture of ${width} x ${height} has ${width * height * 4} bytes, got ${data.length}`);
  const opaque = new Uint8ClampedArray(data);
  // With alpha a canvas would multiply it in.
  for (let at = 3; at < opaque.length; at += 4) opaque[at] = 255;
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")?.putImageData(new ImageData(opaque, width, height), 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/png" });
  return new Uint8Array(await blob.arrayBuffer());
}

/** In pieces: a call takes only so many arguments. */
export function base64(bytes: Uint8Array): string {
  const PIECE = 0x8000;
  let binary = "";
  for (let at = 0; at < bytes.length; at += PIECE) binary += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  return btoa(binary);
}
