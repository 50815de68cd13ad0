//! Products and convolutions of integers with zero points and scales.

use super::super::cast::{Numbers, Rules};
use super::super::inputs::{Inputs, Kernel, tensor_kernel};
use super::super::node::Node;
use super::dots::multiply;
use super::plain::places;
use super::quantize::{range, rounded};
use super::quantized::{channels_first, channels_last};
use super::window::{Convolution, convolve};
use crate::{DType, Result, Tensor, bail, element_count, err};

/// The engine has it, and takes several times as long: it has no kernel for products of small integers.
pub(super) const OWN: super::Table = &[("ConvInteger", conv_integer)];

/// The engine has them for most types, and where it can plan with scales and zero points.
pub(super) const OPS: super::Table = &[
    ("MatMulInteger", mat_mul_integer),
    ("QLinearConv", q_linear_conv),
    ("QLinearMatMul", q_linear_mat_mul),
];

/// Elements that an output may have: a kilobyte of a file could ask for all memory.
pub(super) const MAX_ELEMENTS: usize = 1 << 28;

/// Where in a parameter (a scale, a zero point) the value for each element of a shape is. A
/// parameter of one axis belongs to `axis`, counted from the end; one of as many axes as the
/// shape is repeated along those where it has one place.
fn parameter_places(shape: &[usize], parameter: &[usize], axis: usize) -> Result<Vec<usize>> {
    let rank = shape.len();
    let mut full = vec![1; rank];
    match parameter {
        [length] if axis <= rank && axis > 0 => {
            if let Some(place) = full.get_mut(rank - axis) {
                *place = *length;
            }
        }
        all if all.len() == rank => full.copy_from_slice(all),
        _ => bail!(InvalidInput, "{parameter:?} does not fit to {shape:?}"),
    }
    let mut steps = vec![0usize; rank];
    let mut step = 1usize;
    for ((to, &length), &wanted) in steps.iter_mut().zip(&full).zip(shape).rev() {
        if length != 1 {
            if length != wanted {
                bail!(InvalidInput, "{parameter:?} does not fit to {shape:?}");
            }
            *to = step;
            step = step.saturating_mul(length);
        }
    }
    Ok(places(shape, &steps))
}

/// The elements of a tensor of 8-bit integers.
pub(super) fn small_integers(tensor: &Tensor) -> Result<Vec<i16>> {
    let bytes = tensor.as_bytes().unwrap_or_default().iter();
    match tensor.dtype() {
        DType::U8 => Ok(bytes.map(|&x| x.into()).collect()),
        DType::I8 => Ok(bytes.map(|&x| (x as i8).into()).collect()),
        other => bail!(UnsupportedDtype, "products of {other}"),
    }
}

/// 8-bit integers without their zero point.
pub(super) fn centred(tensor: &Tensor, zero: Option<&Tensor>, axis: usize) -> Result<Vec<i16>> {
    let mut all = small_integers(tensor)?;
    let Some(zero) = zero else {
        return Ok(all);
    };
    if !matches!(zero.dtype(), DType::U8 | DType::I8) {
        bail!(WrongDtype, "a zero point of {}", zero.dtype());
    }
    match small_integers(zero)?[..] {
        [0] => {}
        [zero] => all.iter_mut().for_each(|x| *x -= zero),
        ref zeros => {
            let places = parameter_places(tensor.shape(), zero.shape(), axis)?;
            for (x, at) in all.iter_mut().zip(places) {
                *x -= zeros.get(at).copied().unwrap_or(0);
            }
        }
    }
    Ok(all)
}

