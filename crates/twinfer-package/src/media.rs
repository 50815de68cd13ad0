//! Media types and file names of packages.

/// An OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The `artifactType` of a model (CNCF ModelPack).
pub const ARTIFACT: &str = "application/vnd.cncf.model.manifest.v1+json";
/// The ModelPack configuration.
pub const MODEL_CONFIG: &str = "application/vnd.cncf.model.config.v1+json";
/// What every layer type of ModelPack begins with.
pub const LAYER_PREFIX: &str = "application/vnd.cncf.model.";
/// Weights, as they are: `model.onnx` and its shards.
pub const WEIGHT: &str = "application/vnd.cncf.model.weight.v1.raw";
/// What belongs to the weights: `twinfer.json`.
pub const WEIGHT_CONFIG: &str = "application/vnd.cncf.model.weight.config.v1.raw";
/// Data: `golden.json`, `baseline.json`.
pub const DATASET: &str = "application/vnd.cncf.model.dataset.v1.raw";
/// Documents: metrics, provenance, the model card, the licence.
pub const DOC: &str = "application/vnd.cncf.model.doc.v1.raw";

/// The config of artifacts that have none: `{}`.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// A package signature: the artifact, and the bundle in it (OpenSSF Model Signing v1.0).
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The signed tags of a name: the artifact, and the payload that is signed.
pub const TAGS: &str = "application/vnd.twinfer.tags.v1+json";
/// An envelope of DSSE.
pub const DSSE: &str = "application/vnd.dsse.envelope.v1+json";

/// A derived engine: the artifact.
pub const ENGINE: &str = "application/vnd.twinfer.engine.v1+json";
/// The config of a derived engine.
pub const ENGINE_CONFIG: &str = "application/vnd.twinfer.engine.config.v1+json";
/// A signature of a derived engine: the artifact.
pub const ENGINE_SIGNATURE: &str = "application/vnd.twinfer.engine.signature.v1+json";
/// A WebAssembly module or component.
pub const WASM: &str = "application/wasm";

/// File name of the model.
pub const MODEL_NAME: &str = "model.onnx";
/// File name of the configuration.
pub const CONFIG_NAME: &str = "twinfer.json";
/// File name of the golden examples.
pub const GOLDEN_NAME: &str = "golden.json";
/// File names of the shards of weights begin so.
pub const SHARDS: &str = "weights/";
/// File name of the baseline profile.
pub const BASELINE_NAME: &str = "baseline.json";
/// File name of the metrics.
pub const METRICS_NAME: &str = "metrics.json";
/// File name of the provenance.
pub const PROVENANCE_NAME: &str = "provenance.json";
/// File name of the model card.
pub const CARD_NAME: &str = "README.md";
/// File name of the licence.
pub const LICENSE_NAME: &str = "LICENSE";
