import { Calls } from "./calls.js";
import { TwinferError, aborted, describe } from "./errors.js";
import { toExamples } from "./examples.js";
import type { Descriptor, Golden, ModelConfig, SelfTestReport, Signature } from "./generated/types.js";
import type { Ownership } from "./inputs.js";
import { packInput, packTensors } from "./inputs.js";
import type { Opened, Plan } from "./load.js";
import { open, prefetchEngine, wishOf } from "./load.js";
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

/** A loaded model: one package after the other, as its tag moves and `update` follows it. */
export class LoadedModel implements Model {
  readonly #plan: Plan;
  /** What new calls go to. */
  #calls: Calls;
  /** Those that still answer what was asked of them before. */
  readonly #retired = new Set<Calls>();
  #updating: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(plan: Plan, opened: Opened) {
    this.#plan = plan;
    this.#calls = new Calls(plan, opened);
    if (opened.info.source === "stale") void this.#revalidate().catch(() => undefined);
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

  get engine(): ModelEngine {
    return { ...this.#calls.engine };
  }

  async predict<Outputs extends object = Record<string, JsonValue>>(
    inputs: Readonly<Record<string, InputValue>>,
    options: PredictOptions = {},
  ): Promise<Prediction<Outputs>> {
    const since = performance.now();
    const parameters = plainParameters(options.parameters);
    const { text, engine } = await this.#use(async (calls) => {
      const { config, signature } = calls.info;
      const { value: input, transfer } = await packInput(inputs, config, signature, this.#ownership(options));
      return calls.enqueue((to) => to.call("predict", { input, parameters }, transfer), options.signal);
    });
    const { outputs, digest, mode } = JSON.parse(text);
    const timing = { engine, total: performance.now() - since };
    return { ...outputs, prediction: { outputs, digest, mode, timing } };
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
      const { value, transfer } = packTensors(tensors, calls.info.signature, this.#ownership(options));
      return fromWireValues(await calls.enqueue((to) => to.call("run", { tensors: value }, transfer), options.signal)) as Outputs;
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

  /** The last answer was used: asks whether it still holds, and gets what the next load will want. */
  async #revalidate(): Promise<void> {
    const { reference } = this.#plan.source;
    const { digest: previous } = this.#calls.info;
    const calls = this.#calls;
    const { digest: found } = await calls.aside((to) => to.call("revalidate", { reference }));
    if (found === previous) return;
    const wish = await wishOf({ ...this.#plan, policy: "stale-while-revalidate" }, undefined);
    const digest = await calls.aside((to) => to.call("prefetch", { reference, wish }));
    if (digest === undefined || digest === previous) return;
    // Where it cannot be had now, the next load fetches it.
    await prefetchEngine(this.#plan).catch(() => undefined);
    this.#plan.onUpdate?.({ digest, previous });
  }

  async #update(calls: Calls, signal: AbortSignal | undefined): Promise<UpdateResult> {
    const { digest, version } = calls.info;
    const same = { digest, version };
    if (signal?.aborted) throw aborted(signal);
    let opened: Opened | undefined;
    try {
      opened = await this.#newer(calls, signal);
      if (!opened) return { status: "current", ...same };
      const next = new Calls(this.#plan, opened);
      await proved(next, signal);
      await this.#swap(calls, next);
      const { info } = next;
      return { status: "updated", digest: info.digest, version: info.version, previous: digest };
    } catch (thrown) {
      opened?.connection.end(thrown as Error);
      if (opened && thrown instanceof TwinferError && thrown.code === "self_test_failed") await this.#refuse(calls, opened.info.digest);
      if (signal?.aborted) throw aborted(signal);
      const { code, message } = thrown instanceof TwinferError ? thrown : new TwinferError("internal", describe(thrown));
      // Closed meanwhile: there is no model any more that could be what it was.
      if (this.#isClosed || code === "aborted") throw thrown;
      const status = code === "network" || code === "timeout" ? "unreachable" : "refused";
      return { status, ...same, error: { code, message } };
    }
  }

  /** The package that the tag points to now, loaded into an engine of its own; nothing where it is the same. */
  async #newer(calls: Calls, signal: AbortSignal | undefined): Promise<Opened | undefined> {
    const { reference } = this.#plan.source;
    const { digest } = calls.info;
    const asked = await calls.aside((to) => to.call("revalidate", { reference }));
    if (asked.problem !== undefined) throw new TwinferError("network", asked.problem);
    if (asked.digest === digest) return undefined;
    // What was just answered is what is loaded.
    const opened = await open({ ...this.#plan, policy: "stale-while-revalidate" }, () => undefined, signal, true);
    if (opened.info.digest !== digest) return opened;
    opened.connection.end(new TwinferError("closed", "it is the same package"));
    return undefined;
  }

  /** So that the next load does not take it either. */
  async #refuse(calls: Calls, digest: string): Promise<void> {
    const { reference } = this.#plan.source;
    await calls.aside((to) => to.call("refuse", { reference, digest })).catch((error: unknown) => {
      console.warn(`twinfer: ${reference}: that ${digest} was refused was not kept: ${describe(error)}`);
    });
  }

  async #swap(old: Calls, next: Calls): Promise<void> {
    const { reference } = this.#plan.source;
    const { digest } = next.info;
    await next.aside((to) => to.call("activate", { reference, digest })).catch((error: unknown) => {
      console.warn(`twinfer: ${reference}: that ${digest} is used now was not kept: ${describe(error)}`);
    });
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
function plainParameters(parameters: unknown): object {
  if (parameters === undefined) return {};
  try {
    const plain: unknown = JSON.parse(JSON.stringify(parameters));
    if (typeof plain === "object" && plain !== null && !Array.isArray(plain)) return plain;
  } catch {
    // Circular, or a bigint in it: said below.
  }
  throw new TwinferError("invalid_parameter", "parameters must be an object of names and plain values");
}
