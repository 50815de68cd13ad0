//! How often models ran for a request, and for how many rows.

use std::cell::Cell;

use twinfer::{Model, Result};

use super::batch::{allows, form};
use super::{Run, Values};

/// What a request took, as Triton counts it (triton-inference-server/server,
/// `docs/user_guide/metrics.md`).
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Executed {
    /// Rows, for a model that takes a batch; runs, for another.
    pub(crate) inferences: u64,
    /// Executions of the model. Those that requests share are counted by one of them.
    pub(crate) executions: u64,
}

/// Counts the runs of one request. Answers out of the cache are none: it stands before this.
pub(crate) struct Counted<'a> {
    run: &'a dyn Run,
    executed: Cell<Executed>,
}

impl<'a> Counted<'a> {
    pub(crate) fn new(run: &'a dyn Run) -> Self {
        Self {
            run,
            executed: Cell::default(),
        }
    }

    pub(crate) fn executed(&self) -> Executed {
        self.executed.get()
    }
}

impl Run for Counted<'_> {
    fn run(&self, model: &Model, inputs: Values) -> Result<Values> {
        let rows = match allows(model) {
            true => form(&inputs).map_or(1, |(_, rows)| rows),
            false => 1,
        };
        let executions = self.run.executions();
        let outputs = self.run.run(model, inputs)?;
        let so_far = self.executed.get();
        self.executed.set(Executed {
            inferences: so_far.inferences.saturating_add(rows as u64),
            executions: so_far.executions.saturating_add(executions),
        });
        Ok(outputs)
    }
}
