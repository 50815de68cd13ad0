import { choose } from "./choose.js";
import type { Connection } from "./connection.js";
import { connect } from "./connection.js";
import type { Candidate, Content } from "./engine.js";
import { compileDerived, compileEngine, defaultEngineUrl, described, fullEngine, inUse } from "./engine.js";
import { EngineStopped, EngineUnavailable, TwinferError, aborted, describe, throwIfAborted, unlessAborted } from "./errors.js";
import type { EngineKind } from "./generated/types.js";
import { unsupported } from "./hybrid/device.js";
import { keepEngine } from "./keep-engine.js";
import type { Found } from "./lookup.js";
import { OWN_ENGINE } from "./own.js";
import { baseUrl } from "./platform.js";
import type { Source } from "./registry.js";
import { nameOf, parseMirror } from "./registry.js";
import type { Storage } from "./storage/storage.js";
import { openStorage } from "./storage/storage.js";
import type { TrustSource } from "./trust.js";
import { remember, trustFor, trustSource } from "./trust.js";
import type { LoadOptions, ModelEngine, Place, Policy, Progress, Update, UpdateResult } from "./types.js";
import type { Inside, LoadEvent, ModelInfo, Setup, Start, Wish } from "./wire.js";

/** How a model is loaded, and loaded again after its engine stopped. */
export interface Plan {
  source: Source;
  mirrors: URL[];
  thread: "worker" | "main";
  /** The full engine. */
  full: Candidate;
  /** What is started with, the best first, where that is known already; else it is chosen. */
  candidates: Candidate[] | undefined;
  policy: Policy;
  keep: boolean | Place;
  quota: number | undefined;
  mustKeep: boolean;
  persist: boolean;
  onUpdate: ((update: Update) => void) | undefined;
  onProgress: ((progress: Progress) => void) | undefined;
  /** Seconds between questions for a deployment; 0 for none. */
  pollSeconds: number;
  onRelease: ((result: UpdateResult) => void) | undefined;
  /** Where the trust policy is, where there is one. */
  trust: TrustSource | undefined;
}

export interface Opened {
  connection: Connection;
  info: ModelInfo;
  /** What it was started with. */
  candidates: Candidate[];
  /** What runs it now. */
  engine: { now: ModelEngine };
}

const POLICIES: readonly Policy[] = ["online", "stale-while-revalidate", "offline"];
/** As servers look at remote registries. */
const POLL = 30;
const PLACES: readonly (boolean | Place)[] = [true, false, "opfs", "cache-api"];

export function planOf(source: Source, options: LoadOptions): Plan {
  const { thread = "worker", cache = true, policy = "stale-while-revalidate", quota, mirrors = [], trust, engine = "auto", pollSeconds = POLL } = options;
  oneOf("thread", thread, ["worker", "main"]);
  oneOf("policy", policy, POLICIES);
  oneOf("cache", cache, PLACES);
  oneOf("engine", engine, ["auto", "full"]);
  if (quota !== undefined && !(Number.isSafeInteger(quota) && quota >= 0)) throw invalid(`quota is a number of bytes, got ${quota}`);
  if (!(Number.isFinite(pollSeconds) && pollSeconds >= 0)) throw invalid(`pollSeconds is a number of seconds, got ${pollSeconds}`);
  const full = fullEngine(engineAddress(options.engineUrl), options.engineUrl === undefined ? OWN_ENGINE : undefined);
  return {
    source,
    mirrors: mirrors.map(parseMirror),
    thread,
    full,
    // An address says which one.
    candidates: engine === "full" || options.engineUrl !== undefined ? [full] : undefined,
    policy,
    keep: cache,
    quota,
    mustKeep: options.mustKeep ?? false,
    persist: options.persist ?? true,
    onUpdate: options.onUpdate,
    onProgress: options.onProgress,
    pollSeconds,
    onRelease: options.onRelease,
    trust: trust === undefined ? undefined : trustSource(trust),
  };
}

