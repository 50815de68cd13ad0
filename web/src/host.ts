import type { WireError } from "./errors.js";
import { TwinferError, describe, isErrorCode } from "./errors.js";
import { startEngine } from "./engine.js";
import type { SelfTestReport } from "./generated/types.js";
import type { Glue, WebCache, WebInput, WebModel, WebTensor } from "./glue.js";
import { digestOf } from "./oci.js";
import { Origin } from "./origin.js";
import type { Storage } from "./storage/storage.js";
import { openStorage } from "./storage/storage.js";
import type { Lookup } from "./types.js";
import type { LoadEvent, ModelInfo, Setup, WireInput, WirePrediction, WireTensor, Wish } from "./wire.js";

/** Methods of the cache that people call. */
export type Inspection = "list" | "verify" | "prune" | "clear" | "statistics";

/**
 * One engine with one model, on the thread where it computes: a worker, or the caller's.
 * Every method is one message of the wire (`wire.ts`).
 */
export class EngineHost {
  #glue: Glue | undefined;
  #cache: WebCache | undefined;
  #model: WebModel | undefined;
  #setup: Setup | undefined;
  #origins: Origin[] = [];
  #storage: Promise<Storage | undefined> = Promise.resolve(undefined);
  #cancelled = false;
  #stop = (_: unknown): void => undefined;
  /** Rejects when the engine stops while it waits: its own promises then never settle. */
  readonly #trap = new Promise<never>((_, reject) => (this.#stop = reject));

  constructor() {
    this.#trap.catch(() => undefined);
  }

  /** Before the engine is there: opens the storage, and asks for the index where it will be wanted. */
  begin(setup: Setup): void {
    const { registries, reference, keep } = setup;
    this.#setup = setup;
    this.#storage = keep === false ? Promise.resolve(undefined) : openStorage(keep === true ? undefined : keep);
    this.#origins = registries.map((registry) => new Origin(new URL(registry), reference, keep !== false));
    void this.#expectIndex(setup);
  }

  async start({ module }: { module: WebAssembly.Module }): Promise<void> {
    this.#glue = await startEngine(module, this.#stop);
    this.#cache = new this.#glue.WebCache(await this.#storage, this.#origins, this.#setup?.quota);
  }

