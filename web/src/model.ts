import { Calls } from "./calls.js";
import { TwinferError, aborted, describe } from "./errors.js";
import { toExamples } from "./examples.js";
import type { Follower, Newer } from "./follow.js";
import { TagFollower } from "./follow.js";
import type { Descriptor, Golden, ModelConfig, SelfTestReport, Signature } from "./generated/types.js";
import type { Ownership } from "./inputs.js";
import { packInput, packTensors } from "./inputs.js";
import type { Opened, Plan } from "./load.js";
import { computed } from "./provenance.js";
import type { Release } from "./releases.js";
import { fromWireValues } from "./tensors.js";
import type {
  CallOptions,
  Example,
  InputValue,
  JsonValue,
  Lookup,
  Model,
  ModelEngine,
  PredictOptions,
  Prediction,
  ModelInput,
  ModelOutput,
  TensorOutput,
  TrustDecision,
  UpdateResult,
} from "./types.js";

/** A loaded model: one package after the other, as its tag or deployment moves and `update` follows it. */
export class LoadedModel implements Model {
  readonly #plan: Plan;
  readonly #follower: Follower;
  readonly #endFollowing: () => void;
  /** What new calls go to. */
  #calls: Calls;
  /** Those that still answer what was asked of them before. */
  readonly #retired = new Set<Calls>();
  #updating: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(plan: Plan, opened: Opened, follower: Follower = new TagFollower(plan), release?: Release) {
    this.#plan = plan;
    this.#follower = follower;
    this.#calls = new Calls(plan, opened, release);
    this.#endFollowing = follower.begin(this.#calls, () => this.update());
  }

  get name(): string {
    return this.#calls.info.name;
  }

  get version(): string {
    return this.#calls.info.version;
  }

  get digest(): string {
    return this.#calls.info.digest;
  }

  get source(): Lookup {
    return this.#calls.info.source;
  }

  get signature(): Signature {
    return this.#calls.info.signature;
  }

  get config(): ModelConfig {
    return this.#calls.info.config;
  }

  get layers(): readonly Descriptor[] {
    return this.#calls.info.layers;
  }

  get trust(): TrustDecision | undefined {
    const { decision } = this.#calls.info;
    if (!decision) return undefined;
    const { verdict, keys, reason } = decision;
    return { verdict, keys, ...(reason !== undefined && { reason }) };
  }

  get release(): Release | undefined {
    return this.#calls.release;
  }

  get engine(): ModelEngine {
    return { ...this.#calls.engine };
  }

  async predict<Outputs extends object = Record<string, JsonValue>>(
    inputs: Readonly<Record<string, InputValue>>,
    options: PredictOptions = {},
  ): Promise<Prediction<Outputs>> {
    const since = performance.now();
    const parameters = plainParameters(options.parameters);
    const { text, engine, version, release } = await this.#use(async (calls) => {
      const { config, signature, version } = calls.info;
      const { release } = calls;
      const { value: input, transfer } = await packInput(inputs, config, signature, this.#ownership(options));
      const answer = await calls.enqueue((to) => to.call("predict", { input, parameters }, transfer), options.signal);
      return { ...answer, version, release };
    });
    const { outputs, digest, mode } = JSON.parse(text);
    const timing = { engine, total: performance.now() - since };
    const assigned = release && { variant: release.variant, revision: release.revision };
    return { ...outputs, prediction: { outputs, where: "page", digest, version, ...assigned, mode, timing } };
  }

  preprocess<Made extends Record<string, ModelOutput> = Record<string, TensorOutput>>(inputs: Readonly<Record<string, InputValue>>, options: CallOptions = {}): Promise<Made> {
    return this.#use(async (calls) => {
      const { config, signature } = calls.info;
      const { value: input, transfer } = await packInput(inputs, config, signature, this.#ownership(options));
      return fromWireValues(await calls.enqueue((to) => to.call("preprocess", { input }, transfer), options.signal)) as Made;
    });
  }

  run<Outputs extends Record<string, ModelOutput> = Record<string, TensorOutput>>(tensors: Readonly<Record<string, ModelInput>>, options: CallOptions = {}): Promise<Outputs> {
    return this.#use(async (calls) => {
      const { signature, digest, version } = calls.info;
      const { value, transfer } = packTensors(tensors, signature, this.#ownership(options));
      const values = await calls.enqueue((to) => to.call("run", { tensors: value }, transfer), options.signal);
      return computed(fromWireValues(values) as Outputs, { where: "page", digest, version });
    });
  }

  examples({ signal }: { signal?: AbortSignal } = {}): Promise<Example[]> {
    return this.#use(async (calls) => {
      const json = await calls.enqueue((to) => to.call("goldenJson", {}), signal);
      return json === undefined ? [] : toExamples(JSON.parse(json) as Golden, calls.info.config);
    });
  }

  selfTest(options: { signal?: AbortSignal; onProgress?: (done: number, total: number) => void } = {}): Promise<SelfTestReport> {
    return this.#use((calls) => selfTest(calls, options));
  }

  update({ signal }: { signal?: AbortSignal } = {}): Promise<UpdateResult> {
    // One after the other: two would load the same package twice.
    const updating = this.#updating.then(() => this.#use((calls) => this.#update(calls, signal)));
    this.#updating = updating.catch(() => undefined);
    return updating;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#endFollowing();
    this.#calls.close();
    for (const calls of this.#retired) calls.close();
    this.#retired.clear();
  }

  #use<T>(work: (calls: Calls) => Promise<T>): Promise<T> {
    const calls = this.#calls;
    return calls.use(() => work(calls));
  }

  #ownership({ transfer = false }: CallOptions): Ownership {
    return { away: this.#plan.thread === "worker", given: transfer };
  }

  async #update(calls: Calls, signal: AbortSignal | undefined): Promise<UpdateResult> {
    const { digest, version } = calls.info;
    const same = (): Pick<UpdateResult, "digest" | "version" | "release"> => ({ digest, version, ...(calls.release && { release: calls.release }) });
    if (signal?.aborted) throw aborted(signal);
    let newer: Newer | undefined;
    try {
      newer = await this.#follower.newer(calls, signal);
      if (!newer) return { status: "current", ...same() };
      const { opened, release } = newer;
      const next = new Calls(this.#plan, opened, release);
      await proved(next, signal);
      await this.#swap(calls, next);
      const { info } = next;
      return { status: "updated", digest: info.digest, version: info.version, ...(release && { release }), previous: digest };
    } catch (thrown) {
      newer?.opened.connection.end(thrown as Error);
      if (newer && thrown instanceof TwinferError && !signal?.aborted) await this.#follower.refused(calls, newer.opened.info.digest, thrown);
      if (signal?.aborted) throw aborted(signal);
      const { code, message } = thrown instanceof TwinferError ? thrown : new TwinferError("internal", describe(thrown));
      // Closed meanwhile: there is no model any more that could be what it was.
      if (this.#isClosed || code === "aborted") throw thrown;
      const status = code === "network" || code === "timeout" ? "unreachable" : "refused";
      return { status, ...same(), error: { code, message } };
    }
  }

  async #swap(old: Calls, next: Calls): Promise<void> {
    await this.#follower.taken(next);
    if (this.#isClosed) {
      next.close();
      throw new TwinferError("closed", `${this.name} was closed; load it again to use it`);
    }
    this.#calls = next;
    this.#retired.add(old);
    old.retire(() => this.#retired.delete(old));
  }
}

