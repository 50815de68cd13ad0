import type { Connection } from "./connection.js";
import { EngineStopped, TwinferError, aborted } from "./errors.js";
import { toExamples } from "./examples.js";
import type { Descriptor, Golden, ModelConfig, SelfTestReport, Signature } from "./generated/types.js";
import type { Ownership } from "./inputs.js";
import { packInput, packTensors } from "./inputs.js";
import type { Opened, Plan } from "./load.js";
import { getAndSupply, open } from "./load.js";
import { fromWireTensors } from "./tensors.js";
import type {
  CallOptions,
  Example,
  InputValue,
  JsonValue,
  Model,
  PredictOptions,
  Prediction,
  TensorInput,
  TensorOutput,
  TrustDecision,
} from "./types.js";
import type { ModelInfo } from "./wire.js";

/** Work that waits for the engine. */
interface Task {
  work: (connection: Connection) => Promise<unknown>;
  resolve: (result: unknown) => void;
  reject: (error: unknown) => void;
  settled: boolean;
}

/**
 * A loaded model. Calls are queued here and sent one at a time, so that one which is
 * cancelled while it waits costs nothing, and a stopped engine takes only the call with it
 * that stopped it: the next one finds a new engine.
 */
export class LoadedModel implements Model {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly signature: Signature;
  readonly config: ModelConfig;
  readonly layers: readonly Descriptor[];
  readonly trust?: TrustDecision;

  readonly #plan: Plan;
  readonly #queue: Task[] = [];
  readonly #end = new AbortController();
  #connection: Connection | undefined;
  #current: Task | undefined;

  constructor(plan: Plan, { connection, info }: Opened) {
    const { name, version, digest, signature, config, layers, decision }: ModelInfo = info;
    this.name = name;
    this.version = version;
    this.digest = digest;
    this.signature = signature;
    this.config = config;
    this.layers = layers;
    if (decision) {
      const { verdict, keys, reason } = decision;
      this.trust = { verdict, keys, ...(reason !== undefined && { reason }) };
    }
    // Loaded again, it must be the same package, wherever a tag points to by then.
    this.#plan = { ...plan, source: { ...plan.source, reference: `${name}@${digest}` } };
    this.#connection = connection;
  }

  async predict<Outputs extends object = Record<string, JsonValue>>(
    inputs: Readonly<Record<string, InputValue>>,
    options: PredictOptions = {},
  ): Promise<Prediction<Outputs>> {
    const since = performance.now();
    const { value: input, transfer } = await packInput(inputs, this.config, this.signature, this.#ownership(options));
    const parameters = plainParameters(options.parameters);
    const { text, engine } = await this.#enqueue((to) => to.call("predict", { input, parameters }, transfer), options.signal);
    const { outputs, digest, mode } = JSON.parse(text);
    const timing = { engine, total: performance.now() - since };
    return { ...outputs, prediction: { outputs, digest, mode, timing } };
  }

  async preprocess(inputs: Readonly<Record<string, InputValue>>, options: CallOptions = {}): Promise<Record<string, TensorOutput>> {
    const { value: input, transfer } = await packInput(inputs, this.config, this.signature, this.#ownership(options));
    return fromWireTensors(await this.#enqueue((to) => to.call("preprocess", { input }, transfer), options.signal));
  }

  async run(tensors: Readonly<Record<string, TensorInput>>, options: CallOptions = {}): Promise<Record<string, TensorOutput>> {
    const { value, transfer } = packTensors(tensors, this.signature, this.#ownership(options));
    return fromWireTensors(await this.#enqueue((to) => to.call("run", { tensors: value }, transfer), options.signal));
  }

  async examples({ signal }: { signal?: AbortSignal } = {}): Promise<Example[]> {
    const json = await this.#enqueue(async (to) => {
      await this.#supplyGolden(to);
      return to.call("goldenJson", {});
    }, signal);
    return json === undefined ? [] : toExamples(JSON.parse(json) as Golden, this.config);
  }

  async selfTest(options: { signal?: AbortSignal; onProgress?: (done: number, total: number) => void } = {}): Promise<SelfTestReport> {
    const { signal, onProgress } = options;
    return this.#enqueue(async (to) => {
      await this.#supplyGolden(to);
      const cancel = (): void => void to.call("cancel", {}).catch(() => undefined);
      signal?.addEventListener("abort", cancel, { once: true });
      return to.call("selfTest", {}, [], onProgress).finally(() => signal?.removeEventListener("abort", cancel));
    }, signal);
  }

  async close(): Promise<void> {
    if (this.#end.signal.aborted) return;
    const error = this.#closed();
    this.#end.abort(error);
    this.#connection?.end(error);
    this.#connection = undefined;
    for (const task of this.#queue.splice(0)) settle(task, () => task.reject(error));
  }

  #closed(): TwinferError {
    return new TwinferError("closed", `${this.name} was closed; load it again to use it`);
  }

  #ownership({ transfer = false }: CallOptions): Ownership {
    return { away: this.#plan.thread === "worker", given: transfer };
  }

  async #supplyGolden(to: Connection): Promise<void> {
    const need = await to.call("goldenNeed", {});
    if (!need) return;
    const { signal } = this.#end;
    await getAndSupply(this.#plan, need, (content, transfer) => to.call("supplyGolden", content, transfer), { signal });
  }

  #enqueue<T>(work: (connection: Connection) => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#end.signal.aborted) throw this.#closed();
      if (signal?.aborted) throw aborted(signal);
      const task: Task = { work, resolve: resolve as (result: unknown) => void, reject, settled: false };
      if (signal) {
        const cancel = (): void => settle(task, () => reject(aborted(signal)));
        signal.addEventListener("abort", cancel, { once: true });
        const forget = (): void => signal.removeEventListener("abort", cancel);
        task.resolve = (result) => (forget(), resolve(result as T));
        task.reject = (error) => (forget(), reject(error));
      }
      this.#queue.push(task);
      void this.#work();
    });
  }

  async #work(): Promise<void> {
    if (this.#current) return;
    for (let task = this.#queue.shift(); task; task = this.#queue.shift()) {
      if (task.settled) continue;
      this.#current = task;
      await this.#perform(task);
      this.#current = undefined;
    }
  }

  async #perform(task: Task): Promise<void> {
    try {
      const connection = (this.#connection ??= await this.#reopen());
      const result = await task.work(connection);
      settle(task, () => task.resolve(result));
    } catch (error) {
      if (error instanceof EngineStopped) {
        this.#connection?.end(error);
        this.#connection = undefined;
      }
      const reason = this.#end.signal.aborted ? this.#closed() : error;
      settle(task, () => task.reject(reason));
    }
  }

  /** A new engine with the same package, after the last one stopped. */
  async #reopen(): Promise<Connection> {
    const { connection } = await open(this.#plan, () => undefined, this.#end.signal);
    return connection;
  }
}

function settle(task: Task, how: () => void): void {
  if (task.settled) return;
  task.settled = true;
  how();
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
