//! Reading the documents of this crate.

use serde::de::DeserializeOwned;
use twinfer::{Error, ErrorCode, Result, bail};

/// Largest document in bytes: thousands of times what one needs is nothing that a page should read.
pub(crate) const MAX_BYTES: usize = 64 << 10;

/// Reads JSON of this crate.
pub(crate) fn read<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T> {
    if json.len() > MAX_BYTES {
        bail!(
            InvalidDeployment,
            "{what} has {} bytes; at most {MAX_BYTES} are read",
            json.len()
        );
    }
    serde_json::from_slice(json).map_err(|e| json_error(what, &e))
}

/// What is wrong with JSON of this crate.
pub(crate) fn json_error(what: &str, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    if let Some(rest) = text.strip_prefix("invalid digest: ") {
        return Error::new(ErrorCode::InvalidDigest, format!("{what}: {rest}"));
    }
    let error = twinfer::serde_error(what, error);
    match error.code() {
        ErrorCode::UnknownField => error,
        _ => Error::new(ErrorCode::InvalidDeployment, error.message().to_owned()),
    }
}
