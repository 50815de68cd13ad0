import { TwinferError, aborted, describe } from "../errors.js";
import type { Descriptor, ModelConfig, SelfTestReport, Signature } from "../generated/types.js";
import type { Plan } from "../load.js";
import type { ServerReason } from "../places.js";
import type { Release } from "../releases.js";
import type { Example, Lookup, Model, ModelEngine, UpdateResult } from "../types.js";
import type { Known } from "./package.js";
import { knowPackage } from "./package.js";

/** What a model that nobody can load here is to be. */
export interface Wanted {
  plan: Plan;
  release?: Release;
}

/** What an `Away` needs of the rest. */
export interface Ways {
  /** What is to be loaded now, for `update`. */
  now(): Promise<Wanted>;
  /** The signature, where the package does not say it. */
  signature(known: Known): Promise<Signature>;
  /** Begins to follow, and gives what ends it. */
  follow(update: () => Promise<UpdateResult>): () => void;
}

interface State extends Known {
  signature: Signature;
  release: Release | undefined;
}

/** A model that the device cannot load: what it is, without an engine. It predicts nothing by itself. */
export class Away implements Omit<Model, "predict" | "run"> {
  /** What the device lacks. */
  readonly lack: ServerReason;
  /** The error of the load. */
  readonly failure: unknown;
  readonly trust = undefined;
  readonly #ways: Ways;
  readonly #endFollowing: () => void;
  #state: State;
  #updating: Promise<unknown> = Promise.resolve();

  private constructor(lack: ServerReason, failure: unknown, ways: Ways, state: State) {
    this.lack = lack;
    this.failure = failure;
    this.#ways = ways;
    this.#state = state;
    this.#endFollowing = ways.follow(() => this.update());
  }

  static async of(lack: ServerReason, failure: unknown, ways: Ways, known: Known, release: Release | undefined): Promise<Away> {
    return new Away(lack, failure, ways, await stateOf(ways, known, release));
  }

  get name(): string {
    return this.#state.name;
  }

  get version(): string {
    return this.#state.version;
  }

  get digest(): string {
    return this.#state.digest;
  }

  get source(): Lookup {
    return this.#state.source;
  }

  get signature(): Signature {
    return this.#state.signature;
  }

  get config(): ModelConfig {
    return this.#state.config;
  }

  get layers(): readonly Descriptor[] {
    return this.#state.layers;
  }

  get release(): Release | undefined {
    return this.#state.release;
  }

  get engine(): ModelEngine {
    return { kind: "none" };
  }

  preprocess(): Promise<never> {
    return Promise.reject(this.failure);
  }

  examples(): Promise<Example[]> {
    return Promise.reject(this.failure);
  }

  selfTest(): Promise<SelfTestReport> {
    return Promise.reject(this.failure);
  }

  update({ signal }: { signal?: AbortSignal } = {}): Promise<UpdateResult> {
    const updating = this.#updating.then(() => this.#update(signal));
    this.#updating = updating.catch(() => undefined);
    return updating;
  }

  async close(): Promise<void> {
    this.#endFollowing();
  }

  async #update(signal: AbortSignal | undefined): Promise<UpdateResult> {
    const { digest: previous, version } = this.#state;
    const said = (): Pick<UpdateResult, "release"> => (this.#state.release ? { release: this.#state.release } : {});
    try {
      if (signal?.aborted) throw aborted(signal);
      const { plan, release } = await this.#ways.now();
      const known = await knowPackage({ ...plan, policy: "online" });
      const isSame = known.digest === previous;
      this.#state = isSame ? { ...this.#state, release } : await stateOf(this.#ways, known, release);
      if (isSame) return { status: "current", digest: previous, version, ...said() };
      return { status: "updated", digest: known.digest, version: known.version, previous, ...said() };
    } catch (thrown) {
      if (signal?.aborted) throw aborted(signal);
      const { code, message } = thrown instanceof TwinferError ? thrown : new TwinferError("internal", describe(thrown));
      const status = code === "network" || code === "timeout" ? "unreachable" : "refused";
      return { status, digest: previous, version, ...said(), error: { code, message } };
    }
  }
}

async function stateOf(ways: Ways, known: Known, release: Release | undefined): Promise<State> {
  return { ...known, signature: known.config.signature ?? (await ways.signature(known)), release };
}
