import { EngineUnavailable, TwinferError, describe } from "./errors.js";
import { request } from "./fetch.js";
import type { EngineKind } from "./generated/types.js";
import { digestOf } from "./oci.js";
import { nodeFiles } from "./platform.js";
import type { Storage } from "./storage/storage.js";
import type { ModelEngine } from "./types.js";

/** An engine that can be started. */
export interface Candidate {
  kind: EngineKind | "full";
  /** Of the file; absent for one at an address of the caller's. */
  digest?: string;
  size?: number;
  /** Where it is, the best first. */
  urls: URL[];
  /** The package that it was chosen for; only for what a registry lists. */
  package?: string;
  /** It is in the storage. */
  kept?: boolean;
  /** It may be kept there. */
  keep?: boolean;
  /** Asks the trust policy, where there is one: an engine that it has something against fails here, at once or later. */
  admit?: () => Promise<Admission>;
}

/** What a trust policy said of an engine. */
export interface Admission {
  /** The keys that signed it. */
  keys: string[];
  /** The signatures that came over the network, to be kept with the engine. */
  fetched: Content[];
}

/** A blob with its digest. */
export interface Content {
  digest: string;
  bytes: Uint8Array<ArrayBuffer>;
}

/** Compiled engines by digest, full ones by address: compiled once, instantiated for every model. */
const compiled = new Map<string, Promise<WebAssembly.Module>>();

/** Where the full engine is when nothing else is said: beside this module. */
export function defaultEngineUrl(): URL {
  return new URL("./twinfer_web_bg.wasm", import.meta.url);
}

export function fullEngine(url: URL, digest: string | undefined): Candidate {
  return { kind: "full", urls: [url], ...(digest !== undefined && { digest }) };
}

/** Whether this page has it: by digest, a full one by address. */
export function compiledAlready(key: string): boolean {
  return compiled.has(key);
}

/** Addresses of engines that this page runs, but for those in the storage of the browser. */
const addresses = new Set<string>();
/** It runs engines that are slim or fused. */
let runsDerived = false;

export function enginesInUse(): { addresses: readonly string[]; derived: boolean } {
  return { addresses: [...addresses], derived: runsDerived };
}

/** An engine was fetched from here, by this thread or by a worker. */
export function inUse(url: string): void {
  addresses.add(url);
}

/** What is said of an engine. */
export function described({ kind, digest, urls, kept }: Candidate): ModelEngine {
  const [url] = urls;
  return { kind, ...(digest !== undefined && { digest }), ...(url && !kept && { url: url.href }) };
}

/** Fetches and compiles a full engine. A failure is not kept: the next load tries again. */
export function compileEngine(url: URL): Promise<WebAssembly.Module> {
  return once(url.href, () => compile(url));
}

/**
 * Fetches, verifies and compiles a slim or fused engine: first from the storage, then from one
 * address after the other. `fetched` gets its bytes where they did not come from the storage.
 */
export function compileDerived(candidate: Candidate, storage: Storage | undefined, fetched: (bytes: Uint8Array<ArrayBuffer>) => void): Promise<WebAssembly.Module> {
  runsDerived = true;
  return once(candidate.digest ?? "", () => derived(candidate, storage, fetched));
}

function once(key: string, make: () => Promise<WebAssembly.Module>): Promise<WebAssembly.Module> {
  const known = compiled.get(key);
  if (known) return known;
  const made = make();
  compiled.set(key, made);
  made.catch(() => compiled.delete(key));
  return made;
}

const WHAT = "the engine";
const WASM = "application/wasm";

async function compile(url: URL): Promise<WebAssembly.Module> {
  try {
    const files = filesOf(url);
    if (files) return await WebAssembly.compile(checked(await files.readFile(url), url));
    const response = await request(url, WHAT, "not_found", {});
    const module = isWasmType(response)
      ? await WebAssembly.compileStreaming(response)
      : // A wrong content type only costs the streaming; a wrong content is an error.
        await WebAssembly.compile(checked(new Uint8Array(await response.arrayBuffer()), url));
    inUse(url.href);
    return module;
  } catch (error) {
    throw unreadable(error, url);
  }
}

async function derived(candidate: Candidate, storage: Storage | undefined, fetched: (bytes: Uint8Array<ArrayBuffer>) => void): Promise<WebAssembly.Module> {
  const { digest = "", size = 0, urls, kept } = candidate;
  const bytes = kept ? await storage?.read(digest.slice("sha256:".length), size).catch(() => undefined) : undefined;
  // What is damaged there is fetched, and takes its place.
  const module = bytes?.length === size ? await whole(bytes, digest) : undefined;
  if (module) return module;
  let problem: unknown = new TwinferError("not_found", `${WHAT} ${digest} is not in the storage, and must not be asked for`);
  for (const url of urls) {
    try {
      const module = await verified(url, digest, size, fetched);
      // Those of a registry are in the storage, or not meant to be kept.
      if (candidate.package === undefined) inUse(url.href);
      return module;
    } catch (error) {
      problem = unreadable(error, url);
    }
  }
  throw problem;
}

/** Compiles while it hashes; nothing where the digest is another one. */
async function whole(bytes: Uint8Array<ArrayBuffer>, digest: string): Promise<WebAssembly.Module | undefined> {
  const module = WebAssembly.compile(bytes);
  // What is damaged may be no module.
  module.catch(() => undefined);
  return (await digestOf(bytes)) === digest ? module : undefined;
}

/** Compiles while it hashes. The module is given to nobody before the digest is right. */
async function verified(url: URL, digest: string, size: number, fetched: (bytes: Uint8Array<ArrayBuffer>) => void): Promise<WebAssembly.Module> {
  const abort = new AbortController();
  try {
    const files = filesOf(url);
    const body = files ? new Blob([await files.readFile(url)]).stream() : (await request(url, WHAT, "not_found", { signal: abort.signal })).body;
    if (!body) throw new TwinferError("network", `${WHAT}: ${url} has nothing in it`);
    const [one, two] = body.tee();
    const headers = { "content-type": WASM };
    const module = typeof WebAssembly.compileStreaming === "function" ? WebAssembly.compileStreaming(new Response(one, { headers })) : undefined;
    // Both fail where one does; the reason of the other is the better one.
    module?.catch(() => undefined);
    const bytes = await readAll(two, size);
    const found = await digestOf(bytes);
    if (bytes.length !== size || found !== digest) {
      const much = bytes.length > size ? `more than ${size}` : String(bytes.length);
      throw new TwinferError("digest_mismatch", `${WHAT}: ${url} has ${much} bytes with the digest ${found}, not ${size} with ${digest}`);
    }
    const made = await (module ?? WebAssembly.compile(bytes));
    fetched(bytes);
    return made;
  } catch (error) {
    abort.abort();
    throw error;
  }
}

/** All of it, but no more than a piece more than the limit. */
async function readAll(body: ReadableStream<Uint8Array<ArrayBuffer>>, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  const reader = body.getReader();
  for (let length = 0; length <= limit; ) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    length += value.length;
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

function filesOf(url: URL): ReturnType<typeof nodeFiles> {
  return url.protocol === "file:" ? nodeFiles() : undefined;
}

function unreadable(error: unknown, url: URL): EngineUnavailable {
  if (error instanceof TwinferError) return new EngineUnavailable(error.code, error.message, { cause: error.cause ?? error });
  return new EngineUnavailable("network", `${WHAT}: ${url} could not be read and compiled: ${describe(error)}`, { cause: error });
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
