//! Who runs the model for a request: at once, together with other requests, or not at all because
//! the answer is known.

pub(crate) mod batch;
mod cache;
mod counted;
mod running;
mod together;

use std::cell::Cell;

use twinfer::{Model, Result};

pub(crate) use cache::{Cache, Remembering};
pub(crate) use counted::{Counted, Executed};
pub(crate) use running::{Called, Running};
pub(crate) use together::{Asking, Giving, Part, Together};

pub(crate) use twinfer::NamedValues as Values;

/// Runs models.
pub(crate) trait Run {
    /// What [`Model::run_values`] gives for these inputs.
    ///
    /// # Errors
    /// Those of [`Model::run_values`].
    fn run(&self, model: &Model, inputs: Values) -> Result<Values>;

    /// How often the model is executed for the next run: once, but for a run that others have a part in.
    fn executions(&self) -> u64 {
        1
    }
}

/// At once.
pub(crate) struct Directly;

impl Run for Directly {
    fn run(&self, model: &Model, inputs: Values) -> Result<Values> {
        model.run_values(inputs)
    }
}

/// Says how long the runs of one request took.
pub(crate) struct Timed<'a> {
    run: &'a dyn Run,
    clock: Option<fn() -> f64>,
    first: Cell<Option<f64>>,
    spent: Cell<f64>,
}

impl<'a> Timed<'a> {
    pub(crate) fn new(run: &'a dyn Run, clock: Option<fn() -> f64>) -> Self {
        Self {
            run,
            clock,
            first: Cell::new(None),
            spent: Cell::new(0.0),
        }
    }

    /// When the first run began, and the milliseconds of all; `None` when there was none, or no clock.
    pub(crate) fn spent(&self) -> Option<(f64, f64)> {
        Some((self.first.get()?, self.spent.get()))
    }
}

impl Run for Timed<'_> {
    fn run(&self, model: &Model, inputs: Values) -> Result<Values> {
        let Some(clock) = self.clock else {
            return self.run.run(model, inputs);
        };
        let begin = clock();
        if self.first.get().is_none() {
            self.first.set(Some(begin));
        }
        let outputs = self.run.run(model, inputs);
        self.spent.set(self.spent.get() + clock() - begin);
        outputs
    }
}
