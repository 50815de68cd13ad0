//! Graphs that the engine does not take as a whole, run node by node: control flow, sequences,
//! optionals, strings, types and operators that it lacks or gets wrong.
//!
//! A program is a list of steps over slots. A step is an operator of ours (`ops`), a node of the
//! engine, planned for the shapes and parameters that come (`engine`), or a graph inside
//! (`control`). What runs as a whole in the engine is not here: that is `session`.

mod arrange;
mod build;
mod cast;
mod control;
mod engine;
mod functions;
mod inputs;
mod node;
mod ops;
mod small;
mod tensors;

use self::control::Control;
use self::engine::EngineNode;
use self::inputs::{Inputs, Kernel};
use crate::{Result, Value, err};

pub(crate) use self::build::{Scope, build};
pub(crate) use self::engine::Opsets;
pub(crate) use self::ops::{needs_program, takes};

/// The numbers in a tensor of a file.
///
/// # Errors
/// Those of malformed tensors; `wrong_dtype` for strings.
pub(crate) fn numbers(tensor: &tract_onnx::pb::TensorProto) -> Result<Vec<f64>> {
    cast::to_f64(&tensors::read(tensor)?)
}

/// A graph that is ready to run.
#[derive(Debug)]
pub(crate) struct Program {
    steps: Vec<Step>,
    slots: usize,
    /// What is there before the first step: initializers.
    constants: Vec<(usize, Value)>,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
    /// Slots of the graph around this one, and where their values are wanted here.
    captured: Vec<(usize, usize)>,
}

/// One node.
#[derive(Debug)]
struct Step {
    /// For messages: operator and node.
    label: String,
    does: Does,
    inputs: Vec<Option<usize>>,
    outputs: Vec<Option<usize>>,
    /// Slots that nobody reads after this step.
    release: Vec<usize>,
}

#[derive(Debug)]
enum Does {
    Ours(Kernel),
    Engine(Box<EngineNode>),
    Control(Box<Control>),
}

/// The values of a run, by slot.
struct Values(Vec<Option<Value>>);

impl Values {
    fn get(&self, slot: usize) -> Option<&Value> {
        self.0.get(slot).and_then(Option::as_ref)
    }

    fn put(&mut self, slot: usize, value: Value) {
        if let Some(place) = self.0.get_mut(slot) {
            *place = Some(value);
        }
    }
}

impl Program {
    /// Runs it on the values of its inputs, in their order.
    ///
    /// # Errors
    /// Those of the operators, with the node in the message.
    pub(crate) fn run(&self, inputs: Vec<Value>) -> Result<Vec<Value>> {
        self.run_in(inputs, &[])
    }

    /// The same for a graph inside of another one: `outer` are the values that it captures, in the
    /// order of `captured`.
    fn run_in(&self, inputs: Vec<Value>, outer: &[Value]) -> Result<Vec<Value>> {
        let mut values = Values(vec![None; self.slots]);
        for (slot, value) in &self.constants {
            values.put(*slot, value.clone());
        }
        for ((_, slot), value) in self.captured.iter().zip(outer) {
            values.put(*slot, value.clone());
        }
        for (slot, value) in self.inputs.iter().zip(inputs) {
            values.put(*slot, value);
        }
        for step in &self.steps {
            step.run(&mut values).map_err(|e| e.context(&step.label))?;
        }
        let output = |slot: &usize| {
            let value = values.get(*slot).cloned();
            value.ok_or_else(|| err!(InvalidModel, "an output of a graph was not computed"))
        };
        self.outputs.iter().map(output).collect()
    }
}

impl Step {
    fn run(&self, values: &mut Values) -> Result<()> {
        let made = {
            let inputs: Vec<Option<&Value>> = (self.inputs.iter())
                .map(|slot| slot.and_then(|slot| values.get(slot)))
                .collect();
            match &self.does {
                Does::Ours(kernel) => (kernel.0)(&Inputs(&inputs))?,
                Does::Engine(node) => node.run(&Inputs(&inputs))?,
                Does::Control(control) => control.run(&Inputs(&inputs), values)?,
            }
        };
        for slot in &self.release {
            if let Some(place) = values.0.get_mut(*slot) {
                *place = None;
            }
        }
        for (slot, value) in self.outputs.iter().zip(made) {
            if let Some(slot) = slot {
                values.put(*slot, value);
            }
        }
        Ok(())
    }
}