/// A product of matrices of integers, with the axes in front repeated as NumPy does it.
pub(super) fn product(
    (a, a_shape): (&[i16], &[usize]),
    (b, b_shape): (&[i16], &[usize]),
) -> Result<(Vec<i32>, Vec<usize>)> {
    let ([a_front @ .., rows, depth], [b_front @ .., depth_b, columns]) =
        (&matrix(a_shape, true)[..], &matrix(b_shape, false)[..])
    else {
        bail!(InvalidInput, "a product of {a_shape:?} and {b_shape:?}");
    };
    let (rows, depth, columns) = (*rows, *depth, *columns);
    let Some(front) = repeated(a_front, b_front).filter(|_| depth == *depth_b) else {
        bail!(InvalidInput, "{a_shape:?} does not fit to {b_shape:?}");
    };
    let mut shape = front.clone();
    shape.extend((a_shape.len() > 1).then_some(rows));
    shape.extend((b_shape.len() > 1).then_some(columns));
    if element_count(&shape)? > MAX_ELEMENTS {
        bail!(
            InvalidInput,
            "a product of the shape {shape:?} is too large"
        );
    }
    let mut made = vec![0i32; shape.iter().product()];
    if made.is_empty() || depth == 0 {
        return Ok((made, shape));
    }
    let starts = |own: &[usize]| places(&front, &steps(own, &front));
    let batches = starts(a_front).into_iter().zip(starts(b_front));
    // A right factor that is the same for all: one product of all rows.
    if b_front.iter().all(|&n| n == 1) {
        multiply(a, b, depth, columns, &mut made);
        return Ok((made, shape));
    }
    let size = rows * columns;
    for ((at_a, at_b), out) in batches.zip(made.chunks_exact_mut(size)) {
        let a = a.get(at_a * rows * depth..).unwrap_or_default();
        let b = b.get(at_b * depth * columns..).unwrap_or_default();
        let b = b.get(..depth * columns).unwrap_or_default();
        multiply(a, b, depth, columns, out);
    }
    Ok((made, shape))
}

/// A vector is a row on the left, and a column on the right.
fn matrix(shape: &[usize], left: bool) -> Vec<usize> {
    match shape {
        [length] if left => vec![1, *length],
        [length] => vec![*length, 1],
        shape => shape.to_vec(),
    }
}

/// The shape that both are repeated to.
pub(super) fn repeated(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let axis = |of: &[usize], at: usize| (at + of.len()).checked_sub(rank).map_or(1, |at| of[at]);
    let pair = |at| match (axis(a, at), axis(b, at)) {
        (a, b) if a == b || b == 1 => Some(a),
        (1, b) => Some(b),
        _ => None,
    };
    (0..rank).map(pair).collect()
}

/// Steps along the axes of `to` of what is repeated to it.
pub(super) fn steps(own: &[usize], to: &[usize]) -> Vec<usize> {
    let mut steps = vec![0; to.len()];
    let mut step = 1;
    for (place, &length) in steps.iter_mut().rev().zip(own.iter().rev()) {
        if length != 1 {
            *place = step;
        }
        step = length.saturating_mul(step);
    }
    steps
}

/// `MatMulInteger` (Operators.md, ai.onnx 10).
fn mat_mul_integer(_: &Node<'_>) -> Result<Option<Kernel>> {
    tensor_kernel(|inputs| {
        let (a, b) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let left = centred(a, inputs.tensor_opt(2)?, 2)?;
        let right = centred(b, inputs.tensor_opt(3)?, 1)?;
        let (made, shape) = product((&left, a.shape()), (&right, b.shape()))?;
        Tensor::from_vec(&shape, made)
    })
    .map(Some)
}

/// A scale and where its value for each element of the output is.
pub(super) struct Scale {
    values: Vec<f32>,
    by: By,
}

enum By {
    /// The same everywhere.
    Tensor,
    /// One for so many elements, then the next.
    Runs(usize),
    Places(Vec<usize>),
}

impl Scale {
    /// A scale of one axis belongs to `axis` of the shape, counted from the end.
    pub(super) fn new(tensor: &Tensor, shape: &[usize], axis: usize) -> Result<Self> {
        let by = match (tensor.len(), tensor.shape()) {
            (1, _) => By::Tensor,
            (length, [_]) if axis > 0 && shape.iter().nth_back(axis - 1) == Some(&length) => {
                let behind = shape.get(shape.len() - axis + 1..).unwrap_or_default();
                By::Runs(element_count(behind)?.max(1))
            }
            _ => By::Places(parameter_places(shape, tensor.shape(), axis)?),
        };
        let values = Numbers::of(tensor)?.singles();
        Ok(Self { values, by })
    }

