//! The cells of recurrent operators, step by step (Operators.md, `RNN`, `GRU`, `LSTM`), in FP64.

use tract_onnx::tract_hir::internal::*;

use super::Recurrent;
use super::activation::Activation;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rnn,
    Gru,
    Lstm,
}

impl Kind {
    /// How many sums a cell is made of.
    fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }
}

/// More numbers than weights or results may have: in FP64, 2 gigabytes.
const MAX_NUMBERS: usize = 1 << 28;

fn product(axes: &[usize]) -> Option<usize> {
    axes.iter()
        .try_fold(1usize, |product, &axis| product.checked_mul(axis))
}

/// The lengths of the axes.
pub(super) struct Sizes {
    steps: usize,
    batch: usize,
    width: usize,
    hidden: usize,
    directions: usize,
    batch_first: bool,
}

impl Sizes {
    pub(super) fn of(
        x: &[usize],
        w: Option<&TValue>,
        r: Option<&TValue>,
        recurrent: &Recurrent,
    ) -> TractResult<Self> {
        let (Some(w), Some(r), &[first, second, width]) = (w, r, x) else {
            bail!("a recurrent operator has no weights, or its sequence not three axes");
        };
        let (&[directions, ..], &[.., hidden]) = (w.shape(), r.shape()) else {
            bail!("weights have three axes");
        };
        if directions != recurrent.reversed.len() {
            bail!(
                "weights of {directions} directions, not of {}",
                recurrent.reversed.len()
            );
        }
        let (steps, batch) = match recurrent.batch_first {
            true => (second, first),
            false => (first, second),
        };
        // Axes of length 0 let the others be of any length.
        let rows = [directions, recurrent.kind.gates(), hidden];
        let memory = [
            product(&[&rows[..], &[width.max(2)]].concat()),
            product(&[&rows[..], &[hidden]].concat()),
            product(&[steps.max(1), batch, directions, hidden]),
        ];
        if memory
            .iter()
            .any(|count| count.is_none_or(|count| count > MAX_NUMBERS))
        {
            bail!("sequences of {x:?} with {hidden} states are too large");
        }
        Ok(Self {
            steps,
            batch,
            width,
            hidden,
            directions,
            batch_first: recurrent.batch_first,
        })
    }

    /// The shapes of all steps, and of the last ones.
    pub(super) fn shapes(&self) -> [TVec<usize>; 2] {
        match self.batch_first {
            true => [
                tvec![self.batch, self.steps, self.directions, self.hidden],
                tvec![self.batch, self.directions, self.hidden],
            ],
            false => [
                tvec![self.steps, self.directions, self.batch, self.hidden],
                tvec![self.directions, self.batch, self.hidden],
            ],
        }
    }

    /// How many steps each sequence has: all, where nothing else is given.
    pub(super) fn lengths(&self, given: &[f64]) -> TractResult<Vec<usize>> {
        if given.is_empty() {
            return Ok(vec![self.steps; self.batch]);
        }
        let lengths: Vec<usize> = given.iter().map(|&length| length as usize).collect();
        let is_there = |&length: &f64| length >= 0.0 && length as usize <= self.steps;
        if lengths.len() != self.batch || !given.iter().all(is_there) {
            bail!(
                "sequences of {given:?} steps, of {} at most in a batch of {}",
                self.steps,
                self.batch
            );
        }
        Ok(lengths)
    }

    /// Where the numbers of a step begin in what is given.
    fn x(&self, step: usize, row: usize) -> usize {
        self.width
            * match self.batch_first {
                true => row * self.steps + step,
                false => step * self.batch + row,
            }
    }

    /// Where a step begins in the result.
    fn y(&self, step: usize, direction: usize, row: usize) -> usize {
        self.hidden
            * match self.batch_first {
                true => (row * self.steps + step) * self.directions + direction,
                false => (step * self.directions + direction) * self.batch + row,
            }
    }

    /// Where the first and last states begin.
    fn state(&self, direction: usize, row: usize) -> usize {
        self.hidden
            * match self.batch_first {
                true => row * self.directions + direction,
                false => direction * self.batch + row,
            }
    }
}

