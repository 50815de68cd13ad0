import { TwinferError, aborted } from "../errors.js";
import type { Descriptor, ModelConfig, SelfTestReport, Signature } from "../generated/types.js";
import { packInput, packTensors } from "../inputs.js";
import { still } from "../instance.js";
import { plainParameters } from "../model.js";
import type { HybridOptions, PageReason, ServerReason } from "../places.js";
import { computed, provenanceOf } from "../provenance.js";
import type { Release } from "../releases.js";
import { fromWireValues } from "../tensors.js";
import type {
  CallOptions,
  Example,
  InputValue,
  JsonValue,
  Lookup,
  Model,
  ModelEngine,
  ModelInput,
  ModelOutput,
  PredictOptions,
  Prediction,
  TensorOutput,
  TrustDecision,
  UpdateResult,
} from "../types.js";
import { Consent } from "./consent.js";
import { lackOf } from "./device.js";
import { hold } from "./hold.js";
import { LatencyBudget } from "./latency.js";
import type { Away } from "./away.js";
import { Server } from "./server.js";

/** The server, and whether it may be asked: what a model has of its `hybrid` options. */
export class Helper {
  readonly server: Server;
  readonly #consent: Consent;

  constructor(options: HybridOptions) {
    this.server = new Server(options);
    this.#consent = new Consent(options.consent);
  }

  get isRefused(): boolean {
    return this.#consent.isRefused;
  }

  /** Whether the server may be asked for this package. */
  allows({ name, version, digest }: Pick<Model, "name" | "version" | "digest">, reason: ServerReason): Promise<boolean> {
    return this.#consent.given({ server: this.server.address, name, version, digest, reason });
  }
}

/** The server's error, with why it was asked. */
export function neither(error: unknown, failure: unknown): unknown {
  if (!(error instanceof TwinferError) || error.code === "aborted") return error;
  const here = failure instanceof Error ? failure.message : String(failure);
  return new TwinferError(error.code, `${error.message}; it was asked because this device cannot do it: ${here}`, { cause: failure });
}

/** How many milliseconds something took. */
type Timed<T> = { answer: T; time: number };

/** A model that is computed here where that is possible, and by a server where it is not. */
export class HybridModel implements Model {
  /** The model of this page, or what is known of it where the device cannot load it. */
  readonly #model: Model | Away;
  readonly #helper: Helper;
  readonly #budget: LatencyBudget | undefined;
  #measured = "";
  /** Calls that are computed here now: with several, the time of one says nothing. */
  #busy = 0;
  #failed = false;

  constructor(model: Model | Away, helper: Helper, latencyBudgetMs: number | undefined) {
    this.#model = model;
    this.#helper = helper;
    if (latencyBudgetMs !== undefined) this.#budget = new LatencyBudget(latencyBudgetMs);
  }

  get name(): string {
    return this.#model.name;
  }

  get version(): string {
    return this.#model.version;
  }

  get digest(): string {
    return this.#model.digest;
  }

  get source(): Lookup {
    return this.#model.source;
  }

  get signature(): Signature {
    return this.#model.signature;
  }

  get config(): ModelConfig {
    return this.#model.config;
  }

  get layers(): readonly Descriptor[] {
    return this.#model.layers;
  }

  get trust(): TrustDecision | undefined {
    return this.#model.trust;
  }

  get release(): Release | undefined {
    return this.#model.release;
  }

  get engine(): ModelEngine {
    return this.#model.engine;
  }