    /// The value for an element.
    pub(super) fn at(&self, at: usize) -> f32 {
        let place = match &self.by {
            By::Tensor => Some(0),
            By::Runs(run) => (at / run).checked_rem(self.values.len()),
            By::Places(places) => places.get(at).copied(),
        };
        let value = place.and_then(|place| self.values.get(place));
        value.copied().unwrap_or(f32::NAN)
    }

    /// For how many elements in a row it is the same at least.
    fn run(&self, all: usize) -> usize {
        match &self.by {
            By::Tensor => all,
            By::Runs(run) => *run,
            By::Places(_) => 1,
        }
    }
}

/// Calls for each run of elements that have the same factor, with it.
pub(super) fn scaled(
    sums: &[i32],
    scales: &[&Scale],
    factor: impl Fn(usize) -> f32,
    mut each: impl FnMut(&[i32], f32),
) {
    let count = sums.len();
    let run = scales.iter().map(|scale| scale.run(count)).min();
    let run = run.unwrap_or(count).max(1);
    for (at, sums) in sums.chunks(run).enumerate() {
        each(sums, factor(at * run));
    }
}

/// Sums with the scales of two factors and of the result, as integers of its zero point.
pub(super) fn requantised(
    sums: &[i32],
    shape: &[usize],
    scales: [Scale; 3],
    precision: DType,
    zero: &Tensor,
) -> Result<Tensor> {
    let dtype = zero.dtype();
    let (Some((low, high)), true) = (range(dtype), zero.len() == 1) else {
        bail!(
            UnsupportedDtype,
            "a result of {dtype} with a zero point of {:?}",
            zero.shape()
        );
    };
    let zero = Numbers::of(zero)?.ints().first().copied().unwrap_or(0);
    let round = rounded(precision);
    let [a, b, y] = &scales;
    let factor = |at: usize| round(round(a.at(at) * b.at(at)) / y.at(at));
    if matches!(dtype, DType::U8 | DType::I8) {
        let to = Bytes::new(dtype, zero);
        let mut bytes = Vec::with_capacity(sums.len());
        // In FP32, as ONNX Runtime does it, whose results quantised models are checked against.
        scaled(sums, &[a, b, y], factor, |sums, factor| {
            bytes.extend(sums.iter().map(|&sum| to.nearest(sum as f32 * factor)));
        });
        return Tensor::from_bytes(dtype, shape, bytes);
    }
    let mut values = Vec::with_capacity(sums.len());
    scaled(sums, &[a, b, y], factor, |sums, factor| {
        values.extend(sums.iter().map(|&sum| {
            let nearest = (sum as f32 * factor).round_ties_even() as i64;
            nearest.saturating_add(zero).clamp(low, high)
        }));
    });
    Numbers::Ints(values).into_tensor(dtype, shape, Rules::default())
}

/// 8-bit integers of a zero point, as they are stored.
#[derive(Clone, Copy)]
pub(super) struct Bytes {
    zero: i32,
    low: i32,
    high: i32,
}

impl Bytes {
    /// Of UINT8 or INT8.
    pub(super) fn new(dtype: DType, zero: i64) -> Self {
        let (low, high) = match dtype {
            DType::I8 => (-128, 127),
            _ => (0, 255),
        };
        let zero = zero.clamp(low, high) as i32;
        let (low, high) = (low as i32 - zero, high as i32 - zero);
        Self { zero, low, high }
    }