function oneOf<T>(name: string, given: T, all: readonly T[]): void {
  if (!all.includes(given)) throw invalid(`${name} must be one of ${all.map((one) => JSON.stringify(one)).join(", ")}, got ${JSON.stringify(given)}`);
}

function invalid(message: string): TwinferError {
  return new TwinferError("invalid_request", message);
}

export function engineAddress(engineUrl: string | URL | undefined): URL {
  if (engineUrl === undefined) return defaultEngineUrl();
  try {
    return new URL(engineUrl, baseUrl());
  } catch (error) {
    throw new TwinferError("invalid_request", `engineUrl is not an address: ${String(engineUrl)}`, { cause: error });
  }
}

type Report = (progress: Progress) => void;

/** Starts an engine and loads the package into it. A candidate is not yet what its tag is used with. */
export async function open(plan: Plan, report: Report, signal: AbortSignal | undefined, candidate = false): Promise<Opened> {
  throwIfAborted(signal);
  const lack = unsupported();
  if (lack) throw inContext(lack, plan);
  const { source } = plan;
  let engine: { now: ModelEngine } | undefined;
  const connection = connect(plan.thread, (notice) => {
    if (!notice.done) return plan.onProgress?.({ status: "engine", ...notice.engine });
    if (engine) engine.now = notice.engine;
    if (notice.engine.url !== undefined) inUse(notice.engine.url);
  });
  const cancel = (): void => {
    if (signal) connection.end(aborted(signal));
  };
  signal?.addEventListener("abort", cancel, { once: true });
  let preparing: Promise<Prepared> | undefined;
  try {
    report({ status: "resolve", reference: source.reference });
    const begun = connection.call("begin", setupOf(plan));
    const wishing = wishOf(plan, signal, candidate);
    preparing = prepare(plan, policyOf(plan, wishing), report, signal);
    const [{ start, inside, candidates }, wish] = await unlessAborted(Promise.all([preparing, wishing, begun]), signal);
    engine = { now: start.engine };
    const { reference } = source;
    // Both at once: the second waits for the first where they are done.
    const load = { reference, wish, ...(inside && { inside }) };
    const [, info] = await Promise.all([connection.call("start", start), connection.call("load", load, [], reporting(reference, report))]);
    throwIfAborted(signal);
    if (info.decision) await remember(source, info.decision);
    if (info.kept !== undefined && plan.persist) void persist();
    report({ status: "ready", digest: info.digest });
    return { connection, info, candidates, engine };
  } catch (thrown) {
    const error = signal?.aborted ? aborted(signal) : inContext(thrown, plan);
    connection.end(error);
    throw error;
  } finally {
    signal?.removeEventListener("abort", cancel);
    preparing?.then(({ afterwards }) => afterwards()).catch(() => undefined);
  }
}

/** An engine that can be started, and what is known of the package by then. */
interface Prepared {
  start: Start;
  inside: Inside | undefined;
  candidates: Candidate[];
  /** Keeps what is to be kept. Called when the load has ended: it is not to take time from who waits for the model. */
  afterwards(): Promise<void>;
}

