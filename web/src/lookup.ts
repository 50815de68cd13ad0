/**
 * What a reference points to, as far as the choice of an engine must know it. The engine looks it
 * up again by the rules of `twinfer-cache`, which decide; where this is not sure of the same
 * answer it says so.
 */
import type { DerivedEngine } from "./generated/types.js";
import { digestOf, highestOf, repository, resolved } from "./oci.js";
import type { Origin } from "./origin.js";
import { nameOf, pinnedDigest } from "./registry.js";
import type { Storage } from "./storage/storage.js";
import type { Lookup, Policy } from "./types.js";
import type { IndexAnswer } from "./wire.js";

/** The annotation of `twinfer-package` with the list of derived engines. */
const ENGINES = "ai.twinfer.engines";
/** The tag of the signed list of tags of a name. */
const SIGNED_TAGS = "twinfer-tags";
const REF_NAME = "org.opencontainers.image.ref.name";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const PACKAGE = "application/vnd.cncf.model.manifest.v1+json";

/** What was found. */
export interface Found {
  /** The package; absent where that is not known. */
  digest?: string;
  /** How it was looked up; absent where the engine may come to another answer. */
  source?: Lookup;
  /** What the registry says of engines that were made for it. */
  engines: DerivedEngine[];
  /** There is a signed list of the tags of the model. */
  signedTags?: boolean;
  /** What the registry answered, for the engine. */
  answer?: IndexAnswer;
}

const NOTHING: Found = { engines: [] };

/** Asks at most one question over the network, and none where the last answer will do. */
export async function lookUp(origin: Origin, registry: URL, reference: string, policy: Policy, storage: Storage | undefined, signal: AbortSignal): Promise<Found> {
  const digest = pinnedDigest(reference);
  if (origin.isOci) return lookUpOci(registry, reference, policy, digest, signal);
  const noted = refusal(origin, reference, storage);
  const known = storage && (await knownIndex(origin, reference, storage));
  if (digest !== undefined) return { ...ofIndex(known?.entries, reference), digest, source: "digest" };
  const held = known && policy !== "online" ? usable(known.head, policy) : undefined;
  if (held) return unlessRefused({ ...ofIndex(known?.entries, reference), source: held }, noted);
  if (policy === "offline") return NOTHING;
  const { from, validator } = known?.head ?? {};
  const answer = await origin.ask(reference, from === origin.id ? (validator ?? undefined) : undefined);
  // What the last answer said will do as a hint: nobody may answer, and then that is used.
  if (answer.error) return { ...ofIndex(known?.entries, reference), answer };
  const found = ofIndex(answer.index ? parsed(answer.index) : known?.entries, reference);
  return unlessRefused({ ...found, source: "registry", answer }, noted);
}

/** What is attached to a package there takes more questions: only engines of this package are chosen. */
async function lookUpOci(registry: URL, reference: string, policy: Policy, digest: string | undefined, signal: AbortSignal): Promise<Found> {
  if (digest !== undefined) return { digest, engines: [] };
  if (policy === "offline") return NOTHING;
  const found = await resolved(repository(registry, reference), signal);
  return found === undefined ? NOTHING : { digest: found, engines: [] };
}

/** The head of an index that is kept, as `twinfer-cache` writes it. */
export interface Head {
  format_version?: unknown;
  /** Of the index. */
  digest?: string;
  from?: string;
  validator?: string | null;
  checked?: number;
  fresh_for?: number;
  stale_for?: number | null;
}

interface Entry {
  mediaType?: unknown;
  artifactType?: unknown;
  digest?: unknown;
  annotations?: Record<string, unknown>;
}

/** The key of a document about a part of a registry. */
export async function keyOf(prefix: string, registry: string, part: string): Promise<string> {
  return `${prefix}/${(await digestOf(new TextEncoder().encode(`${registry}\n${part}`))).replace("sha256:", "")}`;
}

async function knownIndex(origin: Origin, reference: string, storage: Storage): Promise<{ head: Head; entries: Entry[] } | undefined> {
  const document = await storage.document(await keyOf("indexes", origin.id, origin.indexKey(reference)));
  const line = document?.indexOf(0x0a) ?? -1;
  if (!document || line < 0) return undefined;
  const head = json(document.subarray(0, line)) as Head | undefined;
  return head?.format_version === 1 ? { head, entries: parsed(document.subarray(line + 1)) } : undefined;
}

/** How a last answer may be used, by the rules of `twinfer-cache`; nothing where it must be asked for. */
export function usable({ checked = 0, fresh_for = 0, stale_for }: Head, policy: Policy, now = Date.now()): Lookup | undefined {
  if (policy === "offline") return "offline";
  const age = now - checked;
  if (age < 0) return stale_for === 0 ? undefined : "stale";
  if (age < fresh_for) return "fresh";
  return stale_for === null || stale_for === undefined || age < fresh_for + stale_for ? "stale" : undefined;
}

