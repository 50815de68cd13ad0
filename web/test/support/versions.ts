/** Packages of one model, version after version, and a web host that can do what good ones do. */
import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { RECORD_PIPELINE, Registry } from "./fixture.js";
import { doubling, padded, tripling } from "./onnx.js";

/** How much the model file of the versions has: enough for many pieces of a transfer. */
export const LARGE = 3 << 20;

export interface Versions {
  registry: Registry;
  /** Doubles. */
  one: string;
  /** Triples. */
  two: string;
  /** Triples, and its golden examples say that it doubles. */
  bad: string;
}

/** `record:stable` points to the first one. */
export function versions(): Versions {
  const registry = new Registry();
  const add = (version: string, factor: number, model: Uint8Array<ArrayBuffer>, seed: number): string => {
    const golden = { reference: "made by hand", cases: [{ name: "small", input: { record: { a: 1, b: 2 } }, expect: { outputs: { doubled: [[factor, 2 * factor]] } } }] };
    return registry.add({ name: "record", version, model: padded(model, LARGE, seed), pipeline: RECORD_PIPELINE, golden });
  };
  const one = add("1.0.0", 2, doubling("FP32", [1, 2]), 1);
  const two = add("2.0.0", 3, tripling("FP32", [1, 2]), 2);
  const bad = add("3.0.0", 2, tripling("FP32", [1, 2]), 3);
  registry.point("record:stable", one);
  return { registry, one, two, bad };
}

/** Answers with ETag and ranges, as web hosts do. */
export function host(request: IncomingMessage, response: ServerResponse, bytes: Uint8Array, headers: Record<string, string> = {}): void {
  const etag = `"${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}"`;
  const all = { etag, "content-type": "application/octet-stream", ...headers };
  if (request.headers["if-none-match"] === etag) return void response.writeHead(304, all).end();
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
  if (!range) return void response.writeHead(200, { ...all, "content-length": bytes.length }).end(bytes);
  const from = Number(range[1]);
  const part = bytes.subarray(from);
  response.writeHead(206, { ...all, "content-length": part.length, "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` }).end(part);
}
