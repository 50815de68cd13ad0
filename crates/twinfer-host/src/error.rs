//! Errors of starting and stopping a host. Errors of a single request are
//! answers ([`crate::ReplyCode`]), not these.

use std::fmt;

/// Why a host could not start or stop cleanly.
#[derive(Debug)]
pub struct HostError {
    kind: HostErrorKind,
    message: String,
}

/// What a [`HostError`] is about. More kinds may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostErrorKind {
    /// A setting cannot work: a folder that is missing, a limit of zero.
    Config,
    /// The component could not be read, compiled or linked.
    Component,
    /// The address could not be listened on.
    Listen,
    /// The host itself failed while running.
    Internal,
}

impl HostError {
    pub(crate) fn new(kind: HostErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(HostErrorKind::Config, message)
    }

    pub(crate) fn component(message: impl Into<String>) -> Self {
        Self::new(HostErrorKind::Component, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(HostErrorKind::Internal, message)
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> HostErrorKind {
        self.kind
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for HostError {}
