import type { Connection } from "./connection.js";
import { connect } from "./connection.js";
import { OWN_ENGINE } from "./own.js";
import { compileEngine, described, fullEngine } from "./engine.js";
import { EngineStopped, TwinferError, aborted, describe, throwIfAborted } from "./errors.js";
import { read } from "./fetch.js";
import { packBytes, packTensors } from "./inputs.js";
import { engineAddress } from "./load.js";
import { baseUrl } from "./platform.js";
import { fromWireValues } from "./tensors.js";
import type { ByteSource, CallOptions, ModelInput, ModelOutput, OnnxModel, OnnxOptions, TensorOutput } from "./types.js";
import type { OnnxInfo, Setup } from "./wire.js";

/**
 * Loads a bare ONNX file, without a package around it: for trying a model, and for files that others
 * look after. What comes from a registry is loaded with `loadModel`, which verifies and keeps it.
 *
 * ```ts
 * const model = await loadOnnx("/model.onnx");
 * const { y } = await model.run({ x: { shape: [1, 2], data: [1, 2] } });
 * ```
 *
 * @param source The file, which has its weights in it: its bytes, or its address.
 * @throws TwinferError `invalid_model`, `unsupported_operator` and what else went wrong; `not_found` and
 * `network` for what cannot be fetched.
 */
export async function loadOnnx(source: ByteSource | string | URL, options: OnnxOptions = {}): Promise<OnnxModel> {
  const { thread = "worker", engineUrl, signal } = options;
  if (thread !== "worker" && thread !== "main") {
    throw new TwinferError("invalid_request", `thread must be one of "worker", "main", got ${JSON.stringify(thread)}`);
  }
  throwIfAborted(signal);
  const isAddress = typeof source === "string" || source instanceof URL;
  const onnx = isAddress ? await fetched(source, signal) : await copied(source);
  const open = opening(onnx, thread, engineAddress(engineUrl), engineUrl === undefined);
  return new LoadedOnnx(thread, open, await open(signal));
}

/** A copy of its own: after its engine has stopped, the model is opened again. */
async function copied(source: ByteSource): Promise<Uint8Array> {
  const { value } = await packBytes("model", source, { away: true, given: false }, "bytes");
  return value.bytes;
}

/** More the engine does not load: `MAX_MODEL_BYTES`. */
const MAX_MODEL_BYTES = 2 ** 31 - 1;

async function fetched(address: string | URL, signal: AbortSignal | undefined): Promise<Uint8Array> {
  let url: URL;
  try {
    url = new URL(address, baseUrl());
  } catch (error) {
    throw new TwinferError("invalid_reference", `this is no address of a model file: ${String(address)}`, { cause: error });
  }
  const bytes = await read({ url, what: "the model file", limit: MAX_MODEL_BYTES, missing: "not_found", signal });
  if (bytes.length > MAX_MODEL_BYTES) {
    throw new TwinferError("model_too_large", `the model file has more than ${MAX_MODEL_BYTES} bytes, which is the most that can be loaded`);
  }
  return bytes;
}

interface Opened {
  connection: Connection;
  info: OnnxInfo;
}

function opening(onnx: Uint8Array, thread: "worker" | "main", url: URL, own: boolean): (signal?: AbortSignal) => Promise<Opened> {
  return async (signal) => {
    const connection = connect(thread, () => undefined);
    const cancel = (): void => signal && connection.end(aborted(signal));
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      await connection.call("begin", SETUP);
      const module = await compileEngine(url);
      await connection.call("start", { module, engine: described(fullEngine(url, own ? OWN_ENGINE : undefined)) });
      return { connection, info: await connection.call("openOnnx", { onnx }) };
    } catch (thrown) {
      const error = signal?.aborted ? aborted(signal) : thrown;
      connection.end(error instanceof Error ? error : new TwinferError("internal", describe(error)));
      throw error;
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  };
}

/** Nothing is fetched, and nothing is kept. */
const SETUP: Setup = { registries: [], reference: "", policy: "offline", trusted: false, ask: false, full: "", keep: false, mustKeep: false };

class LoadedOnnx implements OnnxModel {
  readonly signature: OnnxInfo["signature"];
  readonly opsets: readonly string[];
  readonly #thread: "worker" | "main";
  readonly #open: () => Promise<Opened>;
  #opened: Promise<Opened>;
  /** One call at a time, in the order in which they came. */
  #last: Promise<unknown> = Promise.resolve();
  #closed: TwinferError | undefined;

  constructor(thread: "worker" | "main", open: () => Promise<Opened>, opened: Opened) {
    this.#thread = thread;
    this.#open = open;
    this.#opened = Promise.resolve(opened);
    this.signature = opened.info.signature;
    this.opsets = opened.info.opsets;
  }

  async run<Outputs extends Record<string, ModelOutput> = Record<string, TensorOutput>>(inputs: Readonly<Record<string, ModelInput>>, { signal, transfer: given = false }: CallOptions = {}): Promise<Outputs> {
    throwIfAborted(signal);
    const { value: values, transfer } = packTensors(inputs, this.signature, { away: this.#thread === "worker", given });
    const call = this.#last.then(async () => {
      throwIfAborted(signal);
      return this.#call((connection) => connection.call("runOnnx", { values }, transfer));
    });
    this.#last = call.catch(() => undefined);
    return fromWireValues(await call) as Outputs;
  }

  async close(): Promise<void> {
    this.#closed ??= new TwinferError("closed", "the model was closed; load it again to use it");
    const error = this.#closed;
    await this.#opened.then(({ connection }) => connection.end(error)).catch(() => undefined);
  }

  async #call<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    if (this.#closed) throw this.#closed;
    const { connection } = await this.#opened;
    try {
      return await work(connection);
    } catch (error) {
      if (error instanceof EngineStopped && !this.#closed) {
        connection.end(error);
        // The next call finds a new engine.
        this.#opened = this.#open();
        this.#opened.catch(() => undefined);
      }
      throw this.#closed ?? error;
    }
  }
}
