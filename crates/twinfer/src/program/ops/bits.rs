//! Operators that take elements as they are: `BitCast` and `TensorScatter`.

use super::super::arrange;
use super::super::inputs::{self, Inputs, Kernel, tensor_kernel};
use super::super::node::Node;
use crate::session::onnx_dtype;
use crate::{DType, Result, Tensor, bail, err};

/// Those of the standard domain.
pub(super) const OPS: super::Table = &[("BitCast", bit_cast), ("TensorScatter", tensor_scatter)];

/// `BitCast` (Operators.md, ai.onnx 26).
fn bit_cast(node: &Node<'_>) -> Result<Option<Kernel>> {
    let code = node.required("to", node.int_opt("to"))?;
    let to = match i32::try_from(code).ok().and_then(onnx_dtype) {
        Some(dtype) if dtype != DType::String => dtype,
        _ => return node.unsupported(format_args!("the type {code}")),
    };
    tensor_kernel(move |inputs| {
        let tensor = inputs.tensor(0)?;
        match tensor.as_bytes() {
            Some(bytes) if tensor.dtype().bits() == to.bits() => {
                Tensor::from_slice(to, tensor.shape(), bytes)
            }
            _ => bail!(
                InvalidInput,
                "{} and {to} do not have the same number of bits",
                tensor.dtype()
            ),
        }
    })
    .map(Some)
}

/// `TensorScatter` (Operators.md, ai.onnx 24).
fn tensor_scatter(node: &Node<'_>) -> Result<Option<Kernel>> {
    let is_circular = match node.text("mode", "linear")? {
        "linear" => false,
        "circular" => true,
        other => bail!(InvalidModel, "`mode` is `{other}`"),
    };
    let axis = node.int("axis", -2);
    tensor_kernel(move |inputs| {
        let axis = inputs::axis(axis, inputs.tensor(0)?.shape().len())?;
        if axis == 0 {
            bail!(
                InvalidInput,
                "the first axis is the batch, not the sequence"
            );
        }
        scatter(inputs, axis, is_circular)
    })
    .map(Some)
}

fn scatter(inputs: &Inputs<'_>, axis: usize, is_circular: bool) -> Result<Tensor> {
    let (cache, update) = (inputs.tensor(0)?, inputs.tensor(1)?);
    let [shape, given] = [cache.shape(), update.shape()];
    let (Some(&batch), Some(&length)) = (shape.first(), shape.get(axis)) else {
        bail!(Internal, "a cache without a sequence");
    };
    let written = given.get(axis).copied().unwrap_or(0);
    let same = shape.iter().zip(given).enumerate();
    let fits = shape.len() == given.len()
        && written <= length
        && same.into_iter().all(|(at, (a, b))| at == axis || a == b);
    if !fits || cache.dtype() != update.dtype() {
        bail!(
            InvalidInput,
            "{} of {given:?} cannot be written into {} of {shape:?}",
            update.dtype(),
            cache.dtype()
        );
    }
    let starts = match inputs.ints_opt(2)? {
        Some(starts) if starts.len() == batch => starts,
        Some(starts) => bail!(
            InvalidInput,
            "{} places to write to for a batch of {batch}",
            starts.len()
        ),
        None if cache.is_empty() => Vec::new(),
        None => vec![0; batch],
    };
    let (Some(bytes), Some(new)) = (cache.as_bytes(), update.as_bytes()) else {
        let tensors = Strings { cache, update };
        return tensors.scatter(&starts, axis, is_circular);
    };
    if cache.is_empty() || update.is_empty() {
        return arrange::reshaped(cache, shape);
    }
    let mut bytes = bytes.to_vec();
    places(
        shape,
        axis,
        written,
        &starts,
        is_circular,
        |from, to, count| {
            // Elements of 4 bits move only where whole bytes of them do.
            let bits = cache.dtype().bits().unwrap_or(8);
            if !(count * bits).is_multiple_of(8) {
                bail!(
                    UnsupportedDtype,
                    "rows of {count} elements of {} cannot be moved",
                    cache.dtype()
                );
            }
            let at = |place: usize| place * bits / 8..(place + count) * bits / 8;
            match (new.get(at(from)), bytes.get_mut(at(to))) {
                (Some(new), Some(old)) => old.copy_from_slice(new),
                _ => bail!(Internal, "a row is outside of its tensor"),
            }
            Ok(())
        },
    )?;
    Tensor::from_slice(cache.dtype(), shape, &bytes)
}

/// Texts are not bytes.
struct Strings<'a> {
    cache: &'a Tensor,
    update: &'a Tensor,
}

impl Strings<'_> {
    fn scatter(&self, starts: &[i64], axis: usize, is_circular: bool) -> Result<Tensor> {
        let mut all = self.cache.strings().unwrap_or_default().to_vec();
        let new = self.update.strings().unwrap_or_default();
        let shape = self.cache.shape();
        if !all.is_empty() && !new.is_empty() {
            let written = self.update.shape().get(axis).copied().unwrap_or(0);
            places(
                shape,
                axis,
                written,
                starts,
                is_circular,
                |from, to, count| {
                    let rows = (new.get(from..from + count), all.get_mut(to..to + count));
                    match rows {
                        (Some(new), Some(old)) => old.clone_from_slice(new),
                        _ => bail!(Internal, "a row is outside of its tensor"),
                    }
                    Ok(())
                },
            )?;
        }
        Tensor::from_strings(shape, all)
    }
}

/// Where each place of the update goes, in elements: from, to, and how many.
fn places(
    shape: &[usize],
    axis: usize,
    written: usize,
    starts: &[i64],
    is_circular: bool,
    mut copy: impl FnMut(usize, usize, usize) -> Result<()>,
) -> Result<()> {
    let (before, behind) = shape.split_at(axis);
    let (&[length, ref behind @ ..], Some(&batch)) = (behind, before.first()) else {
        bail!(Internal, "a cache without a sequence");
    };
    let outer: usize = before.iter().product();
    let inner: usize = behind.iter().product();
    for row in 0..outer {
        let start = starts.get(row / (outer / batch)).copied();
        let start = start.ok_or_else(|| err!(Internal, "a place to write to is missing"))?;
        let start = match (usize::try_from(start), is_circular) {
            (_, true) => start.rem_euclid(length as i64) as usize,
            (Ok(start), false) if start <= length - written => start,
            _ => bail!(
                InvalidInput,
                "{written} places from {start} on are outside of {length}"
            ),
        };
        for at in 0..written {
            let to = (start + at) % length;
            copy(
                (row * written + at) * inner,
                (row * length + to) * inner,
                inner,
            )?;
        }
    }
    Ok(())
}