/// What comes in; what is left out is empty.
pub(super) struct Given {
    pub x: Vec<f64>,
    pub w: Vec<f64>,
    pub r: Vec<f64>,
    pub bias: Vec<f64>,
    pub states: Vec<f64>,
    pub cells: Vec<f64>,
    pub peepholes: Vec<f64>,
    pub lengths: Vec<usize>,
}

impl Given {
    /// Whether there are as many numbers of all as the sizes say.
    pub(super) fn check(&self, sizes: &Sizes, kind: Kind) -> TractResult<()> {
        let (rows, states) = (
            sizes.directions * kind.gates() * sizes.hidden,
            sizes.directions * sizes.batch * sizes.hidden,
        );
        let all = [
            ("weights", &self.w, rows * sizes.width, false),
            ("recurrent weights", &self.r, rows * sizes.hidden, false),
            ("biases", &self.bias, 2 * rows, true),
            ("first states", &self.states, states, true),
            ("first cells", &self.cells, states, true),
            (
                "peepholes",
                &self.peepholes,
                3 * sizes.directions * sizes.hidden,
                true,
            ),
        ];
        for (what, numbers, wanted, may_miss) in all {
            if numbers.len() != wanted && !(may_miss && numbers.is_empty()) {
                bail!("{} {what}, {wanted} are wanted", numbers.len());
            }
        }
        Ok(())
    }
}

/// What comes out.
pub(super) struct Made {
    pub all: Vec<f64>,
    pub states: Vec<f64>,
    pub cells: Vec<f64>,
}

impl Made {
    pub(super) fn of(sizes: &Sizes) -> Self {
        let last = sizes.directions * sizes.batch * sizes.hidden;
        Self {
            all: vec![0.0; last * sizes.steps],
            states: vec![0.0; last],
            cells: vec![0.0; last],
        }
    }
}

/// One direction of an operator.
pub(super) struct Direction<'a> {
    pub recurrent: &'a Recurrent,
    pub sizes: &'a Sizes,
    pub given: &'a Given,
    pub index: usize,
    pub reversed: bool,
    pub activations: [Activation; 3],
}

/// The weights of a direction, a row for each number that comes in.
struct Weights {
    w: Vec<f64>,
    r: Vec<f64>,
    /// Of the input, and of the state.
    bias: [Vec<f64>; 2],
    peepholes: [Vec<f64>; 3],
}

