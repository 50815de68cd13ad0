import { compileEngine } from "./engine.js";
import type { WireError } from "./errors.js";
import { TwinferError, describe, isErrorCode } from "./errors.js";
import type { SelfTestReport } from "./generated/types.js";
import type { NamedValue } from "./glue.js";
import { Instance, originsOf, still } from "./instance.js";
import { keyOf } from "./lookup.js";
import type { Origin } from "./origin.js";
import { nameOf } from "./registry.js";
import type { Storage } from "./storage/storage.js";
import { openStorage } from "./storage/storage.js";
import type { Lookup, ModelEngine } from "./types.js";
import type { Inside, LoadEvent, ModelInfo, Notice, OnnxInfo, Setup, Start, WireInput, WirePrediction, WireValue, Wish } from "./wire.js";

/** Methods of the cache that people call. */
export type Inspection = "list" | "verify" | "prune" | "clear" | "statistics";

interface Load {
  reference: string;
  wish: Wish;
  /** The engine has the package in it. */
  inside?: Inside;
}

/** Milliseconds in which a model that was loaded is asked for something, if it is to be fast. */
const CALM = 200;

type Listen = (event: LoadEvent) => void;

/**
 * A model in its engine, on the thread where it computes: a worker, or the caller's. Every method
 * is one message of the wire (`wire.ts`).
 *
 * The engine may be one that lacks functions. Then the full one takes its place: it loads the
 * same package, and does again what was asked; who asked does not see it. Nothing of the
 * instance that lacked something is used any more: it stopped in the middle of something.
 */
export class EngineHost {
  readonly #notice: (notice: Notice) => void;
  #setup: Setup | undefined;
  #storage: Promise<Storage | undefined> = Promise.resolve(undefined);
  #origins: Origin[] = [];
  /** What does the work; while another one takes over, what will. */
  #instance: Promise<Instance> = Promise.reject(new Error("a call came before what it builds on"));
  /** The last one that was started. */
  #last: Instance | undefined;
  /** What was started with, and how the model was loaded: for another engine, and for this one again. */
  #start: Start | undefined;
  #load: Load | undefined;
  /** The model gave its first answer. */
  readonly #served: Promise<void>;
  #answered = (): void => undefined;
  #cancelled = false;
  #ended: TwinferError | undefined;
  /** No engine does what is asked: the next call needs a new host. */
  #failed = false;

  constructor(notice: (notice: Notice) => void) {
    this.#notice = notice;
    this.#instance.catch(() => undefined);
    this.#served = new Promise((resolve) => (this.#answered = resolve));
  }

  /** Before the engine is there: opens the storage, and asks for the index where it will be wanted. */
  begin(setup: Setup): void {
    this.#setup = setup;
    this.#storage = open(setup);
    this.#origins = originsOf(setup);
    if (setup.ask) void this.#expectIndex(setup);
  }

  async start(start: Start): Promise<void> {
    this.#start = start;
    // What comes next is on its way already, and waits for this.
    this.#instance = Instance.start(start, this.#settings(), this.#storage, this.#origins, (begun) => (this.#last = begun));
    await this.#instance;
  }

