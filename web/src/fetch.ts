import { TwinferError, aborted, describe, throwIfAborted } from "./errors.js";
import type { ErrorCode } from "./generated/errors.js";
import { nodeFiles } from "./platform.js";

/** What is read, for messages and limits. */
export interface Wanted {
  url: URL;
  /** What it is, for people: `layer model.onnx`. */
  what: string;
  /** More bytes than this are not read: reading ends as soon as there are more. */
  limit: number;
  /** The code for an address where there is nothing. */
  missing: ErrorCode;
  signal?: AbortSignal | undefined;
  cache?: RequestCache;
  headers?: Record<string, string>;
}

/**
 * Reads a small file as a whole: a policy, a manifest. What comes back is at most one byte longer than the
 * limit: enough for the caller's check of the size to see that it is too long.
 */
export async function read(wanted: Wanted): Promise<Uint8Array<ArrayBuffer>> {
  throwIfAborted(wanted.signal);
  if (wanted.url.protocol === "file:") return readFile(wanted);
  const response = await request(wanted.url, wanted.what, wanted.missing, {
    signal: wanted.signal ?? null,
    ...(wanted.cache && { cache: wanted.cache }),
    ...(wanted.headers && { headers: wanted.headers }),
  });
  try {
    return await readBody(response, wanted);
  } catch (error) {
    if (wanted.signal?.aborted) throw aborted(wanted.signal);
    if (error instanceof TwinferError) throw error;
    throw new TwinferError("network", `${wanted.what}: the transfer from ${wanted.url} broke off: ${describe(error)}`, {
      cause: error,
    });
  }
}

/** A response with status 200 or one of these, or an error that says what is wrong. */
export async function request(url: URL, what: string, missing: ErrorCode, init: RequestInit, also: readonly number[] = []): Promise<Response> {
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new TwinferError("invalid_reference", `${what}: ${url.protocol} addresses are not read: give one with http or https`);
  }
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw aborted(init.signal);
    throw new TwinferError("network", `${what}: ${url} could not be fetched: ${describe(error)}`, { cause: error });
  }
  if (response.ok || also.includes(response.status)) return response;
  await response.body?.cancel().catch(() => undefined);
  const code = codeOf(response.status, missing);
  throw new TwinferError(code, `${what}: ${url} answered with status ${response.status} ${response.statusText}`.trimEnd());
}

function codeOf(status: number, missing: ErrorCode): ErrorCode {
  switch (status) {
    case 401:
    case 403:
      return "unauthorized";
    case 404:
    case 410:
      return missing;
    case 416:
      // There is less than what an earlier answer gave.
      return "size_mismatch";
    default:
      return "network";
  }
}

async function readBody(response: Response, wanted: Wanted): Promise<Uint8Array<ArrayBuffer>> {
  const reader = response.body?.getReader();
  if (!reader) return new Uint8Array();
  let buffer = allocate(Math.min(wanted.limit, firstSize(response)) + 1, wanted);
  let filled = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const fits = Math.min(value.length, wanted.limit + 1 - filled);
    if (filled + fits > buffer.length) {
      const larger = allocate(Math.min(Math.max(buffer.length * 2, filled + fits), wanted.limit + 1), wanted);
      larger.set(buffer.subarray(0, filled));
      buffer = larger;
    }
    buffer.set(value.subarray(0, fits), filled);
    filled += fits;
    if (filled > wanted.limit) {
      await reader.cancel();
      break;
    }
  }
  return buffer.subarray(0, filled);
}

/** How much room to make at first: the announced length, which a compressed body exceeds. */
function firstSize(response: Response): number {
  const UNKNOWN = 1 << 20;
  const announced = Number(response.headers.get("content-length") ?? Number.NaN);
  return Number.isSafeInteger(announced) && announced >= 0 ? announced : UNKNOWN;
}

function allocate(size: number, wanted: Wanted): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(size);
  } catch (error) {
    throw new TwinferError("out_of_memory", `${wanted.what}: there is no memory for ${size} bytes`, { cause: error });
  }
}

async function readFile(wanted: Wanted): Promise<Uint8Array<ArrayBuffer>> {
  const files = nodeFiles();
  if (!files) {
    throw new TwinferError("invalid_reference", `${wanted.what}: a page cannot read files; give an address with http or https`);
  }
  try {
    const { size } = await files.stat(wanted.url);
    if (size > wanted.limit) {
      // Not read at all; its length alone is what the caller's check needs.
      return allocate(wanted.limit + 1, wanted);
    }
    const bytes = await files.readFile(wanted.url);
    throwIfAborted(wanted.signal);
    return bytes;
  } catch (error) {
    if (error instanceof TwinferError) throw error;
    const code = (error as { code?: unknown }).code === "ENOENT" ? wanted.missing : "storage";
    throw new TwinferError(code, `${wanted.what}: ${describe(error)}`, { cause: error });
  }
}