/** A package that does not prove itself here is not used. */
async function proved(calls: Calls, signal: AbortSignal | undefined): Promise<void> {
  const report = await selfTest(calls, signal ? { signal } : {});
  if (report.failed === 0) return;
  const { name, version, digest } = calls.info;
  const first = report.cases.find((one) => !one.passed);
  throw new TwinferError(
    "self_test_failed",
    `${name} ${version} (${digest}): ${report.failed} of ${report.cases.length} golden examples do not come out as they should, first \`${first?.name}\`; the model before it stays`,
  );
}

function selfTest(calls: Calls, options: { signal?: AbortSignal; onProgress?: (done: number, total: number) => void }): Promise<SelfTestReport> {
  const { signal, onProgress } = options;
  return calls.enqueue(async (to) => {
    const cancel = (): void => void to.call("cancel", {}).catch(() => undefined);
    signal?.addEventListener("abort", cancel, { once: true });
    const tell = onProgress && ((done: [number, number]) => onProgress(...done));
    return to.call("selfTest", {}, [], tell).finally(() => signal?.removeEventListener("abort", cancel));
  }, signal);
}

/** Parameters as plain data: what cannot be sent to a worker gets a code instead of a DOMException. */
export function plainParameters(parameters: unknown): object {
  if (parameters === undefined) return {};
  try {
    const plain: unknown = JSON.parse(JSON.stringify(parameters));
    if (typeof plain === "object" && plain !== null && !Array.isArray(plain)) return plain;
  } catch {
    // Circular, or a bigint in it: said below.
  }
  throw new TwinferError("invalid_parameter", "parameters must be an object of names and plain values");
}