  /** Gets the package and loads the model. */
  async load(load: Load, onEvent?: Listen): Promise<ModelInfo> {
    const loaded = await this.#do((instance) => this.#open(instance, load, onEvent));
    const { name, digest } = loaded;
    // Loaded again, it must be the same package, wherever the tag points to by then.
    this.#load = { ...load, reference: `${name}@${digest}` };
    if (load.inside && this.#last?.engine.kind === "fused") void this.#note(load, digest).catch(() => undefined);
    return loaded;
  }

  /** What the registry says that a reference points to. */
  async revalidate({ reference }: { reference: string }): Promise<{ digest: string; source: Lookup; problem?: string }> {
    let problem: string | undefined;
    const listen = (event: LoadEvent): void => void (event.event === "unreachable" && (problem = event.message));
    const answer = await this.#do(({ cache }) => cache.revalidate(reference, listen));
    return { ...answer, ...(problem !== undefined && { problem }) };
  }

  /** Brings a package into the storage; gives its digest, or nothing where nothing is kept. */
  async prefetch({ reference, wish }: { reference: string; wish: Wish }): Promise<string | undefined> {
    if (!(await this.#storage)) return undefined;
    return this.#do(({ cache }) => cache.prefetch(reference, wish));
  }

  /** A tag is used with this package from now on. */
  activate({ reference, digest }: { reference: string; digest: string }): Promise<void> {
    return this.#do(({ cache }) => cache.activate(reference, digest));
  }

  /** What a tag points to did not prove itself. */
  refuse({ reference, digest }: { reference: string; digest: string }): Promise<void> {
    return this.#do(({ cache }) => cache.refuse(reference, digest));
  }

  /** What people ask of a cache. */
  inspect({ what, bytes }: { what: Inspection; bytes: number }): Promise<unknown> {
    return this.#do<unknown>(({ cache }) => cache[what](bytes));
  }

  async predict({ input, parameters }: { input: WireInput; parameters: object }): Promise<WirePrediction> {
    const read = still(input);
    return this.#do((instance) => {
      const since = performance.now();
      const text = instance.loaded().predict(instance.input(read), parameters);
      return { text, engine: performance.now() - since };
    }).finally(this.#answered);
  }

  async preprocess({ input }: { input: WireInput }): Promise<NamedValue[]> {
    const read = still(input);
    return this.#do((instance) => instance.loaded().preprocess(instance.input(read)));
  }

  run({ tensors }: { tensors: WireValue[] }): Promise<NamedValue[]> {
    return this.#do((instance) => instance.loaded().run(instance.tensors(tensors))).finally(this.#answered);
  }

  /** Opens a bare ONNX file: the full engine does, so that nothing is ever missing. */
  openOnnx({ onnx }: { onnx: Uint8Array }): Promise<OnnxInfo> {
    return this.#do((instance) => instance.openOnnx(onnx).info() as OnnxInfo);
  }

  runOnnx({ values }: { values: WireValue[] }): Promise<NamedValue[]> {
    return this.#do((instance) => {
      if (!instance.session) throw new Error("a call came before what it builds on");
      return instance.session.run(instance.tensors(values));
    });
  }

  goldenJson(): Promise<string | undefined> {
    return this.#do((instance) => instance.loaded().goldenJson());
  }

