//! Whether a place answers.

use std::time::SystemTime;

/// Whether a place answers, as [`crate::State::status`] tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// `memory`, `sqlite` or `redis`.
    pub kind: &'static str,
    /// Whether it answered the last time. The gauge `twinfer_state_connected` is this.
    pub connected: bool,
    /// Since when it does not; `None` while it does.
    pub lost_since: Option<SystemTime>,
    /// Counters with sums that wait for its return.
    pub pending: usize,
}

impl Status {
    /// Of a place that is there.
    pub fn connected(kind: &'static str) -> Self {
        Self {
            kind,
            connected: true,
            lost_since: None,
            pending: 0,
        }
    }

    /// Of a place that is gone since then.
    pub fn lost(kind: &'static str, since: SystemTime, pending: usize) -> Self {
        Self {
            connected: false,
            lost_since: Some(since),
            pending,
            ..Self::connected(kind)
        }
    }
}
