/** The trust policy of a load: where it comes from, and what is remembered between loads. */

import { keep, kept } from "./counters.js";
import { TwinferError } from "./errors.js";
import { read } from "./fetch.js";
import type { TrustPolicy } from "./generated/types.js";
import { baseUrl } from "./platform.js";
import type { Source } from "./registry.js";
import { nameOf } from "./registry.js";
import type { WireDecision, WireTrust } from "./wire.js";

/** The policy as JSON text, or its address. */
export type TrustSource = string | URL;

/** The same limit as in `twinfer-package`, which checks it again. */
const MAX_POLICY_BYTES = 4 << 20;

export function trustSource(trust: TrustPolicy | string | URL): TrustSource {
  if (typeof trust === "object" && trust !== null && !(trust instanceof URL)) return JSON.stringify(trust);
  try {
    if (typeof trust === "string" || trust instanceof URL) return new URL(trust, baseUrl());
  } catch {
    // Said below. It is never taken for "no policy".
  }
  throw new TwinferError("invalid_policy", `trust is neither a trust policy nor an address: ${String(trust)}`);
}

export async function trustFor(trust: TrustSource, source: Source, signal: AbortSignal | undefined): Promise<WireTrust> {
  const policy = trust instanceof URL ? await fetchPolicy(trust, signal) : trust;
  const lastCounter = Number(await kept(counterKey(source)));
  return { policy, now: Math.floor(Date.now() / 1000), ...(lastCounter > 0 && { lastCounter }) };
}

async function fetchPolicy(url: URL, signal: AbortSignal | undefined): Promise<string> {
  const what = "the trust policy";
  const bytes = await read({ url, what, limit: MAX_POLICY_BYTES, missing: "not_found", signal, cache: "no-cache" });
  return new TextDecoder().decode(bytes);
}

/** Keeps the counter of signed tags, and says the warning that the policy wants. */
export async function remember(source: Source, decision: WireDecision): Promise<void> {
  if (decision.reason !== undefined) console.warn(`twinfer: ${source.reference} is loaded, but ${decision.reason}`);
  if (decision.counter === undefined) return;
  const key = counterKey(source);
  const last = Number(await kept(key));
  if (last >= decision.counter) return;
  const problem = await keep(key, String(decision.counter));
  if (problem) console.warn(`twinfer: the counter of signed tags was not kept: ${problem}`);
}

/** By the name of the model alone: a mirror must not be able to go back behind another. */
function counterKey({ reference }: Source): string {
  return `counters/${encodeURIComponent(nameOf(reference))}`;
}
