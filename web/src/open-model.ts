/** From an address to a model: what is followed, where it is computed. */

import { assignmentKey } from "./deployment/key.js";
import { DeploymentFollower, aliasOf } from "./deployment/follower.js";
import { TwinferError, throwIfAborted, unlessAborted } from "./errors.js";
import type { Follower } from "./follow.js";
import { TagFollower } from "./follow.js";
import type { Wanted, Ways } from "./hybrid/away.js";
import { Away } from "./hybrid/away.js";
import { lackOf } from "./hybrid/device.js";
import { Helper, HybridModel } from "./hybrid/model.js";
import { knowPackage } from "./hybrid/package.js";
import type { Opened, Plan } from "./load.js";
import { open, planOf } from "./load.js";
import { LoadedModel } from "./model.js";
import type { HybridOptions } from "./places.js";
import type { Source } from "./registry.js";
import type { LoadOptions, Lookup, Model, Progress } from "./types.js";

/** What is loaded, and how it is followed. */
interface Target extends Wanted {
  follower: Follower;
  /** How a deployment was looked up. */
  source?: Lookup;
}

export async function openModel(source: Source, options: LoadOptions): Promise<Model> {
  const { hybrid, signal, onProgress: report = () => undefined } = options;
  const plan = planOf(source, options);
  const helper = hybrid && helperOf(hybrid);
  throwIfAborted(signal);
  const target = await unlessAborted(targetOf(plan, options, report), signal);
  try {
    const opened = await open(target.plan, report, signal);
    const model = modelOf(target, opened);
    return helper ? new HybridModel(model, helper, hybrid.latencyBudgetMs) : model;
  } catch (error) {
    if (!helper || signal?.aborted) throw error;
    return new HybridModel(await away(target, helper, error, signal), helper, undefined);
  }
}

async function targetOf(plan: Plan, options: LoadOptions, report: (progress: Progress) => void): Promise<Target> {
  const { reference } = plan.source;
  const alias = aliasOf(reference);
  if (alias === undefined) return { plan, follower: new TagFollower(plan) };
  report({ status: "resolve", reference });
  const follower = new DeploymentFollower(plan, alias, assignmentKey(options));
  const { digest, release, source } = await follower.first(report);
  return { plan: follower.planOf(digest), follower, release, source };
}

function modelOf({ plan, follower, release, source }: Target, opened: Opened): Model {
  const info = source ? { ...opened.info, source } : opened.info;
  return new LoadedModel(plan, { ...opened, info }, follower, release);
}

/** The model by a server, where the device cannot load it and the application allows that; else the error of the load. */
async function away({ plan, follower, release, source }: Target, helper: Helper, failure: unknown, signal: AbortSignal | undefined): Promise<Away> {
  const lack = lackOf(failure);
  // The trust policy was not asked, or nobody knows what it said: then nobody answers in its place.
  if (lack === undefined || plan.trust !== undefined) throw failure;
  const known = await unlessAborted(knowPackage(plan), signal).catch((error: unknown) => {
    throw error instanceof TwinferError && error.code === "aborted" ? error : failure;
  });
  if (!(await helper.allows(known, lack))) throw failure;
  const deployed = follower instanceof DeploymentFollower ? follower : undefined;
  const ways: Ways = {
    now: async () => {
      if (!deployed) return { plan };
      const { digest, release } = await deployed.now();
      return { plan: deployed.planOf(digest), release };
    },
    signature: (package_) => helper.server.signature(package_, signal),
    follow: (update) => deployed?.follow(update) ?? (() => undefined),
  };
  return Away.of(lack, failure, ways, source ? { ...known, source } : known, release);
}

function helperOf(hybrid: HybridOptions): Helper {
  const { consent, latencyBudgetMs: budget, timeoutMs: timeout } = hybrid;
  if (typeof consent !== "function") throw new TwinferError("invalid_request", "hybrid.consent is a function that says whether inputs may be sent to the server");
  for (const [name, value] of Object.entries({ latencyBudgetMs: budget, timeoutMs: timeout })) {
    if (value !== undefined && !(Number.isFinite(value) && value > 0)) throw new TwinferError("invalid_request", `hybrid.${name} is a number of milliseconds, got ${value}`);
  }
  return new Helper(hybrid);
}
