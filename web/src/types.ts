import type { ErrorCode } from "./generated/errors.js";
import type { DType, Mode, ModelConfig, Descriptor, EngineKind, SelfTestReport, Signature, TrustPolicy } from "./generated/types.js";
import type { HybridOptions, Provenance } from "./places.js";
import type { DeploymentOptions, Release } from "./releases.js";

/**
 * The instance type of a global class, or `never` where the program's `lib` does not have it:
 * so these types compile in Node projects without the DOM.
 */
type Global<Name extends string> = typeof globalThis extends { [key in Name]: { prototype: infer T } } ? T : never;

/** Any value that JSON has. */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

/** What a load is doing. `loaded` and `total` are bytes of everything that the load wants. */
export type Progress =
  /** The reference is looked up. */
  | { readonly status: "resolve"; readonly reference: string }
  /** An engine is fetched and compiled, once a page. After the load: the full one takes over. */
  | ({ readonly status: "engine" } & ModelEngine)
  /** A slim or fused engine could not be used, and the next one is taken. */
  | { readonly status: "engine-refused"; readonly kind: EngineKind; readonly digest: string; readonly code: ErrorCode; readonly message: string }
  /** A layer arrives, and is verified while it does; `cached` when it comes from the storage of the browser. */
  | {
      readonly status: "download";
      readonly layer: string;
      readonly loaded: number;
      readonly total: number;
      readonly cached: boolean;
    }
  /** Another tab or worker is fetching this layer; it is taken from there. */
  | { readonly status: "waiting"; readonly layer: string }
  /** Something failed, and is tried again in `wait` milliseconds. */
  | { readonly status: "retry"; readonly code: ErrorCode; readonly message: string; readonly wait: number }
  /** What was kept is not what it should be; it was removed, and is fetched again. */
  | { readonly status: "damaged"; readonly layer: string; readonly digest: string; readonly message: string }
  /**
   * The package cannot be kept (`out_of_space`: there is no room, said before anything is fetched
   * where the browser or a quota tells); it is loaded all the same.
   */
  | { readonly status: "not-kept"; readonly code: ErrorCode; readonly message: string }
  /**
   * The tag points to a package (`refused`) that failed its golden examples in an `update()` here;
   * the one that the tag was used with before (`digest`) is loaded.
   */
  | { readonly status: "held-back"; readonly refused: string; readonly digest: string }
  /** No registry answers; the last answer is used. */
  | { readonly status: "unreachable"; readonly code: ErrorCode; readonly message: string }
  /** The model is read and optimised. */
  | { readonly status: "load" }
  /** It can predict. */
  | { readonly status: "ready"; readonly digest: string };

/** The engine of a model. */
export interface ModelEngine {
  /**
   * `slim` has only the functions that the package's golden examples enter, `fused` has the
   * package in it as well; what they lack the full engine does. `none`: the device runs none, and
   * the server of `hybrid` does everything.
   */
  readonly kind: EngineKind | "full" | "none";
  /** Digest of the wasm file; absent for one at `engineUrl`, which this package does not know. */
  readonly digest?: string;
  /** Where it comes from; absent for one in the storage of the browser. */
  readonly url?: string;
  /** The digest of the slim or fused engine that this one took the place of, in the middle of a call. */
  readonly replaced?: string;
  /** The number of the function that was called there, and was not there. */
  readonly missing?: number;
}

/**
 * How a reference is looked up: `online` asks the registry first, and uses the last answer only
 * where nobody answers; `stale-while-revalidate` uses the last answer at once and asks afterwards,
 * for the next load; `offline` never asks.
 */
export type Policy = "online" | "stale-while-revalidate" | "offline";

/** Where a page can keep packages: the private file system of its origin, or the Cache API. */
export type Place = "opfs" | "cache-api";

/**
 * How the reference was looked up: `registry`, it was asked; `fresh`, its last answer still holds
 * as it said; `stale`, its last answer, and it is asked meanwhile; `last-good`, its last answer,
 * since nobody answers; `offline`, its last answer, since nobody may be asked; `digest`, nothing
 * had to be looked up.
 */
