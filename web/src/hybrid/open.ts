/** What `hybrid` does with a load: a server beside the model, or in its place. */

import { TwinferError, unlessAborted } from "../errors.js";
import type { Target } from "../open-model.js";
import type { HybridOptions } from "../places.js";
import type { Model } from "../types.js";
import type { Ways } from "./away.js";
import { Away } from "./away.js";
import { lackOf } from "./device.js";
import { Helper, HybridModel, neither } from "./model.js";
import { knowPackage } from "./package.js";

export class Hybrid {
  readonly #helper: Helper;
  readonly #budget: number | undefined;

  /** @throws TwinferError `invalid_request` */
  constructor(options: HybridOptions) {
    const { consent, latencyBudgetMs, timeoutMs } = options;
    if (typeof consent !== "function") throw new TwinferError("invalid_request", "hybrid.consent is a function that says whether inputs may be sent to the server");
    for (const [name, value] of Object.entries({ latencyBudgetMs, timeoutMs })) {
      if (value !== undefined && !(Number.isFinite(value) && value > 0)) throw new TwinferError("invalid_request", `hybrid.${name} is a number of milliseconds, got ${value}`);
    }
    this.#helper = new Helper(options);
    this.#budget = latencyBudgetMs;
  }

  /** A model with the server beside it. */
  beside(model: Model): Model {
    return new HybridModel(model, this.#helper, this.#budget);
  }

  /** The model by the server, where the device cannot load it and the application allows that; else the error of the load. */
  async instead({ plan, deployed, release, source }: Target, failure: unknown, signal: AbortSignal | undefined): Promise<Model> {
    const lack = lackOf(failure);
    // The trust policy was not asked, or nobody knows what it said: then nobody answers in its place.
    if (lack === undefined || plan.trust !== undefined || signal?.aborted) throw failure;
    const helper = this.#helper;
    const known = await unlessAborted(knowPackage(plan), signal).catch((error: unknown) => {
      throw error instanceof TwinferError && error.code === "aborted" ? error : failure;
    });
    if (!(await helper.allows(known, lack))) throw failure;
    const ways: Ways = {
      now: async () => {
        if (!deployed) return { plan };
        const { digest, release } = await deployed.now();
        return { plan: deployed.planOf(digest), release };
      },
      signature: (of) => helper.server.signature(of, signal),
      follow: (update) => deployed?.follow(update) ?? (() => undefined),
    };
    const away = await Away.of(lack, failure, ways, source ? { ...known, source } : known, release).catch((error: unknown) => {
      throw neither(error, failure);
    });
    return new HybridModel(away, helper, undefined);
  }
}
