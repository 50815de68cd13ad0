import type { Connection } from "./connection.js";
import { connect } from "./connection.js";
import { compileEngine, defaultEngineUrl } from "./engine.js";
import { EngineStopped, TwinferError, aborted, describe, throwIfAborted, unlessAborted } from "./errors.js";
import { baseUrl } from "./platform.js";
import type { Source } from "./registry.js";
import { parseMirror } from "./registry.js";
import type { TrustSource } from "./trust.js";
import { remember, trustFor, trustSource } from "./trust.js";
import type { LoadOptions, Place, Policy, Progress, Update } from "./types.js";
import type { LoadEvent, ModelInfo, Setup, Wish } from "./wire.js";

/** How a model is loaded, and loaded again after its engine stopped. */
export interface Plan {
  source: Source;
  mirrors: URL[];
  thread: "worker" | "main";
  engine: URL;
  policy: Policy;
  keep: boolean | Place;
  quota: number | undefined;
  mustKeep: boolean;
  persist: boolean;
  onUpdate: ((update: Update) => void) | undefined;
  /** Where the trust policy is, where there is one. */
  trust: TrustSource | undefined;
}

export interface Opened {
  connection: Connection;
  info: ModelInfo;
}

const POLICIES: readonly Policy[] = ["online", "stale-while-revalidate", "offline"];
const PLACES: readonly (boolean | Place)[] = [true, false, "opfs", "cache-api"];

export function planOf(source: Source, options: LoadOptions): Plan {
  const { thread = "worker", cache = true, policy = "stale-while-revalidate", quota, mirrors = [], trust } = options;
  oneOf("thread", thread, ["worker", "main"]);
  oneOf("policy", policy, POLICIES);
  oneOf("cache", cache, PLACES);
  if (quota !== undefined && !(Number.isSafeInteger(quota) && quota >= 0)) throw invalid(`quota is a number of bytes, got ${quota}`);
  return {
    source,
    mirrors: mirrors.map(parseMirror),
    thread,
    engine: engineAddress(options.engineUrl),
    policy,
    keep: cache,
    quota,
    mustKeep: options.mustKeep ?? false,
    persist: options.persist ?? true,
    onUpdate: options.onUpdate,
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
  const { source } = plan;
  const connection = connect(plan.thread);
  const cancel = (): void => {
    if (signal) connection.end(aborted(signal));
  };
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    report({ status: "engine", url: plan.engine.href });
    report({ status: "resolve", reference: source.reference });
    const start = [compileEngine(plan.engine), wishOf(plan, signal, candidate), connection.call("begin", setupOf(plan))] as const;
    const [module, wish] = await unlessAborted(Promise.all(start), signal);
    await connection.call("start", { module });
    const { reference } = source;
    const info = await connection.call("load", { reference, wish }, [], reporting(reference, report));
    throwIfAborted(signal);
    if (info.decision) await remember(source, info.decision);
    if (info.kept !== undefined && plan.persist) void persist();
    report({ status: "ready", digest: info.digest });
    return { connection, info };
  } catch (thrown) {
    const error = signal?.aborted ? aborted(signal) : inContext(thrown, plan);
    connection.end(error);
    throw error;
  } finally {
    signal?.removeEventListener("abort", cancel);
  }
}

function setupOf({ source, mirrors, policy, keep, quota, mustKeep, trust }: Plan): Setup {
  return {
    registries: [source.registry, ...mirrors].map(({ href }) => href),
    reference: source.reference,
    policy,
    trusted: trust !== undefined,
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
  return new TwinferError(thrown.code, named ? thrown.message : `${reference}: ${thrown.message}`, { cause: thrown.cause ?? thrown });
}