export type Lookup = "registry" | "fresh" | "stale" | "last-good" | "offline" | "digest";

/** A tag points to another package than before. */
export interface Update {
  /** What it points to; the package is in the storage. */
  readonly digest: string;
  /** What was loaded. */
  readonly previous: string;
}

/** What came of `model.update()`. */
export interface UpdateResult {
  /**
   * `current`: there is nothing newer. `updated`: the model is the newer package now. `refused`:
   * there is a newer package, which failed (`error` says how); the model is what it was.
   * `unreachable`: nobody could be asked; the model is what it was.
   */
  readonly status: "current" | "updated" | "refused" | "unreachable";
  /** What the model is now. */
  readonly digest: string;
  readonly version: string;
  /** The variant that it is now, where a deployment is followed. */
  readonly release?: Release;
  /** What it was before, where it was updated. */
  readonly previous?: string;
  /** `self_test_failed` where its golden examples do not come out as they should. */
  readonly error?: { readonly code: ErrorCode; readonly message: string };
}

export interface LoadOptions extends DeploymentOptions {
  /** Called with every step of the load. */
  onProgress?: (progress: Progress) => void;
  /** Cancels the load; it then rejects with the code `aborted`. */
  signal?: AbortSignal;
  /**
   * Where the model runs: in a worker of its own (the default), or on the thread of the
   * caller, which then stands still while it computes.
   */
  thread?: "worker" | "main";
  /**
   * Which engine: `auto` (the default) takes the smallest one that was made for the package, and
   * the full one where something else is needed; `full` takes the full one at once.
   */
  engine?: "auto" | "full";
  /** Address of a full engine, `twinfer_web_bg.wasm`: exactly that one is used. By default beside this module. */
  engineUrl?: string | URL;
  /** How the reference is looked up; `stale-while-revalidate` by default. */
  policy?: Policy;
  /** Further registries with the same packages, asked in this order where the first one fails. */
  mirrors?: readonly string[];
  /**
   * Whether packages are kept in, and taken from, the storage of the browser; or in which. `true`
   * by default: the better one that there is. Has no effect where there is none (Node, pages
   * without https).
   */
  cache?: boolean | Place;
  /** Bytes that may be kept at most; by default what the browser grants. What was not used lately goes first. */
  quota?: number;
  /**
   * What cannot be kept is an error (`out_of_space`, `storage`), as soon as it is known, instead of
   * a warning: for pages that must work without a network afterwards.
   */
  mustKeep?: boolean;
  /**
   * Ask the browser, once the first package is kept, not to clear it when room gets short
   * (`navigator.storage.persist()`). `true` by default. Some browsers ask the visitor.
   */
  persist?: boolean;
  /**
   * Called when the registry, asked after the load, says that the tag points to another package,
   * and that one is in the storage: the next load gets it, or `model.update()`.
   */
  onUpdate?: (update: Update) => void;
  /**
   * The trust policy, or its address: which keys may sign the model, what an unsigned one
   * means, what is revoked. It decides before any byte of the model is fetched, also for
   * packages from the cache. Without one every package that is whole is loaded.
   *
   * A page is only as trustworthy as the place it comes from: give the policy itself, or an
   * address on the page's own origin.
   */
  trust?: TrustPolicy | string | URL;
  /** A server for what the device cannot do, if the application allows that. Without it nothing ever leaves the device. */
  hybrid?: HybridOptions;
  /**
   * Called when a model that follows a deployment has become another package by itself (`updated`), or stayed what
   * it was because the other one failed (`refused`, once for each package).
   */
  onRelease?: (result: UpdateResult) => void;
}

/** Why a package was loaded under a trust policy. */
export interface TrustDecision {
  /** `warned` is what the policy wants for an unsigned package. */
  readonly verdict: "allowed" | "warned";
  /** The keys of the policy that signed it; none where it allows unsigned packages. */
  readonly keys: readonly string[];
  /** What the warning says. */
  readonly reason?: string;
}

