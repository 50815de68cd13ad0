//! How much is read of a package, and why not more. They bound what a hostile registry can
//! make a page or a server hold in memory before anything is verified.

/// Bytes of the deployment of a model: a few hundred for each version.
pub const MAX_DEPLOYMENT_BYTES: u64 = 64 << 10;
/// Bytes of `index.json`: 10,000 references with annotations are about 4 MB.
pub const MAX_INDEX_BYTES: u64 = 16 << 20;

/// Bytes of a manifest: the limit that registries keep (OCI distribution specification).
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// Layers of a package: at most [`MAX_SHARDS`] of weights, and about ten others.
pub const MAX_LAYERS: usize = 1_000;

/// Tensors that get a layer of their own, at most: the largest ones. Each layer is a request
/// and 350 bytes of manifest; networks with more large tensors repeat them in blocks, of which
/// the largest hold nearly all bytes.
pub const MAX_SHARDS: usize = 512;

/// Bytes from which on a tensor gets a layer of its own. The time for a request is that for
/// about as many bytes (5 ms at 100 Mbit/s), and biases and norms, which are smaller, change
/// with every training anyway.
pub const MIN_SHARD_BYTES: u64 = 64 << 10;

/// Bytes of a model file below which it stays whole: one request brings it in a moment.
pub const MIN_SHARDED_BYTES: u64 = 1 << 20;

/// Bytes of all weights of a package together.
pub const MAX_WEIGHTS_BYTES: u64 = twinfer::MAX_WEIGHTS_BYTES;

/// Bytes of `model.onnx`, and of a shard: a protobuf message, and with it an ONNX file, ends
/// at 2 GiB.
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
