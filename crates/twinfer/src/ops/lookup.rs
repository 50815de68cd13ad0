//! Products of a "one-hot" with constant weights: rows of a table instead.

use std::sync::Arc;

use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::logic::CompEq;
use tract_onnx::tract_hir::internal::*;

use super::conv::Parts;

/// For each number its row, and the last row for those that have none.
#[derive(Debug, Clone)]
pub(crate) struct LookupOp {
    /// `[rows + 1, columns]`.
    table: Arc<[f32]>,
    columns: usize,
    /// The shape of the output.
    shape: TVec<usize>,
}

// As for other operators of ours: the same only when it is the same node.
impl PartialEq for LookupOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
    }
}

impl Eq for LookupOp {}

impl LookupOp {
    /// The sums that a product with one 1 and zeros would give. `None` when any number is not
    /// finite: zero times infinity is not zero.
    pub(super) fn new(
        [columns, taps]: [usize; 2],
        parts: &Parts,
        shape: TVec<usize>,
    ) -> Option<Self> {
        let mut table = Vec::with_capacity((taps + 1) * columns);
        for tap in 0..=taps {
            for (column, bias) in parts.bias.iter().enumerate() {
                let weight = if tap < taps {
                    parts.weights[column * taps + tap]
                } else {
                    0.0
                };
                let sum = bias + weight;
                if !sum.is_finite() {
                    return None;
                }
                table.push(sum.max(parts.range.0).min(parts.range.1));
            }
        }
        Some(Self {
            table: table.into(),
            columns,
            shape,
        })
    }

    fn copy<T: Copy>(&self, numbers: &[T], output: &mut [f32])
    where
        usize: TryFrom<T>,
    {
        let last = self.table.len() / self.columns - 1;
        for (number, to) in numbers.iter().zip(output.chunks_exact_mut(self.columns)) {
            let row = usize::try_from(*number).map_or(last, |row| row.min(last));
            to.copy_from_slice(&self.table[row * self.columns..][..self.columns]);
        }
    }
}

impl Op for LookupOp {
    fn name(&self) -> StaticName {
        "TwinferLookup".into()
    }

    op_as_typed_op!();
}

impl EvalOp for LookupOp {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let mut output = Tensor::zero::<f32>(&self.shape)?;
        let mut view = output.try_as_plain_ram_mut()?;
        let to = view.as_slice_mut::<f32>()?;
        let numbers = input.try_as_plain_ram()?;
        if input.datum_type() == DatumType::I32 {
            self.copy(numbers.as_slice::<i32>()?, to);
        } else {
            self.copy(numbers.as_slice::<i64>()?, to);
        }
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for LookupOp {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&*self.shape)))
    }

    as_op!();
}

/// The integers of which `outlet` is the "one-hot": their comparison with 0, 1, 2 and so on along
/// the last axis, as floats.
pub(super) fn one_hot(model: &TypedModel, outlet: OutletId) -> TractResult<Option<OutletId>> {
    let cast = model.node(outlet.node);
    if cast.op_as::<Cast>().is_none_or(|c| c.to != DatumType::F32) {
        return Ok(None);
    }
    let equal = model.node(cast.inputs[0].node);
    let is_equal = |op: &TypedBinOp| op.0.is::<CompEq>();
    if !equal.op_as::<TypedBinOp>().is_some_and(is_equal) {
        return Ok(None);
    }
    for slot in 0..2 {
        let (numbers, keys) = (equal.inputs[slot], equal.inputs[1 - slot]);
        let (fact, keys) = (model.outlet_fact(numbers)?, model.outlet_fact(keys)?);
        let (Some(shape), Some(keys)) = (fact.shape.as_concrete(), &keys.konst) else {
            continue;
        };
        let dtype = fact.datum_type;
        let along_the_last = keys.rank() == shape.len() && keys.shape().last() == Some(&keys.len());
        let fits = matches!(dtype, DatumType::I32 | DatumType::I64)
            && keys.datum_type() == dtype
            && shape.last() == Some(&1)
            && along_the_last;
        if !fits {
            continue;
        }
        let keys = keys.cast_to::<i64>()?;
        let keys = keys.try_as_plain_ram()?.as_slice::<i64>()?;
        if (0..).zip(keys).all(|(i, key)| i == *key) {
            return Ok(Some(numbers));
        }
    }
    Ok(None)
}
