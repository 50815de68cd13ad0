import { dropFromCache } from "./cache.js";
import type { Connection } from "./connection.js";
import { connect } from "./connection.js";
import { compileEngine, defaultEngineUrl } from "./engine.js";
import { TwinferError, aborted, describe, throwIfAborted, unlessAborted } from "./errors.js";
import type { Need } from "./glue.js";
import { baseUrl } from "./platform.js";
import type { Content, GetOptions, Source } from "./registry.js";
import { beginLoad, forgetDownload, getContent, pinnedDigest, readIndex } from "./registry.js";
import type { LoadOptions, Progress } from "./types.js";
import type { TrustSource } from "./trust.js";
import { indexUnderTrust, remember, trustFor, trustSource } from "./trust.js";
import type { ModelInfo, Needs, Supplied, WireTrust } from "./wire.js";

/** How a model is loaded, and loaded again after its engine stopped. */
export interface Plan {
  source: Source;
  thread: "worker" | "main";
  engine: URL;
  useCache: boolean;
  /** Where the trust policy is, where there is one. */
  trust: TrustSource | undefined;
}

export interface Opened {
  connection: Connection;
  info: ModelInfo;
}

export function planOf(source: Source, options: LoadOptions): Plan {
  const { thread = "worker", engineUrl, cache = true, trust } = options;
  if (thread !== "worker" && thread !== "main") {
    throw new TwinferError("invalid_request", `thread must be "worker" or "main", got ${JSON.stringify(thread)}`);
  }
  let engine = defaultEngineUrl();
  try {
    if (engineUrl !== undefined) engine = new URL(engineUrl, baseUrl());
  } catch (error) {
    throw new TwinferError("invalid_request", `engineUrl is not an address: ${String(engineUrl)}`, { cause: error });
  }
  return { source, thread, engine, useCache: cache, trust: trust === undefined ? undefined : trustSource(trust) };
}

/** Starts an engine and loads the package into it. */
export async function open(plan: Plan, report: (progress: Progress) => void, signal: AbortSignal | undefined): Promise<Opened> {
  throwIfAborted(signal);
  const { source } = plan;
  const connection = connect(plan.thread);
  // Ends every transfer, when the caller cancels and when anything else fails.
  const stop = new AbortController();
  const cancel = (): void => {
    if (signal) connection.end(aborted(signal));
    stop.abort(signal?.reason);
  };
  signal?.addEventListener("abort", cancel, { once: true });
  const ended = beginLoad();
  try {
    report({ status: "engine", url: plan.engine.href });
    report({ status: "resolve", reference: source.reference });
    const pinned = pinnedDigest(source.reference) !== undefined;
    const trust = plan.trust === undefined ? undefined : trustFor(plan.trust, source, stop.signal);
    const index = plan.trust !== undefined
      ? indexUnderTrust(source, pinned && plan.useCache, stop.signal)
      : pinned
        ? undefined
        : readIndex(source, stop.signal);
    const [module, indexJson, wireTrust] = await unlessAborted(Promise.all([compileEngine(plan.engine), index, trust]), signal);
    await connection.call("start", { module, keep: plan.useCache });
    await supplyAll(connection, plan, { index: indexJson, trust: wireTrust }, report, stop.signal);
    report({ status: "load" });
    const info = await connection.call("finish", {});
    throwIfAborted(signal);
    if (info.decision) await remember(source, info.decision);
    report({ status: "ready", digest: info.digest });
    return { connection, info };
  } catch (thrown) {
    const error = signal?.aborted ? aborted(signal) : inContext(thrown, plan);
    connection.end(error);
    stop.abort();
    throw error;
  } finally {
    signal?.removeEventListener("abort", cancel);
    ended();
  }
}

async function supplyAll(
  connection: Connection,
  plan: Plan,
  { index, trust }: { index: Uint8Array | undefined; trust: WireTrust | undefined },
  report: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<void> {
  const { reference } = plan.source;
  let state = await connection.call("open", { reference, ...(index && { index }), ...(trust && { trust }) });
  while (state.needs.length > 0) {
    const { needs, total } = state;
    const loaded = new Map<string, number>();
    const one = (need: Need): Promise<Needs> => {
      const supply: Supply<Needs> = (content, transfer) => {
        report({ status: "verify", layer: need.name, digest: need.digest });
        return connection.call("supply", content, transfer);
      };
      const onBytes = (bytes: number, cached: boolean): void => {
        loaded.set(need.digest, bytes);
        const sum = [...loaded.values()].reduce((a, b) => a + b, 0);
        if (total !== undefined) report({ status: "download", layer: need.name, loaded: sum, total, cached });
      };
      return getAndSupply(plan, need, supply, { signal, onBytes });
    };
    // Each answer is what is still needed then: the one that comes last knows of all of them.
    const note = (after: Needs): void => {
      state = after;
    };
    await Promise.all(needs.map((need) => one(need).then(note)));
  }
}

/** Hands content to the engine: one of its methods that take some. */
export type Supply<R> = (content: Supplied, transfer: Transferable[]) => Promise<R>;

/**
 * Gets content and hands it in. What is damaged in the cache is fetched anew, once: an entry
 * of the cache is not a reason to fail.
 */
export async function getAndSupply<R>(plan: Plan, need: Need, supply: Supply<R>, options: Omit<GetOptions, "useCache">): Promise<R> {
  const { digest } = need;
  const hand = ({ bytes, cached }: Content): Promise<R> =>
    supply({ digest, bytes, cached }, plan.thread === "worker" ? [bytes.buffer] : []);
  const content = await getContent(plan.source, need, { ...options, useCache: plan.useCache });
  const { cached } = content;
  try {
    return await hand(content);
  } catch (error) {
    const damaged = error instanceof TwinferError && (error.code === "digest_mismatch" || error.code === "size_mismatch");
    if (damaged) forgetDownload(plan.source, need);
    if (!cached || !damaged) throw error;
    await dropFromCache(digest);
    return hand(await getContent(plan.source, need, { ...options, useCache: false }));
  }
}

/** Says which package it was about; whatever is not ours becomes `internal`. */
function inContext(thrown: unknown, { source }: Plan): TwinferError {
  if (!(thrown instanceof TwinferError)) {
    return new TwinferError("internal", `${source.reference}: ${describe(thrown)}`, { cause: thrown });
  }
  return new TwinferError(thrown.code, `${source.reference}: ${thrown.message}`, { cause: thrown.cause ?? thrown });
}
