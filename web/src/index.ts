import { glueModule } from "./instance.js";
import { openModel } from "./open-model.js";
import { parseSource } from "./registry.js";
import type { LoadOptions, Model } from "./types.js";

// Nothing waits for it here, and a worker's request for it is the same one. But a page that was
// opened can load what is kept on its own thread, also when the network has gone meanwhile.
if (globalThis.document !== undefined) glueModule().catch(() => undefined);

/**
 * Loads a package: resolves the reference, fetches what a prediction needs, verifies sizes
 * and digests, and prepares the model.
 *
 * ```ts
 * const model = await loadModel("/registry/face-detector:1.0.0");
 * const { boxes } = await model.predict({ picture: file });
 * ```
 *
 * @param url `<registry>/<name>`, followed by nothing, `:<version or alias>`, `@sha256:<digest>`,
 *   or `@<alias>` for what the deployment of the model says. The registry is an OCI image layout on any web host; in Node a
 *   folder will do, as a `file:` address or a path.
 * @throws TwinferError with the code of what went wrong.
 */
export async function loadModel(url: string, options: LoadOptions = {}): Promise<Model> {
  return openModel(parseSource(url), options);
}

export { loadOnnx } from "./onnx.js";
export { provenanceOf } from "./provenance.js";
export { cache } from "./cache.js";
/** @internal For `offline.js`: which engines this page runs is known here alone. */
export * as internal from "./shared.js";
export { TwinferError } from "./errors.js";
export type { ErrorCode } from "./generated/errors.js";
export { ERROR_CODES } from "./generated/errors.js";
export type {
  CaseReport,
  DeploymentRole,
  Descriptor,
  Difference,
  DType,
  Dim,
  EngineKind,
  Mode,
  ModelConfig,
  OutputSpec,
  Pipeline,
  SelfTestReport,
  Signature,
  TensorSpec,
  TrustPolicy,
} from "./generated/types.js";
export type { ConsentRequest, HybridOptions, PageReason, Provenance, ServerReason, Where } from "./places.js";
export type { DeploymentOptions, Release } from "./releases.js";
export type {
  Box,
  AudioSamples,
  AudioSource,
  ByteSource,
  CacheEstimate,
  CacheListing,
  CacheOptions,
  CacheRemoved,
  CacheStatistics,
  CacheVerified,
  CallOptions,
  Decision,
  Example,
  InputValue,
  JsonValue,
  LabelScore,
  LoadOptions,
  Lookup,
  Model,
  MapInput,
  MapOutput,
  ModelInput,
  ModelOutput,
  OnnxModel,
  OnnxOptions,
  ModelEngine,
  PictureSource,
  Pixels,
  Place,
  Policy,
  PredictOptions,
  Prediction,
  PredictionInfo,
  Progress,
  RecordSource,
  TensorInput,
  TensorOutput,
  TextSource,
  Timing,
  TrustDecision,
  TypedArray,
  Update,
  UpdateResult,
} from "./types.js";
