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
mod meter;
mod node;
mod ops;
mod segment;
mod small;
mod tensors;

use self::control::{Control, Turns};
use self::engine::EngineNode;
use self::inputs::{Inputs, Kernel};
use self::meter::Work;
use self::segment::Segment;
use crate::{Result, Value, err};

pub(crate) use self::build::{Scope, build};
pub(crate) use self::engine::Opsets;
pub(crate) use self::meter::{Meter, bytes_of};
pub(crate) use self::ops::{needs_program, put_standard, takes};
pub(crate) use self::tensors::read as read_tensor;

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
    /// For messages: operator and node. Nothing where the steps inside have their own.
    label: String,
    /// How many multiply-adds it takes.
    work: Work,
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
    /// Several nodes of the engine.
    Segment(Box<Segment>),
}

/// The values of a run, by slot, and what measures it.
struct Values<'m> {
    turns: &'m Turns,
    slots: Vec<Option<Value>>,
    meter: Option<&'m Meter>,
    /// Bytes of what steps have made, where the run is measured.
    sizes: Vec<u64>,
}

impl Values<'_> {
    fn get(&self, slot: usize) -> Option<&Value> {
        self.slots.get(slot).and_then(Option::as_ref)
    }

    fn put(&mut self, slot: usize, value: Value) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(value);
        }
    }

    /// Puts what a step has made.
    fn put_made(&mut self, slot: usize, value: Value) {
        if let Some(meter) = self.meter {
            let size = bytes_of(&value);
            meter.made(size);
            self.sizes.resize(self.slots.len(), 0);
            if let Some(place) = self.sizes.get_mut(slot) {
                *place = size;
            }
        }
        self.put(slot, value);
    }

    fn release(&mut self, slot: usize) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = None;
        }
        if let (Some(meter), Some(size)) = (self.meter, self.sizes.get_mut(slot)) {
            meter.released(std::mem::take(size));
        }
    }
}

/// What a graph inside of another one sees of it: the values that it captures, in the order of
/// `captured`, and what measures the run.
struct Around<'m> {
    values: Vec<Value>,
    meter: Option<&'m Meter>,
    turns: &'m Turns,
}

impl Program {
    /// Runs it on the values of its inputs, in their order.
    ///
    /// # Errors
    /// Those of the operators, with the node in the message.
    pub(crate) fn run(&self, inputs: Vec<Value>) -> Result<Vec<Value>> {
        self.run_with(inputs, None)
    }

    /// The bytes of the weights, of graphs inside too.
    pub(crate) fn weight_bytes(&self) -> u64 {
        let own = self.constants.iter().map(|(_, value)| bytes_of(value));
        let inside = self.steps.iter().map(|step| match &step.does {
            Does::Control(control) => control.graphs().map(Self::weight_bytes).sum(),
            _ => 0,
        });
        own.chain(inside).sum()
    }

    /// The same as [`Program::run`], measured.
    ///
    /// # Errors
    /// Those of [`Program::run`].
    pub(crate) fn measure(&self, inputs: Vec<Value>, meter: &Meter) -> Result<Vec<Value>> {
        self.run_with(inputs, Some(meter))
    }

    fn run_with(&self, inputs: Vec<Value>, meter: Option<&Meter>) -> Result<Vec<Value>> {
        let around = Around {
            values: Vec::new(),
            meter,
            turns: &Turns::default(),
        };
        self.run_in(inputs, &around)
    }

    /// The same for a graph inside of another one.
    fn run_in(&self, inputs: Vec<Value>, outer: &Around<'_>) -> Result<Vec<Value>> {
        let mut values = Values {
            turns: outer.turns,
            slots: vec![None; self.slots],
            meter: outer.meter,
            sizes: Vec::new(),
        };
        for (slot, value) in &self.constants {
            values.put(*slot, value.clone());
        }
        for ((_, slot), value) in self.captured.iter().zip(&outer.values) {
            values.put(*slot, value.clone());
        }
        for (slot, value) in self.inputs.iter().zip(inputs) {
            values.put(*slot, value);
        }
        for step in &self.steps {
            step.run(&mut values)?;
        }
        let output = |slot: &usize| {
            let value = values.get(*slot).cloned();
            value.ok_or_else(|| err!(InvalidModel, "an output of a graph was not computed"))
        };
        let outputs = self.outputs.iter().map(output).collect();
        if let Some(meter) = outer.meter {
            // What is left belongs to whoever gets it.
            meter.released(values.sizes.iter().sum());
        }
        outputs
    }
}

impl Step {
    fn run(&self, values: &mut Values<'_>) -> Result<()> {
        let Some(made) = self.made(values).map_err(|e| e.context(&self.label))? else {
            // One by one: what is wrong is said of a node.
            if let Does::Segment(segment) = &self.does {
                segment.steps.iter().try_for_each(|step| step.run(values))?;
            }
            return Ok(());
        };
        for (slot, value) in self.outputs.iter().zip(made) {
            if let Some(slot) = slot {
                values.put_made(*slot, value);
            }
        }
        for slot in &self.release {
            values.release(*slot);
        }
        Ok(())
    }

    /// What it gives for the values that are there; nothing for nodes that the engine does not take
    /// together.
    fn made(&self, values: &Values<'_>) -> Result<Option<Vec<Value>>> {
        let inputs: Vec<Option<&Value>> = (self.inputs.iter())
            .map(|slot| slot.and_then(|slot| values.get(slot)))
            .collect();
        let inputs = Inputs(&inputs);
        let made = match &self.does {
            Does::Ours(kernel) => (kernel.0)(&inputs)?,
            Does::Engine(node) => node.run(&inputs)?,
            Does::Control(control) => control.run(&inputs, values)?,
            // Measured node by node.
            Does::Segment(_) if values.meter.is_some() => return Ok(None),
            Does::Segment(segment) => return Ok(segment.run(&inputs)),
        };
        if let Some(meter) = values.meter {
            meter.worked(self.work.multiply_adds(&inputs, &made));
        }
        Ok(Some(made))
    }
}
