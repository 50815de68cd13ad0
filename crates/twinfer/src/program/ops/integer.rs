//! Products and convolutions of integers with zero points and scales.

use super::super::cast::{Numbers, Rules};
use super::super::inputs::{Inputs, Kernel, tensor_kernel};
use super::super::node::Node;
use super::plain::places;
use super::quantize::{range, rounded};
use super::window::{Convolution, convolve};
use crate::{DType, Result, Tensor, bail, element_count, err};

/// The engine has them for most types, and where it can plan with scales and zero points.
pub(super) const OPS: super::Table = &[
    ("ConvInteger", conv_integer),
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

/// 8-bit integers without their zero point.
fn centred(tensor: &Tensor, zero: Option<&Tensor>, axis: usize) -> Result<Vec<i32>> {
    if !matches!(tensor.dtype(), DType::U8 | DType::I8) {
        bail!(UnsupportedDtype, "products of {}", tensor.dtype());
    }
    let all = Numbers::of(tensor)?.ints();
    let Some(zero) = zero else {
        return Ok(all.into_iter().map(|x| x as i32).collect());
    };
    if !matches!(zero.dtype(), DType::U8 | DType::I8) {
        bail!(WrongDtype, "a zero point of {}", zero.dtype());
    }
    match Numbers::of(zero)?.ints()[..] {
        [zero] => Ok(all.into_iter().map(|x| (x - zero) as i32).collect()),
        ref zeros => {
            let places = parameter_places(tensor.shape(), zero.shape(), axis)?;
            let zero = |at: usize| zeros.get(at).copied().unwrap_or(0);
            let each = all.into_iter().zip(places);
            Ok(each.map(|(x, at)| (x - zero(at)) as i32).collect())
        }
    }
}

/// A product of matrices of integers, with the axes in front repeated as NumPy does it.
fn product(
    (a, a_shape): (&[i32], &[usize]),
    (b, b_shape): (&[i32], &[usize]),
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
    let size = rows * columns;
    for ((at_a, at_b), out) in batches.zip(made.chunks_exact_mut(size)) {
        let a = a.get(at_a * rows * depth..).unwrap_or_default();
        let b = b.get(at_b * depth * columns..).unwrap_or_default();
        for (row, out) in a.chunks_exact(depth).zip(out.chunks_exact_mut(columns)) {
            for (&x, line) in row.iter().zip(b.chunks_exact(columns)) {
                for (out, &y) in out.iter_mut().zip(line) {
                    *out = out.wrapping_add(x.wrapping_mul(y));
                }
            }
        }
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
fn repeated(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
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
fn steps(own: &[usize], to: &[usize]) -> Vec<usize> {
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

/// A scale and where its value for each element of the output is; `None` for the same everywhere.
struct Scale {
    values: Vec<f32>,
    places: Option<Vec<usize>>,
}

impl Scale {
    fn new(tensor: &Tensor, shape: &[usize], axis: usize) -> Result<Self> {
        let places = match tensor.len() {
            1 => None,
            _ => Some(parameter_places(shape, tensor.shape(), axis)?),
        };
        let values = Numbers::of(tensor)?.singles();
        Ok(Self { values, places })
    }

    fn at(&self, at: usize) -> f32 {
        let place = self.places.as_ref().map_or(Some(&0), |all| all.get(at));
        let value = place.and_then(|&place| self.values.get(place));
        value.copied().unwrap_or(f32::NAN)
    }
}

/// Sums with the scales of two factors and of the result, as integers of its zero point.
fn requantised(
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
    let [a, b, y] = scales;
    let factor = |at: usize| round(round(a.at(at) * b.at(at)) / y.at(at));
    let same = [&a, &b, &y].iter().all(|scale| scale.places.is_none());
    let first = factor(0);
    let values = sums.iter().enumerate().map(|(at, &sum)| {
        let factor = if same { first } else { factor(at) };
        // In FP32, as ONNX Runtime does it, whose results quantised models are checked against.
        let nearest = (sum as f32 * factor).round_ties_even() as i64;
        nearest.saturating_add(zero).clamp(low, high)
    });
    Numbers::Ints(values.collect()).into_tensor(dtype, shape, Rules::default())
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
    inputs: &Inputs<'_>,
    (x, x_zero): (usize, usize),
    (w, w_zero): (usize, usize),
) -> Result<(Vec<i32>, Vec<i32>)> {
    let (x, w) = (inputs.tensor(x)?, inputs.tensor(w)?);
    let x_zero = inputs.tensor_opt(x_zero)?;
    if x_zero.is_some_and(|zero| zero.len() != 1) {
        bail!(
            InvalidInput,
            "the zero point of the input is not one number"
        );
    }
    // Zero points of the weights are one for all, or one for each channel that they give.
    let channels = w.shape().len();
    let weights = centred(w, inputs.tensor_opt(w_zero)?, channels)?;
    Ok((centred(x, x_zero, 0)?, weights))
}

/// `ConvInteger` (Operators.md, ai.onnx 10).
fn conv_integer(node: &Node<'_>) -> Result<Option<Kernel>> {
    let convolution = Convolution::of(node)?;
    tensor_kernel(move |inputs| {
        let (x, w) = factors(inputs, (0, 2), (1, 3))?;
        let shapes = (inputs.tensor(0)?.shape(), inputs.tensor(1)?.shape());
        let (made, shape) = convolve(&convolution, (&x, shapes.0), (&w, shapes.1))?;
        Tensor::from_vec(&shape, made)
    })
    .map(Some)
}

/// `QLinearConv` (Operators.md, ai.onnx 10).
fn q_linear_conv(node: &Node<'_>) -> Result<Option<Kernel>> {
    let convolution = Convolution::of(node)?;
    tensor_kernel(move |inputs| {
        let (x, w) = factors(inputs, (0, 2), (3, 5))?;
        let shapes = (inputs.tensor(0)?.shape(), inputs.tensor(3)?.shape());
        let (mut sums, shape) = convolve(&convolution, (&x, shapes.0), (&w, shapes.1))?;
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
    })
    .map(Some)
}
