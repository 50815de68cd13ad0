//! Matrix products with constant weights with our own kernel, put into the graph before the
//! engine lowers it: the engine packs the rows for its kernel at each run, and its tile is too
//! large for the registers that wasm has on x86-64.

use std::sync::Arc;

use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_hir::internal::*;

use super::conv::{Parts, UNLIMITED, fact_is_f32, follower};
use super::lookup::{LookupOp, one_hot};
use crate::kernels::product::Product;

/// A product of rows with weights.
#[derive(Debug, Clone)]
pub(crate) struct ProductOp {
    product: Arc<Product>,
    /// The shape of the output.
    shape: TVec<usize>,
}

// As for other operators of ours: the same only when it is the same node.
impl PartialEq for ProductOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.product, &other.product)
    }
}

impl Eq for ProductOp {}

impl Op for ProductOp {
    fn name(&self) -> StaticName {
        "TwinferProduct".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        let Product { taps, columns, .. } = &*self.product;
        Ok(vec![format!("{taps} x {columns}")])
    }

    op_as_typed_op!();
}

impl EvalOp for ProductOp {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        // SAFETY: the kernel writes every element of the output.
        let mut output = unsafe { Tensor::uninitialized::<f32>(&self.shape)? };
        self.product.run(
            input.try_as_plain_ram()?.as_slice::<f32>()?,
            output.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?,
        );
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for ProductOp {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&*self.shape)))
    }

    as_op!();
}

/// What was found in the graph.
struct Found {
    /// Columns and taps.
    size: [usize; 2],
    /// `[columns, taps]`.
    weights: Vec<f32>,
    input: OutletId,
    shape: TVec<usize>,
}

/// Replaces the products of rows (the last axis of any number of axes) with constant weights;
/// what follows and scales, shifts or limits the columns becomes part of it. The graph is one
/// that the engine has typed and not yet simplified.
pub(crate) fn replace(model: &mut TypedModel) -> TractResult<()> {
    model.prop_consts()?;
    for id in model.eval_order()? {
        let Some(mut found) = find(model, id)? else {
            continue;
        };
        let [columns, _] = found.size;
        let mut parts = Parts {
            weights: std::mem::take(&mut found.weights),
            bias: vec![0.0; columns],
            range: UNLIMITED,
        };
        let mut last = id;
        let axis = found.shape.len() - 1;
        while let Some((next, follows)) = follower(model, last, &found.shape, axis)? {
            if !parts.take(&follows) {
                break;
            }
            last = next;
        }
        let Some((input, op)) = operator(model, &found, &parts)? else {
            continue;
        };
        let mut patch = TypedModelPatch::new("product with a kernel of our own");
        let tap = patch.tap_model(model, input)?;
        let wire = patch.wire_node(model.node(last).name.clone(), op, &[tap])?;
        patch.shunt_outside(model, last.into(), wire[0])?;
        patch.apply(model)?;
    }
    model.compact()
}

/// What computes a product, and from what.
fn operator(
    model: &TypedModel,
    found: &Found,
    parts: &Parts,
) -> TractResult<Option<(OutletId, Box<dyn TypedOp>)>> {
    let shape = found.shape.clone();
    if let Some(numbers) = one_hot(model, found.input)?
        && let Some(op) = LookupOp::new(found.size, parts, shape.clone())
    {
        return Ok(Some((numbers, Box::new(op))));
    }
    let product = Product::new(found.size, &parts.weights, &parts.bias, parts.range);
    Ok(product.map(|product| {
        let product = Arc::new(product);
        let op: Box<dyn TypedOp> = Box::new(ProductOp { product, shape });
        (found.input, op)
    }))
}

/// Fewer columns leave most of a panel empty.
const MIN_COLUMNS: usize = 4;

fn find(model: &TypedModel, id: usize) -> TractResult<Option<Found>> {
    let node = model.node(id);
    let Some(op) = node.op_as::<EinSum>() else {
        return Ok(None);
    };
    let facts = model.node_input_facts(id)?;
    let output = &node.outputs[0].fact;
    let &[left, right] = &*facts else {
        return Ok(None);
    };
    let floats = op.q_params.is_none() && op.operating_dt == DatumType::F32;
    if !floats || ![left, right, output].into_iter().all(fact_is_f32) {
        return Ok(None);
    }
    let slot = match (&left.konst, &right.konst) {
        (None, Some(_)) => 0,
        (Some(_), None) => 1,
        _ => return Ok(None),
    };
    let (input, weights) = (facts[slot], facts[1 - slot]);
    let (Some(rows), Some(shape), Some(konst)) = (
        input.shape.as_concrete(),
        output.shape.as_concrete(),
        &weights.konst,
    ) else {
        return Ok(None);
    };
    // Axes of one element are nothing but notation.
    let axes = |io, shape: &[usize]| -> TractResult<Vec<char>> {
        let mut all = Vec::new();
        for (at, n) in shape.iter().enumerate() {
            let axis = op.axes.axis((io, at))?.repr;
            all.extend((*n != 1).then_some(axis));
        }
        Ok(all)
    };
    let of_rows = axes(InOut::In(slot), rows)?;
    let of_weights = axes(InOut::In(1 - slot), konst.shape())?;
    let of_output = axes(InOut::Out(0), shape)?;
    let (Some((taps, before)), Some((columns, kept))) =
        (of_rows.split_last(), of_output.split_last())
    else {
        return Ok(None);
    };
    // The columns have to be the last axis of the output in its shape too: a bias is found by it.
    let Some(n) = shape.last().copied().filter(|n| *n >= MIN_COLUMNS) else {
        return Ok(None);
    };
    let transposed = match &*of_weights {
        [a, b] if a == taps && b == columns => false,
        [a, b] if a == columns && b == taps => true,
        _ => return Ok(None),
    };
    let new = taps != columns && !before.contains(columns) && !kept.contains(taps);
    if before != kept || !new {
        return Ok(None);
    }
    let values = konst.try_as_plain_ram()?.as_slice::<f32>()?;
    let k = values.len() / n;
    let weights = if transposed {
        values.to_vec()
    } else {
        transpose(values, n)
    };
    Ok(Some(Found {
        size: [n, k],
        weights,
        input: node.inputs[slot],
        shape: shape.into(),
    }))
}

/// Of rows of `n`, columns: some rows at a time, so that whole lines of the cache are written.
fn transpose(rows: &[f32], n: usize) -> Vec<f32> {
    const TOGETHER: usize = 16;
    let k = rows.len() / n;
    let mut columns = vec![0.0; rows.len()];
    for (block, rows) in rows.chunks(TOGETHER * n).enumerate() {
        for (at, column) in columns.chunks_exact_mut(k).enumerate() {
            let values = rows.iter().skip(at).step_by(n);
            let places = column[block * TOGETHER..].iter_mut();
            places.zip(values).for_each(|(to, from)| *to = *from);
        }
    }
    columns
}
