//! Sequences and optionals: making them, and taking them apart.

use super::super::arrange;
use super::super::inputs::{self, Inputs, Kernel, kernel, tensor_kernel};
use super::super::node::Node;
use crate::{DType, Maps, Result, Tensor, Value, bail};

/// What only programs have: the engine knows neither sequences nor optionals.
pub(super) const OPS: super::Table = &[
    ("ConcatFromSequence", concat_from_sequence),
    ("Optional", optional),
    ("OptionalGetElement", optional_get_element),
    ("OptionalHasElement", optional_has_element),
    ("SequenceAt", sequence_at),
    ("SequenceConstruct", sequence_construct),
    ("SequenceEmpty", sequence_empty),
    ("SequenceErase", sequence_erase),
    ("SequenceInsert", sequence_insert),
    ("SequenceLength", sequence_length),
    ("SplitToSequence", split_to_sequence),
];

/// What the engine has for tensors.
pub(super) const FALLBACKS: super::Table = &[("Identity", identity)];

/// Longer axes are not split.
const MAX_PARTS: usize = 1 << 24;

/// A sequence as the only output.
fn sequence_kernel(
    run: impl Fn(&Inputs<'_>) -> Result<Vec<Value>> + Send + Sync + 'static,
) -> Result<Option<Kernel>> {
    kernel(move |inputs| Ok(vec![Value::Sequence(run(inputs)?)])).map(Some)
}

/// `Identity` (Operators.md, ai.onnx 1 to 25): of whatever comes.
fn identity(_node: &Node<'_>) -> Result<Option<Kernel>> {
    kernel(|inputs| Ok(vec![inputs.value(0)?.clone()])).map(Some)
}

/// `SequenceConstruct` (Operators.md, ai.onnx 11).
fn sequence_construct(_node: &Node<'_>) -> Result<Option<Kernel>> {
    sequence_kernel(|inputs| {
        let mut items = Vec::with_capacity(inputs.len());
        for index in 0..inputs.len() {
            let tensor = inputs.tensor(index)?;
            check_type(&items, tensor)?;
            items.push(Value::Tensor(tensor.clone()));
        }
        Ok(items)
    })
}

/// `SequenceEmpty` (Operators.md, ai.onnx 11). The type is not kept: nothing reads it.
fn sequence_empty(_node: &Node<'_>) -> Result<Option<Kernel>> {
    sequence_kernel(|_| Ok(Vec::new()))
}

/// `SequenceInsert` (Operators.md, ai.onnx 11).
fn sequence_insert(_node: &Node<'_>) -> Result<Option<Kernel>> {
    sequence_kernel(|inputs| {
        let (items, tensor) = (inputs.sequence(0)?, inputs.tensor(1)?);
        check_type(items, tensor)?;
        let at = match position(inputs, 2)? {
            // One more place than there are elements: after the last.
            Some(at) if at >= 0 => place(at, items.len() + 1)?,
            Some(at) => place(at, items.len())?,
            None => items.len(),
        };
        let mut made = Vec::with_capacity(items.len() + 1);
        made.extend(items.iter().take(at).cloned());
        made.push(Value::Tensor(tensor.clone()));
        made.extend(items.iter().skip(at).cloned());
        Ok(made)
    })
}

/// `SequenceErase` (Operators.md, ai.onnx 11).
fn sequence_erase(_node: &Node<'_>) -> Result<Option<Kernel>> {
    sequence_kernel(|inputs| {
        let items = inputs.sequence(0)?;
        let at = place(position(inputs, 1)?.unwrap_or(-1), items.len())?;
        let left = items.iter().enumerate().filter(|(index, _)| *index != at);
        Ok(left.map(|(_, item)| item.clone()).collect())
    })
}

/// `SequenceAt` (Operators.md, ai.onnx 11).
fn sequence_at(_node: &Node<'_>) -> Result<Option<Kernel>> {
    kernel(|inputs| {
        // A sequence of maps is one table, and a map a row of it.
        if let Value::Maps(Maps { keys, values }) = inputs.value(0)? {
            let rows = values.shape().first().copied().unwrap_or(0);
            let values = arrange::range(values, 0, place(inputs.int(1)?, rows)?, 1)?;
            let keys = keys.clone();
            return Ok(vec![Value::Maps(Maps { keys, values })]);
        }
        let items = inputs.sequence(0)?;
        let at = place(inputs.int(1)?, items.len())?;
        Ok(items.get(at).cloned().into_iter().collect())
    })
    .map(Some)
}

/// `SequenceLength` (Operators.md, ai.onnx 11).
fn sequence_length(_node: &Node<'_>) -> Result<Option<Kernel>> {
    tensor_kernel(|inputs| {
        let length = match inputs.value(0)? {
            Value::Maps(maps) => maps.values.shape().first().copied().unwrap_or(0),
            _ => inputs.sequence(0)?.len(),
        };
        Tensor::from_vec(&[], vec![length as i64])
    })
    .map(Some)
}

/// `SplitToSequence` (Operators.md, ai.onnx 11 and 24).
fn split_to_sequence(node: &Node<'_>) -> Result<Option<Kernel>> {
    let (axis, keeps) = (node.int("axis", 0), node.flag("keepdims", true));
    sequence_kernel(move |inputs| {
        let tensor = inputs.tensor(0)?;
        let axis = inputs::axis(axis, tensor.shape().len())?;
        let length = tensor.shape().get(axis).copied().unwrap_or(0);
        // An empty tensor can have an axis of any length.
        if length > MAX_PARTS {
            bail!(InvalidInput, "an axis of {length} is not split");
        }
        let Some(split) = inputs.tensor_opt(1)? else {
            let part = |at| match keeps {
                true => arrange::range(tensor, axis, at, 1),
                false => arrange::at(tensor, axis, at),
            };
            return (0..length).map(|at| part(at).map(Value::Tensor)).collect();
        };
        let (mut start, mut items) = (0, Vec::new());
        for part in lengths(split, length)? {
            items.push(Value::Tensor(arrange::range(tensor, axis, start, part)?));
            start += part;
        }
        Ok(items)
    })
}

/// How long the parts are, which together are `length`.
fn lengths(split: &Tensor, length: usize) -> Result<Vec<usize>> {
    let numbers = inputs::ints(split)?;
    if let ([], [chunk]) = (split.shape(), &numbers[..]) {
        let Some(chunk) = usize::try_from(*chunk).ok().filter(|&chunk| chunk > 0) else {
            bail!(InvalidInput, "parts of {chunk} cannot be");
        };
        let starts = (0..length).step_by(chunk);
        return Ok(starts.map(|start| chunk.min(length - start)).collect());
    }
    let mut left = length;
    let mut parts = Vec::with_capacity(numbers.len());
    for number in &numbers {
        match usize::try_from(*number) {
            Ok(part) if part <= left => {
                left -= part;
                parts.push(part);
            }
            _ => bail!(InvalidInput, "{length} cannot be split into {numbers:?}"),
        }
    }
    if left != 0 {
        bail!(InvalidInput, "{length} cannot be split into {numbers:?}");
    }
    Ok(parts)
}

/// `ConcatFromSequence` (Operators.md, ai.onnx 11).
fn concat_from_sequence(node: &Node<'_>) -> Result<Option<Kernel>> {
    let axis = node.required("axis", node.int_opt("axis"))?;
    let stacks = node.flag("new_axis", false);
    tensor_kernel(move |inputs| {
        let items = inputs.sequence(0)?;
        let tensors: Vec<Tensor> = (items.iter())
            .map(|item| item.tensor().cloned())
            .collect::<Result<_>>()?;
        let rank = tensors.first().map_or(0, |tensor| tensor.shape().len());
        match stacks {
            true => arrange::stack(&tensors, inputs::axis(axis, rank + 1)?),
            false => arrange::concat(&tensors, inputs::axis(axis, rank)?),
        }
    })
    .map(Some)
}

/// `Optional` (Operators.md, ai.onnx 15).
fn optional(_node: &Node<'_>) -> Result<Option<Kernel>> {
    kernel(|inputs| {
        let inner = inputs.optional(0).cloned().map(Box::new);
        Ok(vec![Value::Optional(inner)])
    })
    .map(Some)
}

/// `OptionalGetElement` (Operators.md, ai.onnx 15 and 18).
fn optional_get_element(_node: &Node<'_>) -> Result<Option<Kernel>> {
    kernel(|inputs| match inputs.value(0)? {
        Value::Optional(Some(inner)) => Ok(vec![(**inner).clone()]),
        Value::Optional(None) => bail!(InvalidInput, "the optional is empty"),
        value => Ok(vec![value.clone()]),
    })
    .map(Some)
}

/// `OptionalHasElement` (Operators.md, ai.onnx 15 and 18).
fn optional_has_element(_node: &Node<'_>) -> Result<Option<Kernel>> {
    tensor_kernel(|inputs| {
        let is_there = !matches!(inputs.optional(0), None | Some(Value::Optional(None)));
        Tensor::from_vec(&[], vec![is_there])
    })
    .map(Some)
}

/// A place that is an input, where it is there.
fn position(inputs: &Inputs<'_>, index: usize) -> Result<Option<i64>> {
    match inputs.tensor_opt(index)? {
        Some(_) => inputs.int(index).map(Some),
        None => Ok(None),
    }
}

/// A place among so many, that may count from the end.
fn place(at: i64, length: usize) -> Result<usize> {
    let counted = match at {
        at if at < 0 => at.saturating_add(length as i64),
        at => at,
    };
    match usize::try_from(counted) {
        Ok(place) if place < length => Ok(place),
        _ => bail!(InvalidInput, "there is no place {at} among {length}"),
    }
}

/// The elements of a sequence are of one type.
fn check_type(items: &[Value], tensor: &Tensor) -> Result<()> {
    let first: Option<DType> = match items.first() {
        Some(Value::Tensor(first)) => Some(first.dtype()),
        _ => None,
    };
    match first {
        Some(dtype) if dtype != tensor.dtype() => bail!(
            InvalidInput,
            "{} does not fit into a sequence of {dtype}",
            tensor.dtype()
        ),
        _ => Ok(()),
    }
}
