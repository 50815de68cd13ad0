#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod admission;
mod digest;
mod golden;
mod index;
mod json;
/// How much is read of a package, and why not more.
pub mod limits;
/// Media types and file names of packages.
pub mod media;
mod modelpack;
mod oci;
mod pack;
mod package;
mod reader;
mod reference;
mod signing;
mod store;
mod trust;

pub use admission::{Admission, Admitted, Decision, Seen, Verdict, admit};
pub use digest::{Digest, Verifier};
pub use golden::{
    Blob, CaseReport, Difference, Expectation, Golden, GoldenCase, GoldenData, GoldenInput,
    GoldenTensor, SelfTestReport, Tolerance, compare_outputs, compare_tensors,
};
pub use index::{Index, Tagged, resolve};
pub use modelpack::{Capabilities, Modality, ModelDescriptor, ModelFs, ModelPackConfig, Technical};
pub use oci::{Descriptor, FILEPATH, Manifest, REF_NAME, Role, TITLE, check_file_name, role};
pub use pack::{Built, PackOptions, Packed, RECIPE_NAME, pack};
pub use package::Package;
pub use reader::{PackageReader, Parts};
pub use reference::{MAX_NAME, MAX_TAG, Reference, check_name, check_tag, tag_version};
pub use signing::{
    Attached, Bundle, Curve, Envelope, MAX_COUNTER, PrivateKey, PublicKey, SignedTags, Signer,
    Statement, attach_signature, pae, publish_tags, published_tags,
};
pub use store::{FolderStore, MemoryStore, Store, Transaction, WritableStore};
pub use trust::{KeySpec, PolicyFile, Rule, SignedTagsMode, TrustPolicy, Unsigned};
