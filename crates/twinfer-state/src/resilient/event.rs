//! What is to be said in a log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What happened to the connection with a place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The place does not answer any more: from now on what is known is the answer.
    Lost {
        /// What it said last.
        reason: String,
    },
    /// It answers again, and has been told what was counted meanwhile.
    Back {
        /// How long it was gone.
        after: Duration,
        /// Counters that were added to.
        merged: usize,
    },
    /// The copy of the documents cannot be written: what is known may be old.
    CopyFailed {
        /// Why.
        reason: String,
    },
}

impl Event {
    /// The name of the event in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "state_lost",
            Self::Back { .. } => "state_back",
            Self::CopyFailed { .. } => "state_not_copied",
        }
    }
}

/// Who is told of events. It is called wherever they happen, and must not wait.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(&Event) + Send + Sync>);

impl EventSink {
    /// This function is.
    pub fn new(function: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(function))
    }

    pub(super) fn tell(&self, event: &Event) {
        (self.0)(event);
    }
}

impl Default for EventSink {
    /// Nobody is.
    fn default() -> Self {
        Self::new(|_| ())
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSink")
    }
}
