//! Forms of operators that the engine has in another mode only: training, and padding that wraps
//! around.

use std::sync::atomic::{AtomicU32, Ordering};

use super::super::arrange;
use super::super::inputs::{Inputs, Kernel, kernel, tensor_kernel};
use super::super::node::Node;
use super::floats;
use crate::{Result, Tensor, Value, bail, element_count, err};

/// The engine has the other forms of these.
pub(super) const OPS: super::Table = &[
    ("BatchNormalization", batch_normalization),
    ("Dropout", dropout),
    ("Pad", pad),
];

/// `BatchNormalization` (Operators.md, ai.onnx 15) in training mode: with mean and variance of the
/// batch, which the running ones move towards.
fn batch_normalization(node: &Node<'_>) -> Result<Option<Kernel>> {
    if node.version() < 14 || !node.flag("training_mode", false) {
        return Ok(None);
    }
    let epsilon = f64::from(node.float("epsilon", 1e-5));
    let momentum = f64::from(node.float("momentum", 0.9));
    kernel(move |inputs| normalized(inputs, epsilon, momentum)).map(Some)
}

fn normalized(inputs: &Inputs<'_>, epsilon: f64, momentum: f64) -> Result<Vec<Value>> {
    let x = inputs.tensor(0)?;
    let [_, channels, inner @ ..] = x.shape() else {
        bail!(WrongShape, "{:?} has no axis of channels", x.shape());
    };
    let inner = element_count(inner)?;
    let given = (1..5).map(|index| {
        let all = floats::reals::<f64>(inputs.tensor(index)?)?;
        match all.len() == *channels {
            true => Ok(all),
            false => Err(err!(
                WrongShape,
                "input {index} has {} elements, and there are {channels} channels",
                all.len()
            )),
        }
    });
    let given = given.collect::<Result<Vec<_>>>()?;
    let [scale, bias, mean, variance] = &given[..] else {
        bail!(Internal, "four inputs are expected");
    };
    let mut y = floats::reals::<f64>(x)?.into_owned();
    let moved = |old: f64, new: f64| old * momentum + new * (1.0 - momentum);
    let (mut means, mut variances) = (Vec::new(), Vec::new());
    let each = scale
        .iter()
        .zip(&bias[..])
        .zip(mean.iter().zip(&variance[..]));
    for (channel, ((scale, bias), (old_mean, old_variance))) in each.enumerate() {
        let rows = || (y.chunks_exact(inner.max(1)).skip(channel)).step_by(*channels);
        let count = rows().map(<[f64]>::len).sum::<usize>() as f64;
        let mean = rows().flatten().sum::<f64>() / count;
        let variance = rows().flatten().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let factor = scale / (variance + epsilon).sqrt();
        let rows = y.chunks_exact_mut(inner.max(1)).skip(channel);
        for x in rows.step_by(*channels).flatten() {
            *x = (*x - mean) * factor + bias;
        }
        means.push(moved(*old_mean, mean));
        variances.push(moved(*old_variance, variance));
    }
    let running = |index: usize, all: Vec<f64>| {
        let old = inputs.tensor(index)?;
        floats::tensor(old.dtype(), old.shape(), all).map(Value::Tensor)
    };
    let y = floats::tensor(x.dtype(), x.shape(), y)?;
    Ok(vec![
        Value::Tensor(y),
        running(3, means)?,
        running(4, variances)?,
    ])
}

/// `Dropout` (Operators.md, ai.onnx 22). With a seed it drops what the reference implementation
/// drops; without one the seeds are counted, so that each run drops something else.
fn dropout(node: &Node<'_>) -> Result<Option<Kernel>> {
    if node.version() < 12 {
        return Ok(None);
    }
    // NumPy takes the lower 32 bits.
    let seed = node.int_opt("seed").map(|seed| seed as u32);
    let next = AtomicU32::new(0);
    kernel(move |inputs| {
        let x = inputs.tensor(0)?;
        let ratio = inputs.number_opt(1)?.unwrap_or(0.5);
        let trains = match inputs.tensor_opt(2)? {
            Some(flag) => flag.view::<bool>()?.contains(&true),
            None => false,
        };
        if !trains || ratio == 0.0 {
            let mask = vec![true; element_count(x.shape())?];
            let mask = Tensor::from_vec(x.shape(), mask)?;
            return Ok(vec![Value::Tensor(x.clone()), Value::Tensor(mask)]);
        }
        if !(0.0..1.0).contains(&ratio) {
            bail!(
                InvalidInput,
                "the ratio is {ratio}, expected 0 or more and less than 1"
            );
        }
        let mut random = Twister::new(seed.unwrap_or_else(|| next.fetch_add(1, Ordering::Relaxed)));
        let mut y = floats::reals::<f64>(x)?.into_owned();
        let mask: Vec<bool> = y.iter().map(|_| random.uniform() >= ratio).collect();
        for (y, &keeps) in y.iter_mut().zip(&mask) {
            *y = if keeps { *y / (1.0 - ratio) } else { 0.0 };
        }
        Ok(vec![
            Value::Tensor(floats::tensor(x.dtype(), x.shape(), y)?),
            Value::Tensor(Tensor::from_vec(x.shape(), mask)?),
        ])
    })
    .map(Some)
}

