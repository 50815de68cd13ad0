import { toCache } from "./cache.js";
import type { WireError } from "./errors.js";
import { describe, isErrorCode } from "./errors.js";
import { startEngine } from "./engine.js";
import type { SelfTestReport } from "./generated/types.js";
import type { Glue, Need, WebInput, WebLoader, WebModel, WebTensor } from "./glue.js";
import type { ModelInfo, Needs, Supplied, WireDecision, WireInput, WirePrediction, WireTensor, WireTrust } from "./wire.js";

/**
 * One engine with one model, on the thread where it computes: a worker, or the caller's.
 * Every method is one message of the wire (`wire.ts`).
 */
export class EngineHost {
  #glue: Glue | undefined;
  #loader: WebLoader | undefined;
  #model: WebModel | undefined;
  #keep = false;
  #cancelled = false;

  async start({ module, keep }: { module: WebAssembly.Module; keep: boolean }): Promise<string> {
    this.#glue = await startEngine(module);
    this.#keep = keep;
    return this.#glue.engineVersion();
  }

  /** Begins a package; without an index the reference must have a digest. */
  open({ reference, index, trust }: { reference: string; index?: Uint8Array; trust?: WireTrust }): Needs {
    const { WebLoader } = this.#started();
    this.#loader = trust
      ? WebLoader.trusted(reference, index ?? new Uint8Array(), trust.policy, trust.now, trust.lastCounter)
      : new WebLoader(reference, index);
    return this.#needs();
  }

  /** Verifies bytes; what is right is kept in the cache. */
  async supply(content: Supplied): Promise<Needs> {
    this.#opened().supply(content.digest, content.bytes);
    await this.#toCache(content);
    return this.#needs();
  }

  /** Loads the model. */
  finish(): ModelInfo {
    const loader = this.#opened();
    this.#loader = undefined;
    const decision = loader.decision() as WireDecision | undefined;
    this.#model = loader.finish();
    return { ...(this.#model.info() as ModelInfo), ...(decision && { decision }) };
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

  goldenNeed(): Need | undefined {
    return this.#loaded().goldenNeed();
  }

  async supplyGolden(content: Supplied): Promise<void> {
    this.#loaded().supplyGolden(content.bytes);
    await this.#toCache(content);
  }

  goldenJson(): string | undefined {
    return this.#loaded().goldenJson();
  }

  async selfTest(_: object, onProgress?: (done: number, total: number) => void): Promise<SelfTestReport> {
    this.#cancelled = false;
    const report = await this.#loaded().selfTest((done, total) => {
      onProgress?.(done, total);
      return !this.#cancelled;
    });
    return report as SelfTestReport;
  }

  /** Ends a self-test that is under way; it lets messages in between its cases. */
  cancel(): void {
    this.#cancelled = true;
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

  async #toCache({ digest, bytes, cached }: Supplied): Promise<void> {
    if (!this.#keep || cached) return;
    const problem = await toCache(digest, bytes);
    if (problem) console.warn(`twinfer: ${digest} was not kept in the cache: ${problem}`);
  }

  #needs(): Needs {
    const loader = this.#opened();
    return { needs: loader.needs(), total: loader.totalSize() };
  }

  #input(input: WireInput): WebInput {
    const { WebInput } = this.#started();
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
    const { TensorList } = this.#started();
    const list = new TensorList();
    for (const { name, dtype, shape, data } of tensors) {
      if (data instanceof Uint8Array) list.push(name, dtype, shape, data);
      else list.pushStrings(name, shape, data);
    }
    return list;
  }

  #started(): Glue {
    return this.#glue ?? unexpected();
  }

  #opened(): WebLoader {
    return this.#loader ?? unexpected();
  }

  #loaded(): WebModel {
    return this.#model ?? unexpected();
  }
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