export interface CallOptions {
  /**
   * Cancels the call; it then rejects with the code `aborted`. A call that waits is dropped;
   * of one that computes the answer is thrown away (WebAssembly cannot be interrupted: to
   * stop it, `close` the model).
   */
  signal?: AbortSignal;
  /**
   * Hands the buffers of the inputs over to the worker instead of copying them. They are
   * empty (detached) afterwards.
   */
  transfer?: boolean;
}

export interface PredictOptions extends CallOptions {
  /** Choices that the model's pipeline declares, by name. */
  parameters?: Readonly<Record<string, JsonValue>>;
}

/** Pixels of four bytes (red, green, blue, alpha), row by row; an `ImageData` is one. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray | Uint8Array;
}

/** Bytes in any of their usual forms. */
export type ByteSource = ArrayBuffer | ArrayBufferView | Global<"Blob">;

/**
 * A picture. Bytes of a PNG, JPEG or WebP file are decoded by the engine: the same pixels in
 * every browser and on the server. Everything else was decoded by the browser, whose pixels
 * can differ a little from browser to browser.
 */
export type PictureSource =
  | ByteSource
  | Pixels
  | Global<"ImageBitmap">
  | Global<"HTMLImageElement">
  | Global<"HTMLCanvasElement">
  | Global<"HTMLVideoElement">
  | Global<"OffscreenCanvas">
  | Global<"VideoFrame">;

/** Samples of a sound, from -1 to 1. */
export interface AudioSamples {
  /** Samples a second (Hz). */
  readonly sampleRate: number;
  /** One array for each channel, all of the same length. */
  readonly channels: readonly Float32Array[];
}

/**
 * A sound. Bytes of a WAV file are decoded by the engine: the same samples in every browser and on
 * the server. An `AudioBuffer` was decoded by the browser, which reads many more formats, and resamples
 * to the rate of its `AudioContext`: give that the rate of the model.
 */
export type AudioSource = ByteSource | AudioSamples | Global<"AudioBuffer">;

/** A text, or several: a run with as many rows. */
export type TextSource = string | readonly string[];

/**
 * A record: a value for each column. `NaN`, `null` and `undefined` mean "missing", which only
 * columns that say so accept.
 */
export type RecordSource = Readonly<Record<string, RecordCell>> | ReadonlyMap<string, RecordCell>;

/** A value of a record. */
export type RecordCell = number | boolean | string | null | undefined;

/** The elements of a tensor in memory. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint8ClampedArray
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

/** A tensor for a model. */
export interface TensorInput {
  /** The data type; by default the one of the signature. */
  readonly dtype?: DType;
  /** The axes, outermost first; `[]` for a scalar. */
  readonly shape: readonly number[];
  /**
   * The elements in row-major order. A typed array must be the one of the data type
   * (`Float32Array` for FP32, `BigInt64Array` for INT64, `Uint8Array` for BOOL and 8-bit
   * types, `Uint16Array` with the bits for FP16 and BF16, or `Float16Array` for FP16; types of
   * less than 8 bits are packed as in ONNX, the first in the lowest bits). Plain numbers are converted; integer
   * types refuse those that they cannot hold exactly.
   */
  readonly data: TypedArray | Global<"Float16Array"> | readonly (number | bigint)[] | readonly boolean[] | readonly string[];
}

/**
 * A map for a model that takes one (scikit-learn's `DictVectorizer`): a plain object or a `Map`. Where the
 * keys are INT64 they are whole numbers, in an object their decimal text.
 */
export type MapInput = Readonly<Record<string, number | bigint | string>> | ReadonlyMap<string | number | bigint, number | bigint | string>;

/**
 * A map from a model, by key; keys that are INT64 are their decimal text, so that `map[1]` and `map["1"]` are
 * the same. Numbers of 64 bits are `bigint`.
 */
export type MapOutput = Record<string, number | bigint | string>;

/** A tensor from a model. */
export interface TensorOutput {
  readonly dtype: DType;
  /** The axes, outermost first. */
  readonly shape: number[];
  /**
   * The elements in row-major order: the typed array of the data type. FP16 and BF16 come as
   * the bits in a `Uint16Array`, complex numbers as pairs, strings as strings.
   */
  readonly data: TypedArray | string[];
}

