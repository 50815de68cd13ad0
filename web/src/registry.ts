import { fromCache } from "./cache.js";
import { TwinferError, aborted, throwIfAborted } from "./errors.js";
import { read } from "./fetch.js";
import type { Need } from "./glue.js";
import { baseUrl } from "./platform.js";

/** A package in a registry: an OCI image layout on any web host, or in a folder (Node). */
export interface Source {
  /** The folder with `index.json` and `blobs/`; ends with a slash. */
  registry: URL;
  /** `name`, `name:tag` or `name@sha256:…`. */
  reference: string;
}

/** The same limits as in `twinfer-package`, which checks them again. */
const MAX_INDEX_BYTES = 16 << 20;
const MAX_MANIFEST_BYTES = 4 << 20;

/** Splits `<registry>/<reference>`. */
export function parseSource(address: string): Source {
  const cut = String(address).lastIndexOf("/") + 1;
  const reference = address.slice(cut);
  if (cut === 0 || reference === "") {
    throw new TwinferError(
      "invalid_reference",
      `\`${address}\` does not say which package of which registry: write <registry>/<name>:<version>, like /registry/face-detector:1.0.0`,
    );
  }
  try {
    return { registry: new URL(address.slice(0, cut), baseUrl()), reference: decodeURIComponent(reference) };
  } catch (error) {
    throw new TwinferError("invalid_reference", `\`${address}\` is not an address`, { cause: error });
  }
}

/** The digest in a reference, where there is one. */
export function pinnedDigest(reference: string): string | undefined {
  const at = reference.indexOf("@");
  return at < 0 ? undefined : reference.slice(at + 1);
}

export function readIndex(source: Source, signal: AbortSignal | undefined): Promise<Uint8Array<ArrayBuffer>> {
  const url = new URL("index.json", source.registry);
  // Tags move: what the browser has is only used after asking.
  return read({ url, what: "the index of the registry", limit: MAX_INDEX_BYTES, missing: "not_found", signal, cache: "no-cache" });
}

/** Content of the registry, not verified yet. */
export interface Content {
  bytes: Uint8Array<ArrayBuffer>;
  /** It came from the cache. */
  cached: boolean;
}

export interface GetOptions {
  useCache: boolean;
  signal?: AbortSignal | undefined;
  /** Called with the bytes so far, and whether they come from the cache. */
  onBytes?: ((loaded: number, cached: boolean) => void) | undefined;
}

/** Gets content by its digest: from the cache, or from the registry. */
export async function getContent(source: Source, need: Need, options: GetOptions): Promise<Content> {
  const kept = options.useCache ? await fromCache(need.digest) : undefined;
  throwIfAborted(options.signal);
  if (kept) {
    options.onBytes?.(kept.length, true);
    return { bytes: kept, cached: true };
  }
  return { bytes: await download(source, need, options), cached: false };
}

/** A download that several loads may wait for. */
interface Download {
  bytes: Promise<Uint8Array<ArrayBuffer>>;
  listeners: Set<(loaded: number) => void>;
  /** How many loads waited in all: with more than one, each gets a copy. */
  users: number;
  /** How many still wait; at 0 it is cancelled. */
  waiting: number;
  cancel: AbortController;
}

/** Downloads that are under way, by address: the same content is fetched once. */
const downloads = new Map<string, Download>();

async function download(source: Source, need: Need, { useCache, signal, onBytes }: GetOptions): Promise<Uint8Array<ArrayBuffer>> {
  const url = new URL(`blobs/${need.digest.replace(":", "/")}`, source.registry);
  const known = downloads.get(url.href);
  const current = known ?? begin(url, need, useCache);
  current.users++;
  current.waiting++;
  const listener = (loaded: number): void => onBytes?.(loaded, false);
  current.listeners.add(listener);
  let leave = (): void => {};
  const left = new Promise<never>((_, reject) => {
    leave = () => {
      if (signal) reject(aborted(signal));
      if (--current.waiting === 0) current.cancel.abort();
    };
    signal?.addEventListener("abort", leave, { once: true });
  });
  try {
    const bytes = await Promise.race([current.bytes, left]);
    return current.users > 1 ? bytes.slice() : bytes;
  } finally {
    signal?.removeEventListener("abort", leave);
    current.listeners.delete(listener);
  }
}

function begin(url: URL, need: Need, useCache: boolean): Download {
  const cancel = new AbortController();
  const listeners = new Set<(loaded: number) => void>();
  const manifest = need.size === null;
  const bytes = read({
    url,
    what: manifest ? `the manifest ${need.digest}` : `layer ${need.name} (${need.digest})`,
    limit: need.size ?? MAX_MANIFEST_BYTES,
    missing: manifest ? "unknown_version" : "missing_blob",
    signal: cancel.signal,
    onBytes: (loaded) => listeners.forEach((listener) => listener(loaded)),
    // Kept under its digest by us; a second copy in the browser's own cache has no use.
    cache: useCache && "caches" in globalThis ? "no-store" : "default",
  });
  const made: Download = { bytes, listeners, users: 0, waiting: 0, cancel };
  downloads.set(url.href, made);
  const remove = (): void => {
    if (downloads.get(url.href) === made) downloads.delete(url.href);
  };
  cancel.signal.addEventListener("abort", remove, { once: true });
  bytes.then(remove, remove);
  return made;
}
