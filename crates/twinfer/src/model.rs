//! A model: the session with its declared steps before and after.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::pipeline::{Before, Input, Parameters};
use crate::{
    ModelConfig, NoWeights, Parsed, Result, Session, Signature, Tensors, Value, Weights, bail,
    value_to_json,
};

/// Inputs or outputs by name, of any kind.
pub type NamedValues = Vec<(String, Value)>;

/// How the numbers were computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Mode {
    /// The same bits in the page and in the component: no relaxed SIMD, one C math library.
    Strict,
}

/// The answer to one input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The parts of the answer, by the names and in the order of the pipeline.
    pub outputs: Map<String, Json>,
    /// The digest of the package that answered.
    pub digest: String,
    /// How the numbers were computed.
    pub mode: Mode,
}

/// A model that is ready to predict. It can be shared between threads.
#[derive(Debug)]
pub struct Model {
    config: ModelConfig,
    session: Session,
    digest: String,
}

impl Model {
    /// Loads the model file and checks the configuration against it.
    ///
    /// # Errors
    /// Those of [`Session::load`]; `invalid_package` when the pipeline names an input or
    /// output that the model does not have, or the signature in the configuration is not the
    /// one of the model.
    pub fn load(config: &ModelConfig, onnx: &[u8], digest: &str) -> Result<Self> {
        Self::load_with(config, onnx, &NoWeights, digest)
    }

    /// The same for a model file whose weights may be outside of it.
    ///
    /// # Errors
    /// Those of [`Model::load`] and of `weights`.
    pub fn load_with(
        config: &ModelConfig,
        onnx: &[u8],
        weights: &dyn Weights,
        digest: &str,
    ) -> Result<Self> {
        config.check()?;
        Self::of(config.clone(), Session::parse(onnx, weights)?, digest)
    }

    /// The same for a model file that was read: its bytes can be dropped before.
    ///
    /// # Errors
    /// Those of [`Model::load`] but for the reading.
    pub fn of(config: ModelConfig, parsed: Parsed, digest: &str) -> Result<Self> {
        config.check()?;
        let session = parsed.optimise()?;
        if let Some(declared) = &config.signature
            && declared != session.signature()
        {
            bail!(
                InvalidPackage,
                "the signature in twinfer.json is not the one of the model file; pack the model again"
            );
        }
        config.check_signature(session.signature())?;
        Ok(Self {
            config,
            session,
            digest: digest.into(),
        })
    }

    /// See [`Session::keep_used_plans_only`].
    pub fn keep_used_plans_only(&mut self) {
        self.session.keep_used_plans_only();
    }

    /// Named, typed, shaped inputs and outputs of the model file.
    pub fn signature(&self) -> &Signature {
        self.session.signature()
    }

    /// The configuration that it was loaded with.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The digest of the package, as given to [`Model::load`].
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Named tensors in, named values out: without the pipeline.
    ///
    /// # Errors
    /// Those of [`Session::run`].
    pub fn run(&self, inputs: Tensors) -> Result<Vec<(String, Value)>> {
        self.session.run(inputs)
    }

    /// The same with values of any kind: sequences and optionals too.
    ///
    /// # Errors
    /// Those of [`Session::run_values`].
    pub fn run_values(&self, inputs: Vec<(String, Value)>) -> Result<Vec<(String, Value)>> {
        self.session.run_values(inputs)
    }

    /// The tensors, or the map, that the pipeline makes of an input. Empty when it answers without the
    /// model (input that is too short for it).
    ///
    /// # Errors
    /// `invalid_input` when this model takes another kind of input, and the errors of the
    /// kind: `invalid_picture`, `picture_too_large`, `invalid_audio`, `audio_too_large`,
    /// `invalid_text`, `invalid_record`.
    pub fn preprocess(&self, input: Input) -> Result<Vec<(String, Value)>> {
        match self.before(input)? {
            Before::Tensors { tensors, .. } => Ok(values_of(tensors)),
            Before::Values(values) => Ok(values),
            Before::Short(_) => Ok(Vec::new()),
        }
    }

    /// Input in, answer out: preprocess, run, postprocess. Without a pipeline the answer is
    /// every output of the model as JSON.
    ///
    /// # Errors
    /// Those of [`Model::preprocess`] and [`Session::run`]; `unknown_parameter` and
    /// `invalid_parameter`.
    pub fn predict(&self, input: Input, parameters: &Parameters) -> Result<Prediction> {
        self.predict_with(input, parameters, &mut |values| self.run_values(values))
    }

