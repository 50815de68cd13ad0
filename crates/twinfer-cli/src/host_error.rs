//! Errors of the host, with codes.

use twinfer::{Error, ErrorCode};
use twinfer_host::{HostError, HostErrorKind};

/// An error of the host as ours.
pub fn host_error(error: HostError) -> Error {
    let code = match error.kind() {
        HostErrorKind::Config => ErrorCode::InvalidParameter,
        HostErrorKind::Component => ErrorCode::Storage,
        HostErrorKind::Listen => ErrorCode::Network,
        _ => ErrorCode::Internal,
    };
    Error::new(code, error.to_string())
}
