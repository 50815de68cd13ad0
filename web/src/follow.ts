/** What a model follows: a tag here, a deployment in `deployment/`. */

import type { Calls } from "./calls.js";
import { TwinferError, describe } from "./errors.js";
import type { Opened, Plan } from "./load.js";
import { open, prefetchEngine, wishOf } from "./load.js";
import type { Release } from "./releases.js";
import type { UpdateResult } from "./types.js";

/** A package that has to prove itself yet. */
export interface Newer {
  opened: Opened;
  release?: Release;
}

export interface Follower {
  /** After a load: begins what is done by itself, and gives what ends it. */
  begin(calls: Calls, update: () => Promise<UpdateResult>): () => void;
  /**
   * What is to take the place of what is loaded; nothing where it is what it should be.
   *
   * @throws TwinferError `network` where nobody could be asked.
   */
  newer(calls: Calls, signal: AbortSignal | undefined): Promise<Newer | undefined>;
  /** This is what is used from now on. */
  taken(next: Calls): Promise<void>;
  /** This did not prove itself. */
  refused(calls: Calls, digest: string, error: TwinferError): Promise<void>;
}

/** What a tag is used with, and what was refused for it, is noted in the cache; where that fails, the next load does not know. */
export async function note(calls: Calls, reference: string, digest: string, what: "activate" | "refuse"): Promise<void> {
  await calls.aside((to) => to.call(what, { reference, digest })).catch((error: unknown) => {
    // Closed before it was noted: so the visit was short.
    if (error instanceof TwinferError && error.code === "closed") return;
    const said = what === "activate" ? "is used now" : "was refused";
    console.warn(`twinfer: ${reference}: that ${digest} ${said} was not kept: ${describe(error)}`);
  });
}

/** A tag (or a version, or a digest, which stay what they are). */
export class TagFollower implements Follower {
  readonly #plan: Plan;
  readonly #reference: string;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#reference = plan.source.reference;
  }

  begin(calls: Calls): () => void {
    if (calls.info.source === "stale") void this.#revalidate(calls).catch(() => undefined);
    return () => undefined;
  }

  async newer(calls: Calls, signal: AbortSignal | undefined): Promise<Newer | undefined> {
    const { digest } = calls.info;
    const asked = await calls.aside((to) => to.call("revalidate", { reference: this.#reference }));
    if (asked.problem !== undefined) throw new TwinferError("network", asked.problem);
    if (asked.digest === digest) return undefined;
    // What was just answered is what is loaded.
    const opened = await open({ ...this.#plan, policy: "stale-while-revalidate" }, () => undefined, signal, true);
    if (opened.info.digest !== digest) return { opened };
    opened.connection.end(new TwinferError("closed", "it is the same package"));
    return undefined;
  }

  taken(next: Calls): Promise<void> {
    return note(next, this.#reference, next.info.digest, "activate");
  }

  /** So that the next load does not take it either. */
  async refused(calls: Calls, digest: string, { code }: TwinferError): Promise<void> {
    if (code === "self_test_failed") await note(calls, this.#reference, digest, "refuse");
  }

  /** The last answer was used: asks whether it still holds, and gets what the next load will want. */
  async #revalidate(calls: Calls): Promise<void> {
    const reference = this.#reference;
    const { digest: previous } = calls.info;
    const { digest: found } = await calls.aside((to) => to.call("revalidate", { reference }));
    if (found === previous) return;
    const wish = await wishOf({ ...this.#plan, policy: "stale-while-revalidate" }, undefined);
    const digest = await calls.aside((to) => to.call("prefetch", { reference, wish }));
    if (digest === undefined || digest === previous) return;
    // Where it cannot be had now, the next load fetches it.
    await prefetchEngine(this.#plan).catch(() => undefined);
    this.#plan.onUpdate?.({ digest, previous });
  }
}
