import { EngineStopped, fromWire } from "./errors.js";
import type { ErrorCode } from "./generated/errors.js";
import { EngineHost } from "./host.js";
import type { NodeThreads, NodeWorker } from "./platform.js";
import { nodeThreads } from "./platform.js";
import type { Method, Notice, Reply, Request } from "./wire.js";

type Result<M extends Method> = Awaited<ReturnType<EngineHost[M]>>;
type Args<M extends Method> = Parameters<EngineHost[M]> extends [infer A, ...unknown[]] ? A : Record<never, never>;
/** Is told of what happens in a call; each method has its own form of it. */
export type OnEvent = (event: never) => void;

/** The way to an engine. */
export interface Connection {
  call<M extends Method>(method: M, args: Args<M>, transfer?: readonly Transferable[], onEvent?: OnEvent): Promise<Result<M>>;
  /** Gives all memory back. Calls that still wait are rejected. */
  end(reason: Error): void;
}

/** `onNotice` is told when another engine takes over. */
export function connect(thread: "worker" | "main", onNotice: (notice: Notice) => void): Connection {
  if (thread === "main") return new LocalConnection(onNotice);
  const threads = nodeThreads();
  return threads ? nodeConnection(threads, onNotice) : webConnection(onNotice);
}

/** An engine on the thread of the caller. */
class LocalConnection implements Connection {
  #host: EngineHost | undefined;
  #ended: Error | undefined;

  constructor(onNotice: (notice: Notice) => void) {
    this.#host = new EngineHost((notice) => !this.#ended && onNotice(notice));
  }

  async call<M extends Method>(method: M, args: Args<M>, _?: readonly Transferable[], onEvent?: OnEvent): Promise<Result<M>> {
    const host = this.#host;
    if (!host) throw this.#ended;
    try {
      const call = host[method] as (this: EngineHost, args: Args<M>, onEvent?: OnEvent) => Promise<Result<M>>;
      const result = await call.call(host, args, onEvent);
      // Asked for again: it may have ended while this call waited.
      if (this.#ended) throw this.#ended;
      return result;
    } catch (thrown) {
      throw this.#ended ?? fromWire(host.failure(thrown));
    }
  }

  end(reason: Error): void {
    this.#ended ??= reason;
    this.#host?.end(this.#ended);
    // Nothing holds the instance any more: its memory is collected.
    this.#host = undefined;
  }
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
  onEvent: OnEvent | undefined;
}

/** What a worker of the web and one of Node have in common. */
interface Port {
  post(request: Request, transfer: readonly Transferable[]): void;
  terminate(): void;
  /** Whether the process should live on for it; a page always does. */
  busy(busy: boolean): void;
}

class WorkerConnection implements Connection {
  readonly #port: Port;
  readonly #waiting = new Map<number, Waiting>();
  readonly #onNotice: (notice: Notice) => void;
  #next = 0;
  #ended: Error | undefined;

  constructor(onNotice: (notice: Notice) => void, open: (onReply: (reply: Reply) => void, onFailure: (error: Error) => void) => Port) {
    this.#onNotice = onNotice;
    this.#port = open(
      (reply) => this.#onReply(reply),
      (error) => this.end(error),
    );
    this.#port.busy(false);
  }

  call<M extends Method>(method: M, args: Args<M>, transfer: readonly Transferable[] = [], onEvent?: OnEvent): Promise<Result<M>> {
    return new Promise((resolve, reject) => {
      if (this.#ended) throw this.#ended;
      const id = this.#next++;
      this.#waiting.set(id, { resolve: resolve as (result: unknown) => void, reject, onEvent });
      this.#port.busy(true);
      try {
        this.#port.post({ id, method, args }, transfer);
      } catch (error) {
        this.#settled(id);
        throw error;
      }
    });
  }

  end(reason: Error): void {
    if (this.#ended) return;
    this.#ended = reason;
    this.#port.terminate();
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
  }

  #onReply(reply: Reply): void {
    if ("notice" in reply) return void (this.#ended || this.#onNotice(reply.notice));
    const waiting = this.#waiting.get(reply.id);
    if (!waiting) return;
    if ("event" in reply) {
      waiting.onEvent?.(reply.event as never);
      return;
    }
    this.#settled(reply.id);
    if ("error" in reply) waiting.reject(fromWire(reply.error));
    else waiting.resolve(reply.result);
  }

  #settled(id: number): void {
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#port.busy(false);
  }
}

function stopped(message: string, code: ErrorCode = "internal"): EngineStopped {
  return new EngineStopped(code, message);
}

function webConnection(onNotice: (notice: Notice) => void): Connection {
  return new WorkerConnection(onNotice, (onReply, onFailure) => {
    // This form, in one expression, is what bundlers look for.
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "twinfer" });
    worker.onmessage = (event: MessageEvent<Reply>) => onReply(event.data);
    worker.onmessageerror = () => onFailure(stopped("an answer of the worker could not be read"));
    worker.onerror = (event) => {
      event.preventDefault();
      // A script that cannot be fetched gives an event without a message.
      const unreached = "the worker could not be started: is worker.js served beside index.js, as JavaScript?";
      onFailure(event.message ? stopped(`the worker failed: ${event.message}`) : stopped(unreached, "network"));
    };
    return {
      post: (request, transfer) => worker.postMessage(request, [...transfer]),
      terminate: () => worker.terminate(),
      busy: () => undefined,
    };
  });
}

function nodeConnection(threads: NodeThreads, onNotice: (notice: Notice) => void): Connection {
  return new WorkerConnection(onNotice, (onReply, onFailure) => {
    const worker: NodeWorker = new threads.Worker(new URL("./worker.js", import.meta.url));
    worker.on("message", (reply: Reply) => onReply(reply));
    worker.on("messageerror", () => onFailure(stopped("an answer of the worker could not be read")));
    worker.on("error", (error: Error) => onFailure(stopped(`the worker failed: ${error.message}`)));
    worker.on("exit", () => onFailure(stopped("the worker ended by itself")));
    return {
      post: (request, transfer) => worker.postMessage(request, transfer),
      terminate: () => void worker.terminate(),
      // An idle worker must not keep the process alive, one that computes must.
      busy: (busy) => (busy ? worker.ref() : worker.unref()),
    };
  });
}
