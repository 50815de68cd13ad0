/** Which engine a load starts with: by digests, never by trying. */

import type { Admission, Candidate, Content } from "./engine.js";
import { compiledAlready, defaultEngineUrl, fullEngine } from "./engine.js";
import type { Terms } from "./engine-trust.js";
import { engineSigners, termsFor } from "./engine-trust.js";
import { TwinferError, unlessAborted } from "./errors.js";
import { read, request } from "./fetch.js";
import type { DerivedEngine } from "./generated/types.js";
import type { Found } from "./lookup.js";
import { isDerived, lookUp } from "./lookup.js";
import { digestOf } from "./oci.js";
import { Origin } from "./origin.js";
import { OWN_ENGINE } from "./own.js";
import { nodeFiles } from "./platform.js";
import type { Source } from "./registry.js";
import { nameOf } from "./registry.js";
import type { Storage } from "./storage/storage.js";
import type { Policy } from "./types.js";

/** What a choice depends on. */
export interface Wanted {
  source: Source;
  mirrors: URL[];
  policy: Policy;
  /** The trust policy as JSON, where one decides what is loaded. */
  trust: Promise<string> | undefined;
  keep: boolean;
  /** What is loaded must be kept, with everything that belongs to it. */
  mustKeep: boolean;
}

export interface Choice {
  /** The best first. The last one is the full engine, which does everything. */
  candidates: Candidate[];
  found: Found;
}

/** A registry that says nothing keeps nobody from loading for longer than this, in milliseconds. */
const PATIENCE = 4000;

/** Chooses with what the registry, this package and the storage say. Whatever fails, the full engine does it. */
export async function choose(wanted: Wanted, storage: Promise<Storage | undefined>): Promise<Choice> {
  const [found, own] = await Promise.all([find(wanted, storage), ownEngines()]);
  return { candidates: await candidates(wanted, found, own, await storage), found };
}

/** What the reference points to, as far as can be told without an engine. */
export async function find(wanted: Pick<Wanted, "source" | "policy" | "keep">, storage: Promise<Storage | undefined>): Promise<Found> {
  const { source, policy, keep } = wanted;
  const late = new AbortController();
  const origin = new Origin(source.registry, source.reference, keep);
  const patience = setTimeout(() => {
    late.abort();
    origin.stop(new TwinferError("timeout", "the registry did not answer in time for the choice of an engine"));
  }, PATIENCE);
  try {
    const asked = storage.then((opened) => lookUp(origin, source.registry, source.reference, policy, opened, late.signal));
    const found = await unlessAborted(asked, late.signal);
    // The engine asks again, as patiently as it does.
    if (found.answer?.error?.code === "timeout") delete found.answer;
    return found;
  } catch {
    return { engines: [] };
  } finally {
    clearTimeout(patience);
  }
}

async function candidates(wanted: Wanted, found: Found, own: Own[], storage: Storage | undefined): Promise<Candidate[]> {
  const { source, mirrors, trust, keep, mustKeep, policy } = wanted;
  const { digest, engines } = found;
  const last = fullEngine(defaultEngineUrl(), OWN_ENGINE);
  // Nothing is started that cannot be verified: pages without HTTPS.
  if (digest === undefined || !globalThis.crypto?.subtle) return [last];
  const fits = (engine: DerivedEngine): boolean => engine.engine === OWN_ENGINE && Object.hasOwn(engine.packages, digest);
  const made: Candidate[] = own.filter(fits).map(fromOwn);
  const terms = trust && termsFor(await trust, nameOf(source.reference));
  // Which keys may sign code, the policy says; of one that cannot be read the engine says what is wrong.
  const allowed = !trust || (terms !== undefined && terms.keys.length > 0);
  for (const engine of allowed ? engines.filter(fits) : []) {
    const kept = keep && storage !== undefined && (await storage.size(hexOf(engine.digest)).catch(() => undefined)) === engine.size;
    // One with the package in it leaves nothing of that in the storage, and is right only for a reference that is sure.
    if (engine.kind === "fused" && (found.source === undefined || mustKeep || !isForFused(terms, found))) continue;
    if (policy === "offline" && !kept && !compiledAlready(engine.digest)) continue;
    const urlsOf = (blob: string): URL[] => (policy === "offline" ? [] : [source.registry, ...mirrors].filter(isStatic).map((registry) => blobUrl(registry, blob)));
    const admit = terms && admission(engine, terms, keep ? storage : undefined, urlsOf);
    made.push({ kind: engine.kind, digest: engine.digest, size: engine.size, urls: urlsOf(engine.digest), package: digest, kept, keep, ...(admit && { admit }) });
  }
  const best = [...made, last].sort((a, b) => rank(a) - rank(b) || (a.size ?? 0) - (b.size ?? 0));
  // After the full one nothing is tried any more.
  return best.slice(0, best.indexOf(last) + 1);
}

