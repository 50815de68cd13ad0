//! Deployments in a state: what server and command line share.

pub mod callers;
mod describe;
mod store;

pub use describe::{describe, summary};
pub use store::{Deployments, PREFIX, unknown};

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