/** Chooses an engine and compiles it; one that cannot be had is followed by the next. */
async function prepare(plan: Plan, trust: Promise<string> | undefined, report: Report, signal: AbortSignal | undefined): Promise<Prepared> {
  const { keep, source, quota } = plan;
  const onlyFull = plan.candidates?.every(({ kind }) => kind === "full") ?? false;
  // Opened while the choice begins: its first questions do not wait for it.
  const opening = onlyFull || keep === false ? Promise.resolve(undefined) : openStorage(keep === true ? undefined : keep);
  let isStarted = false;
  try {
    const known = plan.candidates && { candidates: plan.candidates, found: NOTHING_FOUND };
    const { candidates, found } = known ?? (await choose({ ...plan, trust, keep: keep !== false }, opening));
    const storage = await opening;
    for (const [at, one] of candidates.entries()) {
      throwIfAborted(signal);
      report({ status: "engine", ...described(one) });
      try {
        const { module, fetched, keys } = await compiled(one, storage);
        const afterwards = async (): Promise<void> => {
          const isKept = storage && one.keep && !signal?.aborted;
          if (isKept) await keepEngine(storage, one, nameOf(source.reference), fetched, quota).catch((error: TwinferError) => report({ status: "not-kept", code: error.code, message: error.message }));
          storage?.close();
        };
        const start: Start = { module, engine: described(one), ...(found.answer && { index: found.answer }) };
        isStarted = true;
        return { start, inside: insideOf(one, found, storage !== undefined, keys), candidates: candidates.slice(at), afterwards };
      } catch (error) {
        if (at === candidates.length - 1) throw error;
        const { code, message } = error instanceof TwinferError ? error : new TwinferError("network", describe(error));
        report({ status: "engine-refused", kind: one.kind as EngineKind, digest: one.digest ?? "", code, message });
      }
    }
    throw new TwinferError("internal", "there is no engine to choose from");
  } finally {
    if (!isStarted) void opening.then((storage) => storage?.close());
  }
}

/** Brings the engine that the next load will take into the storage, where it is one of a registry. */
export async function prefetchEngine(plan: Plan): Promise<void> {
  const { keep, source, quota } = plan;
  if (plan.candidates !== undefined || keep === false) return;
  const storage = await openStorage(keep === true ? undefined : keep);
  try {
    const trust = policyOf(plan, wishOf(plan, undefined));
    const wanted = { ...plan, policy: "stale-while-revalidate", trust, keep: true } as const;
    const { candidates } = await choose(wanted, Promise.resolve(storage));
    const [first] = candidates;
    if (!storage || !first?.keep || first.kept) return;
    const { fetched } = await compiled(first, storage);
    if (fetched.length > 0) await keepEngine(storage, first, nameOf(source.reference), fetched, quota);
  } finally {
    storage?.close();
  }
}

/** The first of these engines that can be had. */
export async function compiledFirst(candidates: Candidate[]): Promise<Start> {
  for (const [at, one] of candidates.entries()) {
    try {
      const { module } = await compiled(one, undefined);
      return { module, engine: described(one) };
    } catch (error) {
      if (at === candidates.length - 1) throw error;
    }
  }
  throw new TwinferError("internal", "there is no engine to choose from");
}

const NOTHING_FOUND: Found = { source: "digest", engines: [] };

/** An engine that can be started. */
interface Compiled {
  module: WebAssembly.Module;
  /** What came over the network, to be kept: the engine, its signatures. */
  fetched: Content[];
  /** The keys of the trust policy that signed it, where the policy was asked. */
  keys?: string[];
}

/** Compiles an engine while the trust policy is asked; it is given to nobody before the policy has nothing against it. */
async function compiled(candidate: Candidate, storage: Storage | undefined): Promise<Compiled> {
  if (candidate.kind === "full") {
    const [url] = candidate.urls;
    if (!url) throw new TwinferError("internal", "the full engine has no address");
    return { module: await compileEngine(url), fetched: [] };
  }
  const { digest = "" } = candidate;
  const fetched: Content[] = [];
  // What is refused without a question is not fetched.
  const admitted = candidate.admit?.();
  const [module, admission] = await Promise.all([compileDerived(candidate, storage, (bytes) => fetched.push({ digest, bytes })), admitted]);
  fetched.push(...(admission?.fetched ?? []));
  return { module, fetched, ...(admission && { keys: admission.keys }) };
}

function insideOf({ kind, package: digest, keep, kept }: Candidate, { source }: Found, stored: boolean, keys: string[] | undefined): Inside | undefined {
  if (kind !== "fused" || digest === undefined || source === undefined) return undefined;
  return { digest, source, kept: kept === true || (stored && keep === true), ...(keys && { decision: { verdict: "allowed", keys } }) };
}

