//! A loaded, optimised model: everything that touches the engine is in this room and in `ops`.

mod assess;
mod constants;
mod convert;
mod graph;
mod imputed;
mod plans;
#[cfg(test)]
pub(crate) mod test_models;
mod types;
mod weights;
mod wire;

use std::collections::BTreeSet;

use tract_onnx::prelude::*;

use crate::signature::Signature;
use crate::{MapKeys, Maps, Result, Tensors, Value, ValueKind, bail};

pub use self::assess::{Assessment, Cost};
pub(crate) use self::constants::Declared;
pub(crate) use self::convert::{Aligned, engine_dtype, from_engine, our_dtype, to_engine_value};
pub(crate) use self::graph::{onnx_code, onnx_dtype};
use self::plans::{Plans, Shapes};
pub(crate) use self::plans::{guard, runnable};
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
    body: Body,
}

/// How a model is run.
#[derive(Debug)]
enum Body {
    /// As a whole, by the engine; shapes that it cannot plan for as a whole by the program, where
    /// there is one.
    Whole(Box<Plans>, Option<Box<Program>>),
    /// Node by node.
    Program(Box<Program>),
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
            graph::Source::Whole(prepared, program) => {
                Body::Whole(Box::new(Plans::new(*prepared)?), program)
            }
            graph::Source::Program(program) => Body::Program(program),
        };
        let mut signature = Signature {
            inputs: graph.inputs,
            outputs: Vec::new(),
        };
        let mut keys = Vec::new();
        for (index, output) in graph.outputs.into_iter().enumerate() {
            let fact = match &body {
                Body::Whole(plans, _) => plans.output_fact(index),
                Body::Program(_) => None,
            };
            signature.outputs.push(output.spec(fact)?);
            keys.push(output.keys);
        }
        Ok(Session {
            signature,
            opsets: graph.opsets,
            keys,
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
            Body::Whole(plans, _) => plans.forget_source(),
            // Nodes are planned as they run: there is nothing that would not be needed again.
            Body::Program(_) => {}
        }
    }

    /// Named tensors in, named values out, in the order of the signature.
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
        let inputs = self.signature.check_values(inputs)?;
        let outputs = match &self.body {
            Body::Whole(plans, program) => {
                let tensors = inputs.into_iter().map(|value| match value {
                    Value::Tensor(tensor) => Ok(tensor),
                    _ => bail!(Internal, "the engine takes tensors only"),
                });
                whole(plans, program.as_deref(), tensors.collect::<Result<_>>()?)?
            }
            Body::Program(program) => program.run(inputs)?,
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
}

/// Runs a model as a whole; node by node where the engine cannot plan for the shapes.
fn whole(
    plans: &Plans,
    program: Option<&Program>,
    inputs: Vec<crate::Tensor>,
) -> Result<Vec<Value>> {
    let shapes: Shapes = inputs.iter().map(|t| t.shape().into()).collect();
    let plan = match (plans.get(&shapes), program) {
        (Ok(plan), _) => plan,
        (Err(_), Some(program)) => {
            return program.run(inputs.into_iter().map(Value::Tensor).collect());
        }
        (Err(error), None) => return Err(error),
    };
    let inputs = inputs
        .into_iter()
        .map(to_engine_value)
        .collect::<Result<TVec<TValue>>>()?;
    let outputs = guard(|| plan.run(inputs)).map_err(|e| {
        crate::err!(
            InvalidInput,
            "the model cannot compute with inputs of shape {shapes:?}: {e}"
        )
    })?;
    let outputs = outputs.into_iter();
    outputs
        .map(|value| from_engine(value.into_tensor()).map(Value::Tensor))
        .collect()
}