  async selfTest(_: object, onEvent?: (done: [number, number]) => void): Promise<SelfTestReport> {
    this.#cancelled = false;
    const progress = (done: number, total: number): boolean => {
      onEvent?.([done, total]);
      return !this.#cancelled;
    };
    return (await this.#do((instance) => instance.loaded().selfTest(progress))) as SelfTestReport;
  }

  /** Ends a self-test that is under way; it lets messages in between its cases. */
  cancel(): void {
    this.#cancelled = true;
  }

  /** Gives back what is held over all tabs, and ends every transfer. */
  end(reason: Error): void {
    this.#ended = reason instanceof TwinferError ? reason : new TwinferError("aborted", reason.message);
    for (const origin of this.#origins) origin.stop(this.#ended);
    this.#last?.end(this.#ended);
    void this.#storage.then((storage) => storage?.close());
  }

  /** Does something in the engine, and again in the full one where the first lacks something. */
  async #do<T>(work: (instance: Instance) => T | Promise<T>): Promise<T> {
    for (;;) {
      const instance = await this.#instance;
      try {
        const result = await instance.use(work);
        // What was thrown for a missing function may have been caught on its way.
        if (instance.lacks === undefined) return result;
      } catch (thrown) {
        // A fused engine is prepared for the shapes of its golden examples, and says so of others.
        const { code } = (thrown ?? {}) as { code?: unknown };
        if (instance.engine.kind !== "full" && code === "engine_function_missing") instance.lacks ??= describe(thrown);
        if (instance.lacks === undefined) throw thrown;
      }
      // Of several calls that wait the first one brings the other engine.
      if (this.#last !== instance) continue;
      const next = this.#takeOver(instance);
      // Where it cannot be had, this call fails, and the others go on with what there was.
      this.#instance = next.catch(() => this.#again());
      this.#instance.catch(() => undefined);
      await next;
    }
  }

  /** The full engine, with the same package loaded. */
  async #takeOver(old: Instance): Promise<Instance> {
    this.#last = undefined;
    const { kind, digest = "" } = old.engine;
    old.end(new TwinferError("aborted", `the ${kind} engine is replaced`));
    try {
      // An engine that lacks nothing can lack nothing.
      if (kind === "full") throw new TwinferError("internal", `the full engine is not whole: ${old.lacks}`);
      const setup = this.#settings();
      const url = new URL(setup.full);
      const engine: ModelEngine = {
        kind: "full",
        url: url.href,
        replaced: digest,
        ...(setup.fullDigest !== undefined && { digest: setup.fullDigest }),
        ...(old.missing !== undefined && { missing: old.missing }),
      };
      this.#notice({ engine, done: false });
      const instance = await this.#fresh({ module: await compileEngine(url), engine });
      this.#notice({ engine, done: true });
      return instance;
    } catch (thrown) {
      throw this.#ended ?? unable(old, thrown);
    }
  }

  /** A new instance of the engine that was started with. */
  async #again(): Promise<Instance> {
    try {
      if (!this.#start) throw new Error("a call came before what it builds on");
      return await this.#fresh({ module: this.#start.module, engine: this.#start.engine });
    } catch (thrown) {
      this.#failed = true;
      const last = this.#last;
      throw last?.lacks === undefined ? thrown : unable(last, new TwinferError("network", "the full engine was asked for just now"));
    }
  }

  async #fresh(start: Start): Promise<Instance> {
    this.#check();
    const setup = this.#settings();
    this.#last?.end(new TwinferError("aborted", "the engine is replaced"));
    this.#storage = open(setup);
    this.#origins = originsOf(setup);
    const instance = await Instance.start(start, setup, this.#storage, this.#origins, (begun) => (this.#last = begun));
    if (this.#load) await this.#open(instance, this.#load);
    this.#check();
    return instance;
  }

  #check(): void {
    if (this.#ended) throw this.#ended;
  }

  #settings(): Setup {
    if (!this.#setup) throw new Error("a call came before what it builds on");
    return this.#setup;
  }

  async #open(instance: Instance, load: Load, onEvent?: Listen): Promise<ModelInfo> {
    const { inside } = load;
    if (inside && instance.engine.kind === "fused") return this.#openInside(instance, inside, load, onEvent);
    const { storage } = instance;
    const { mustKeep } = this.#settings();
    if (!storage && mustKeep) throw new TwinferError("storage", "there is no storage to keep the package in, and mustKeep was given");
    let problem: TwinferError | undefined;
    const listen = (event: LoadEvent): void => {
      onEvent?.(event);
      if (event.event !== "not-kept") return;
      problem ??= new TwinferError(event.code, event.message);
      // The engine cannot be told from here: what it fetches ends.
      if (mustKeep) instance.fail(problem);
    };
    const found = await instance.use(({ cache }) => cache.load(load.reference, load.wish, thinned(listen)));
    if (problem && mustKeep) throw problem;
    onEvent?.({ event: "load" });
    instance.model = found.model();
    return { ...(instance.model.info() as ModelInfo), ...(storage && !problem && { kept: storage.label }) };
  }

  /** The model is in the engine: nothing is fetched, and nothing is prepared. */
  #openInside(instance: Instance, { digest, source, kept, decision: allowed }: Inside, { reference, wish }: Load, onEvent?: Listen): ModelInfo {
    onEvent?.({ event: "load" });
    instance.model = instance.cache.fused?.(wish.policy);
    const info = instance.model?.info() as ModelInfo | undefined;
    if (info?.digest !== digest || !isNamed(reference, info)) {
      instance.lacks ??= `the engine does not have the package ${digest} in it, as the registry says`;
      throw new Error(instance.lacks);
    }
    const { decision: _, ...rest } = info;
    return { ...rest, source, ...(allowed && { decision: allowed }), ...(kept && instance.storage && { kept: instance.storage.label }) };
  }

