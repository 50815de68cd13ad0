//! `DynamicQuantizeLSTM`: a recurrent layer with 8-bit weights, whose inputs and states become UINT8
//! at each product.

use super::super::dots::{multiply_turned, turned};
use super::super::integer::{MAX_ELEMENTS, small_integers};
use super::super::quantize::Dynamic;
use super::activation::{self, Activation};
use crate::program::inputs::{Inputs, Kernel, kernel};
use crate::program::node::Node;
use crate::{Result, Tensor, Value, bail, element_count};

pub(in super::super) const OPS: super::super::Table = &[("DynamicQuantizeLSTM", lstm)];

/// `DynamicQuantizeLSTM` (ContribOperators.md, com.microsoft 1); what the gates do is in `LSTM`
/// (Operators.md, ai.onnx 7).
fn lstm(node: &Node<'_>) -> Result<Option<Kernel>> {
    let reversed = match node.text("direction", "forward")? {
        "forward" => vec![false],
        "reverse" => vec![true],
        "bidirectional" => vec![false, true],
        other => bail!(InvalidModel, "`direction` is `{other}`"),
    };
    let lstm = Lstm {
        activations: activation::of(node, reversed.len(), ["Sigmoid", "Tanh", "Tanh"])?,
        reversed,
        clip: node.float_opt("clip").filter(|&clip| clip > 0.0),
        input_forget: node.flag("input_forget", false),
    };
    kernel(move |inputs| lstm.run(inputs)).map(Some)
}

struct Lstm {
    /// For each direction whether it goes from the last step to the first.
    reversed: Vec<bool>,
    /// Of gates, of cells, and of what comes out; for each direction.
    activations: Vec<[Activation; 3]>,
    clip: Option<f32>,
    input_forget: bool,
}

/// How long everything is.
#[derive(Clone, Copy)]
struct Sizes {
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
}

/// The weights of a direction for one factor: turned, without zero points, and a scale for each column.
struct Weights {
    turned: Vec<i16>,
    scales: Vec<f32>,
    depth: usize,
}

impl Weights {
    /// Inputs `[directions, depth, 4 * hidden]`, with scales and zero points `[directions]` or
    /// `[directions, 4 * hidden]`.
    fn of(
        inputs: &Inputs<'_>,
        [w, scale, zero]: [usize; 3],
        (direction, directions): (usize, usize),
        (depth, columns): (usize, usize),
    ) -> Result<Self> {
        let tensor = inputs.tensor(w)?;
        if *tensor.shape() != [directions, depth, columns] {
            bail!(
                InvalidInput,
                "weights of {:?} instead of {:?}",
                tensor.shape(),
                [directions, depth, columns]
            );
        }
        let scales = inputs.tensor(scale)?.to_vec::<f32>()?;
        let zeros = small_integers(inputs.tensor(zero)?)?;
        let fits = |count: usize| count == directions || count == directions * columns;
        if !fits(scales.len()) || !fits(zeros.len()) {
            bail!(
                InvalidInput,
                "{} scales and {} zero points for {directions} directions and {columns} columns",
                scales.len(),
                zeros.len()
            );
        }
        let all = small_integers(tensor)?;
        let own = all.chunks_exact((depth * columns).max(1)).nth(direction);
        let mut turned = turned(own.unwrap_or_default(), depth, columns);
        let zero = of_column(&zeros, direction, directions);
        for (column, weights) in turned.chunks_exact_mut(depth.max(1)).enumerate() {
            let zero = zero(column);
            weights.iter_mut().for_each(|w| *w -= zero);
        }
        let scale = of_column(&scales, direction, directions);
        Ok(Self {
            turned,
            scales: (0..columns).map(scale).collect(),
            depth,
        })
    }

    /// Adds the product of rows with the weights.
    fn add_to(&self, rows: &[f32], sums: &mut [f32]) {
        let columns = self.scales.len();
        let quantised = Dynamic::of(rows);
        let mut products = vec![0; sums.len()];
        let rows = quantised.centred(rows);
        multiply_turned(&rows, &self.turned, self.depth, columns, &mut products);
        let lines = products.chunks_exact(columns.max(1));
        for (products, sums) in lines.zip(sums.chunks_exact_mut(columns.max(1))) {
            for ((sum, &product), scale) in sums.iter_mut().zip(products).zip(&self.scales) {
                *sum += product as f32 * (quantised.scale * scale);
            }
        }
    }
}

/// The parameter of each column of a direction: the same for all, or one for each.
fn of_column<T: Copy + Default>(
    all: &[T],
    direction: usize,
    directions: usize,
) -> impl Fn(usize) -> T {
    let size = all.len() / directions.max(1);
    let own = all.get(direction * size..).unwrap_or_default();
    move |column| {
        let at = if size == 1 { 0 } else { column };
        own.get(at).copied().unwrap_or_default()
    }
}