/// Words of the state of [`Twister`].
const WORDS: usize = 624;

/// The generator of `numpy.random.RandomState`: MT19937 (Matsumoto and Nishimura, "Mersenne
/// Twister", 1998, with the initialisation of 2002).
struct Twister {
    state: [u32; WORDS],
    at: usize,
}

impl Twister {
    fn new(seed: u32) -> Self {
        let mut state = [0; WORDS];
        let mut last = seed;
        for (word, at) in state.iter_mut().zip(1_u32..) {
            *word = last;
            last = (last ^ (last >> 30)).wrapping_mul(1_812_433_253);
            last = last.wrapping_add(at);
        }
        Self { state, at: WORDS }
    }

    fn twist(&mut self) {
        for at in 0..WORDS {
            let both =
                (self.state[at] & 0x8000_0000) | (self.state[(at + 1) % WORDS] & 0x7fff_ffff);
            let odd = if both & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[at] = self.state[(at + 397) % WORDS] ^ (both >> 1) ^ odd;
        }
        self.at = 0;
    }

    fn word(&mut self) -> u32 {
        if self.at >= WORDS {
            self.twist();
        }
        let mut word = self.state[self.at];
        self.at += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// A number of 53 random bits, from 0 to less than 1.
    fn uniform(&mut self) -> f64 {
        let (high, low) = (self.word() >> 5, self.word() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }
}

/// `Pad` (Operators.md, ai.onnx 25) that wraps around.
fn pad(node: &Node<'_>) -> Result<Option<Kernel>> {
    if node.text("mode", "constant")? != "wrap" {
        return Ok(None);
    }
    tensor_kernel(wrapped).map(Some)
}

fn wrapped(inputs: &Inputs<'_>) -> Result<Tensor> {
    let x = inputs.tensor(0)?;
    let rank = x.shape().len();
    let pads = inputs.ints(1)?;
    let axes = match inputs.ints_opt(3)? {
        Some(axes) => axes,
        None => (0..rank as i64).collect(),
    };
    if pads.len() != axes.len() * 2 {
        bail!(
            InvalidInput,
            "{} pads for {} axes, expected two for each",
            pads.len(),
            axes.len()
        );
    }
    let (before, after) = pads.split_at(axes.len());
    let mut made = x.clone();
    for (&axis, (&before, &after)) in axes.iter().zip(before.iter().zip(after)) {
        let axis = super::super::inputs::axis(axis, rank)?;
        made = wrapped_along(&made, axis, before, after)?;
    }
    Ok(made)
}

fn wrapped_along(x: &Tensor, axis: usize, before: i64, after: i64) -> Result<Tensor> {
    let mut shape = x.shape().to_vec();
    let Some(place) = shape.get_mut(axis) else {
        bail!(Internal, "there is no axis {axis}");
    };
    let length = *place;
    let sum = i64::try_from(length).ok();
    let sum = sum.and_then(|length| length.checked_add(before)?.checked_add(after));
    let Some(longer) = sum.and_then(|sum| usize::try_from(sum).ok()) else {
        bail!(
            InvalidInput,
            "pads of {before} and {after} for an axis of {length}"
        );
    };
    *place = longer;
    if length == 0 && longer > 0 {
        bail!(InvalidInput, "an empty axis has nothing to wrap around");
    }
    let count = element_count(&shape)?;
    let inner = element_count(x.shape().get(axis + 1..).unwrap_or_default())?;
    let start = i128::from(before);
    let places = (0..count).map(move |at| {
        let (row, column) = (at / inner, at % inner);
        let (outer, along) = (row / longer, row % longer);
        let from = (along as i128 - start).rem_euclid(length as i128) as usize;
        Some((outer * length + from) * inner + column)
    });
    arrange::pick(x, &shape, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.random.RandomState(seed).uniform()` of NumPy 2.
    #[test]
    fn uniform_numbers_are_those_of_numpy() {
        let mut random = Twister::new(0);
        assert_eq!(random.uniform(), 0.548_813_503_927_324_8);
        assert_eq!(random.uniform(), 0.715_189_366_372_419_5);
    }

    #[test]
    fn padding_wraps_around_more_than_once() {
        let x = Tensor::from_vec(&[2, 2], vec![1_i64, 2, 3, 4]).unwrap();
        let made = wrapped_along(&x, 1, 3, 1).unwrap();
        assert_eq!(made.shape(), [2, 6]);
        let expected = vec![2_i64, 1, 2, 1, 2, 1, 4, 3, 4, 3, 4, 3];
        assert_eq!(made.to_vec::<i64>().unwrap(), expected);
        let problem = wrapped_along(&x, 1, i64::MAX, 1).unwrap_err();
        assert_eq!(problem.code(), crate::ErrorCode::InvalidInput);
    }
}