    /// The same, where somebody else runs the model between the steps: together with other inputs,
    /// or not at all because the answer is known. `run` gets what [`Model::run_values`] takes and
    /// must give what that gives.
    ///
    /// # Errors
    /// Those of [`Model::predict`] and of `run`.
    pub fn predict_with(
        &self,
        input: Input,
        parameters: &Parameters,
        run: &mut dyn FnMut(NamedValues) -> Result<NamedValues>,
    ) -> Result<Prediction> {
        let mut prepared = self.prepare(input, parameters)?;
        let outputs = match prepared.take_values() {
            Some(values) => run(values)?,
            None => Vec::new(),
        };
        self.finish(prepared, outputs)
    }

    /// The first half of [`Model::predict`]: up to what the model runs on. For those who prepare many
    /// inputs, run them together, and then [`finish`](Model::finish) each.
    ///
    /// # Errors
    /// Those of [`Model::preprocess`]; `unknown_parameter` and `invalid_parameter`.
    pub fn prepare(&self, input: Input, parameters: &Parameters) -> Result<Prepared> {
        let Some(pipeline) = &self.config.pipeline else {
            if let Some((name, _)) = parameters.iter().next() {
                bail!(
                    UnknownParameter,
                    "there is no parameter `{name}`; this model has no pipeline"
                );
            }
            return Ok(Prepared {
                before: self.before(input)?,
                parameters: Map::new(),
            });
        };
        let parameters = pipeline.parameters(parameters)?;
        pipeline.check_several(&input)?;
        Ok(Prepared {
            before: self.before(input)?,
            parameters,
        })
    }

    /// The second half: the answer, from what the model gave for [`Prepared::take_values`].
    ///
    /// # Errors
    /// `wrong_shape` when it ran on more than one input; `invalid_package` when it gives what the
    /// pipeline cannot read.
    pub fn finish(&self, prepared: Prepared, outputs: NamedValues) -> Result<Prediction> {
        let Some(pipeline) = &self.config.pipeline else {
            let named = |(name, value): (String, Value)| Ok((name, value_to_json(&value)?));
            let outputs = outputs.into_iter().map(named).collect::<Result<_>>()?;
            return Ok(self.prediction(outputs));
        };
        let picture = match prepared.before {
            Before::Short(label) => return Ok(self.prediction(pipeline.answer_short(&label))),
            Before::Tensors { picture, .. } => picture,
            Before::Values(_) => None,
        };
        let outputs = pipeline.after(&outputs, picture, &prepared.parameters, &self.config)?;
        Ok(self.prediction(outputs))
    }

    fn before(&self, input: Input) -> Result<Before> {
        match (&self.config.pipeline, input) {
            (_, Input::Tensors(tensors)) => Ok(Before::Tensors {
                tensors,
                picture: None,
            }),
            (_, Input::Values(values)) => Ok(Before::Values(values)),
            (Some(pipeline), input) => pipeline.before(input, &self.config.limits),
            (None, input) => {
                bail!(
                    InvalidInput,
                    "this model has no pipeline: it takes tensors, got {}",
                    input.kind()
                )
            }
        }
    }

    fn prediction(&self, outputs: Map<String, Json>) -> Prediction {
        Prediction {
            outputs,
            digest: self.digest.clone(),
            mode: Mode::Strict,
        }
    }
}

/// An input after the steps before the model.
pub struct Prepared {
    before: Before,
    parameters: Parameters,
}

impl Prepared {
    /// What the model is to run on, once; `None` when the answer needs no model (input that is too
    /// short for it).
    pub fn take_values(&mut self) -> Option<NamedValues> {
        match &mut self.before {
            Before::Tensors { tensors, .. } => Some(values_of(std::mem::take(tensors))),
            Before::Values(values) => Some(std::mem::take(values)),
            Before::Short(_) => None,
        }
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

fn values_of(tensors: Tensors) -> Vec<(String, Value)> {
    let tensors = tensors.into_iter();
    tensors
        .map(|(name, tensor)| (name, Value::Tensor(tensor)))
        .collect()
}
