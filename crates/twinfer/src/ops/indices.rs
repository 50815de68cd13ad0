//! Indices, sizes and divisors that come when a model runs. The engine takes them as they are: an index
//! that is out of range ends it, one that counts from the end does too in `GatherND` and `ScatterND`, so
//! does one of no element in `OneHot`, and a division of integers by 0.

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::array::{
    Gather, GatherElements, GatherNd, OneHot, Range, ScatterElements, ScatterNd, Topk,
};

use super::guard::Refusal;
use super::valid;

/// Puts these in the place of the engine's operators, once it has optimised a model: it knows its own
/// better before.
pub(crate) fn replace(model: &mut TypedModel) {
    let divisors: Vec<bool> = model
        .nodes
        .iter()
        .map(|node| divides(model, node))
        .collect();
    for (node, divides) in model.nodes.iter_mut().zip(divisors) {
        let axis = if divides {
            Indexed::Divisor
        } else if let Some(op) = node.op_as::<Topk>() {
            Indexed::Top(op.axis)
        } else if node.op_as::<Range>().is_some() {
            Indexed::Count
        } else if let Some(op) = node.op_as::<Gather>() {
            Indexed::Along(op.axis)
        } else if let Some(op) = node.op_as::<GatherElements>() {
            Indexed::Along(op.axis)
        } else if let Some(op) = node.op_as::<ScatterElements>() {
            Indexed::Along(op.axis)
        } else if let Some(op) = node.op_as::<GatherNd>() {
            Indexed::Tuples(op.batch_dims)
        } else if node.op_as::<ScatterNd>().is_some() {
            Indexed::Tuples(0)
        } else if node.op_as::<OneHot>().is_some() {
            Indexed::Hot
        } else {
            continue;
        };
        node.op = Box::new(Checked {
            inner: node.op.clone(),
            axis,
        });
    }
}

/// Whether an operator divides integers by an input that is not known.
fn divides(model: &TypedModel, node: &TypedNode) -> bool {
    let name = node.op.name();
    let Some(divisor) = node
        .inputs
        .get(1)
        .and_then(|at| model.outlet_fact(*at).ok())
    else {
        return false;
    };
    let dtype = divisor.datum_type;
    (name.contains("Div") || name.contains("Rem"))
        && (dtype.is_integer() || dtype == DatumType::TDim)
        && divisor.konst.is_none()
}

/// What the indices of an operator are along, or what else is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Indexed {
    /// This axis of the first input.
    Along(usize),
    /// As many axes of the first input as the last axis is long, from this one on.
    Tuples(usize),
    /// The axis of the result that is made.
    Hot,
    /// No index: as many as there are of along this axis.
    Top(usize),
    /// No index: how many there will be.
    Count,
    /// No index: integers that are divided by.
    Divisor,
}

/// An operator of the engine that is given indices from 0 on, and none out of range.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Checked {
    inner: Box<dyn TypedOp>,
    axis: Indexed,
}

impl Op for Checked {
    fn name(&self) -> StaticName {
        self.inner.name()
    }

    op_as_typed_op!();
}

impl TypedOp for Checked {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.inner.output_facts(inputs)
    }

    as_op!();
}

impl EvalOp for Checked {
    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        match self.axis {
            Indexed::Hot => match self.inner.downcast_ref::<OneHot>() {
                Some(op) => one_hot(op, &inputs),
                None => self.inner.eval(context, inputs),
            },
            axis => self.inner.eval(context, checked(axis, inputs)?),
        }
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        self.eval(&EvalContext::out_of_plan(), inputs).map(Some)
    }
}

/// The inputs with indices from 0 on. A copy of the indices is made only where one has to be changed.
fn checked(axis: Indexed, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
    let (Some(data), Some(given)) = (inputs.first(), inputs.get(1)) else {
        return Ok(inputs);
    };
    let lengths = data.shape();
    let lengths = match axis {
        Indexed::Along(axis) => lengths.get(axis..=axis),
        Indexed::Tuples(first) => {
            let count = given.shape().last().copied().unwrap_or(0);
            lengths.get(first..).and_then(|rest| rest.get(..count))
        }
        Indexed::Top(axis) => {
            let length = lengths.get(axis).copied().unwrap_or(0);
            if given.len() != 1 {
                return Err(Refusal("k is one number".to_owned()).into());
            }
            let k = given.cast_to_scalar::<i64>()?;
            if usize::try_from(k).is_err() || k > length as i64 {
                return Err(Refusal(format!("the {k} largest of {length} elements")).into());
            }
            None
        }
        Indexed::Count => {
            if let Some(step) = inputs.get(2) {
                valid::range(data, given, step)?;
            }
            None
        }
        Indexed::Divisor => {
            valid::check_divisor(given)?;
            None
        }
        Indexed::Hot => None,
    };
    let Some(lengths) = lengths.filter(|lengths| !lengths.is_empty()) else {
        return Ok(inputs);
    };
    let indices = given.cast_to::<i64>()?;
    let indices = indices.try_as_plain_ram()?;
    let indices = indices.as_slice::<i64>()?;
    let mut from_the_end = false;
    for tuple in indices.chunks(lengths.len()) {
        for (&index, &length) in tuple.iter().zip(lengths) {
            let length = length as i64;
            if index < -length || index >= length {
                return Err(Refusal(format!(
                    "index {index} is out of range: the axis has {length} elements"
                ))
                .into());
            }
            from_the_end |= index < 0;
        }
    }
    // Along an axis the engine counts from the end itself.
    if from_the_end && matches!(axis, Indexed::Tuples(_)) {
        let mut counted = indices.to_vec();
        for tuple in counted.chunks_mut(lengths.len()) {
            for (index, &length) in tuple.iter_mut().zip(lengths) {
                if *index < 0 {
                    *index += length as i64;
                }
            }
        }
        let counted = tensor1(&counted).into_shape(given.shape())?;
        let dtype = given.datum_type();
        let counted = counted.cast_to_dt(dtype)?.into_owned().into_tvalue();
        if let Some(place) = inputs.get_mut(1) {
            *place = counted;
        }
    }
    Ok(inputs)
}

/// `OneHot` (Operators.md, ai.onnx 11): an index of no element has a row without any.
fn one_hot(op: &OneHot, inputs: &TVec<TValue>) -> TractResult<TVec<TValue>> {
    let Some(given) = inputs.first() else {
        bail!("OneHot has no input");
    };
    let indices = given.cast_to::<i64>()?;
    let indices = indices.try_as_plain_ram()?;
    let indices = indices.as_slice::<i64>()?;
    let mut shape: TVec<usize> = given.shape().into();
    if op.axis > shape.len() {
        bail!("axis {} of {} axes", op.axis, shape.len() + 1);
    }
    let inner: usize = shape.iter().skip(op.axis).product();
    shape.insert(op.axis, op.dim);
    let depth = op.dim as i64;
    let mut made = op.off.broadcast_scalar_to_shape(&shape)?;
    let size = made.datum_type().size_of();
    if made.datum_type().is_copy() && inner > 0 {
        let hot = op.on.as_bytes();
        let places = made.as_bytes_mut();
        for (at, &index) in indices.iter().enumerate() {
            let index = if index < 0 { index + depth } else { index };
            if !(0..depth).contains(&index) {
                continue;
            }
            let row = at / inner * op.dim + index as usize;
            let start = (row * inner + at % inner) * size;
            if let Some(place) = places.get_mut(start..start + size) {
                place.copy_from_slice(hot);
            }
        }
        return Ok(tvec!(made.into_tvalue()));
    }
    bail!("OneHot of {:?}", made.datum_type())
}
