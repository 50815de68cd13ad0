//! A loaded, optimised model: everything that touches the engine is in this room and in `ops`.

mod assess;
mod constants;
mod convert;
mod graph;
mod imputed;
mod overridable;
mod plans;
#[cfg(test)]
pub(crate) mod test_models;
mod types;
mod weights;
mod wire;

use std::collections::BTreeSet;

use tract_onnx::prelude::{IntoTensor, TValue, TVec};

use crate::signature::Signature;
use crate::{MapKeys, Maps, Result, Tensor, Tensors, Value, ValueKind, bail, err};

pub use self::assess::{Assessment, Cost};
pub(crate) use self::constants::Declared;
pub(crate) use self::convert::{Aligned, engine_dtype, from_engine, our_dtype, to_engine_value};
pub(crate) use self::graph::{onnx_code, onnx_dtype};
use self::overridable::Open;
use self::plans::{Plan, Plans, shapes_of};
pub(crate) use self::plans::{Problem, check_sizes, check_windows, guard, runnable};
pub use self::weights::{MAX_WEIGHTS_BYTES, NoWeights, Weights};
use crate::program::Program;

/// Model files larger than this are refused: protobuf has no larger messages, and neither a
/// page nor a function has the memory.
pub const MAX_MODEL_BYTES: usize = i32::MAX as usize;

/// A loaded, optimised ONNX model, ready to run. It can be shared between threads.
#[derive(Debug)]
pub struct Session {
    signature: Signature,
    opsets: Vec<String>,
    /// Keys of the outputs that are maps; `None` for tensors. In the order of the signature.
    keys: Vec<Option<MapKeys>>,
    /// The defaults of the optional inputs, in the order of the signature.
    defaults: Vec<Tensor>,
    body: Body,
}

/// How a model is run.
#[derive(Debug)]
enum Body {
    /// As a whole, by the engine; shapes that it cannot plan for as a whole by the program, where
    /// there is one.
    Whole(Box<Whole>, Option<Box<Program>>),
    /// Node by node.
    Program(Box<Program>),
}

#[derive(Debug)]
struct Whole {
    plans: Plans,
    /// For calls that give optional inputs, where the model has any.
    open: Option<Open>,
}

/// What a model file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Inputs and outputs; `None` where the file does not declare the type of an output, so
    /// that only loading the model tells.
    pub signature: Option<Signature>,
    /// The operator sets that it imports, as `domain:version`.
    pub opsets: Vec<String>,
    /// The inputs of which every number goes to an `Imputer` that replaces NaN: there a number may
    /// be missing.
    pub imputed: BTreeSet<String>,
    /// The program that wrote it, and its version.
    pub producer: Option<(String, String)>,
}

/// A model that was read, and not yet optimised. It borrows nothing of the file.
pub struct Parsed(graph::Graph);

impl std::fmt::Debug for Parsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parsed")
            .field("inputs", &self.0.inputs)
            .finish_non_exhaustive()
    }
}

impl Parsed {
    /// Makes it ready to run.
    ///
    /// # Errors
    /// `invalid_model` when the engine cannot prepare it; `unsupported_dtype`.
    pub fn optimise(self) -> Result<Session> {
        let graph = self.0;
        let body = match graph.source {
            graph::Source::Whole(whole, program) => {
                let whole = Whole {
                    plans: Plans::new(whole.prepared)?,
                    open: whole.open,
                };
                Body::Whole(Box::new(whole), program)
            }
            graph::Source::Program(program) => Body::Program(program),
        };
        let mut signature = Signature {
            inputs: graph.inputs,
            optional: graph.optional,
            outputs: Vec::new(),
        };
        let mut keys = Vec::new();
        for (index, output) in graph.outputs.into_iter().enumerate() {
            let fact = match &body {
                Body::Whole(whole, _) => whole.plans.output_fact(index),
                Body::Program(_) => None,
            };
            signature.outputs.push(output.spec(fact)?);
            keys.push(output.keys);
        }
        Ok(Session {
            signature,
            opsets: graph.opsets,
            keys,
            defaults: graph.defaults,
            body,
        })
    }
}

impl Session {
    /// Loads and optimises an ONNX file that has its weights in it.
    ///
    /// # Errors
    /// Those of [`Session::load_with`].
    pub fn load(onnx: &[u8]) -> Result<Self> {
        Self::load_with(onnx, &NoWeights)
    }

    /// Reads what an ONNX file says of itself, and checks its operators, without weights and
    /// without the work of loading: for models that are larger than the memory at hand.
    ///
    /// # Errors
    /// Those of [`Session::load`] that come from the graph.
    pub fn describe(onnx: &[u8]) -> Result<Description> {
        graph::describe(onnx)
    }

    /// Loads and optimises an ONNX file whose weights may be outside of it.
    ///
    /// # Errors
    /// `model_too_large`; `invalid_model` for what is no ONNX file, has a malformed graph, or
    /// weights that are not where it says; `unsupported_operator`, naming operator, domain
    /// and node; `unsupported_dtype`; those of `weights`.
    pub fn load_with(onnx: &[u8], weights: &dyn Weights) -> Result<Self> {
        Self::parse(onnx, weights)?.optimise()
    }

    /// Reads an ONNX file, as the first half of loading it: for those who drop file and weights
    /// before the second, which takes as much memory again.
    ///
    /// # Errors
    /// Those of [`Session::load_with`].
    pub fn parse(onnx: &[u8], weights: &dyn Weights) -> Result<Parsed> {
        graph::read(onnx, weights).map(Parsed)
    }