/** The trust policy of a load, where it has one. That it cannot be had is told where it is waited for. */
function policyOf({ trust }: Plan, wishing: Promise<Wish>): Promise<string> | undefined {
  if (trust === undefined) return undefined;
  const policy = wishing.then(({ trust: text = "" }) => text);
  policy.catch(() => undefined);
  return policy;
}

function setupOf({ source, mirrors, policy, keep, quota, mustKeep, trust, candidates, full }: Plan): Setup {
  return {
    registries: [source.registry, ...mirrors].map(({ href }) => href),
    reference: source.reference,
    policy,
    trusted: trust !== undefined,
    // Who chooses asks, but for registries of whose answer that is only a part.
    ask: candidates !== undefined || source.registry.protocol === "oci:" || (trust !== undefined && source.reference.includes("@")),
    full: full.urls[0]?.href ?? "",
    ...(full.digest !== undefined && { fullDigest: full.digest }),
    keep,
    ...(quota !== undefined && { quota }),
    mustKeep,
  };
}

/** What is wanted, with what is known of time and past now. */
export async function wishOf({ policy, trust, source }: Plan, signal: AbortSignal | undefined, candidate = false): Promise<Wish> {
  if (trust === undefined) return { policy, candidate };
  const { policy: text, ...seen } = await trustFor(trust, source, signal);
  return { policy, candidate, trust: text, ...seen };
}

/** What happens in a load, as its caller is told; what people should know is in the console, too. */
function reporting(reference: string, report: Report): (event: LoadEvent) => void {
  let warned = false;
  return (event) => {
    switch (event.event) {
      case "progress": {
        const { layer, loaded, total, cached } = event;
        return report({ status: "download", layer, loaded, total, cached });
      }
      case "waiting":
        return report({ status: "waiting", layer: event.layer });
      case "retry":
        return report({ status: "retry", code: event.code, message: event.message, wait: event.wait });
      case "damaged": {
        const { layer, digest, message } = event;
        console.warn(`twinfer: ${reference}: ${layer} was damaged in the cache, and is fetched again: ${message}`);
        return report({ status: "damaged", layer, digest, message });
      }
      case "not-kept":
        if (!warned) console.warn(`twinfer: ${reference} is not kept in the cache: ${event.message}`);
        warned = true;
        return report({ status: "not-kept", code: event.code, message: event.message });
      case "held-back": {
        const { refused, digest } = event;
        console.warn(`twinfer: ${reference}: ${refused} failed its golden examples here before; ${digest} is loaded instead`);
        return report({ status: "held-back", refused, digest });
      }
      case "unreachable":
        return report({ status: "unreachable", code: event.code, message: event.message });
      case "load":
        return report({ status: "load" });
    }
  };
}

let persisting: Promise<boolean> | undefined;

/** Asks the browser, once, to keep what is kept. */
async function persist(): Promise<void> {
  try {
    const { storage } = globalThis.navigator;
    // A second question would be a second dialogue in browsers that ask their visitors.
    persisting ??= storage.persisted().then((is) => is || storage.persist());
    await persisting;
  } catch {
    // It is kept as long as there is room.
  }
}

/** Says which package it was about; whatever is not ours becomes `internal`. */
function inContext(thrown: unknown, { source }: Plan): TwinferError {
  const { reference } = source;
  if (!(thrown instanceof TwinferError)) return new TwinferError("internal", `${reference}: ${describe(thrown)}`, { cause: thrown });
  const named = thrown.message.startsWith(`${reference}: `) && !(thrown instanceof EngineStopped);
  // What it was is asked for by its class.
  const cause = thrown instanceof EngineUnavailable ? thrown : (thrown.cause ?? thrown);
  return new TwinferError(thrown.code, named ? thrown.message : `${reference}: ${thrown.message}`, { cause });
}
