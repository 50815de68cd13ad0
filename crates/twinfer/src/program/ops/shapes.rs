//! Elements moved, left out, repeated or counted up: what is in them does not matter.

use super::real::{self, Real, product, with_real};
use crate::program::arrange::{pick, range as part_of};
use crate::program::cast::to_f64;
use crate::program::inputs::{Inputs, Kernel, axis, kernel, tensor_kernel};
use crate::program::node::Node;
use crate::{DType, Result, Tensor, Value, bail};

/// Those that the engine lacks.
pub(super) const OPS: super::Table = &[
    ("CenterCropPad", make_center),
    ("ReverseSequence", make_reverse),
];
/// Those that it has for what it knows when it plans.
pub(super) const FALLBACK: super::Table = &[
    ("Compress", make_compress),
    ("EyeLike", make_eye),
    ("OneHot", make_one_hot),
    ("Range", make_range),
    ("Split", make_first_split),
    ("Trilu", make_trilu),
];

/// `Split` (Operators.md, ai.onnx 1), of which the lengths may be an input of numbers.
fn make_first_split(node: &Node<'_>) -> Result<Option<Kernel>> {
    if node.version() > 1 {
        return Ok(None);
    }
    let axis = node.int("axis", 0);
    let lengths = node.ints("split").map(<[i64]>::to_vec);
    let parts = node.outputs();
    kernel(move |given| {
        let x = given.tensor(0)?;
        let axis = self::axis(axis, x.shape().len())?;
        let lengths = match (given.tensor_opt(1)?, &lengths) {
            (Some(lengths), _) => to_f64(lengths)?.iter().map(|&n| n as usize).collect(),
            (None, Some(lengths)) => (lengths.iter())
                .map(|&n| usize::try_from(n).unwrap_or(usize::MAX))
                .collect(),
            (None, None) => vec![x.shape()[axis] / parts.max(1); parts],
        };
        let mut start = 0usize;
        let parts = lengths.into_iter().map(|length| {
            let part = part_of(x, axis, start, length);
            start = start.saturating_add(length);
            part.map(Value::Tensor)
        });
        parts.collect()
    })
    .map(Some)
}

/// The product of the axes before one, that one, and the product of those behind it.
fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (
        product(shape.get(..axis).unwrap_or_default()),
        shape.get(axis).copied().unwrap_or(0),
        product(shape.get(axis + 1..).unwrap_or_default()),
    )
}

/// `CenterCropPad` (Operators.md, ai.onnx 18).
fn make_center(node: &Node<'_>) -> Result<Option<Kernel>> {
    let axes = node.ints("axes").map(<[i64]>::to_vec);
    tensor_kernel(move |inputs| center(inputs, axes.as_deref())).map(Some)
}

fn center(inputs: &Inputs<'_>, axes: Option<&[i64]>) -> Result<Tensor> {
    let mut tensor = inputs.tensor(0)?.clone();
    let rank = tensor.shape().len();
    let sizes = real::sizes(&inputs.ints(1)?)?;
    let axes: Vec<usize> = match axes {
        None => (0..rank).collect(),
        Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<_>>()?,
    };
    if axes.len() != sizes.len() {
        bail!(
            InvalidInput,
            "{} sizes for {} axes",
            sizes.len(),
            axes.len()
        );
    }
    for (&axis, &size) in axes.iter().zip(&sizes) {
        let (outer, before, inner) = around(tensor.shape(), axis);
        if size == before {
            continue;
        }
        // An odd rest is at the end.
        let (cropped, padded) = (
            before.saturating_sub(size) / 2,
            size.saturating_sub(before) / 2,
        );
        let shape = with(tensor.shape(), axis, size);
        let places = (0..outer).flat_map(move |row| {
            (0..size).flat_map(move |at| {
                let from = (at + cropped)
                    .checked_sub(padded)
                    .filter(|&from| from < before);
                (0..inner).map(move |i| from.map(|from| (row * before + from) * inner + i))
            })
        });
        tensor = pick(&tensor, &shape, places)?;
    }
    Ok(tensor)
}

fn with(shape: &[usize], axis: usize, size: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    if let Some(place) = shape.get_mut(axis) {
        *place = size;
    }
    shape
}

