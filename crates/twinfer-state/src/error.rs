//! The one error of this crate.

use std::fmt::{self, Display};

/// What comes out of [`crate::State`].
pub type Result<T> = std::result::Result<T, StateError>;

/// The place of the state cannot be reached, or does not do what it should. Its code in answers
/// and logs is `storage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateError {
    message: String,
    unreachable: bool,
}

impl StateError {
    /// With what was wrong, where, and what to do about it.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            unreachable: false,
        }
    }

    /// The same for a place that does not answer, or cannot write.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self {
            unreachable: true,
            ..Self::new(message)
        }
    }

    /// What was wrong. It names no password.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the place is gone, for now: not this call failed, but all do.
    pub fn is_unreachable(&self) -> bool {
        self.unreachable
    }
}

impl Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StateError {}