/// A part of an input for one direction, where the input is there.
fn part(
    inputs: &Inputs<'_>,
    index: usize,
    (direction, directions): (usize, usize),
    size: usize,
) -> Result<Option<Vec<f32>>> {
    let Some(tensor) = inputs.tensor_opt(index)? else {
        return Ok(None);
    };
    let all = tensor.view::<f32>()?;
    if all.len() != directions * size {
        bail!(
            InvalidInput,
            "input {index} is {:?}, and is to have {size} numbers for each of {directions} directions",
            tensor.shape()
        );
    }
    Ok(all
        .get(direction * size..(direction + 1) * size)
        .map(<[f32]>::to_vec))
}

/// What a direction is given beside the sequence.
struct Given {
    input: Weights,
    recurrent: Weights,
    /// Of input, output, forget and cell gate, of both products together.
    bias: Vec<f32>,
    /// Of input, output and forget gate.
    peepholes: Option<Vec<f32>>,
    hidden: Vec<f32>,
    cell: Vec<f32>,
}

impl Lstm {
    fn sizes(&self, inputs: &Inputs<'_>) -> Result<Sizes> {
        let (x, r) = (inputs.tensor(0)?.shape(), inputs.tensor(2)?.shape());
        let (&[steps, batch, input], &[_, hidden, _]) = (x, r) else {
            bail!(
                InvalidInput,
                "a sequence of {x:?} and weights of {r:?}: both are to have 3 axes"
            );
        };
        let all = element_count(&[steps, batch, hidden, 4 * self.reversed.len()])?;
        if all > MAX_ELEMENTS {
            bail!(InvalidInput, "a sequence of {x:?} is too long");
        }
        Ok(Sizes {
            steps,
            batch,
            input,
            hidden,
        })
    }

    /// How many steps each sequence has.
    fn lengths(inputs: &Inputs<'_>, sizes: Sizes) -> Result<Vec<usize>> {
        let Some(lengths) = inputs.ints_opt(4)? else {
            return Ok(vec![sizes.steps; sizes.batch]);
        };
        let inside = |&length: &i64| usize::try_from(length).ok().filter(|&n| n <= sizes.steps);
        match lengths.iter().map(inside).collect::<Option<Vec<_>>>() {
            Some(inside) if inside.len() == sizes.batch => Ok(inside),
            _ => bail!(
                InvalidInput,
                "lengths {lengths:?} for {} sequences of {} steps",
                sizes.batch,
                sizes.steps
            ),
        }
    }

    fn given(&self, inputs: &Inputs<'_>, direction: usize, sizes: Sizes) -> Result<Given> {
        let place = (direction, self.reversed.len());
        let (hidden, columns) = (sizes.hidden, 4 * sizes.hidden);
        let states = sizes.batch * hidden;
        let bias = part(inputs, 3, place, 2 * columns)?;
        let bias = bias.map_or(vec![0.0; columns], |both| {
            let (of_input, of_state) = both.split_at(columns);
            of_input.iter().zip(of_state).map(|(a, b)| a + b).collect()
        });
        let state = |index| Ok(part(inputs, index, place, states)?.unwrap_or(vec![0.0; states]));
        Ok(Given {
            input: Weights::of(inputs, [1, 8, 9], place, (sizes.input, columns))?,
            recurrent: Weights::of(inputs, [2, 10, 11], place, (hidden, columns))?,
            bias,
            peepholes: part(inputs, 7, place, 3 * hidden)?,
            hidden: state(5)?,
            cell: state(6)?,
        })
    }

    fn run(&self, inputs: &Inputs<'_>) -> Result<Vec<Value>> {
        let sizes = self.sizes(inputs)?;
        let lengths = Self::lengths(inputs, sizes)?;
        let x = inputs.tensor(0)?.view::<f32>()?;
        let directions = self.reversed.len();
        let states = sizes.batch * sizes.hidden;
        let mut y = vec![0f32; sizes.steps * directions * states];
        let (mut last_hidden, mut last_cell) = (Vec::new(), Vec::new());
        for (direction, &is_reversed) in self.reversed.iter().enumerate() {
            let given = self.given(inputs, direction, sizes)?;
            let Some(&functions) = self.activations.get(direction) else {
                bail!(Internal, "a direction has no activations");
            };
            let run = Direction {
                lstm: self,
                sizes,
                functions,
                lengths: &lengths,
                is_reversed,
            };
            let place = |step: usize| (step * directions + direction) * states;
            let (hidden, cell) = run.run(&x, given, |step, row, states| {
                let at = place(step) + row * sizes.hidden;
                if let Some(to) = y.get_mut(at..at + sizes.hidden) {
                    to.copy_from_slice(states);
                }
            });
            last_hidden.extend(hidden);
            last_cell.extend(cell);
        }
        let last = [directions, sizes.batch, sizes.hidden];
        let all = [sizes.steps, directions, sizes.batch, sizes.hidden];
        Ok(vec![
            Value::Tensor(Tensor::from_vec(&all, y)?),
            Value::Tensor(Tensor::from_vec(&last, last_hidden)?),
            Value::Tensor(Tensor::from_vec(&last, last_cell)?),
        ])
    }
}

