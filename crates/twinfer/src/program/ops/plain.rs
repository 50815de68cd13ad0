//! Operators that do not look at elements: for types that the engine does not have, and without a
//! plan for each shape.

use super::super::arrange;
use super::super::inputs::{self, Inputs, Kernel, tensor_kernel};
use super::super::node::Node;
use super::super::small::{pack, unpack};
use crate::{Result, Tensor, bail, element_count, err};

/// The engine has all of these for its own types.
pub(super) const OPS: super::Table = &[
    ("Constant", constant),
    ("Flatten", flatten),
    ("Reshape", reshape),
    ("Shape", shape),
    ("Size", size),
    ("Squeeze", squeeze),
    ("Transpose", transpose),
    ("Unsqueeze", unsqueeze),
];

/// `Constant` (Operators.md, ai.onnx 25), but for sparse ones.
fn constant(node: &Node<'_>) -> Result<Option<Kernel>> {
    let value = if let Some(tensor) = node.tensor("value")? {
        tensor
    } else if let Some(x) = node.float_opt("value_float") {
        Tensor::from_vec(&[], vec![x])?
    } else if let Some(all) = node.floats("value_floats") {
        Tensor::from_vec(&[all.len()], all.to_vec())?
    } else if let Some(x) = node.int_opt("value_int") {
        Tensor::from_vec(&[], vec![x])?
    } else if let Some(all) = node.ints("value_ints") {
        Tensor::from_vec(&[all.len()], all.to_vec())?
    } else if let Some(text) = node.text_opt("value_string")? {
        Tensor::from_strings(&[], vec![text.to_owned()])?
    } else if let Some(all) = node.texts("value_strings")? {
        Tensor::from_strings(&[all.len()], all)?
    } else {
        return Ok(None);
    };
    tensor_kernel(move |_| Ok(value.clone())).map(Some)
}

/// `Reshape` (Operators.md, ai.onnx 25); that of version 1 has the shape as an attribute.
fn reshape(node: &Node<'_>) -> Result<Option<Kernel>> {
    let given = node.ints("shape").map(<[i64]>::to_vec);
    let zero_is_zero = node.flag("allowzero", false);
    tensor_kernel(move |inputs| {
        let tensor = inputs.tensor(0)?;
        let wanted = match &given {
            Some(given) => given.clone(),
            None => inputs.ints(1)?,
        };
        let mut shape = Vec::with_capacity(wanted.len());
        let mut open = None;
        for (at, &length) in wanted.iter().enumerate() {
            shape.push(match (length, tensor.shape().get(at)) {
                (0, Some(&same)) if !zero_is_zero => same,
                (-1, _) if open.replace(at).is_none() => 1,
                (length, _) => usize::try_from(length)
                    .map_err(|_| err!(InvalidInput, "{wanted:?} is no shape"))?,
            });
        }
        if let Some(place) = open.and_then(|at| shape.get_mut(at)) {
            *place = 0;
            let others = wanted_count(&wanted, tensor, zero_is_zero)?;
            *place = tensor.len().checked_div(others).unwrap_or(0);
        }
        arrange::reshaped(tensor, &shape)
    })
    .map(Some)
}

/// Elements along the axes but the open one.
fn wanted_count(wanted: &[i64], tensor: &Tensor, zero_is_zero: bool) -> Result<usize> {
    let axes = wanted
        .iter()
        .enumerate()
        .filter(|(_, length)| **length != -1);
    let lengths = axes.map(|(at, &length)| match (length, tensor.shape().get(at)) {
        (0, Some(&same)) if !zero_is_zero => same,
        _ => usize::try_from(length).unwrap_or(0),
    });
    element_count(&lengths.collect::<Vec<_>>())
}

/// `Flatten` (Operators.md, ai.onnx 25).
fn flatten(node: &Node<'_>) -> Result<Option<Kernel>> {
    let axis = node.int("axis", 1);
    tensor_kernel(move |inputs| {
        let tensor = inputs.tensor(0)?;
        let axes = tensor.shape();
        // It may be the number of axes, too.
        let at = match usize::try_from(axis) {
            Ok(at) if at == axes.len() => at,
            _ => inputs::axis(axis, axes.len())?,
        };
        let (outer, inner) = axes.split_at(at);
        arrange::reshaped(tensor, &[element_count(outer)?, element_count(inner)?])
    })
    .map(Some)
}

/// `Shape` (Operators.md, ai.onnx 25).
fn shape(node: &Node<'_>) -> Result<Option<Kernel>> {
    let (start, end) = (node.int("start", 0), node.int_opt("end"));
    tensor_kernel(move |inputs| {
        let axes = inputs.tensor(0)?.shape();
        let rank = axes.len() as i64;
        let place = |at: i64| {
            let at = if at < 0 { at.saturating_add(rank) } else { at };
            at.clamp(0, rank) as usize
        };
        let part = axes.get(place(start)..end.map_or(axes.len(), place));
        let part = part.unwrap_or_default();
        Tensor::from_vec(&[part.len()], part.iter().map(|&n| n as i64).collect())
    })
    .map(Some)
}

/// `Size` (Operators.md, ai.onnx 25).
fn size(_: &Node<'_>) -> Result<Option<Kernel>> {
    tensor_kernel(|inputs| Tensor::from_vec(&[], vec![inputs.tensor(0)?.len() as i64])).map(Some)
}

/// Axes of an attribute, in old versions, or of the second input.
fn axes(given: Option<&Vec<i64>>, inputs: &Inputs<'_>) -> Result<Option<Vec<i64>>> {
    match given {
        Some(given) => Ok(Some(given.clone())),
        None => inputs.ints_opt(1),
    }
}

