//! Package signatures and signed tags.
//!
//! A package signature is a bundle of OpenSSF Model Signing v1.0, key method
//! (<https://github.com/ossf/model-signing-spec>, `spec/v1.0.md`): the same bytes that the
//! reference tool `model-signing` reads and writes.

mod artifact;
mod attach;
mod bundle;
mod dsse;
mod key;
mod tags;

pub(crate) use artifact::{Artifact, Referrers};
pub use attach::{Attached, Signer, attach_signature, publish_tags, published_tags};
pub use bundle::{Bundle, Statement};
pub use dsse::{Envelope, pae};
pub use key::{Curve, PrivateKey, PublicKey};
pub use tags::{MAX_COUNTER, SignedTags};

use serde::de::DeserializeOwned;
use twinfer::{Error, ErrorCode, Result};

/// Reads JSON of something that is signed or signs.
///
/// # Errors
/// `invalid_signature`, whatever is wrong with it.
pub(crate) fn signed_json<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|e| {
        Error::new(
            ErrorCode::InvalidSignature,
            format!("the {what} is malformed: {e}"),
        )
    })
}
