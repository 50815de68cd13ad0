//! How much is read of a package, and why not more. They bound what a hostile registry can
//! make a page or a server hold in memory before anything is verified.

/// Bytes of `index.json`: 10,000 references with annotations are about 4 MB.
pub const MAX_INDEX_BYTES: u64 = 16 << 20;

/// Bytes of a manifest: the limit that registries keep (OCI distribution specification).
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// Layers of a package. Ours have five; weights in shards by tensor may have a few hundred.
pub const MAX_LAYERS: usize = 1_000;

/// Bytes of a model layer: a protobuf message, and with it an ONNX file, ends at 2 GiB.
pub const MAX_MODEL_BYTES: u64 = 2 << 30;

/// Bytes of the golden examples: pictures in base64 are the largest of them.
pub const MAX_GOLDEN_BYTES: u64 = 256 << 20;

/// Bytes of `twinfer.json` and of the ModelPack configuration: 20,000 labels are 2 MB.
pub const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// Bytes of a document or any other layer that is not needed to predict.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// Bytes of a package signature: the names and digests of 1,000 layers are half a megabyte.
pub const MAX_BUNDLE_BYTES: u64 = 2 << 20;

/// Package signatures of one package that are looked at: each costs a verification.
pub const MAX_SIGNATURES: usize = 32;

/// Bytes of a trust policy: 10,000 revoked digests are 750 kB.
pub const MAX_POLICY_BYTES: u64 = 4 << 20;