    /// Named, typed, shaped inputs and outputs.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The operator sets that the model file imports, as `domain:version`.
    pub fn opsets(&self) -> &[String] {
        &self.opsets
    }

    /// Keeps the plans that were used so far, and gives back the memory of what plans for other
    /// shapes would be made from: for a model that is loaded at build time, and made small.
    pub fn keep_used_plans_only(&mut self) {
        match &mut self.body {
            Body::Whole(whole, _) => {
                whole.plans.forget_source();
                whole.open = None;
            }
            // Nodes are planned as they run: there is nothing that would not be needed again.
            Body::Program(_) => {}
        }
    }

    /// Named tensors in, named values out, in the order of the signature. Optional inputs that are
    /// left out are what the model file says.
    ///
    /// # Errors
    /// Those of [`Signature::check`]; `unsupported_dtype` for an input type that the engine
    /// does not compute with; `invalid_input` when the engine refuses the shapes or values;
    /// `engine_function_missing` for shapes without a plan after
    /// [`Session::keep_used_plans_only`].
    pub fn run(&self, inputs: Tensors) -> Result<Vec<(String, Value)>> {
        let inputs = inputs.into_iter();
        self.run_values(
            inputs
                .map(|(name, tensor)| (name, Value::Tensor(tensor)))
                .collect(),
        )
    }

    /// The same with values of any kind: sequences and optionals too.
    ///
    /// # Errors
    /// As [`Session::run`]; `invalid_input` for a value of another kind than the signature says.
    pub fn run_values(&self, inputs: Vec<(String, Value)>) -> Result<Vec<(String, Value)>> {
        let mut given = self.signature.check_values(inputs)?.into_iter();
        let required: Option<Vec<Value>> =
            (given.by_ref().take(self.signature.inputs.len())).collect();
        let Some(required) = required else {
            bail!(Internal, "a required input is left out");
        };
        let optional: Vec<Option<Value>> = given.collect();
        let outputs = match &self.body {
            Body::Whole(body, program) => {
                let optional = match optional.iter().any(Option::is_some) {
                    true => Some(tensors(self.with_defaults(optional))?),
                    false => None,
                };
                self.whole(body, program.as_deref(), tensors(required)?, optional)?
            }
            Body::Program(program) => {
                let mut all = required;
                all.extend(self.with_defaults(optional));
                program.run(all)?
            }
        };
        let names = self.signature.outputs.iter().zip(&self.keys);
        outputs
            .into_iter()
            .zip(names)
            .map(|(value, (spec, keys))| {
                let value = match (spec.kind, keys, value) {
                    (ValueKind::Maps, Some(keys), Value::Tensor(tensor)) => {
                        if tensor.shape().last() != Some(&keys.len()) {
                            bail!(
                                InvalidModel,
                                "output `{}` has {} labels, but scores of shape {:?}",
                                spec.name,
                                keys.len(),
                                tensor.shape()
                            );
                        }
                        Value::Maps(Maps {
                            keys: keys.clone(),
                            values: tensor,
                        })
                    }
                    (_, _, value) => value,
                };
                Ok((spec.name.clone(), value))
            })
            .collect()
    }

    /// Optional inputs, with defaults for those that are left out.
    fn with_defaults(&self, given: Vec<Option<Value>>) -> Vec<Value> {
        let defaults = self.defaults.iter().cloned().map(Value::Tensor);
        let both = given.into_iter().zip(defaults);
        both.map(|(given, default)| given.unwrap_or(default))
            .collect()
    }

    /// Runs a model as a whole; node by node where the engine cannot plan for the shapes. `optional`
    /// are the optional inputs, where any is given.
    fn whole(
        &self,
        body: &Whole,
        program: Option<&Program>,
        mut inputs: Vec<Tensor>,
        optional: Option<Vec<Tensor>>,
    ) -> Result<Vec<Value>> {
        // The plan, and whether it takes the optional inputs too.
        let planned = match (&optional, &body.open) {
            (None, _) => (body.plans.get(&shapes_of(&inputs))).map(|plan| (plan, false)),
            (Some(optional), Some(open)) => open.plan(&inputs, optional),
            (Some(_), None) => Err(err!(
                EngineFunctionMissing,
                "this engine is prepared for the defaults of optional inputs only; the full engine takes others"
            )),
        };
        match (planned, program) {
            (Ok((plan, takes_all)), _) => {
                inputs.extend(optional.filter(|_| takes_all).unwrap_or_default());
                run_plan(&plan, inputs)
            }
            (Err(_), Some(program)) => {
                inputs.extend(optional.unwrap_or_else(|| self.defaults.clone()));
                program.run(inputs.into_iter().map(Value::Tensor).collect())
            }
            (Err(error), None) => Err(error),
        }
    }
}

fn tensors(values: Vec<Value>) -> Result<Vec<Tensor>> {
    let one = |value| match value {
        Value::Tensor(tensor) => Ok(tensor),
        _ => bail!(Internal, "the engine takes tensors only"),
    };
    values.into_iter().map(one).collect()
}

fn run_plan(plan: &Plan, inputs: Vec<Tensor>) -> Result<Vec<Value>> {
    let shapes = shapes_of(&inputs);
    let inputs = inputs
        .into_iter()
        .map(to_engine_value)
        .collect::<Result<TVec<TValue>>>()?;
    let outputs = guard(|| plan.run(inputs)).map_err(|e| {
        err!(
            InvalidInput,
            "the model cannot compute with inputs of shape {shapes:?}: {e}"
        )
    })?;
    let outputs = outputs.into_iter();
    outputs
        .map(|value| from_engine(value.into_tensor()).map(Value::Tensor))
        .collect()
}
