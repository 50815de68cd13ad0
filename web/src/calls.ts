import type { Connection } from "./connection.js";
import { EngineStopped, TwinferError, aborted } from "./errors.js";
import type { Opened, Plan } from "./load.js";
import { open } from "./load.js";
import type { Release } from "./releases.js";
import type { ModelEngine } from "./types.js";
import type { ModelInfo } from "./wire.js";

/** Work that waits for the engine. */
interface Task {
  work: (connection: Connection) => Promise<unknown>;
  resolve: (result: unknown) => void;
  reject: (error: unknown) => void;
  settled: boolean;
}

/**
 * A package in its engine, and the calls that wait for it. They are queued here and sent one at a
 * time, so that one which is cancelled while it waits costs nothing, and a stopped engine takes
 * only the call with it that stopped it: the next one finds a new engine.
 */
export class Calls {
  readonly info: ModelInfo;
  /** Which variant of a deployment it is; a later document may give the same package another share. */
  release: Release | undefined;
  readonly #plan: Plan;
  readonly #queue: Task[] = [];
  readonly #end = new AbortController();
  #connection: Promise<Connection> | undefined;
  #engine: { now: ModelEngine };
  #current: Task | undefined;
  /** Callers that have it in hand: they may queue a call yet. */
  #users = 0;
  #retired: (() => void) | undefined;

  constructor(plan: Plan, { connection, info, candidates, engine }: Opened, release?: Release) {
    this.info = info;
    this.release = release;
    this.#engine = engine;
    // Loaded again, it must be the same package, wherever a tag points to by then.
    this.#plan = { ...plan, candidates, source: { ...plan.source, reference: `${info.name}@${info.digest}` } };
    this.#connection = Promise.resolve(connection);
  }

  /** What runs it. */
  get engine(): ModelEngine {
    return this.#engine.now;
  }

  /** Does something with it; until that is done it is not given back. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    this.#users++;
    try {
      return await work();
    } finally {
      this.#users--;
      this.#endIfDone();
    }
  }

  /** Queues a call. */
  enqueue<T>(work: (connection: Connection) => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
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

  /** Does something beside the queue: what waits for the network must not hold up predictions. */
  async aside<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    if (this.#end.signal.aborted) throw this.#closed();
    const connection = await this.#connect();
    try {
      return await work(connection);
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** Another one takes its place: it ends, and says so, when what it was asked for is answered. */
  retire(done: () => void): void {
    this.#retired = done;
    this.#endIfDone();
  }

  /** Ends it at once. Calls that wait are rejected. */
  close(): void {
    if (this.#end.signal.aborted) return;
    const error = this.#closed();
    this.#end.abort(error);
    void this.#connection?.then((connection) => connection.end(error)).catch(() => undefined);
    this.#connection = undefined;
    for (const task of this.#queue.splice(0)) settle(task, () => task.reject(error));
    if (this.#current) settle(this.#current, () => this.#current?.reject(error));
  }

  #endIfDone(): void {
    if (!this.#retired || this.#users > 0) return;
    this.close();
    this.#retired();
  }

  #closed(): TwinferError {
    return new TwinferError("closed", `${this.info.name} was closed; load it again to use it`);
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
      const result = await task.work(await this.#connect());
      settle(task, () => task.resolve(result));
    } catch (error) {
      const reason = this.#failed(error);
      settle(task, () => task.reject(reason));
    }
  }

  #failed(error: unknown): unknown {
    if (error instanceof EngineStopped) {
      void this.#connection?.then((connection) => connection.end(error)).catch(() => undefined);
      this.#connection = undefined;
    }
    return this.#end.signal.aborted ? this.#closed() : error;
  }

  /** The engine, or a new one with the same package after the last one stopped. */
  #connect(): Promise<Connection> {
    if (this.#connection) return this.#connection;
    // What took the place of another engine was needed; so it will be again.
    const candidates = this.engine.kind === "full" ? [this.#plan.full] : this.#plan.candidates;
    const opening = open({ ...this.#plan, candidates }, () => undefined, this.#end.signal).then(({ connection, engine }) => {
      this.#engine = engine;
      return connection;
    });
    this.#connection = opening;
    // The next call tries again.
    opening.catch(() => this.#connection === opening && (this.#connection = undefined));
    return opening;
  }
}

function settle(task: Task, how: () => void): void {
  if (task.settled) return;
  task.settled = true;
  how();
}
