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

impl Call {
    /// The value of the header `server-timing` (W3C Server Timing, section 3): milliseconds of loading, and
    /// of the prediction; where a model ran (when it began, and for how long), with the parts of that.
    pub(crate) fn server_timing(&self, ran: Option<(f64, f64)>) -> Option<String> {
        let timing = self.timing()?;
        let (load_ms, predict_ms) = (timing.load_ms, timing.predict_ms);
        let whole = format!("load;dur={load_ms}, predict;dur={predict_ms}");
        let Some(ran) = ran else {
            return Some(whole);
        };
        let [before, spent, after] = self.parts(timing, ran);
        Some(format!(
            "{whole}, preprocess;dur={before}, run;dur={spent}, postprocess;dur={after}"
        ))
    }

    /// The parts of a prediction in milliseconds: before the model ran, in the model, and after it. `ran`:
    /// when the model began to run, and for how long.
    pub(crate) fn parts(&self, timing: Timing, (first, spent): (f64, f64)) -> [f64; 3] {
        let before = rounded((first - self.loaded).max(0.0));
        let spent = rounded(spent);
        let after = rounded((timing.predict_ms - before - spent).max(0.0));
        [before, spent, after]
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