/** A value for a model: a tensor; a map, or a list of maps; for sequences a list; for optionals the value or `null`. */
export type ModelInput = TensorInput | MapInput | readonly ModelInput[] | null;

/**
 * A value from a model: a tensor; of maps (ZipMap: the probabilities of a classifier) a list, one for each row; of a
 * sequence a list; of an optional the value or `null`.
 */
export type ModelOutput = TensorOutput | MapOutput | ModelOutput[] | null;

/** What can stand under a name in `predict`. */
export type InputValue = PictureSource | AudioSource | TextSource | RecordSource | Exclude<ModelInput, null>;

/** What belongs to an answer beside its outputs. */
export interface PredictionInfo<Outputs extends object = Record<string, JsonValue>> extends Provenance {
  /** The outputs again, without this key: what is compared with other places. */
  readonly outputs: Outputs;
  /** The variant of the deployment that it is, where one is followed, and the number of its document. */
  readonly variant?: string;
  readonly revision?: number;
  /** How the numbers were computed. */
  readonly mode: Mode;
  readonly timing: Timing;
}

/** Milliseconds. */
export interface Timing {
  /** In the engine, here or on the server: preprocess, run, postprocess. */
  readonly engine: number;
  /** From the call to the answer, with waiting and the way to the worker and back. */
  readonly total: number;
}

/** The outputs by name, and `prediction` with the rest. */
export type Prediction<Outputs extends object = Record<string, JsonValue>> = Outputs & {
  readonly prediction: PredictionInfo<Outputs>;
};

/** A box in pixels of the picture: what outputs of the kind `boxes` are lists of. */
export type Box = { x: number; y: number; width: number; height: number; score: number };

/** A label with its probability: what outputs of the kind `classes` are lists of. */
export type LabelScore = { label: string; score: number };

/** What outputs of the kind `decision` are. */
export type Decision = LabelScore & { model_label: string; overwrite_reason: string };

/** A golden example of a package. */
export interface Example {
  readonly name: string;
  /** Ready for `predict`. */
  readonly inputs: Readonly<Record<string, InputValue>>;
  readonly parameters: Readonly<Record<string, JsonValue>>;
  /** What must come out; absent where only tensors are expected. */
  readonly outputs?: Readonly<Record<string, JsonValue>>;
  /** As `image/jpeg`, where the package says it. */
  readonly mediaType?: string;
}

/** A loaded model. What it says of itself follows `update`. */
export interface Model {
  readonly name: string;
  readonly version: string;
  /** The digest of the package: the identity of what answers. */
  readonly digest: string;
  /** How the reference was looked up. */
  readonly source: Lookup;
  /** Inputs and outputs of the model file. */
  readonly signature: Signature;
  /** `twinfer.json`: pipeline, labels, limits. */
  readonly config: ModelConfig;
  /** The files of the package. */
  readonly layers: readonly Descriptor[];
  /** What the trust policy decided; absent without one. */
  readonly trust?: TrustDecision | undefined;
  /** Which variant it is, where it follows a deployment. */
  readonly release?: Release | undefined;
  /** What runs it: another one than at first after something was needed that it lacks. */
  readonly engine: ModelEngine;
  /**
   * Input in, answer out: preprocess, run, postprocess. Give the pipeline's input under its
   * name, or every tensor of the signature under its own.
   */
  predict<Outputs extends object = Record<string, JsonValue>>(
    inputs: Readonly<Record<string, InputValue>>,
    options?: PredictOptions,
  ): Promise<Prediction<Outputs>>;
  /** The tensors that the pipeline makes of an input; none where it answers without the model. */
  preprocess<Made extends Record<string, ModelOutput> = Record<string, TensorOutput>>(inputs: Readonly<Record<string, InputValue>>, options?: CallOptions): Promise<Made>;
  /** Tensors in, tensors out: the model alone. Of a model with maps, sequences or optionals, say so by its type. */
  run<Outputs extends Record<string, ModelOutput> = Record<string, TensorOutput>>(
    tensors: Readonly<Record<string, ModelInput>>,
    options?: CallOptions,
  ): Promise<Outputs>;
  /** The golden examples of the package. */
  examples(options?: { signal?: AbortSignal }): Promise<Example[]>;
  /** Runs the golden examples here and compares with what must come out. */
  selfTest(options?: { signal?: AbortSignal; onProgress?: (done: number, total: number) => void }): Promise<SelfTestReport>;
  /**
   * Follows the tag: asks the registry, and where it points to another package, fetches, verifies
   * and loads that in a second engine, runs its golden examples there, and only then lets it
   * answer. Calls that were made before are answered by the package that they were made for.
   * A deployment is followed in the same way, and by itself (`pollSeconds`).
   */
  update(options?: { signal?: AbortSignal }): Promise<UpdateResult>;
  /** Ends the worker and gives all memory back. Calls that still wait reject with `closed`. */
  close(): Promise<void>;
}

