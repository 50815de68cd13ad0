/**
 * For the service worker of a page: with the network off it gives the page, its scripts and the
 * engine from the last copy that was complete. Packages are not its business: the versioned
 * cache keeps those.
 *
 * ```js
 * // /sw.js
 * import { serveOffline } from "/twinfer/service-worker.js";
 * serveOffline();
 * ```
 */

/** What this uses of `ServiceWorkerGlobalScope`; the lib of this project is that of pages. */
interface Scope {
  readonly caches: CacheStorage;
  readonly clients: { claim(): Promise<void> };
  readonly registration: { readonly scope: string };
  skipWaiting(): Promise<void>;
  addEventListener(type: "install" | "activate", listener: (event: Lasting) => void): void;
  addEventListener(type: "fetch", listener: (event: Fetching) => void): void;
  addEventListener(type: "message", listener: (event: Messaging) => void): void;
}

interface Lasting extends Event {
  waitUntil(work: Promise<unknown>): void;
}

interface Fetching extends Lasting {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

interface Messaging extends MessageEvent, Lasting {}

export interface OfflineOptions {
  /** Milliseconds that a page may take to come from the network when there is a copy of it; 4000. */
  patience?: number;
  /** Requests that are left alone, whatever there is a copy of. */
  except?: (url: URL) => boolean;
}

/** What `keepOffline` sends. */
export interface Keep {
  type: "twinfer-keep";
  /** Addresses that must be kept. */
  files: string[];
  /** Addresses that are kept where there is something. */
  perhaps: string[];
  /** Addresses that are not kept, whatever refers to them. */
  skip?: string[];
}

/** What comes back. */
export type KeepAnswer = { kept: { files: number; bytes: number } } | { error: { code: "network" | "out_of_space" | "storage"; message: string } };

/** The name has the version of this format in it, and after that the time of the copy. */
const PREFIX = "twinfer-page-v1-";

/** The name in a new copy's cache for "all of it is there". */
const COMPLETE = "/.twinfer/complete";

/** Answers the requests of the page from the network, and without one from the last copy. */
export function serveOffline({ patience = 4000, except = () => false }: OfflineOptions = {}): void {
  const scope = globalThis as unknown as Scope;
  // Nothing is given from a copy while there is a network: a new worker can take over at once.
  scope.addEventListener("install", (event) => event.waitUntil(scope.skipWaiting()));
  scope.addEventListener("activate", (event) => event.waitUntil(scope.clients.claim()));
  scope.addEventListener("fetch", (event) => {
    const { request } = event;
    const url = new URL(request.url);
    if (request.method !== "GET" || url.origin !== location.origin || request.headers.has("range") || except(url)) return;
    // A script that fetches past all caches wants the truth or nothing: the index of a registry.
    // (A page that is loaded again comes the same way, and is meant.)
    if (request.destination === "" && ["no-store", "reload", "no-cache"].includes(request.cache)) return;
    event.respondWith(answer(request, request.mode === "navigate" ? patience : Number.POSITIVE_INFINITY));
  });
  scope.addEventListener("message", (event) => {
    const message = event.data as Keep | undefined;
    const port = event.ports[0];
    if (message?.type !== "twinfer-keep" || !port) return;
    event.waitUntil(keep(message).then((reply: KeepAnswer) => port.postMessage(reply)));
  });
}

/** From the network; where that fails or takes too long, from the last copy, if it is in it. */
async function answer(request: Request, patience: number): Promise<Response> {
  const network = fetch(request);
  if (Number.isFinite(patience)) {
    const late = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), patience));
    const first = await Promise.race([network.catch(() => undefined), late]);
    if (first) return first;
    return (await copy(request)) ?? network;
  }
  try {
    return await network;
  } catch (error) {
    const kept = await copy(request);
    if (kept) return kept;
    throw error;
  }
}

async function copy(request: Request): Promise<Response | undefined> {
  const name = (await copies()).at(-1);
  if (name === undefined) return undefined;
  const cache = await caches.open(name);
  // A page is the same page whatever is searched in it.
  return cache.match(request, { ignoreSearch: request.mode === "navigate", ignoreVary: true });
}