/// `ReverseSequence` (Operators.md, ai.onnx 10).
fn make_reverse(node: &Node<'_>) -> Result<Option<Kernel>> {
    let (batch, time) = (node.int("batch_axis", 1), node.int("time_axis", 0));
    if !matches!((batch, time), (0, 1) | (1, 0)) {
        bail!(
            InvalidModel,
            "one of batch_axis and time_axis is to be 0, the other 1"
        );
    }
    tensor_kernel(move |inputs| {
        let x = inputs.tensor(0)?;
        let lengths = real::sizes(&inputs.ints(1)?)?;
        let [first, second, ..] = x.shape()[..] else {
            bail!(InvalidInput, "there are to be two axes at least");
        };
        let (batches, steps) = if batch == 0 {
            (first, second)
        } else {
            (second, first)
        };
        if lengths.len() != batches || lengths.iter().any(|&length| length > steps) {
            bail!(
                InvalidInput,
                "the lengths do not fit to {batches} sequences of {steps}"
            );
        }
        let inner = product(x.shape().get(2..).unwrap_or_default());
        let lengths = &lengths;
        let rows = (0..first).flat_map(|i| (0..second).map(move |j| (i, j)));
        let rows = rows.map(|(i, j)| {
            let (item, step) = if batch == 0 { (i, j) } else { (j, i) };
            let length = lengths.get(item).copied().unwrap_or(0);
            let step = if step < length {
                length - 1 - step
            } else {
                step
            };
            match batch {
                0 => item * second + step,
                _ => step * second + item,
            }
        });
        pick(
            x,
            x.shape(),
            rows.flat_map(|row| (0..inner).map(move |i| Some(row * inner + i))),
        )
    })
    .map(Some)
}

/// `Compress` (Operators.md, ai.onnx 9 and 11).
fn make_compress(node: &Node<'_>) -> Result<Option<Kernel>> {
    let along = node.int_opt("axis");
    tensor_kernel(move |inputs| {
        let x = inputs.tensor(0)?;
        let keep = inputs.tensor(1)?;
        let kept = keep.view::<bool>()?;
        let kept = kept.iter().enumerate().filter(|(_, keep)| **keep);
        let kept: Vec<usize> = kept.map(|(at, _)| at).collect();
        let (shape, axis) = match along {
            None => (vec![x.len()], 0),
            Some(along) => (x.shape().to_vec(), axis(along, x.shape().len())?),
        };
        let (outer, length, inner) = around(&shape, axis);
        if kept.last().is_some_and(|&last| last >= length) {
            bail!(
                InvalidInput,
                "the condition is longer than the axis, which has {length}"
            );
        }
        let kept = &kept;
        let places = (0..outer).flat_map(|row| {
            kept.iter()
                .flat_map(move |at| (0..inner).map(move |i| Some((row * length + at) * inner + i)))
        });
        pick(x, &with(&shape, axis, kept.len()), places)
    })
    .map(Some)
}

/// `OneHot` (Operators.md, ai.onnx 9 and 11).
fn make_one_hot(node: &Node<'_>) -> Result<Option<Kernel>> {
    let (along, first) = (node.int("axis", -1), node.version() < 11);
    tensor_kernel(move |inputs| {
        let indices = inputs.tensor(0)?;
        let depth = match inputs.number_opt(1)? {
            Some(depth) if depth >= 0.0 && depth < 2f64.powi(53) => depth as usize,
            _ => bail!(InvalidInput, "the depth is to be a number from 0 on"),
        };
        let values = inputs.tensor(2)?;
        let axis = axis(along, indices.shape().len() + 1)?;
        let mut shape = indices.shape().to_vec();
        shape.insert(axis, depth);
        let wide = depth as f64;
        // From version 11 on they may count from the end.
        let hot = |index: f64| match index {
            i if i >= 0.0 && i < wide => Some(i as usize),
            i if !first && i < 0.0 && i >= -wide => Some((i + wide) as usize),
            _ => None,
        };
        let hot: Vec<_> = to_f64(indices)?.into_iter().map(hot).collect();
        let (outer, _, inner) = around(&shape, axis);
        let hot = &hot;
        let places = (0..outer).flat_map(|row| {
            (0..depth).flat_map(move |at| {
                let row = hot.iter().skip(row * inner).take(inner);
                row.map(move |hot| Some(usize::from(*hot == Some(at))))
            })
        });
        pick(values, &shape, places)
    })
    .map(Some)
}