/** What the storage of this page holds. */
export interface CacheListing {
  /** The packages, the last used first. */
  readonly packages: readonly {
    readonly digest: string;
    /** The name of the model. */
    readonly name: string;
    /** Bytes that are there. */
    readonly bytes: number;
    /** Bytes that were wanted so far. */
    readonly of: number;
    /** Milliseconds since 1970. */
    readonly used: number;
    /** It is the active or the previous version of a tag, and not removed to make room. */
    readonly pinned: boolean;
  }[];
  /** The tags that were used. */
  readonly references: readonly {
    readonly registry: string;
    readonly reference: string;
    readonly active: string;
    readonly previous: string | null;
    /** Milliseconds since 1970. */
    readonly used: number;
  }[];
  readonly blobs: number;
  readonly bytes: number;
  /** Bytes of what was begun. */
  readonly partial_bytes: number;
  /** `null` without one. */
  readonly quota: number | null;
  /** Bytes that can still be written; `null` where the browser does not say. */
  readonly available: number | null;
  readonly statistics: CacheStatistics;
}

/** Counts of all loads of this page, in all tabs. */
export interface CacheStatistics {
  /** Contents that were there, and right. */
  readonly hits: number;
  /** Contents that had to be fetched. */
  readonly misses: number;
  readonly bytes_saved: number;
  readonly bytes_fetched: number;
  /** Contents that were there, and not what they should be. */
  readonly damaged: number;
  /** Contents that were removed to make room. */
  readonly evicted: number;
}

/** What a verification found. */
export interface CacheVerified {
  /** Contents that are what they should be. */
  readonly good: number;
  readonly bytes: number;
  /** Digests of those that were not, and were removed. */
  readonly damaged: readonly string[];
}

/** What was removed. */
export interface CacheRemoved {
  /** Digests of the packages that are not kept any more. */
  readonly packages: readonly string[];
  readonly blobs: number;
  readonly bytes: number;
}

/** What the browser says of its room. */
export interface CacheEstimate {
  /** Bytes that this page uses, with everything else that it keeps. */
  readonly usage?: number;
  /** Bytes that it may use. */
  readonly quota?: number;
  /** The browser does not clear it by itself. */
  readonly persisted: boolean;
}

export interface CacheOptions {
  /** Which storage; by default the one that loads use. */
  place?: Place;
  /** Address of `twinfer_web_bg.wasm`; by default beside `index.js`. */
  engineUrl?: string | URL;
}

/** How a bare ONNX file is loaded. */
export interface OnnxOptions extends Pick<LoadOptions, "thread" | "engineUrl" | "signal"> {}

/** A bare ONNX file that is ready to run: the model alone, without a package around it. */
export interface OnnxModel {
  /** Named, typed, shaped inputs and outputs. */
  readonly signature: Signature;
  /** The operator sets that it imports, as `domain:version`. */
  readonly opsets: readonly string[];
  /** Named values in, named values out. */
  run<Outputs extends Record<string, ModelOutput> = Record<string, TensorOutput>>(
    inputs: Readonly<Record<string, ModelInput>>,
    options?: CallOptions,
  ): Promise<Outputs>;
  /** Ends the worker and gives all memory back. Calls that still wait reject with `closed`. */
  close(): Promise<void>;
}
