/**
 * The glue of wasm-bindgen as a factory: `scripts/glue.mjs` makes `dist/glue.js` of it. Every
 * call gives an instance with a memory of its own, so that models do not share one and a
 * stopped instance can be replaced.
 */
export function createGlue(): Glue;

export interface Glue {
  init(options: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  WebLoader: {
    new (reference: string, index?: Uint8Array): WebLoader;
    trusted(reference: string, index: Uint8Array, policy: string, now: number, lastCounter?: number): WebLoader;
  };
  WebInput: {
    picture(bytes: Uint8Array): WebInput;
    pixels(image: { width: number; height: number; data: Uint8ClampedArray | Uint8Array }): WebInput;
    bytes(bytes: Uint8Array): WebInput;
    record(object: object): WebInput;
    tensors(list: TensorList): WebInput;
  };
  TensorList: new () => TensorList;
  engineVersion(): string;
  failedAllocation(): number;
  panicMessage(): string | undefined;
}

export interface Need {
  digest: string;
  size: number | null;
  name: string;
}

export interface WebLoader {
  needs(): Need[];
  totalSize(): number | undefined;
  decision(): unknown;
  supply(digest: string, bytes: Uint8Array): void;
  finish(): WebModel;
}

export interface WebInput {
  free(): void;
}

export interface TensorList {
  free(): void;
  push(name: string, dtype: string, shape: Uint32Array, bytes: Uint8Array): void;
  pushStrings(name: string, shape: Uint32Array, strings: readonly string[]): void;
}

export interface WebTensor {
  name: string;
  dtype: string;
  shape: number[];
  data: Uint8Array<ArrayBuffer> | string[];
  keys?: bigint[] | string[];
}

export interface WebModel {
  info(): unknown;
  predict(input: WebInput, parameters: object): string;
  preprocess(input: WebInput): WebTensor[];
  run(list: TensorList): WebTensor[];
  goldenNeed(): Need | undefined;
  supplyGolden(json: Uint8Array): void;
  goldenJson(): string | undefined;
  selfTest(progress?: (done: number, total: number) => boolean): Promise<unknown>;
}
