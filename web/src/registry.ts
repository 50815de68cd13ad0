import { fromCache } from "./cache.js";
import { TwinferError, aborted, throwIfAborted } from "./errors.js";
import { read } from "./fetch.js";
import type { Need } from "./glue.js";
import { ACCEPT, contentUrl, index, repository } from "./oci.js";
import { baseUrl } from "./platform.js";

/** A package in a registry: an OCI image layout on any web host, or in a folder (Node); or an OCI registry. */
export interface Source {
  /** The folder with `index.json` and `blobs/`, or `oci://host/prefix`; ends with a slash. */
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
  if (isOci(source)) return index(repository(source.registry, source.reference), signal);
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
  /** How many loads wait for it; when the last one is cancelled, so is the download. */
  waiting: number;
  cancel: AbortController;
}

/**
 * Downloads by address: the same content is fetched once, also by loads that run at the same
 * time but do not ask in the same moment. So what has arrived stays here as long as there is
 * another load that may ask for it.
 */
const downloads = new Map<string, Download>();
let loads = 0;

/** Tells that a load runs; call what comes back at its end. */
export function beginLoad(): () => void {
  loads++;
  return () => {
    if (--loads === 0) downloads.clear();
  };
}

/** Lets the next load fetch it anew: what came was not what it should be. */
export function forgetDownload(source: Source, need: Need): void {
  downloads.delete(blobUrl(source, need).href);
}

function isOci({ registry }: Source): boolean {
  return registry.protocol === "oci:";
}

function blobUrl(source: Source, { digest, size }: Need): URL {
  const { registry, reference } = source;
  if (isOci(source)) return contentUrl(repository(registry, reference), digest, size === null);
  return new URL(`blobs/${digest.replace(":", "/")}`, registry);
}

async function download(source: Source, need: Need, { useCache, signal, onBytes }: GetOptions): Promise<Uint8Array<ArrayBuffer>> {
  const url = blobUrl(source, need);
  const current = downloads.get(url.href) ?? begin(url, need, useCache, isOci(source));
  const listener = (loaded: number): void => onBytes?.(loaded, false);
  let leave = (): void => {};
  const left = new Promise<never>((_, reject) => {
    leave = () => {
      if (signal) reject(aborted(signal));
      if (--current.waiting === 0) current.cancel.abort();
    };
  });
  current.waiting++;
  current.listeners.add(listener);
  signal?.addEventListener("abort", leave, { once: true });
  try {
    const bytes = await Promise.race([current.bytes, left]);
    // The only one who wants it gets it without a copy.
    if (loads > 1) return bytes.slice();
    downloads.delete(url.href);
    return bytes;
  } finally {
    signal?.removeEventListener("abort", leave);
    current.listeners.delete(listener);
  }
}

function begin(url: URL, need: Need, useCache: boolean, oci: boolean): Download {
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
    ...(oci && { headers: ACCEPT }),
  });
  const made: Download = { bytes, listeners, waiting: 0, cancel };
  downloads.set(url.href, made);
  const remove = (): void => {
    if (downloads.get(url.href) === made) downloads.delete(url.href);
  };
  cancel.signal.addEventListener("abort", remove, { once: true });
  // A failure is not kept: the next one who asks tries again.
  bytes.catch(remove);
  return made;
}
