import { TwinferError, describe } from "./errors.js";
import { request } from "./fetch.js";
import type { Glue } from "./glue.js";
import { createGlue } from "./glue.js";
import { nodeFiles } from "./platform.js";

/** Compiled engines by address: compiled once, instantiated for every model. */
const compiled = new Map<string, Promise<WebAssembly.Module>>();

/** Where the engine is when nothing else is said: beside this module. */
export function defaultEngineUrl(): URL {
  return new URL("./twinfer_web_bg.wasm", import.meta.url);
}

/** Fetches and compiles the engine. A failure is not kept: the next load tries again. */
export function compileEngine(url: URL): Promise<WebAssembly.Module> {
  const known = compiled.get(url.href);
  if (known) return known;
  const made = compile(url);
  compiled.set(url.href, made);
  made.catch(() => compiled.delete(url.href));
  return made;
}

const WHAT = "the engine";

async function compile(url: URL): Promise<WebAssembly.Module> {
  try {
    const files = url.protocol === "file:" ? nodeFiles() : undefined;
    if (files) return await WebAssembly.compile(checked(await files.readFile(url), url));
    const response = await request(url, WHAT, "not_found", {});
    if (isWasmType(response)) return await WebAssembly.compileStreaming(response);
    // A wrong content type only costs the streaming; a wrong content is an error.
    return await WebAssembly.compile(checked(new Uint8Array(await response.arrayBuffer()), url));
  } catch (error) {
    if (error instanceof TwinferError) throw error;
    throw new TwinferError("network", `${WHAT}: ${url} could not be read and compiled: ${describe(error)}`, {
      cause: error,
    });
  }
}

function isWasmType(response: Response): boolean {
  return /^application\/wasm *(;|$)/i.test(response.headers.get("content-type") ?? "");
}

function checked(bytes: Uint8Array<ArrayBuffer>, url: URL): Uint8Array<ArrayBuffer> {
  const MAGIC = [0x00, 0x61, 0x73, 0x6d];
  if (MAGIC.every((byte, at) => bytes[at] === byte)) return bytes;
  const page = bytes.find((byte) => byte > 0x20) === 0x3c;
  const got = page ? "an HTML page" : "something else";
  throw new TwinferError(
    "network",
    `${WHAT}: ${url} is ${got}, not WebAssembly; serve twinfer_web_bg.wasm there, or give its address as engineUrl`,
  );
}

/** A fresh instance with a memory of its own; `trapped` is told when it stops while it waits. */
export async function startEngine(module: WebAssembly.Module, trapped: (error: unknown) => void): Promise<Glue> {
  const glue = createGlue(trapped);
  await glue.init({ module_or_path: module });
  return glue;
}
