/** A model that follows a deployment. */

import type { Calls } from "../calls.js";
import { TwinferError, describe } from "../errors.js";
import type { Follower, Newer } from "../follow.js";
import { note } from "../follow.js";
import type { Deployment } from "../generated/types.js";
import type { Plan } from "../load.js";
import { open } from "../load.js";
import { Poll } from "../poll.js";
import { nameOf } from "../registry.js";
import type { Release } from "../releases.js";
import type { Lookup, Policy, Progress, UpdateResult } from "../types.js";
import { bucketOf, variantAt } from "./document.js";
import { DeploymentSource } from "./source.js";

/** Which package this page is to have, and why. */
export interface Assigned {
  digest: string;
  release: Release;
  source: Lookup;
}

/** The alias in `name@alias`; nothing in every other reference. */
export function aliasOf(reference: string): string | undefined {
  const at = reference.indexOf("@");
  const alias = at < 0 ? undefined : reference.slice(at + 1);
  if (alias === undefined || alias.startsWith("sha256:") || !/^[\w][\w.-]{0,127}$/.test(alias)) return undefined;
  return reference.slice(0, at).includes(":") ? undefined : alias;
}

export class DeploymentFollower implements Follower {
  readonly #plan: Plan;
  readonly #name: string;
  readonly #alias: string;
  readonly #key: string;
  readonly #source: DeploymentSource;
  /** What did not prove itself here, with its error: told once, and not tried again while this page lives. */
  readonly #refused = new Map<string, TwinferError>();
  readonly #told = new Set<string>();
  #first: Lookup | undefined;

  /** `plan` is that of `name@alias`. */
  constructor(plan: Plan, alias: string, key: string) {
    this.#plan = plan;
    this.#name = nameOf(plan.source.reference);
    this.#alias = alias;
    this.#key = key;
    this.#source = new DeploymentSource(plan);
  }

  /** For the cache, which knows tags: what this deployment is used with, and was before. */
  get #reference(): string {
    return `${this.#name}:deployment-${this.#alias}`;
  }

  /** The plan of a package. */
  planOf(digest: string): Plan {
    return { ...this.#plan, source: { ...this.#plan.source, reference: `${this.#name}@${digest}` } };
  }

  /** What to load first. What failed its golden examples here before is not; what was used instead is. */
  async first(report: (progress: Progress) => void): Promise<Assigned> {
    const unreachable = ({ code, message }: TwinferError): void => report({ status: "unreachable", code, message });
    const assigned = await this.#assigned(this.#plan.policy, unreachable);
    this.#first = assigned.source;
    const { active, refused } = await this.#source.noted(this.#reference);
    if (refused !== assigned.digest || active === undefined) return assigned;
    report({ status: "held-back", refused, digest: active });
    this.#refused.set(refused, new TwinferError("self_test_failed", `${this.#name}: ${refused} failed its golden examples here before`));
    return { ...assigned, digest: active, release: await this.#releaseOf(active, assigned) };
  }

  /** What this page is to have now. */
  async now(): Promise<Assigned> {
    return this.#assigned("online", (error) => {
      throw new TwinferError(error.code === "timeout" ? "timeout" : "network", error.message, { cause: error });
    });
  }

  begin(calls: Calls, update: () => Promise<UpdateResult>): () => void {
    void this.taken(calls);
    return this.follow(update);
  }

  /** Asks again and again, and tells of what came of it. */
  follow(update: () => Promise<UpdateResult>): () => void {
    const { pollSeconds, onRelease } = this.#plan;
    const check = async (): Promise<void> => {
      const result = await update();
      const { status, digest, error } = result;
      const known = `${status} ${digest} ${error?.message ?? ""}`;
      if (status !== "updated" && (status !== "refused" || this.#told.has(known))) return;
      if (status === "refused") this.#told.add(known);
      onRelease?.(result);
    };
    // What was used without asking is asked for at once.
    const soon = this.#first === "stale";
    if (pollSeconds === 0) {
      if (soon) void check().catch(() => undefined);
      return () => undefined;
    }
    const poll = new Poll(check, pollSeconds * 1000, soon);
    return () => poll.stop();
  }

  async newer(calls: Calls, signal: AbortSignal | undefined): Promise<Newer | undefined> {
    const { digest, release } = await this.now();
    if (digest === calls.info.digest) {
      calls.release = release;
      return undefined;
    }
    const refused = this.#refused.get(digest);
    if (refused) throw refused;
    const opened = await open(this.planOf(digest), () => undefined, signal, true);
    return { opened, release };
  }

  async taken(next: Calls): Promise<void> {
    if (this.#plan.keep !== false) await note(next, this.#reference, next.info.digest, "activate");
  }

  async refused(calls: Calls, digest: string, error: TwinferError): Promise<void> {
    const { code } = error;
    // What may pass is tried again.
    if (code === "network" || code === "timeout" || code === "out_of_memory" || code === "closed" || code === "aborted") return;
    this.#refused.set(digest, error);
    if (code === "self_test_failed" && this.#plan.keep !== false) await note(calls, this.#reference, digest, "refuse");
  }

  async #assigned(policy: Policy, unreachable: (error: TwinferError) => void): Promise<Assigned> {
    const { document, source } = await this.#source.find(policy, unreachable);
    if (document.alias !== this.#alias) {
      throw new TwinferError("unknown_version", `the deployment of \`${this.#name}\` is for \`${this.#name}@${document.alias}\`, not for \`@${this.#alias}\``);
    }
    return { ...(await this.#choose(document)), source };
  }

  async #choose(document: Deployment): Promise<Omit<Assigned, "source">> {
    const { sticky, revision } = document;
    const { name: variant, digest, role, weight } = variantAt(document, await bucketOf(sticky.salt, this.#key));
    return { digest, release: { alias: this.#alias, revision: Number(revision), variant, role, weight, key: this.#key, header: sticky.header } };
  }

  /** Of a package that is not the assigned one: what the document calls it, where it has it. */
  async #releaseOf(digest: string, { release }: Assigned): Promise<Release> {
    try {
      const { document } = await this.#source.find("offline", () => undefined);
      const variant = document.variants.find((one) => one.digest === digest);
      return variant ? { ...release, variant: variant.name, role: variant.role, weight: variant.weight } : { ...release, variant: "", weight: 0 };
    } catch (error) {
      console.warn(`twinfer: ${this.#name}: ${describe(error)}`);
      return release;
    }
  }
}
