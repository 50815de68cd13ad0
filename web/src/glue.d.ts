import type { Origin } from "./origin.js";
import type { Storage } from "./storage/storage.js";
import type { CacheListing, CacheRemoved, CacheStatistics, CacheVerified, Lookup, Policy } from "./types.js";
import type { LoadEvent, Wish } from "./wire.js";

/**
 * The glue of wasm-bindgen as a factory: `scripts/glue.mjs` makes `dist/glue.js` of it. Every
 * call gives an instance with a memory of its own, so that models do not share one and a
 * stopped instance can be replaced. `trapped` is called when it stops while it waits for something,
 * and when it lacks a function (the error then has its number as `missing`): then no promise of
 * it is ever settled.
 */
export function createGlue(trapped: (error: unknown) => void): Glue;

export interface Glue {
  init(options: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  WebCache: new (storage: Storage | undefined, registries: Origin[], quota: number | undefined) => WebCache;
  WebInput: {
    picture(bytes: Uint8Array): WebInput;
    pixels(image: { width: number; height: number; data: Uint8ClampedArray | Uint8Array }): WebInput;
    bytes(bytes: Uint8Array): WebInput;
    audio(bytes: Uint8Array): WebInput;
    samples(sampleRate: number, channels: number, samples: Float32Array): WebInput;
    text(texts: readonly string[]): WebInput;
    record(object: object): WebInput;
    tensors(list: TensorList): WebInput;
  };
  TensorList: new () => TensorList;
  WebSession: new (onnx: Uint8Array) => WebSession;
  engineVersion(): string;
  failedAllocation(): number;
  panicMessage(): string | undefined;
}

export interface WebCache {
  /** The model that a fused engine has in it; nothing in any other engine. The policy is for what is fetched later. */
  fused?(policy: Policy): WebModel | undefined;
  load(reference: string, wish: Wish, listener?: (event: LoadEvent) => void): Promise<WebPackage>;
  revalidate(reference: string, listener?: (event: LoadEvent) => void): Promise<{ digest: string; source: Lookup }>;
  prefetch(reference: string, wish: Wish, listener?: (event: LoadEvent) => void): Promise<string>;
  activate(reference: string, digest: string): Promise<void>;
  refuse(reference: string, digest: string): Promise<void>;
  list(): Promise<CacheListing>;
  verify(): Promise<CacheVerified>;
  prune(bytes: number): Promise<CacheRemoved>;
  clear(): Promise<CacheRemoved>;
  statistics(): Promise<CacheStatistics>;
}

export interface WebPackage {
  model(): WebModel;
}

export interface WebInput {
  free(): void;
}

export interface TensorList {
  free(): void;
  push(name: string, dtype: string, shape: Uint32Array, bytes: Uint8Array): void;
  pushStrings(name: string, shape: Uint32Array, strings: readonly string[]): void;
  pushMaps(name: string, dtype: string, keys: string, json: string): void;
  begin(name: string, isSequence: boolean): void;
  end(): void;
}

export interface WebTensor {
  name: string;
  dtype: string;
  shape: number[];
  data: Uint8Array<ArrayBuffer> | string[];
  keys?: bigint[] | string[];
}

/** What comes out: a tensor, a sequence, or an optional. */
export type WebValue = Omit<WebTensor, "name"> | { sequence: WebValue[] } | { optional: WebValue | null };

export type NamedValue = WebValue & { name: string };

/** A bare ONNX file. */
export interface WebSession {
  info(): unknown;
  run(list: TensorList): NamedValue[];
}

export interface WebModel {
  info(): unknown;
  predict(input: WebInput, parameters: object): string;
  preprocess(input: WebInput): NamedValue[];
  run(list: TensorList): NamedValue[];
  goldenJson(): Promise<string | undefined>;
  selfTest(progress?: (done: number, total: number) => boolean): Promise<unknown>;
}