  predict<Outputs extends object = Record<string, JsonValue>>(inputs: Readonly<Record<string, InputValue>>, options: PredictOptions = {}): Promise<Prediction<Outputs>> {
    return this.#compute(
      inputs,
      options,
      async (model, held, why) => {
        const answer = await model.predict<Outputs>(held, { ...options, transfer: false });
        return { answer: { ...answer, prediction: { ...answer.prediction, why } }, time: answer.prediction.timing.engine };
      },
      (given, why) => this.#predictThere<Outputs>(given, options, why),
    );
  }

  run<Outputs extends Record<string, ModelOutput> = Record<string, TensorOutput>>(tensors: Readonly<Record<string, ModelInput>>, options: CallOptions = {}): Promise<Outputs> {
    return this.#compute(
      tensors,
      options,
      async (model, held, why) => {
        const since = performance.now();
        const alone = this.#busy === 1;
        const outputs = await model.run<Outputs>(held, { ...options, transfer: false });
        const provenance = provenanceOf(outputs);
        return { answer: provenance ? computed(outputs, { ...provenance, why }) : outputs, time: alone ? performance.now() - since : Number.NaN };
      },
      (given, why) => this.#runThere<Outputs>(given, options, why),
    );
  }

  preprocess<Made extends Record<string, ModelOutput> = Record<string, TensorOutput>>(inputs: Readonly<Record<string, InputValue>>, options?: CallOptions): Promise<Made> {
    return this.#model.preprocess<Made>(inputs, options);
  }

  examples(options?: { signal?: AbortSignal }): Promise<Example[]> {
    return this.#model.examples(options);
  }

  selfTest(options?: { signal?: AbortSignal; onProgress?: (done: number, total: number) => void }): Promise<SelfTestReport> {
    return this.#model.selfTest(options);
  }

  update(options?: { signal?: AbortSignal }): Promise<UpdateResult> {
    return this.#model.update(options);
  }

  close(): Promise<void> {
    return this.#model.close();
  }

  /** Here or there: `here` and `there` do the same. */
  async #compute<In extends object, T>(
    inputs: In,
    { signal }: CallOptions,
    here: (model: Model, inputs: In, why: PageReason) => Promise<Timed<T>>,
    there: (inputs: In, why: ServerReason) => Promise<T>,
  ): Promise<T> {
    const model = this.#model;
    if ("lack" in model) return this.#instead(model.lack, model.failure, () => there(inputs, model.lack));
    this.#restart(model.digest);
    const turn = this.#budget?.next() ?? "page";
    if (turn === "server") {
      const sent = await this.#quicker(() => there(inputs, "latency"), signal);
      if (sent) return sent.answer;
    }
    // Kept, because what is tried here first may be wanted there afterwards.
    const held = await hold(inputs);
    this.#busy++;
    try {
      const { answer, time } = await here(model, held.inputs, turn === "probe" ? "probe" : this.#reason());
      if (Number.isFinite(time)) this.#budget?.here(time);
      return answer;
    } catch (error) {
      const lack = lackOf(error);
      if (lack === undefined || signal?.aborted) throw error;
      return await this.#instead(lack, error, () => there(held.inputs, lack));
    } finally {
      this.#busy--;
      held.free();
    }
  }

  /** Asks the server because that is quicker; nothing where it may not be asked, or fails: the device can do it. */
  async #quicker<T>(there: () => Promise<T>, signal: AbortSignal | undefined): Promise<{ answer: T } | undefined> {
    if (!(await this.#helper.allows(this, "latency"))) {
      this.#budget?.failed();
      return undefined;
    }
    const since = performance.now();
    try {
      const answer = await there();
      this.#budget?.there(performance.now() - since);
      this.#failed = false;
      return { answer };
    } catch (error) {
      if (signal?.aborted) throw aborted(signal);
      this.#budget?.failed();
      this.#failed = true;
      return undefined;
    }
  }

  /** Asks the server for what the device cannot do. */
  async #instead<T>(lack: ServerReason, failure: unknown, there: () => Promise<T>): Promise<T> {
    if (!(await this.#helper.allows(this, lack))) throw failure;
    try {
      return await there();
    } catch (error) {
      throw neither(error, failure);
    }
  }

  /** Another package has other times. */
  #restart(digest: string): void {
    if (this.#measured === digest) return;
    this.#measured = digest;
    this.#budget?.restart();
  }

  #reason(): PageReason {
    if (!this.#budget?.isOver) return "local_first";
    if (this.#helper.isRefused) return "no_consent";
    return this.#failed ? "server_failed" : "local_first";
  }

  async #predictThere<Outputs extends object>(inputs: Readonly<Record<string, InputValue>>, { parameters, signal }: PredictOptions, why: ServerReason): Promise<Prediction<Outputs>> {
    const since = performance.now();
    const { name, digest, config, signature, release } = this.#model;
    const plain = plainParameters(parameters);
    const { value } = await packInput(inputs, config, signature, { away: false, given: false });
    const { outputs, version, mode, engine } = await this.#helper.server.predict({ name, digest }, config.pipeline?.input, still(value), plain, signal);
    const timing = { engine, total: performance.now() - since };
    const assigned = release && { variant: release.variant, revision: release.revision };
    const prediction = { outputs: outputs as Outputs, where: "server" as const, why, digest, version, ...assigned, mode, timing };
    return { ...(outputs as Outputs), prediction };
  }

  async #runThere<Outputs extends Record<string, ModelOutput>>(tensors: Readonly<Record<string, ModelInput>>, { signal }: CallOptions, why: ServerReason): Promise<Outputs> {
    const { name, digest, signature } = this.#model;
    const { value } = packTensors(tensors, signature, { away: false, given: false });
    const { values, version } = await this.#helper.server.run({ name, digest }, value, signature, signal);
    return computed(fromWireValues(values) as Outputs, { where: "server", why, digest, version });
  }
}
