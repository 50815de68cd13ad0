/** From an address to a model: what is followed, where it is computed. */

import { DeploymentFollower, aliasOf } from "./deployment/follower.js";
import { assignmentKey } from "./deployment/key.js";
import { TwinferError, describe, throwIfAborted, unlessAborted } from "./errors.js";
import { TagFollower } from "./follow.js";
import type { Wanted } from "./hybrid/away.js";
import type { Hybrid } from "./hybrid/open.js";
import type { Plan } from "./load.js";
import { open, planOf } from "./load.js";
import { LoadedModel } from "./model.js";
import type { HybridOptions } from "./places.js";
import type { Source } from "./registry.js";
import type { LoadOptions, Lookup, Model, Progress } from "./types.js";

/** What is loaded. */
export interface Target extends Wanted {
  /** The deployment that says so, and how it was looked up. */
  deployed?: DeploymentFollower;
  source?: Lookup;
}

export async function openModel(source: Source, options: LoadOptions): Promise<Model> {
  const { signal, onProgress: report = () => undefined } = options;
  const plan = planOf(source, options);
  throwIfAborted(signal);
  const hybrid = options.hybrid && (await hybridOf(options.hybrid));
  const target = await unlessAborted(targetOf(plan, options, report), signal);
  try {
    const model = await load(target, report, signal);
    return hybrid?.beside(model) ?? model;
  } catch (error) {
    if (!hybrid) throw error;
    return await hybrid.instead(target, error, signal);
  }
}

async function hybridOf(options: HybridOptions): Promise<Hybrid> {
  const { Hybrid } = await import("./hybrid.js").catch((error: unknown) => {
    throw new TwinferError("network", `hybrid.js could not be loaded: is it served beside index.js, as JavaScript? (${describe(error)})`, { cause: error });
  });
  return new Hybrid(options);
}

async function targetOf(plan: Plan, options: LoadOptions, report: (progress: Progress) => void): Promise<Target> {
  const { reference } = plan.source;
  const alias = aliasOf(reference);
  if (alias === undefined) return { plan };
  report({ status: "resolve", reference });
  const deployed = new DeploymentFollower(plan, alias, assignmentKey(options));
  const { digest, release, source } = await deployed.first(report);
  return { plan: deployed.planOf(digest), deployed, release, source };
}

async function load({ plan, deployed, release, source }: Target, report: (progress: Progress) => void, signal: AbortSignal | undefined): Promise<Model> {
  const opened = await open(plan, report, signal);
  const info = source ? { ...opened.info, source } : opened.info;
  return new LoadedModel(plan, { ...opened, info }, deployed ?? new TagFollower(plan), release);
}
