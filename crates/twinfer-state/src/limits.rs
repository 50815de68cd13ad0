//! How large keys and values may be: the same everywhere, so that what works with one place works
//! with the others.

use crate::{Result, StateError};

/// Longest key in bytes.
pub const MAX_KEY_BYTES: usize = 1024;
/// Largest value in bytes: values of key-value stores of guests, 4 MiB, fit with room.
pub const MAX_VALUE_BYTES: usize = 8 << 20;

/// The name of a document, a counter or a bucket.
pub(crate) fn check_key(key: &str) -> Result<()> {
    if (1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Ok(());
    }
    Err(StateError::new(format!(
        "a key of the state has 1 to {MAX_KEY_BYTES} bytes, not {}",
        key.len()
    )))
}

pub(crate) fn check_value(value: &[u8]) -> Result<()> {
    if value.len() <= MAX_VALUE_BYTES {
        return Ok(());
    }
    Err(StateError::new(format!(
        "a document of the state has at most {MAX_VALUE_BYTES} bytes, not {}",
        value.len()
    )))
}
