//! A model as a request sees it.

use std::ops::Deref;
use std::sync::Arc;

use twinfer::{Input, Model, Parameters, Prediction, Result};

use super::{Run, Values};
use crate::models::Loaded;

/// The model that a request is for: what it computes goes through the request's [`Run`].
pub(crate) struct Called<'a> {
    pub(crate) model: Running<'a>,
}

/// A model, with who runs it.
#[derive(Clone)]
pub(crate) struct Running<'a> {
    loaded: Arc<Loaded>,
    run: &'a dyn Run,
}

impl<'a> Called<'a> {
    pub(crate) fn new(loaded: Arc<Loaded>, run: &'a dyn Run) -> Self {
        Self {
            model: Running { loaded, run },
        }
    }
}

impl Running<'_> {
    /// As [`Model::run_values`].
    pub(crate) fn run_values(&self, inputs: Values) -> Result<Values> {
        self.run.run(self, inputs)
    }

    /// As [`Model::predict`].
    pub(crate) fn predict(&self, input: Input, parameters: &Parameters) -> Result<Prediction> {
        let mut run = |inputs| self.run_values(inputs);
        self.predict_with(input, parameters, &mut run)
    }
}

impl Deref for Running<'_> {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.loaded.model
    }
}
