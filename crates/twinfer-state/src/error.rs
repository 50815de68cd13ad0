//! The one error of this crate.

use std::fmt::{self, Display};

/// What comes out of [`crate::State`].
pub type Result<T> = std::result::Result<T, StateError>;

/// The place of the state cannot be reached, or does not do what it should. Its code in answers
/// and logs is `storage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateError {
    message: String,
}

impl StateError {
    /// With what was wrong, where, and what to do about it.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }

    /// What was wrong.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StateError {}
