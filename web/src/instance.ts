/** One instance of an engine, with its storage, its registries and its model. */

import { TwinferError, describe } from "./errors.js";
import type { Glue, TensorList, WebCache, WebInput, WebModel, WebSession } from "./glue.js";
import { Origin } from "./origin.js";
import type { Storage } from "./storage/storage.js";
import type { ModelEngine } from "./types.js";
import type { Setup, Start, WireInput, WireValue } from "./wire.js";

type GlueModule = typeof import("./glue.js");

/** Larger than the rest of the scripts, and not wanted by a page whose engines are in workers: so it is a file of its own. */
export async function glueModule(): Promise<GlueModule> {
  try {
    return await import("./glue.js");
  } catch (error) {
    throw new TwinferError("network", `glue.js could not be loaded: is it served beside index.js, as JavaScript? (${describe(error)})`, { cause: error });
  }
}

export class Instance {
  readonly engine: ModelEngine;
  readonly storage: Storage | undefined;
  model: WebModel | undefined;
  /** A bare ONNX file, where that was opened. */
  session: WebSession | undefined;
  /** It lacks something, and another one must do all that it was asked for: why. */
  lacks: string | undefined;
  /** The function that was called, and is not there. */
  missing: number | undefined;
  readonly #glue: Glue;
  readonly #origins: Origin[];
  /** Rejects when the engine stops while it waits: its own promises then never settle. */
  readonly #trap: Promise<never>;
  #cache: WebCache | undefined;

  private constructor({ createGlue }: GlueModule, engine: ModelEngine, storage: Storage | undefined, origins: Origin[]) {
    this.engine = engine;
    this.storage = storage;
    this.#origins = origins;
    let trap = (_: unknown): void => undefined;
    this.#trap = new Promise((_, reject) => (trap = reject));
    this.#trap.catch(() => undefined);
    this.#glue = createGlue((error) => {
      this.#stopped(error);
      trap(error);
    });
  }

  /**
   * A fresh instance with a memory of its own; `begun` gets it before it can fail. One that lacks
   * something already at its start can be asked for nothing.
   */
  static async start({ module, engine, index }: Start, setup: Setup, storage: Promise<Storage | undefined>, origins: Origin[], begun: (instance: Instance) => void): Promise<Instance> {
    const instance = new Instance(await glueModule(), engine, await storage, origins);
    begun(instance);
    if (index) origins[0]?.expect(setup.reference, index);
    try {
      await instance.#glue.init({ module_or_path: module });
      instance.#cache = new instance.#glue.WebCache(instance.storage, origins, setup.quota);
    } catch (error) {
      if (instance.lacks === undefined) throw error;
    }
    return instance;
  }

  get cache(): WebCache {
    if (!this.#cache) throw new Error("a call came before what it builds on");
    return this.#cache;
  }

  /** Does something in it; its promises end when it stops. */
  async use<T>(work: (instance: this) => T | Promise<T>): Promise<T> {
    return Promise.race([work(this), this.#trap]);
  }

  /** Ends every transfer. */
  fail(reason: TwinferError): void {
    for (const origin of this.#origins) origin.stop(reason);
  }

  /** Gives back what is held over all tabs, and ends every transfer: an engine that stopped cannot. */
  end(reason: TwinferError): void {
    this.fail(reason);
    this.storage?.close();
  }

  /** Asks a stopped engine, which may be too broken to answer. */
  afterwards<T>(ask: (glue: Glue) => T): T | undefined {
    try {
      return ask(this.#glue);
    } catch {
      return undefined;
    }
  }

  input(input: WireInput): WebInput {
    const { WebInput } = this.#glue;
    switch (input.kind) {
      case "picture":
        return WebInput.picture(input.bytes);
      case "pixels":
        return WebInput.pixels(input.pixels);
      case "bitmap":
        throw new Error("a bitmap is read before the engine gets it");
      case "bytes":
        return WebInput.bytes(input.bytes);
      case "audio":
        return WebInput.audio(input.bytes);
      case "samples":
        return WebInput.samples(input.sampleRate, input.channels, input.samples);
      case "text":
        return WebInput.text(input.texts);
      case "record":
        return WebInput.record(input.record);
      case "tensors":
        return WebInput.tensors(this.tensors(input.tensors));
    }
  }

  tensors(values: WireValue[]): TensorList {
    const list = new this.#glue.TensorList();
    for (const value of values) push(list, value);
    return list;
  }

  openOnnx(onnx: Uint8Array): WebSession {
    this.session = new this.#glue.WebSession(onnx);
    return this.session;
  }

  loaded(): WebModel {
    if (!this.model) throw new Error("a call came before what it builds on");
    return this.model;
  }

  #stopped(error: unknown): void {
    const { missing } = (error ?? {}) as { missing?: unknown };
    if (typeof missing !== "number") return;
    this.missing ??= missing;
    this.lacks ??= describe(error);
  }
}

function push(list: TensorList, value: WireValue): void {
  const { name } = value;
  if ("data" in value) {
    const { dtype, shape, data } = value;
    if (data instanceof Uint8Array) list.push(name, dtype, shape, data);
    else list.pushStrings(name, shape, data);
    return;
  }
  if ("maps" in value) {
    list.pushMaps(name, value.dtype, value.keys, value.maps);
    return;
  }
  const inside = "sequence" in value ? value.sequence : value.optional ? [value.optional] : [];
  list.begin(name, "sequence" in value);
  for (const one of inside) push(list, one);
  list.end();
}

export function originsOf({ registries, reference, keep }: Setup): Origin[] {
  return registries.map((registry) => new Origin(new URL(registry), reference, keep !== false));
}

/** The pixels of a bitmap, upright and without the alpha multiplied in where the browser can. */
export function still(input: WireInput): WireInput {
  if (input.kind !== "bitmap") return input;
  const { bitmap } = input;
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new TwinferError("internal", "the browser gives no canvas to read a bitmap with");
  context.drawImage(bitmap, 0, 0);
  // Its pixels are ours now, for as many engines as it takes.
  bitmap.close();
  return { kind: "pixels", pixels: context.getImageData(0, 0, width, height) };
}
