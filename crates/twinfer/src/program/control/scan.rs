//! `Scan` (Operators.md, ai.onnx 8 to 25): a graph for each slice of its inputs.

use super::super::inputs::{self, Inputs};
use super::super::node::Node;
use super::super::{Around, Program, arrange};
use super::{Element, stacked, types};
use crate::{Result, Tensor, Value, bail, err};

#[derive(Debug)]
pub(in super::super) struct Scan {
    pub(super) body: Program,
    scanned: usize,
    input_axes: Vec<i64>,
    input_backwards: Vec<bool>,
    output_axes: Vec<i64>,
    output_backwards: Vec<bool>,
    collected: Vec<Option<Element>>,
    /// Version 8 has lengths, and a batch before everything.
    batched: bool,
}

impl Scan {
    pub(super) fn new(node: &Node<'_>, body: Program) -> Result<Self> {
        let scanned = usize::try_from(node.int("num_scan_inputs", 0)).unwrap_or(0);
        let Some(states) = body
            .inputs
            .len()
            .checked_sub(scanned)
            .filter(|_| scanned > 0)
        else {
            bail!(
                InvalidModel,
                "a Scan of {scanned} inputs, whose body has {}",
                body.inputs.len()
            );
        };
        let Some(outputs) = body.outputs.len().checked_sub(states) else {
            bail!(InvalidModel, "the body of a Scan has too few outputs");
        };
        let list = |name: &str, length: usize| match node.ints(name) {
            Some(all) if all.len() == length => Ok(all.to_vec()),
            None => Ok(vec![0; length]),
            Some(all) => Err(err!(
                InvalidModel,
                "`{name}` has {} entries, expected {length}",
                all.len()
            )),
        };
        let batched = node.version() < 9;
        let directions = if batched {
            "directions"
        } else {
            "scan_input_directions"
        };
        let backwards = |all: Vec<i64>| all.into_iter().map(|d| d == 1).collect();
        Ok(Self {
            scanned,
            input_axes: list("scan_input_axes", scanned)?,
            input_backwards: backwards(list(directions, scanned)?),
            output_axes: list("scan_output_axes", outputs)?,
            output_backwards: backwards(list("scan_output_directions", outputs)?),
            collected: types(node, states),
            body,
            batched,
        })
    }

    pub(super) fn run(&self, inputs: &Inputs<'_>, outer: &Around<'_>) -> Result<Vec<Value>> {
        let first = usize::from(self.batched);
        let given: Vec<&Tensor> = (first..inputs.len())
            .map(|index| inputs.tensor(index))
            .collect::<Result<_>>()?;
        if !self.batched {
            return self.scan(&given, outer);
        }
        let batch = given
            .first()
            .and_then(|tensor| tensor.shape().first().copied());
        let mut rows: Vec<Vec<Tensor>> = vec![Vec::new(); self.body.outputs.len()];
        for at in 0..batch.unwrap_or(0) {
            let slices = given.iter().map(|tensor| arrange::at(tensor, 0, at));
            let slices = slices.collect::<Result<Vec<_>>>()?;
            let made = self.scan(&slices.iter().collect::<Vec<_>>(), outer)?;
            for (rows, value) in rows.iter_mut().zip(made) {
                if let Value::Tensor(tensor) = value {
                    rows.push(tensor);
                }
            }
        }
        let stacked = rows
            .iter()
            .map(|rows| arrange::stack(rows, 0).map(Value::Tensor));
        stacked.collect()
    }

    fn scan(&self, given: &[&Tensor], outer: &Around<'_>) -> Result<Vec<Value>> {
        let states = self.body.inputs.len() - self.scanned;
        if given.len() != self.body.inputs.len() {
            bail!(
                InvalidModel,
                "a Scan has {} inputs, its body {}",
                given.len(),
                self.body.inputs.len()
            );
        }
        let (first, scanned) = given.split_at(states);
        let mut axes = Vec::new();
        let mut length = None;
        for (tensor, axis) in scanned.iter().zip(&self.input_axes) {
            let axis = inputs::axis(*axis, tensor.shape().len())?;
            axes.push(axis);
            let here = tensor.shape()[axis];
            if *length.get_or_insert(here) != here {
                bail!(InvalidInput, "the scanned inputs have different lengths");
            }
        }
        let length = length.unwrap_or(0);
        let mut state: Vec<Value> = first.iter().map(|&t| Value::Tensor(t.clone())).collect();
        let mut rows: Vec<Vec<Value>> = vec![Vec::new(); self.body.outputs.len() - states];
        for turn in 0..length {
            outer.turns.one_more()?;
            let mut turn_inputs = std::mem::take(&mut state);
            let backwards = self.input_backwards.iter();
            for ((tensor, &axis), &backwards) in scanned.iter().zip(&axes).zip(backwards) {
                let at = if backwards { length - 1 - turn } else { turn };
                turn_inputs.push(Value::Tensor(arrange::at(tensor, axis, at)?));
            }
            let mut made = self.body.run_in(turn_inputs, outer)?.into_iter();
            state.extend(made.by_ref().take(states));
            for (rows, value) in rows.iter_mut().zip(made) {
                rows.push(value);
            }
        }
        let each = rows.into_iter().zip(&self.collected);
        let how = self.output_axes.iter().zip(&self.output_backwards);
        for ((mut rows, kind), (&axis, &backwards)) in each.zip(how) {
            if backwards {
                rows.reverse();
            }
            state.push(Value::Tensor(stacked(rows, kind.as_ref(), axis)?));
        }
        Ok(state)
    }
}