/// `Range` (Operators.md, ai.onnx 11).
fn make_range(_: &Node<'_>) -> Result<Option<Kernel>> {
    tensor_kernel(|inputs| {
        let dtype = inputs.tensor(0)?.dtype();
        let number = |at| inputs.number_opt(at);
        let (Some(start), Some(end), Some(step)) = (number(0)?, number(1)?, number(2)?) else {
            bail!(InvalidModel, "start, limit and delta are needed");
        };
        let count = ((end - start) / step).ceil();
        if step == 0.0 || !step.is_finite() || !count.is_finite() {
            bail!(
                InvalidInput,
                "from {start} to {end} by {step} there is no end"
            );
        }
        let shape = [count.max(0.0) as usize];
        match dtype {
            DType::I64 => {
                let (start, end, step) = (inputs.int(0)?, inputs.int(1)?, inputs.int(2)?);
                // Exact, also beyond 2^53.
                let distance = i128::from(end) - i128::from(start);
                let turns = distance.div_euclid(step.into());
                let more = i128::from(distance.rem_euclid(step.into()) != 0);
                // The quotient is rounded up, whichever way the steps go.
                let count = if step > 0 { turns + more } else { turns };
                let shape = [usize::try_from(count.max(0)).unwrap_or(usize::MAX)];
                let mut all = real::filled(&shape, 0i64)?;
                for (i, out) in all.iter_mut().enumerate() {
                    *out = start.wrapping_add((i as i64).wrapping_mul(step));
                }
                Tensor::from_vec(&shape, all)
            }
            dtype => with_real!(dtype, T => {
                let mut all = real::filled(&shape, T::default())?;
                for (i, out) in all.iter_mut().enumerate() {
                    *out = T::of_f64(start + i as f64 * step);
                }
                Tensor::from_vec(&shape, all)
            }),
        }
    })
    .map(Some)
}

/// `Trilu` (Operators.md, ai.onnx 14).
fn make_trilu(node: &Node<'_>) -> Result<Option<Kernel>> {
    let upper = node.flag("upper", true);
    tensor_kernel(move |inputs| {
        let x = inputs.tensor(0)?;
        let k = inputs
            .ints_opt(1)?
            .and_then(|k| k.first().copied())
            .unwrap_or(0);
        let [.., rows, columns] = x.shape()[..] else {
            bail!(InvalidInput, "there are to be two axes at least");
        };
        let places = (0..x.len()).map(|at| {
            let (row, column) = (at / columns % rows, at % columns);
            let distance = (column as i64).saturating_sub(row as i64);
            let stays = if upper { distance >= k } else { distance <= k };
            stays.then_some(at)
        });
        pick(x, x.shape(), places)
    })
    .map(Some)
}

/// `EyeLike` (Operators.md, ai.onnx 9).
fn make_eye(node: &Node<'_>) -> Result<Option<Kernel>> {
    let k = node.int("k", 0);
    let dtype = match node.int_opt("dtype") {
        None => None,
        Some(code) => {
            let code = i32::try_from(code).unwrap_or(0);
            match crate::session::onnx_dtype(code) {
                None => bail!(InvalidModel, "{code} is no type of elements"),
                dtype => dtype,
            }
        }
    };
    tensor_kernel(move |inputs| {
        let x = inputs.tensor(0)?;
        let [_, columns] = x.shape()[..] else {
            bail!(
                InvalidInput,
                "there are to be two axes, and there are {}",
                x.shape().len()
            );
        };
        let one = |at: usize| {
            let (row, column) = ((at / columns) as i64, (at % columns) as i64);
            column.checked_sub(row) == Some(k)
        };
        let mut all = real::filled(x.shape(), false)?;
        for (at, out) in all.iter_mut().enumerate() {
            *out = one(at);
        }
        match dtype.unwrap_or(x.dtype()) {
            DType::Bool => Tensor::from_vec(x.shape(), all),
            dtype => with_real!(dtype, T => {
                let all = all.iter().map(|&one| T::of_f64(f64::from(u8::from(one))));
                Tensor::from_vec(x.shape(), all.collect())
            }),
        }
    })
    .map(Some)
}
