//! Where the time of a call went.

/// The times of one call, where there is a clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    clock: Option<fn() -> f64>,
    started: f64,
    loaded: f64,
}

impl Call {
    pub(crate) fn new(clock: Option<fn() -> f64>) -> Self {
        let started = clock.map_or(0.0, |now| now());
        Self {
            clock,
            started,
            loaded: started,
        }
    }

    /// With what a shell did before the call, when it says since when.
    pub(crate) fn since(mut self, started: Option<f64>) -> Self {
        self.started = started.unwrap_or(self.started);
        self
    }

    pub(crate) fn loaded(mut self) -> Self {
        self.loaded = self.clock.map_or(0.0, |now| now());
        self
    }

    /// Milliseconds for finding (and, the first time, loading) the model, and
    /// since then.
    pub(crate) fn timing(&self) -> Option<Timing> {
        let now = self.clock?();
        Some(Timing {
            load_ms: rounded(self.loaded - self.started),
            predict_ms: rounded(now - self.loaded),
        })
    }
}

/// Microseconds are the grain of the clocks that hosts give.
fn rounded(milliseconds: f64) -> f64 {
    (milliseconds * 1e3).round() / 1e3
}

/// Where the time of an answer went, in milliseconds.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Timing {
    pub(crate) load_ms: f64,
    pub(crate) predict_ms: f64,
}