  /** Gets the package and loads the model. */
  async load({ reference, wish }: { reference: string; wish: Wish }, onEvent?: (event: LoadEvent) => void): Promise<ModelInfo> {
    const storage = await this.#storage;
    if (!storage && this.#setup?.mustKeep) throw new TwinferError("storage", "there is no storage to keep the package in, and mustKeep was given");
    let problem: TwinferError | undefined;
    const listen = (event: LoadEvent): void => {
      onEvent?.(event);
      if (event.event !== "not-kept") return;
      problem ??= new TwinferError(event.code, event.message);
      // The engine cannot be told from here: what it fetches ends.
      if (this.#setup?.mustKeep) this.#fail(problem);
    };
    const found = await this.#guard(this.#started(this.#cache).load(reference, wish, thinned(listen)));
    if (problem && this.#setup?.mustKeep) throw problem;
    onEvent?.({ event: "load" });
    this.#model = found.model();
    return { ...(this.#model.info() as ModelInfo), ...(storage && !problem && { kept: storage.label }) };
  }

  /** What the registry says that a reference points to. */
  async revalidate({ reference }: { reference: string }): Promise<{ digest: string; source: Lookup; problem?: string }> {
    let problem: string | undefined;
    const listen = (event: LoadEvent): void => void (event.event === "unreachable" && (problem = event.message));
    const answer = await this.#guard(this.#started(this.#cache).revalidate(reference, listen));
    return { ...answer, ...(problem !== undefined && { problem }) };
  }

  /** Brings a package into the storage; gives its digest, or nothing where nothing is kept. */
  async prefetch({ reference, wish }: { reference: string; wish: Wish }): Promise<string | undefined> {
    if (!(await this.#storage)) return undefined;
    return this.#guard(this.#started(this.#cache).prefetch(reference, wish));
  }

  /** A tag is used with this package from now on. */
  activate({ reference, digest }: { reference: string; digest: string }): Promise<void> {
    return this.#guard(this.#started(this.#cache).activate(reference, digest));
  }

  /** What a tag points to did not prove itself. */
  refuse({ reference, digest }: { reference: string; digest: string }): Promise<void> {
    return this.#guard(this.#started(this.#cache).refuse(reference, digest));
  }

  /** What people ask of a cache. */
  inspect({ what, bytes }: { what: Inspection; bytes: number }): Promise<unknown> {
    return this.#guard<unknown>(this.#started(this.#cache)[what](bytes));
  }

  predict({ input, parameters }: { input: WireInput; parameters: object }): WirePrediction {
    const since = performance.now();
    const text = this.#loaded().predict(this.#input(input), parameters);
    return { text, engine: performance.now() - since };
  }

  preprocess({ input }: { input: WireInput }): WebTensor[] {
    return this.#loaded().preprocess(this.#input(input));
  }

  run({ tensors }: { tensors: WireTensor[] }): WebTensor[] {
    return this.#loaded().run(this.#tensors(tensors));
  }

  goldenJson(): Promise<string | undefined> {
    return this.#guard(this.#loaded().goldenJson());
  }

  async selfTest(_: object, onEvent?: (done: [number, number]) => void): Promise<SelfTestReport> {
    this.#cancelled = false;
    const report = await this.#guard(
      this.#loaded().selfTest((done, total) => {
        onEvent?.([done, total]);
        return !this.#cancelled;
      }),
    );
    return report as SelfTestReport;
  }

  /** Ends a self-test that is under way; it lets messages in between its cases. */
  cancel(): void {
    this.#cancelled = true;
  }

  /** Gives back what is held over all tabs, and ends every transfer. */
  end(reason: Error): void {
    this.#fail(reason instanceof TwinferError ? reason : new TwinferError("aborted", reason.message));
    void this.#storage.then((storage) => storage?.close());
  }

  #fail(reason: TwinferError): void {
    for (const origin of this.#origins) origin.stop(reason);
  }

  /** The index is fetched while the engine is compiled, unless the last answer will do. */
  async #expectIndex({ policy, reference, trusted }: Setup): Promise<void> {
    const [origin] = this.#origins;
    if (!origin || policy === "offline" || reference === "" || (reference.includes("@") && !trusted)) return;
    try {
      const storage = await this.#storage;
      if (storage) {
        // As `twinfer-cache` names it. Were it another name, the index would be asked for once too often.
        const text = new TextEncoder().encode(`${origin.id}\n${origin.indexKey(reference)}`);
        const known = await storage.document(`indexes/${(await digestOf(text)).replace("sha256:", "")}`);
        if (known) return;
      }
      origin.expect(reference);
    } catch {
      // The engine asks itself.
    }
  }

  #guard<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#trap]);
  }

  /** Whatever a method threw, as it crosses the wire. */
  failure(thrown: unknown): WireError {
    const { code } = (thrown ?? {}) as { code?: unknown };
    if (isErrorCode(code)) return { code, message: describe(thrown), fatal: false };
    return { ...this.#stopped(thrown), fatal: true };
  }

  /** Anything but an error with a code is a trap: the memory behind it is in no known state. */
  #stopped(thrown: unknown): Omit<WireError, "fatal"> {
    // A panic while a model is loaded is the model's fault as far as anyone can tell from
    // here, and natively, where panics are caught, it is reported as that.
    const loading = this.#glue !== undefined && this.#model === undefined;
    const next = "the engine was stopped; the next call starts a new one";
    const allocation = this.#afterwards((glue) => glue.failedAllocation()) ?? 0;
    if (allocation > 0) {
      return { code: "out_of_memory", message: `there is no memory for ${allocation} more bytes (${describe(thrown)}); ${next}` };
    }
    const panic = this.#afterwards((glue) => glue.panicMessage());
    if (loading && panic !== undefined) {
      return { code: "invalid_model", message: `the engine cannot prepare this model: ${panic}` };
    }
    return { code: "internal", message: `the engine failed: ${panic ?? describe(thrown)}; ${next}` };
  }

  /** Asks a stopped engine, which may be too broken to answer. */
  #afterwards<T>(ask: (glue: Glue) => T): T | undefined {
    try {
      return this.#glue && ask(this.#glue);
    } catch {
      return undefined;
    }
  }

  #input(input: WireInput): WebInput {
    const { WebInput } = this.#started(this.#glue);
    switch (input.kind) {
      case "picture":
        return WebInput.picture(input.bytes);
      case "pixels":
        return WebInput.pixels(input.pixels);
      case "bitmap":
        return WebInput.pixels(pixelsOf(input.bitmap));
      case "bytes":
        return WebInput.bytes(input.bytes);
      case "record":
        return WebInput.record(input.record);
      case "tensors":
        return WebInput.tensors(this.#tensors(input.tensors));
    }
  }

  #tensors(tensors: WireTensor[]) {
    const { TensorList } = this.#started(this.#glue);
    const list = new TensorList();
    for (const { name, dtype, shape, data } of tensors) {
      if (data instanceof Uint8Array) list.push(name, dtype, shape, data);
      else list.pushStrings(name, shape, data);
    }
    return list;
  }

  #started<T>(part: T | undefined): T {
    return part ?? unexpected();
  }

  #loaded(): WebModel {
    return this.#started(this.#model);
  }
}

/** Not every piece of a large layer is worth a message. */
function thinned(listen: (event: LoadEvent) => void): (event: LoadEvent) => void {
  const STEPS = 200;
  let told = 0;
  return (event) => {
    if (event.event === "progress") {
      const { loaded, total } = event;
      if (loaded < total && loaded > told && loaded - told < total / STEPS) return;
      told = loaded;
    }
    listen(event);
  };
}

function unexpected(): never {
  throw new Error("a call came before what it builds on");
}

/** The pixels of a bitmap, upright and without the alpha multiplied in where the browser can. */
function pixelsOf(bitmap: ImageBitmap): ImageData {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) unexpected();
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}