/** The package in a fused engine is not looked at any more: so its signature must be all that a policy could ask for. */
function isForFused(terms: Terms | undefined, { source, signedTags = false }: Found): boolean {
  return terms === undefined || (terms.plain && (!signedTags || !terms.tags || source === "digest"));
}

/** Signatures of engines have a kilobyte, and more for an engine of hundreds of packages. */
const MAX_ENVELOPE_BYTES = 1 << 20;

/** Asks a policy of an engine; the signatures are asked for where they are not in the storage. */
function admission(engine: DerivedEngine, terms: Terms, storage: Storage | undefined, urlsOf: (digest: string) => URL[]): () => Promise<Admission> {
  return () => {
    const fetched: Content[] = [];
    const signers = engineSigners(engine, terms, async (digest) => {
      const size = await storage?.size(hexOf(digest)).catch(() => undefined);
      const kept = size === undefined || size > MAX_ENVELOPE_BYTES ? undefined : await storage?.read(hexOf(digest), size).catch(() => undefined);
      if (kept && (await digestOf(kept)) === digest) return kept;
      const bytes = await envelope(digest, urlsOf(digest));
      fetched.push({ digest, bytes });
      return bytes;
    });
    return signers.then((keys) => ({ keys, fetched }));
  };
}

async function envelope(digest: string, urls: URL[]): Promise<Uint8Array<ArrayBuffer>> {
  const what = "a signature of the engine";
  let problem: unknown = new TwinferError("not_found", `${what} is not in the storage, and must not be asked for`);
  for (const url of urls) {
    try {
      const bytes = await read({ url, what, limit: MAX_ENVELOPE_BYTES, missing: "missing_blob" });
      if ((await digestOf(bytes)) === digest) return bytes;
      problem = new TwinferError("digest_mismatch", `${what}: ${url} does not have the digest ${digest}`);
    } catch (error) {
      problem = error;
    }
  }
  throw problem;
}

/** Least is best: fused, then what this page has compiled already, then slim, then full. */
function rank({ kind, digest, urls }: Candidate): number {
  if (kind === "fused") return 0;
  if (compiledAlready(kind === "full" ? String(urls[0]) : (digest ?? ""))) return 1;
  return kind === "slim" ? 2 : 3;
}

function isStatic({ protocol }: URL): boolean {
  return protocol !== "oci:";
}

function blobUrl(registry: URL, digest: string): URL {
  return new URL(`blobs/${digest.replace(":", "/")}`, registry);
}

export function hexOf(digest: string): string {
  return digest.slice("sha256:".length);
}

/** A slim engine that comes with this package. */
interface Own extends DerivedEngine {
  url: URL;
}

function fromOwn({ kind, digest, size, url }: Own): Candidate {
  return { kind, digest, size, urls: [url] };
}

let known: Promise<Own[]> | undefined;

/** The slim engines beside this module. None where the list cannot be had; then it is asked for again the next time. */
export function ownEngines(): Promise<Own[]> {
  known ??= readOwn("force-cache").catch(() => {
    known = undefined;
    return [];
  });
  return known;
}

async function readOwn(cache: RequestCache): Promise<Own[]> {
  const url = new URL("./engines.json", import.meta.url);
  const files = url.protocol === "file:" ? nodeFiles() : undefined;
  const text = files ? new TextDecoder().decode(await files.readFile(url)) : await (await request(url, "the list of engines", "not_found", { cache })).text();
  const list = JSON.parse(text) as (DerivedEngine & { file?: unknown })[];
  const own = list.filter(isDerived).flatMap((engine) => {
    const file = (engine as { file?: unknown }).file;
    return typeof file === "string" && engine.kind === "slim" ? [{ ...engine, url: new URL(file, url) }] : [];
  });
  // What the browser keeps of an earlier version of this package is not asked for on every load, but once now.
  const old = own.length > 0 && own.every(({ engine }) => engine !== OWN_ENGINE);
  return old && cache === "force-cache" && !files ? readOwn("no-cache") : own;
}

/** For work without a package: the smallest engine that there is. */
export async function anyEngine(): Promise<Candidate[]> {
  const last = fullEngine(defaultEngineUrl(), OWN_ENGINE);
  if (compiledAlready(String(last.urls[0])) || !globalThis.crypto?.subtle) return [last];
  const own = (await ownEngines()).filter(({ engine }) => engine === OWN_ENGINE).sort((a, b) => a.size - b.size);
  return [...own.slice(0, 1).map(fromOwn), last];
}