    /// The byte of a number of steps from the zero point, rounded half to even.
    #[inline(always)]
    pub(super) fn nearest(self, steps: f32) -> u8 {
        // Between these bounds the sum with 1.5 * 2^23 has the nearest integer in its lowest bits.
        const MAGIC: f32 = 12_582_912.0;
        let inside = steps.max(self.low as f32).min(self.high as f32);
        let nearest = (inside + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32;
        (nearest + self.zero) as u8
    }
}

/// `QLinearMatMul` (Operators.md, ai.onnx 21), but for 8-bit floating point.
fn q_linear_mat_mul(_: &Node<'_>) -> Result<Option<Kernel>> {
    tensor_kernel(|inputs| {
        let (a, b) = (inputs.tensor(0)?, inputs.tensor(3)?);
        let left = centred(a, inputs.tensor_opt(2)?, 2)?;
        let right = centred(b, inputs.tensor_opt(5)?, 1)?;
        let (sums, shape) = product((&left, a.shape()), (&right, b.shape()))?;
        let scale = |index: usize, axis| Scale::new(inputs.tensor(index)?, &shape, axis);
        let scales = [scale(1, 2)?, scale(4, 1)?, scale(6, 2)?];
        let precision = inputs.tensor(1)?.dtype();
        requantised(&sums, &shape, scales, precision, inputs.tensor(7)?)
    })
    .map(Some)
}

/// Factors of a convolution without their zero points.
fn factors(
    (x, x_zero): (&Tensor, Option<&Tensor>),
    (w, w_zero): (&Tensor, Option<&Tensor>),
) -> Result<(Vec<i16>, Vec<i16>)> {
    if x_zero.is_some_and(|zero| zero.len() != 1) {
        bail!(
            InvalidInput,
            "the zero point of the input is not one number"
        );
    }
    // Zero points of the weights are one for all, or one for each channel that they give.
    let weights = centred(w, w_zero, w.shape().len())?;
    Ok((centred(x, x_zero, 0)?, weights))
}

/// `ConvInteger` (Operators.md, ai.onnx 10).
fn conv_integer(node: &Node<'_>) -> Result<Option<Kernel>> {
    let convolution = Convolution::of(node)?;
    tensor_kernel(move |inputs| {
        let (x, w) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let zeros = (inputs.tensor_opt(2)?, inputs.tensor_opt(3)?);
        let (left, right) = factors((x, zeros.0), (w, zeros.1))?;
        let factors = ((&left[..], x.shape()), (&right[..], w.shape()));
        let (made, shape) = convolve(&convolution, factors.0, factors.1)?;
        Tensor::from_vec(&shape, made)
    })
    .map(Some)
}

/// `QLinearConv` (Operators.md, ai.onnx 10); that of `com.microsoft` may have the channels behind the
/// places.
pub(super) fn q_linear_conv(node: &Node<'_>) -> Result<Option<Kernel>> {
    let convolution = Convolution::of(node)?;
    let is_last = node.flag("channels_last", false);
    tensor_kernel(move |inputs| match is_last {
        false => quantised_convolution(&convolution, inputs, inputs.tensor(0)?),
        true => {
            let x = inputs.tensor(0)?;
            let bytes = x.as_bytes().unwrap_or_default();
            let (bytes, shape) = channels_first(bytes, x.shape());
            let x = Tensor::from_bytes(x.dtype(), &shape, bytes)?;
            let made = quantised_convolution(&convolution, inputs, &x)?;
            let bytes = made.as_bytes().unwrap_or_default();
            let (bytes, shape) = channels_last(bytes, made.shape());
            Tensor::from_bytes(made.dtype(), &shape, bytes)
        }
    })
    .map(Some)
}

fn quantised_convolution(
    convolution: &Convolution,
    inputs: &Inputs<'_>,
    x: &Tensor,
) -> Result<Tensor> {
    let (w, x_shape) = (inputs.tensor(3)?, x.shape());
    let (x, w_values) = factors((x, inputs.tensor_opt(2)?), (w, inputs.tensor_opt(5)?))?;
    let (mut sums, shape) = convolve(convolution, (&x, x_shape), (&w_values, w.shape()))?;
    if let Some(bias) = inputs.tensor_opt(8)? {
        let bias = bias.view::<i32>()?;
        let channels = shape.get(1).copied().unwrap_or(0);
        if bias.len() != channels {
            let count = bias.len();
            return Err(err!(InvalidInput, "{count} biases for {channels} channels"));
        }
        let inner = element_count(shape.get(2..).unwrap_or_default())?;
        let planes = sums.chunks_exact_mut(inner.max(1));
        for (plane, &bias) in planes.zip(bias.iter().cycle()) {
            plane
                .iter_mut()
                .for_each(|sum| *sum = sum.wrapping_add(bias));
        }
    }
    let channel = shape.len().saturating_sub(1);
    let scale = |index: usize| Scale::new(inputs.tensor(index)?, &shape, channel);
    let scales = [scale(1)?, scale(4)?, scale(6)?];
    requantised(&sums, &shape, scales, DType::F32, inputs.tensor(7)?)
}