/// A run in one direction.
struct Direction<'a> {
    lstm: &'a Lstm,
    sizes: Sizes,
    /// Of gates, of cells, and of what comes out.
    functions: [Activation; 3],
    lengths: &'a [usize],
    is_reversed: bool,
}

impl Direction<'_> {
    /// Where in the sequence a step of a row is.
    fn place(&self, step: usize, row: usize) -> usize {
        let length = self.lengths.get(row).copied().unwrap_or(0);
        match self.is_reversed && step < length {
            true => length - 1 - step,
            false => step,
        }
    }

    /// The last states of all rows; `put` gets those of each step, by place in the sequence and row.
    fn run(
        &self,
        x: &[f32],
        given: Given,
        mut put: impl FnMut(usize, usize, &[f32]),
    ) -> (Vec<f32>, Vec<f32>) {
        let Sizes {
            batch,
            input,
            hidden,
            ..
        } = self.sizes;
        let columns = 4 * hidden;
        let steps = self.lengths.iter().copied().max().unwrap_or(0);
        let mut ordered = Vec::with_capacity(steps * batch * input);
        for step in 0..steps {
            for row in 0..batch {
                let at = (self.place(step, row) * batch + row) * input;
                ordered.extend_from_slice(x.get(at..at + input).unwrap_or_default());
            }
        }
        let mut gates = vec![0f32; steps * batch * columns];
        given.input.add_to(&ordered, &mut gates);
        let (mut state, mut cell) = (given.hidden.clone(), given.cell.clone());
        let mut last = (vec![0.0; state.len()], vec![0.0; state.len()]);
        if hidden == 0 {
            return last;
        }
        for (step, gates) in gates.chunks_exact_mut((batch * columns).max(1)).enumerate() {
            given.recurrent.add_to(&state, gates);
            let rows = gates.chunks_exact_mut(columns);
            let states = state
                .chunks_exact_mut(hidden)
                .zip(cell.chunks_exact_mut(hidden));
            for (row, (gates, (state, cell))) in rows.zip(states).enumerate() {
                let length = self.lengths.get(row).copied().unwrap_or(0);
                if step >= length {
                    state.fill(0.0);
                    continue;
                }
                self.step(gates, &given, state, cell);
                put(self.place(step, row), row, state);
                if step + 1 == length {
                    let at = row * hidden..(row + 1) * hidden;
                    if let Some(to) = last.0.get_mut(at.clone()) {
                        to.copy_from_slice(state);
                    }
                    if let Some(to) = last.1.get_mut(at) {
                        to.copy_from_slice(cell);
                    }
                }
            }
        }
        last
    }

    /// One step of one row: its gates are input, output, forget and cell gate, one after the other.
    fn step(&self, gates: &[f32], given: &Given, state: &mut [f32], cell: &mut [f32]) {
        let hidden = self.sizes.hidden;
        let [of_gate, of_cell, of_output] = self.functions;
        let clip = self.lstm.clip.unwrap_or(f32::MAX);
        for (at, (state, cell)) in state.iter_mut().zip(cell).enumerate() {
            let sum = |gate: usize| {
                let place = gate * hidden + at;
                let number = |all: &[f32]| all.get(place).copied().unwrap_or(0.0);
                number(gates) + number(&given.bias)
            };
            let peephole = |gate: usize, cell: f32| match &given.peepholes {
                Some(all) => all.get(gate * hidden + at).copied().unwrap_or(0.0) * cell,
                None => 0.0,
            };
            let clipped = |x: f32| x.max(-clip).min(clip);
            let input = of_gate.of(clipped(sum(0) + peephole(0, *cell)));
            let forget = match self.lstm.input_forget {
                true => 1.0 - input,
                false => of_gate.of(clipped(sum(2) + peephole(2, *cell))),
            };
            *cell = forget * *cell + input * of_cell.of(clipped(sum(3)));
            let output = of_gate.of(clipped(sum(1) + peephole(1, *cell)));
            *state = output * of_output.of(*cell);
        }
    }
}