/** The complete copies, the newest last. */
async function copies(): Promise<string[]> {
  const names = (await caches.keys()).filter((name) => name.startsWith(PREFIX)).sort();
  const complete: string[] = [];
  for (const name of names) {
    if (await (await caches.open(name)).match(COMPLETE)) complete.push(name);
  }
  return complete;
}

/** Makes a new copy. The one before it stays until all of the new one is there. */
async function keep({ files, perhaps, skip = [] }: Keep): Promise<KeepAnswer> {
  // Ever larger, also with a clock that was set back.
  const last = Number((await caches.keys()).filter((name) => name.startsWith(PREFIX)).sort().at(-1)?.slice(PREFIX.length) ?? 0);
  const name = `${PREFIX}${String(Math.max(Date.now(), last + 1)).padStart(15, "0")}`;
  try {
    const cache = await caches.open(name);
    const kept = await fill(cache, new Set(files.map(plain)), new Set(perhaps.map(plain)), new Set(skip.map(plain)));
    await cache.put(COMPLETE, new Response("yes"));
    for (const old of await caches.keys()) {
      if (old.startsWith(PREFIX) && old < name) await caches.delete(old);
    }
    return { kept };
  } catch (error) {
    await caches.delete(name).catch(() => false);
    const full = error instanceof DOMException && error.name === "QuotaExceededError";
    const message = error instanceof Error ? error.message : String(error);
    return { error: { code: full ? "out_of_space" : error instanceof TypeError ? "network" : "storage", message } };
  }
}

async function fill(cache: Cache, files: Set<string>, perhaps: Set<string>, skip: Set<string>): Promise<{ files: number; bytes: number }> {
  const seen = new Set<string>(skip);
  const queue = [...files, ...perhaps];
  let bytes = 0;
  let count = 0;
  for (let url = queue.shift(); url !== undefined; url = queue.shift()) {
    if (seen.has(url)) continue;
    seen.add(url);
    const response = await fetchCopy(url, files.has(url));
    if (!response) continue;
    const body = await response.arrayBuffer();
    bytes += body.byteLength;
    count++;
    // Made anew: a response that was redirected must not answer a navigation.
    const { status, headers } = response;
    await cache.put(url, new Response(body, { status, headers }));
    if (isScript(headers)) queue.push(...imports(new TextDecoder().decode(body), url));
  }
  return { files: count, bytes };
}

async function fetchCopy(url: string, needed: boolean): Promise<Response | undefined> {
  try {
    // What the browser has just loaded need not come over the network again.
    const response = await fetch(url, { credentials: "same-origin" });
    // An answer without content (204) can be made again by nobody.
    if (response.ok && ![204, 205].includes(response.status)) return response;
    if (needed) throw new TypeError(`${url} answered with status ${response.status}`);
  } catch (error) {
    if (needed) throw error;
  }
  return undefined;
}

function isScript(headers: Headers): boolean {
  return /^(text|application)\/(x-)?javascript\b/i.test(headers.get("content-type") ?? "");
}

/** Without what is after a `#`. */
function plain(url: string): string {
  const address = new URL(url, globalThis.location?.href);
  address.hash = "";
  return address.href;
}

const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*["']([^"'\s]+)["']|\bnew\s+URL\(\s*["']([^"'\s]+)["']\s*,\s*import\.meta\.url/g;

/**
 * What a script refers to. A worker's scripts and the engine are in no list that a page has, but
 * in the text of its modules; what looks like one and is none is not there, which does no harm.
 */
export function imports(text: string, base: string): string[] {
  const found: string[] = [];
  for (const [, module, file] of text.matchAll(IMPORT)) {
    const name = module ?? file ?? "";
    // Bare names are for bundlers.
    if (module !== undefined && !/^(\.{0,2}\/|https?:)/.test(module)) continue;
    try {
      const url = new URL(name, base);
      if (url.origin === new URL(base).origin) found.push(plain(url.href));
    } catch {
      // Not an address.
    }
  }
  return found;
}