  /** Has done the first that was asked of the model, or was asked nothing for a while: what nobody waits for is done then. */
  #calm(): Promise<void> {
    return Promise.race([this.#served, new Promise<void>((resolve) => setTimeout(resolve, CALM))]);
  }

  /** What a load by way of the cache would have noted: the answer of the registry, and what the tag is used with. */
  async #note({ reference, wish, inside }: Load, digest: string): Promise<void> {
    if (!(await this.#storage) || !inside || reference.includes("@")) return;
    await this.#calm();
    // The answer is at hand: the registry is not asked again.
    if (inside.source === "registry") await this.#do(({ cache }) => cache.revalidate(reference));
    if (!wish.candidate) await this.#do(({ cache }) => cache.activate(reference, digest));
  }

  /** The index is fetched while the engine is compiled, unless the last answer will do. */
  async #expectIndex({ policy, reference, trusted }: Setup): Promise<void> {
    const [origin] = this.#origins;
    if (!origin || policy === "offline" || reference === "" || (reference.includes("@") && !trusted)) return;
    try {
      const storage = await this.#storage;
      if (storage) {
        // As `twinfer-cache` names it. Were it another name, the index would be asked for once too often.
        if (await storage.document(await keyOf("indexes", origin.id, origin.indexKey(reference)))) return;
      }
      origin.expect(reference);
    } catch {
      // The engine asks itself.
    }
  }

  /** Whatever a method threw, as it crosses the wire. */
  failure(thrown: unknown): WireError {
    const { code } = (thrown ?? {}) as { code?: unknown };
    if (isErrorCode(code)) return { code, message: describe(thrown), fatal: this.#failed };
    return { ...this.#stopped(thrown), fatal: true };
  }

  /** Anything but an error with a code is a trap: the memory behind it is in no known state. */
  #stopped(thrown: unknown): Omit<WireError, "fatal"> {
    const last = this.#last;
    // A panic while a model is loaded is the model's fault as far as anyone can tell from
    // here, and natively, where panics are caught, it is reported as that.
    const loading = last !== undefined && last.model === undefined && last.session === undefined;
    const next = "the engine was stopped; the next call starts a new one";
    const allocation = last?.afterwards((glue) => glue.failedAllocation()) ?? 0;
    if (allocation > 0) {
      return { code: "out_of_memory", message: `there is no memory for ${allocation} more bytes (${describe(thrown)}); ${next}` };
    }
    const panic = last?.afterwards((glue) => glue.panicMessage());
    if (loading && panic !== undefined) {
      return { code: "invalid_model", message: `the engine cannot prepare this model: ${panic}` };
    }
    return { code: "internal", message: `the engine failed: ${panic ?? describe(thrown)}; ${next}` };
  }
}

/** Whether a package says itself that it is what the reference asks for. (What has three numbers is a version.) */
function isNamed(reference: string, { name, version }: ModelInfo): boolean {
  const tag = reference.split("@", 1)[0]?.split(":")[1];
  return nameOf(reference) === name && (tag === undefined || !/^\d+\.\d+\.\d+/.test(tag) || tag === version);
}

function open({ keep }: Setup): Promise<Storage | undefined> {
  return keep === false ? Promise.resolve(undefined) : openStorage(keep === true ? undefined : keep);
}

/** What cannot be fetched for a call that needs the full engine. */
function unable({ engine, lacks }: Instance, thrown: unknown): unknown {
  const { code } = (thrown ?? {}) as { code?: unknown };
  const unreached: unknown[] = ["network", "timeout", "not_found", "unauthorized", "missing_blob", "unknown_version"];
  if (!unreached.includes(code)) return thrown;
  return new TwinferError(
    "engine_function_missing",
    `this needs the full engine (${lacks}; the model runs in a ${engine.kind} one), which could not be had with the package: ${describe(thrown)}; ` +
      "try again with the network, and for use without one load with `engine: \"full\"` or keep it with `keepOffline({ fullEngine: true })`",
    { cause: thrown },
  );
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