/// `Squeeze` (Operators.md, ai.onnx 25).
fn squeeze(node: &Node<'_>) -> Result<Option<Kernel>> {
    let given = node.ints("axes").map(<[i64]>::to_vec);
    tensor_kernel(move |inputs| {
        let tensor = inputs.tensor(0)?;
        let shape = tensor.shape();
        let mut drop: Vec<bool> = shape.iter().map(|&n| n == 1).collect();
        if let Some(axes) = axes(given.as_ref(), inputs)? {
            drop.fill(false);
            for axis in axes {
                let at = inputs::axis(axis, shape.len())?;
                match (drop.get_mut(at), shape.get(at)) {
                    (Some(drop), Some(1)) => *drop = true,
                    _ => bail!(InvalidInput, "axis {axis} of {shape:?} is not 1"),
                }
            }
        }
        let left = shape.iter().zip(drop).filter(|(_, drop)| !drop);
        arrange::reshaped(tensor, &left.map(|(&n, _)| n).collect::<Vec<_>>())
    })
    .map(Some)
}

/// `Unsqueeze` (Operators.md, ai.onnx 25).
fn unsqueeze(node: &Node<'_>) -> Result<Option<Kernel>> {
    let given = node.ints("axes").map(<[i64]>::to_vec);
    tensor_kernel(move |inputs| {
        let tensor = inputs.tensor(0)?;
        let axes = axes(given.as_ref(), inputs)?.unwrap_or_default();
        let rank = tensor.shape().len() + axes.len();
        let mut is_new = vec![false; rank];
        for axis in axes {
            let at = inputs::axis(axis, rank)?;
            match is_new.get_mut(at) {
                Some(new) if !*new => *new = true,
                _ => bail!(InvalidInput, "axis {axis} is given twice"),
            }
        }
        let mut old = tensor.shape().iter().copied();
        let axes = is_new.into_iter().map(|new| match new {
            true => 1,
            false => old.next().unwrap_or(1),
        });
        arrange::reshaped(tensor, &axes.collect::<Vec<_>>())
    })
    .map(Some)
}

/// `Transpose` (Operators.md, ai.onnx 25).
fn transpose(node: &Node<'_>) -> Result<Option<Kernel>> {
    let given = node.ints("perm").map(<[i64]>::to_vec);
    tensor_kernel(move |inputs| {
        let tensor = inputs.tensor(0)?;
        let rank = tensor.shape().len();
        let order: Vec<usize> = match &given {
            Some(given) => {
                let all = given.iter().map(|&axis| inputs::axis(axis, rank));
                all.collect::<Result<_>>()?
            }
            None => (0..rank).rev().collect(),
        };
        let mut once = order.clone();
        once.sort_unstable();
        if !once.into_iter().eq(0..rank) {
            bail!(InvalidModel, "`perm` {order:?} is no order of {rank} axes");
        }
        transposed(tensor, &order)
    })
    .map(Some)
}

fn transposed(tensor: &Tensor, order: &[usize]) -> Result<Tensor> {
    let old = tensor.shape();
    let mut strides = vec![1usize; old.len()];
    for at in (1..old.len()).rev() {
        strides[at - 1] = strides[at].saturating_mul(old[at]);
    }
    let shape: Vec<usize> = order.iter().map(|&axis| old[axis]).collect();
    if tensor.is_empty() {
        return arrange::empty(tensor.dtype(), &shape);
    }
    let steps: Vec<usize> = order.iter().map(|&axis| strides[axis]).collect();
    let places = places(&shape, &steps);
    if let Some(strings) = tensor.strings() {
        let moved = places.iter().filter_map(|&at| strings.get(at).cloned());
        return Tensor::from_strings(&shape, moved.collect());
    }
    let bytes = tensor.as_bytes().unwrap_or_default();
    let bits = tensor.dtype().bits().unwrap_or(8);
    if bits < 8 {
        let codes = unpack(bytes, bits, tensor.len());
        let moved: Vec<u8> = places
            .iter()
            .filter_map(|&at| codes.get(at).copied())
            .collect();
        return Tensor::from_slice(tensor.dtype(), &shape, &pack(&moved, bits));
    }
    let moved = match bits / 8 {
        1 => moved::<1>(bytes, &places),
        2 => moved::<2>(bytes, &places),
        4 => moved::<4>(bytes, &places),
        8 => moved::<8>(bytes, &places),
        _ => moved::<16>(bytes, &places),
    };
    Tensor::from_slice(tensor.dtype(), &shape, &moved)
}

fn moved<const SIZE: usize>(bytes: &[u8], places: &[usize]) -> Vec<u8> {
    let (elements, _) = bytes.as_chunks::<SIZE>();
    let moved = places.iter().filter_map(|&at| elements.get(at).copied());
    moved.flatten().collect()
}

/// Where the elements of a shape lie, in their order, when a step along each axis is so long.
pub(super) fn places(shape: &[usize], steps: &[usize]) -> Vec<usize> {
    let count: usize = shape.iter().product();
    let mut all = Vec::with_capacity(count);
    if count == 0 {
        return all;
    }
    all.push(0usize);
    // From the innermost axis: what is there already, once for each place along the next.
    for (&length, &step) in shape.iter().zip(steps).rev() {
        let inner = all.len();
        for place in 1..length {
            for at in 0..inner {
                all.push(all[at] + place * step);
            }
        }
    }
    all
}