/** How long an answer holds, in milliseconds, by its headers: the rules of `Freshness` in `twinfer-cache`. */
export function freshness(header: (name: string) => string | undefined): { fresh_for: number; stale_for: number | null; keep: boolean } {
  const directives = new Map((header("cache-control") ?? "").split(",").map((part) => {
    const [name = "", value = ""] = part.split("=", 2);
    return [name.trim().toLowerCase(), value.trim().replaceAll('"', "")] as const;
  }));
  const seconds = (text: string | undefined): number | undefined => (text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined);
  const date = (name: string): number => Date.parse(header(name) ?? "");
  // Both dates are of the server: a wrong clock here changes nothing.
  const expires = (date("expires") - date("date")) / 1000;
  const maxAge = directives.has("no-cache") ? 0 : seconds(directives.get("max-age"));
  const lifetime = maxAge ?? (expires > 0 ? expires : 0);
  const stale = seconds(directives.get("stale-while-revalidate"));
  const first = directives.has("no-cache") || directives.has("must-revalidate");
  return {
    fresh_for: Math.max(lifetime - (seconds(header("age")?.trim()) ?? 0), 0) * 1000,
    stale_for: first ? 0 : stale === undefined ? null : stale * 1000,
    keep: !directives.has("no-store"),
  };
}

function json(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // The engine says what is wrong with it.
    return undefined;
  }
}

function parsed(index: Uint8Array): Entry[] {
  const entries = (json(index) as { manifests?: unknown } | undefined)?.manifests;
  return Array.isArray(entries) ? entries.filter((entry) => typeof entry === "object" && entry !== null) : [];
}

/** Where a reference points to in an index, and the engines that are listed there. */
export function ofIndex(entries: readonly Entry[] | undefined, reference: string): Found {
  if (!entries) return NOTHING;
  const digest = pinnedDigest(reference) ?? pointedTo(entries, reference);
  if (digest === undefined) return NOTHING;
  // Every tag of the package says the same.
  const lists = [...new Set(entries.filter((entry) => entry.digest === digest).map(({ annotations }) => annotations?.[ENGINES]))];
  const signedTags = entries.some(({ annotations }) => annotations?.[REF_NAME] === `${nameOf(reference)}:${SIGNED_TAGS}`);
  return { digest, engines: lists.flatMap((list) => (typeof list === "string" ? derivedEngines(list) : [])), signedTags };
}

function pointedTo(entries: readonly Entry[], reference: string): string | undefined {
  const [name = "", given] = reference.split(":", 2);
  const tags = entries.flatMap(({ mediaType, artifactType, digest, annotations }) => {
    const full = annotations?.[REF_NAME];
    const isPackage = mediaType === MANIFEST && (artifactType ?? PACKAGE) === PACKAGE;
    if (!isPackage || typeof full !== "string" || typeof digest !== "string" || !full.startsWith(`${name}:`)) return [];
    return [{ tag: full.slice(name.length + 1), digest }];
  });
  const wanted = given ?? highestOf(tags.map(({ tag }) => tag));
  const digests = new Set(tags.filter(({ tag }) => tag === wanted).map(({ digest }) => digest));
  // Twice with different digests is an error, which the engine tells.
  return digests.size === 1 ? [...digests][0] : undefined;
}

/** The entries of a list that this version knows. */
export function derivedEngines(list: string): DerivedEngine[] {
  const entries = json(new TextEncoder().encode(list));
  return Array.isArray(entries) ? entries.filter(isDerived) : [];
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function isDerived(entry: unknown): entry is DerivedEngine {
  const { kind, target, digest, size, engine, packages, signatures = [] } = (entry ?? {}) as Partial<Record<keyof DerivedEngine, unknown>>;
  const known = (kind === "slim" || kind === "fused") && target === "page";
  const named = DIGEST.test(String(digest)) && DIGEST.test(String(engine)) && Number.isSafeInteger(size);
  const signed = Array.isArray(signatures) && signatures.every((one) => DIGEST.test(String(one)));
  return known && named && signed && typeof packages === "object" && packages !== null;
}

/** The digest that was refused here for a tag. It is asked for early, and a failure is told where it is waited for. */
function refusal(origin: Origin, reference: string, storage: Storage | undefined): Promise<unknown> {
  const asked = (async () => {
    const document = storage && (await storage.document(await keyOf("references", origin.id, reference)));
    return document && (json(document) as { refused?: unknown } | undefined)?.refused;
  })();
  asked.catch(() => undefined);
  return asked;
}

/** What a tag points to may have been refused here: then the engine stays with another package. */
async function unlessRefused(found: Found, noted: Promise<unknown>): Promise<Found> {
  const refused = await noted;
  if (refused === undefined || refused === null || refused !== found.digest) return found;
  const { answer } = found;
  return { engines: [], ...(answer && { answer }) };
}
