//! Reading the JSON of packages with our error codes.

use serde::de::DeserializeOwned;
use twinfer::{Error, ErrorCode, Result};

use crate::digest::INVALID_DIGEST;

/// Reads JSON of one of the formats here.
///
/// # Errors
/// `unknown_field`, `invalid_digest`, else `invalid_manifest`.
pub(crate) fn from_json<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|e| json_error(what, &e))
}

fn json_error(what: &str, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    if let Some(rest) = text.strip_prefix(INVALID_DIGEST) {
        return Error::new(ErrorCode::InvalidDigest, format!("{what}: {rest}"));
    }
    let error = twinfer::serde_error(what, error);
    if error.code() == ErrorCode::UnknownField {
        return Error::new(
            ErrorCode::UnknownField,
            format!(
                "{}; a package of a newer format may have it: update Twinfer, or pack the model again",
                error.message()
            ),
        );
    }
    error
}

/// Writes one of the formats here, compact: the bytes that are digested.
///
/// # Errors
/// `internal`; the types here always have a form in JSON.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| twinfer::err!(Internal, "cannot be written as JSON: {e}"))
}
