#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod admission;
mod attachment;
mod content;
mod diff;
mod digest;
mod engine;
/// How a registry in a folder, and the cache in one, read files.
pub mod files {
    pub use crate::store::{read_folder, read_regular, regular_length, storage, sync_folder};
}
mod golden;
mod index;
mod json;
/// How much is read of a package, and why not more.
pub mod limits;
mod maintain;
mod making;
/// Media types and file names of packages.
pub mod media;
mod modelpack;
mod oci;
mod onnx;
mod pack;
mod package;
mod provenance;
mod reader;
mod reference;
mod signing;
mod store;
mod trust;
mod unpack;
mod weights;

pub use admission::{Admission, Admitted, Decision, Seen, Verdict, admit};
pub use diff::{Amount, LayerChange, MetricChange, PackageDiff, PackageName};
pub use digest::{Collector, Content, Digest, Verifier};
pub use engine::{
    AttachedEngine, DerivedEngine, ENGINES, EngineKind, EngineTarget, SignedEngine, attach_engine,
    attached_engines, engine_signatures, listed_engines, sign_engines, unite_engines,
    verify_engines,
};
pub use golden::{
    Blob, CaseReport, Difference, Expectation, Golden, GoldenCase, GoldenData, GoldenInput,
    GoldenTensor, SelfTestReport, Texts, Tolerance, compare_outputs, compare_tensors,
};
pub use index::{Index, Tagged, resolve};
pub use maintain::{Moved, Removed, check_callers, move_alias, remove};
pub use modelpack::{Capabilities, Modality, ModelDescriptor, ModelFs, ModelPackConfig, Technical};
pub use oci::{Descriptor, FILEPATH, Manifest, REF_NAME, Role, TITLE, check_file_name, role};
pub use pack::{
    Built, PackOptions, Packed, RECIPE_NAME, STARTER_VERSION, name_of, pack, write_recipe,
};
pub use package::Package;
pub use provenance::{
    Baseline, DvcLock, GitState, InputFile, ModelSource, Provenance, Training, TrainingData,
};
pub use reader::{PackageReader, Parts};
pub use reference::{
    MAX_NAME, MAX_TAG, Reference, SIGNED_TAGS, check_name, check_tag, is_reserved,
    referrers_subject, referrers_tag, tag_version,
};
pub use signing::{
    Attached, Bundle, Curve, Envelope, MAX_COUNTER, PrivateKey, PublicKey, SignedTags, Signer,
    Statement, attach_signature, pae, publish_tags, published_tags,
};
pub use store::{Collected, FolderStore, MemoryStore, Store, Transaction, WritableStore};
pub use trust::{KeySpec, PolicyFile, Rule, SignedTagsMode, TrustPolicy, Unsigned};
pub use unpack::unpack;
pub use weights::ModelFolder;
