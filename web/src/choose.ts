/** Which engine a load starts with: by digests, never by trying. */

import type { Candidate } from "./engine.js";
import { compiledAlready, defaultEngineUrl, fullEngine } from "./engine.js";
import { TwinferError, unlessAborted } from "./errors.js";
import { request } from "./fetch.js";
import type { DerivedEngine } from "./generated/types.js";
import type { Found } from "./lookup.js";
import { isDerived, lookUp } from "./lookup.js";
import { Origin } from "./origin.js";
import { OWN_ENGINE } from "./own.js";
import { nodeFiles } from "./platform.js";
import type { Source } from "./registry.js";
import type { Storage } from "./storage/storage.js";
import type { Policy } from "./types.js";

/** What a choice depends on. */
export interface Wanted {
  source: Source;
  mirrors: URL[];
  policy: Policy;
  /** A trust policy decides what is loaded. */
  trusted: boolean;
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

async function find(wanted: Wanted, storage: Promise<Storage | undefined>): Promise<Found> {
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

async function candidates({ source, mirrors, trusted, keep, mustKeep, policy }: Wanted, found: Found, own: Own[], storage: Storage | undefined): Promise<Candidate[]> {
  const { digest, engines } = found;
  const last = fullEngine(defaultEngineUrl(), OWN_ENGINE);
  // Nothing is started that cannot be verified: pages without HTTPS.
  if (digest === undefined || !globalThis.crypto?.subtle) return [last];
  const fits = (engine: DerivedEngine): boolean => engine.engine === OWN_ENGINE && Object.hasOwn(engine.packages, digest);
  const made: Candidate[] = own.filter(fits).map(fromOwn);
  // A trust policy speaks of packages and this package; who made a registry's engines it cannot tell.
  for (const engine of trusted ? [] : engines.filter(fits)) {
    const kept = keep && storage !== undefined && (await storage.size(hexOf(engine.digest)).catch(() => undefined)) === engine.size;
    // One with the package in it leaves nothing of that in the storage, and is right only for a reference that is sure.
    if (engine.kind === "fused" && (found.source === undefined || mustKeep)) continue;
    if (policy === "offline" && !kept && !compiledAlready(engine.digest)) continue;
    const urls = policy === "offline" ? [] : [source.registry, ...mirrors].filter(isStatic).map((registry) => blobUrl(registry, engine.digest));
    made.push({ kind: engine.kind, digest: engine.digest, size: engine.size, urls, package: digest, kept, keep });
  }
  const best = [...made, last].sort((a, b) => rank(a) - rank(b) || (a.size ?? 0) - (b.size ?? 0));
  // After the full one nothing is tried any more.
  return best.slice(0, best.indexOf(last) + 1);
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
