//! The error of settings that cannot be used.

use std::fmt::{self, Display};

/// What comes out of reading settings.
pub type Result<T> = std::result::Result<T, SettingsError>;

/// Settings, or keys of an issuer, that cannot be used. Its code in logs is `invalid_parameter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    message: String,
}

impl SettingsError {
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

impl Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SettingsError {}

/// Shorthand: `wrong!("…")` makes the error.
macro_rules! wrong {
    ($($message:tt)*) => { $crate::error::SettingsError::new(format!($($message)*)) };
}
pub(crate) use wrong;