impl Direction<'_> {
    pub(super) fn run(&self, made: &mut Made) {
        let weights = self.weights();
        let hidden = self.sizes.hidden;
        for row in 0..self.sizes.batch {
            let at = self.sizes.state(self.index, row);
            let first = |numbers: &[f64]| match numbers.get(at..at + hidden) {
                Some(numbers) => numbers.to_vec(),
                None => vec![0.0; hidden],
            };
            let mut state = first(&self.given.states);
            let mut cell = first(&self.given.cells);
            let length = self.given.lengths.get(row).copied().unwrap_or(0);
            if length == 0 {
                // As onnxruntime has it: nothing came, and 0 is what is left.
                continue;
            }
            for step in 0..length {
                let step = if self.reversed {
                    length - 1 - step
                } else {
                    step
                };
                let from = self.sizes.x(step, row);
                let x = &self.given.x[from..from + self.sizes.width];
                self.step(x, &weights, &mut state, &mut cell);
                let to = self.sizes.y(step, self.index, row);
                made.all[to..to + hidden].copy_from_slice(&state);
            }
            made.states[at..at + hidden].copy_from_slice(&state);
            made.cells[at..at + hidden].copy_from_slice(&cell);
        }
    }

    fn weights(&self) -> Weights {
        let hidden = self.sizes.hidden;
        let rows = self.recurrent.kind.gates() * hidden;
        let columns = |numbers: &[f64], width: usize| {
            let mut turned = vec![0.0; rows * width];
            let from = self.index * rows * width;
            let numbers = numbers.get(from..from + rows * width).unwrap_or_default();
            for (row, numbers) in numbers.chunks_exact(width.max(1)).enumerate() {
                for (column, number) in numbers.iter().enumerate() {
                    turned[column * rows + row] = *number;
                }
            }
            turned
        };
        let part = |numbers: &[f64], at: usize, length: usize| match numbers.get(at..at + length) {
            Some(numbers) => numbers.to_vec(),
            None => vec![0.0; length],
        };
        let bias = |half: usize| part(&self.given.bias, (2 * self.index + half) * rows, rows);
        let peephole = |gate: usize| {
            part(
                &self.given.peepholes,
                (3 * self.index + gate) * hidden,
                hidden,
            )
        };
        Weights {
            w: columns(&self.given.w, self.sizes.width),
            r: columns(&self.given.r, hidden),
            bias: [bias(0), bias(1)],
            peepholes: [0, 1, 2].map(peephole),
        }
    }

    /// An activation of a sum, which is clipped first.
    fn activated(&self, which: usize, sum: f64) -> f64 {
        let sum = match self.recurrent.clip {
            Some(clip) => sum.clamp(-clip, clip),
            None => sum,
        };
        self.activations[which].of(sum)
    }

    fn step(&self, x: &[f64], weights: &Weights, state: &mut [f64], cell: &mut [f64]) {
        let mut sums = weights.bias[0].clone();
        add_product(&mut sums, x, &weights.w);
        match self.recurrent.kind {
            Kind::Rnn => {
                add(&mut sums, &weights.bias[1]);
                add_product(&mut sums, state, &weights.r);
                for (state, sum) in state.iter_mut().zip(sums) {
                    *state = self.activated(0, sum);
                }
            }
            Kind::Gru => self.gru(sums, weights, state),
            Kind::Lstm => {
                add(&mut sums, &weights.bias[1]);
                add_product(&mut sums, state, &weights.r);
                self.lstm(&sums, weights, state, cell);
            }
        }
    }

    fn gru(&self, sums: Vec<f64>, weights: &Weights, state: &mut [f64]) {
        let hidden = self.sizes.hidden;
        let mut of_state = weights.bias[1].clone();
        add_product(&mut of_state, state, &weights.r);
        let gate = |gate: usize, i: usize| sums[gate * hidden + i] + of_state[gate * hidden + i];
        let update: Vec<f64> = (0..hidden).map(|i| self.activated(0, gate(0, i))).collect();
        let reset: Vec<f64> = (0..hidden).map(|i| self.activated(0, gate(1, i))).collect();
        let mut last = sums[2 * hidden..].to_vec();
        if self.recurrent.linear_before_reset {
            for (i, sum) in last.iter_mut().enumerate() {
                *sum += reset[i] * of_state[2 * hidden + i];
            }
        } else {
            add(&mut last, &weights.bias[1][2 * hidden..]);
            for (&h, (&reset, weights)) in state
                .iter()
                .zip(reset.iter().zip(weights.r.chunks_exact(3 * hidden)))
            {
                add_scaled(&mut last, reset * h, &weights[2 * hidden..]);
            }
        }
        for (i, state) in state.iter_mut().enumerate() {
            let new = self.activated(1, last[i]);
            *state = (1.0 - update[i]) * new + update[i] * *state;
        }
    }

    fn lstm(&self, sums: &[f64], weights: &Weights, state: &mut [f64], cell: &mut [f64]) {
        let hidden = self.sizes.hidden;
        let [of_input, of_output, of_forget] = &weights.peepholes;
        for i in 0..hidden {
            let before = cell[i];
            let input = self.activated(0, sums[i] + of_input[i] * before);
            let forget = match self.recurrent.input_forget {
                true => 1.0 - input,
                false => self.activated(0, sums[2 * hidden + i] + of_forget[i] * before),
            };
            let new = self.activated(1, sums[3 * hidden + i]);
            cell[i] = forget * before + input * new;
            let output = self.activated(0, sums[hidden + i] + of_output[i] * cell[i]);
            state[i] = output * self.activations[2].of(cell[i]);
        }
    }
}

fn add(sums: &mut [f64], numbers: &[f64]) {
    sums.iter_mut().zip(numbers).for_each(|(sum, n)| *sum += n);
}

fn add_scaled(sums: &mut [f64], factor: f64, numbers: &[f64]) {
    sums.iter_mut()
        .zip(numbers)
        .for_each(|(sum, n)| *sum += factor * n);
}

/// Adds the product of a row with a matrix of as many rows.
fn add_product(sums: &mut [f64], row: &[f64], matrix: &[f64]) {
    let lines = matrix.chunks_exact(sums.len().max(1));
    row.iter()
        .zip(lines)
        .for_each(|(&factor, line)| add_scaled(sums, factor, line));
}
