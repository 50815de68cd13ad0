//! Element by element: `QLinearAdd`, `QLinearMul`, `QLinearWhere`, `QLinearSigmoid`,
//! `QLinearLeakyRelu`; and `QLinearConcat`.

use super::super::integer::MAX_ELEMENTS;
use super::super::plain::places;
use super::{Point, Quantised, broadcast};
use crate::program::arrange;
use crate::program::inputs::{self, Inputs, Kernel, tensor_kernel};
use crate::program::node::Node;
use crate::{Result, Tensor, bail, element_count};

pub(in super::super) const OPS: super::super::Table = &[
    ("QLinearAdd", |_| tensor_kernel(add).map(Some)),
    ("QLinearConcat", concat),
    ("QLinearLeakyRelu", leaky_relu),
    ("QLinearMul", |_| tensor_kernel(mul).map(Some)),
    ("QLinearSigmoid", |_| {
        tensor_kernel(|inputs| mapped(inputs, |x| 1.0 / (1.0 + (-x).exp()))).map(Some)
    }),
    ("QLinearWhere", |_| tensor_kernel(choose).map(Some)),
];

/// Bytes of two tensors, repeated to the shape that both have then.
fn pairwise(
    (a, a_shape): (&[u8], &[usize]),
    (b, b_shape): (&[u8], &[usize]),
    each: impl Fn(u8, u8) -> u8,
) -> Result<(Vec<u8>, Vec<usize>)> {
    let (shape, steps) = broadcast(&[a_shape, b_shape])?;
    if element_count(&shape)? > MAX_ELEMENTS {
        bail!(InvalidInput, "a result of the shape {shape:?} is too large");
    }
    let made = match (a, b) {
        (a, b) if a_shape == b_shape => a.iter().zip(b).map(|(&a, &b)| each(a, b)).collect(),
        (a, &[b]) => a.iter().map(|&a| each(a, b)).collect(),
        (&[a], b) => b.iter().map(|&b| each(a, b)).collect(),
        _ => {
            let [a_steps, b_steps] = &steps[..] else {
                bail!(Internal, "two tensors have no two steps");
            };
            let at = |all: &[u8], at: usize| all.get(at).copied().unwrap_or_default();
            let pairs = places(&shape, a_steps)
                .into_iter()
                .zip(places(&shape, b_steps));
            pairs.map(|(i, j)| each(at(a, i), at(b, j))).collect()
        }
    };
    Ok((made, shape))
}

/// Two quantised factors and what their result is quantised as.
fn factors<'a>(inputs: &Inputs<'a>) -> Result<(Quantised<'a>, Quantised<'a>, Point)> {
    let a = Quantised::of(inputs, [0, 1, 2])?;
    let b = Quantised::of(inputs, [3, 4, 5])?;
    let to = Point::of(inputs, 6, 7, a.point.dtype)?;
    Ok((a, b, to))
}

/// `QLinearAdd` (ContribOperators.md, com.microsoft 1).
fn add(inputs: &Inputs<'_>) -> Result<Tensor> {
    let (a, b, to) = factors(inputs)?;
    let left = a.point.values(1.0 / to.scale);
    let right = b.point.values(1.0 / to.scale);
    let bytes = to.bytes();
    let (made, shape) = pairwise((a.bytes, a.shape), (b.bytes, b.shape), |a, b| {
        bytes.nearest(left[usize::from(a)] + right[usize::from(b)])
    })?;
    Tensor::from_bytes(to.dtype, &shape, made)
}

/// `QLinearMul` (ContribOperators.md, com.microsoft 1).
fn mul(inputs: &Inputs<'_>) -> Result<Tensor> {
    let (a, b, to) = factors(inputs)?;
    let factor = a.point.scale * b.point.scale / to.scale;
    let centred = |point: Point| {
        Point {
            scale: 1.0,
            ..point
        }
        .values(1.0)
    };
    let (left, right, bytes) = (centred(a.point), centred(b.point), to.bytes());
    let (made, shape) = pairwise((a.bytes, a.shape), (b.bytes, b.shape), |a, b| {
        bytes.nearest(left[usize::from(a)] * right[usize::from(b)] * factor)
    })?;
    Tensor::from_bytes(to.dtype, &shape, made)
}

/// One tensor, each element after a function.
fn mapped(inputs: &Inputs<'_>, function: impl Fn(f32) -> f32) -> Result<Tensor> {
    let x = Quantised::of(inputs, [0, 1, 2])?;
    let to = Point::of(inputs, 3, 4, x.point.dtype)?;
    let table = to.table(x.point, function);
    let made = x.bytes.iter().map(|&x| table[usize::from(x)]).collect();
    Tensor::from_bytes(to.dtype, x.shape, made)
}

/// `QLinearLeakyRelu` (ContribOperators.md, com.microsoft 1).
fn leaky_relu(node: &Node<'_>) -> Result<Option<Kernel>> {
    let alpha = node.float("alpha", 0.01);
    tensor_kernel(move |inputs| mapped(inputs, |x| if x >= 0.0 { x } else { alpha * x })).map(Some)
}

/// `QLinearWhere` (ContribOperators.md, com.microsoft 1).
fn choose(inputs: &Inputs<'_>) -> Result<Tensor> {
    let condition = inputs.tensor(0)?;
    let flags = condition.view::<bool>()?;
    let x = Quantised::of(inputs, [1, 2, 3])?;
    let y = Quantised::of(inputs, [4, 5, 6])?;
    let to = Point::of(inputs, 7, 8, x.point.dtype)?;
    let (yes, no) = (to.table(x.point, |x| x), to.table(y.point, |y| y));
    let (shape, steps) = broadcast(&[condition.shape(), x.shape, y.shape])?;
    if element_count(&shape)? > MAX_ELEMENTS {
        bail!(InvalidInput, "a result of the shape {shape:?} is too large");
    }
    let [of_flag, of_x, of_y] = &steps[..] else {
        bail!(Internal, "three tensors have no three steps");
    };
    let at = |all: &[u8], at: usize| usize::from(all.get(at).copied().unwrap_or_default());
    let (of_x, of_y) = (places(&shape, of_x), places(&shape, of_y));
    let all = places(&shape, of_flag).into_iter().zip(of_x).zip(of_y);
    let made = all.map(
        |((flag, i), j)| match flags.get(flag).copied().unwrap_or_default() {
            true => yes[at(x.bytes, i)],
            false => no[at(y.bytes, j)],
        },
    );
    Tensor::from_bytes(to.dtype, &shape, made.collect())
}

/// `QLinearConcat` (ContribOperators.md, com.microsoft 1): scale and zero point of the result, then
/// tensor, scale and zero point of each part.
fn concat(node: &Node<'_>) -> Result<Option<Kernel>> {
    let axis = node.required("axis", node.int_opt("axis"))?;
    tensor_kernel(move |inputs| {
        let to = Point::of(inputs, 0, 1, inputs.tensor(1)?.dtype())?;
        let mut parts = Vec::with_capacity(inputs.len() / 3);
        for first in (2..inputs.len()).step_by(3) {
            let part = Quantised::of(inputs, [first, first + 1, first + 2])?;
            parts.push(if part.point == to {
                inputs.tensor(first)?.clone()
            } else {
                let table = to.table(part.point, |x| x);
                let made = part.bytes.iter().map(|&x| table[usize::from(x)]);
                Tensor::from_bytes(to.dtype, part.shape, made.collect())?
            });
        }
        let rank = parts.first().map_or(0, |part| part.shape().len());
        arrange::concat(&parts, inputs::axis(axis, rank)?)
    })
    .map(Some)
}
