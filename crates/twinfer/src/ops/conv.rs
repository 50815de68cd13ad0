//! Convolutions with our own kernels, put into the graph before the engine lowers it.

use std::sync::Arc;

use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv as EngineConv, KernelFormat};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::math::{Add, Max, Min};
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx::tract_hir::internal::*;

use crate::kernels::conv::{Conv, Geometry};

/// A convolution of planes of floats.
#[derive(Debug, Clone)]
pub(crate) struct ConvOp {
    conv: Arc<Conv>,
    /// The shape of the output.
    shape: TVec<usize>,
}

// As for other operators of ours: the same only when it is the same node.
impl PartialEq for ConvOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.conv, &other.conv)
    }
}

impl Eq for ConvOp {}

impl Op for ConvOp {
    fn name(&self) -> StaticName {
        "TwinferConv".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?}", self.conv.geometry())])
    }

    op_as_typed_op!();
}

impl EvalOp for ConvOp {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        // SAFETY: the kernel writes every element of the output.
        let mut output = unsafe { Tensor::uninitialized::<f32>(&self.shape)? };
        self.conv.run(
            input.try_as_plain_ram()?.as_slice::<f32>()?,
            output.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?,
        );
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for ConvOp {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&*self.shape)))
    }

    as_op!();
}

/// What was found in the graph.
struct Found {
    geometry: Geometry,
    weights: Arc<Tensor>,
    bias: Option<Vec<f32>>,
    /// The input that is not a constant.
    input: OutletId,
    shape: TVec<usize>,
    /// The axis of the output's channels.
    channels: usize,
}

/// Replaces the convolutions that our kernels compute; what follows a convolution and limits
/// or shifts its results becomes part of it. The graph is one that the engine has simplified
/// and not yet lowered.
pub(crate) fn replace(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let Some(found) = find(model, id)? else {
            continue;
        };
        let Found { geometry, weights, bias, input, shape, channels } = found;
        let weights = weights.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
        let mut bias = bias.unwrap_or_default();
        let mut range = (f32::NEG_INFINITY, f32::INFINITY);
        let mut last = id;
        while let Some(next) = follower(model, last, &shape, channels)? {
            let follows = match next.1 {
                Follows::Limit(low, high) => {
                    // Limits come in any order: `min(max(x, a), b)` is a range when a <= b.
                    range = (range.0.max(low).min(high), range.1.min(high).max(low));
                    true
                }
                Follows::Shift(by) if range == (f32::NEG_INFINITY, f32::INFINITY) => {
                    if bias.is_empty() {
                        bias = vec![0.0; geometry.c_out];
                    }
                    bias.iter_mut().zip(by).for_each(|(b, by)| *b += by);
                    true
                }
                Follows::Shift(_) => false,
            };
            if !follows {
                break;
            }
            last = next.0;
        }
        let Some(conv) = Conv::new(geometry, &weights, &bias, range) else {
            continue;
        };
        let mut patch = TypedModelPatch::new("convolution with kernels of our own");
        let tap = patch.tap_model(model, input)?;
        let op = ConvOp { conv: Arc::new(conv), shape };
        let name = model.node(last).name.clone();
        let wire = patch.wire_node(name, op, &[tap])?;
        patch.shunt_outside(model, last.into(), wire[0])?;
        patch.apply(model)?;
    }
    model.compact()
}

fn find(model: &TypedModel, id: usize) -> TractResult<Option<Found>> {
    let node = model.node(id);
    if node.outputs.len() != 1 || !fact_is_f32(&node.outputs[0].fact) {
        return Ok(None);
    }
    if let Some(conv) = node.op_as::<EngineConv>() {
        return convolution(model, node, conv);
    }
    if let Some(product) = node.op_as::<EinSum>() {
        return pointwise(model, node, product);
    }
    Ok(None)
}

fn fact_is_f32(fact: &TypedFact) -> bool {
    fact.datum_type == DatumType::F32 && fact.shape.as_concrete().is_some()
}

/// A convolution that the engine has as one.
fn convolution(
    model: &TypedModel,
    node: &TypedNode,
    conv: &EngineConv,
) -> TractResult<Option<Found>> {
    let facts = model.node_input_facts(node.id)?;
    let &[input, weights, bias] = &*facts else {
        return Ok(None);
    };
    let spec = &conv.pool_spec;
    let (Some(shape), Some(weights), Some(bias)) =
        (input.shape.as_concrete(), &weights.konst, &bias.konst)
    else {
        return Ok(None);
    };
    let known = fact_is_f32(input)
        && conv.q_params.is_none()
        && conv.kernel_fmt == KernelFormat::OIHW
        && matches!(spec.data_format, DataFormat::NCHW | DataFormat::CHW)
        && (1..=2).contains(&spec.rank())
        && weights.datum_type() == DatumType::F32
        && bias.datum_type() == DatumType::F32;
    if !known {
        return Ok(None);
    }
    let shaped = spec.data_format.shape(shape.to_vec())?;
    let padding = spec.computed_padding(shaped.hw_dims());
    // One axis is a picture of one row.
    let pair = |axes: &[usize], fill: usize| match *axes {
        [height, width] => [height, width],
        [width] => [fill, width],
        _ => [fill, fill],
    };
    let of = |f: &dyn Fn(usize) -> usize| (0..spec.rank()).map(f).collect::<Vec<_>>();
    let bias_values = bias.try_as_plain_ram()?.as_slice::<f32>()?;
    let bias = match bias_values {
        [one] => vec![*one; conv.output_channels()],
        all => all.to_vec(),
    };
    let geometry = Geometry {
        group: conv.group,
        c_in: conv.input_channels(),
        c_out: conv.output_channels(),
        input: pair(&of(&|a| shaped.hw_dims()[a]), 1),
        output: pair(&of(&|a| padding[a].convoluted), 1),
        kernel: pair(&spec.kernel_shape, 1),
        stride: pair(&of(&|a| spec.stride(a)), 1),
        dilation: pair(&of(&|a| spec.dilation(a)), 1),
        before: pair(&of(&|a| padding[a].pad_before), 0),
    };
    let output = node.outputs[0].fact.shape.as_concrete();
    Ok(output.map(|output| Found {
        geometry,
        weights: weights.clone(),
        bias: Some(bias),
        input: node.inputs[0],
        shape: output.into(),
        channels: usize::from(spec.data_format == DataFormat::NCHW),
    }))
}

/// A product of weights `[o, i]` and an input `[.., i, positions..]`: what the engine makes of
/// a convolution with kernels of one point.
fn pointwise(model: &TypedModel, node: &TypedNode, op: &EinSum) -> TractResult<Option<Found>> {
    if op.q_params.is_some() || node.inputs.len() != 2 {
        return Ok(None);
    }
    let facts = model.node_input_facts(node.id)?;
    let constant = [1, 0].into_iter().find(|slot| facts[*slot].konst.is_some());
    let Some(constant) = constant else {
        return Ok(None);
    };
    let other = 1 - constant;
    let (weights, input) = (facts[constant], facts[other]);
    let (Some(shape), Some(konst)) = (input.shape.as_concrete(), &weights.konst) else {
        return Ok(None);
    };
    let output = node.outputs[0].fact.shape.as_concrete().unwrap_or_default();
    if !fact_is_f32(input) || konst.datum_type() != DatumType::F32 || output.len() != shape.len() {
        return Ok(None);
    }
    let (mut summed, mut made) = (None, None);
    for axis in op.axes.iter_all_axes() {
        let at = |list: &TVec<usize>| list.first().copied();
        let single = axis.inputs.iter().chain(&axis.outputs).all(|list| list.len() <= 1);
        let (w, x, y) = (at(&axis.inputs[constant]), at(&axis.inputs[other]), at(&axis.outputs[0]));
        match (w, x, y) {
            _ if !single => return Ok(None),
            (Some(w), Some(x), None) if summed.is_none() => summed = Some((w, x)),
            (Some(w), None, Some(y)) if made.is_none() => made = Some((w, y)),
            (None, Some(x), Some(y)) if x == y => {}
            // Axes of one that the weights have left over.
            (Some(w), _, _) if konst.shape()[w] == 1 => return Ok(None),
            _ => return Ok(None),
        }
    }
    let (Some((w_in, x)), Some((w_out, y))) = (summed, made) else {
        return Ok(None);
    };
    let positions: usize = shape[x + 1..].iter().product();
    if x != y || konst.rank() != 2 || positions < 8 {
        return Ok(None);
    }
    let weights = if (w_out, w_in) == (0, 1) {
        konst.clone()
    } else {
        konst.clone().into_tensor().permute_axes(&[1, 0])?.into_arc_tensor()
    };
    let geometry = Geometry {
        group: 1,
        c_in: shape[x],
        c_out: output[y],
        input: [1, positions],
        output: [1, positions],
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        before: [0, 0],
    };
    Ok(Some(Found {
        geometry,
        weights,
        bias: None,
        input: node.inputs[other],
        shape: output.into(),
        channels: y,
    }))
}

/// What a node does to every result of the one before.
enum Follows {
    Limit(f32, f32),
    /// A number for each output channel.
    Shift(Vec<f32>),
}

/// The only user of a node's output, when it is a step that a convolution can take over.
fn follower(
    model: &TypedModel,
    id: usize,
    shape: &[usize],
    channels: usize,
) -> TractResult<Option<(usize, Follows)>> {
    let node = model.node(id);
    let [successor] = &*node.outputs[0].successors else {
        return Ok(None);
    };
    if model.output_outlets()?.contains(&id.into()) {
        return Ok(None);
    }
    let next = model.node(successor.node);
    let Some(op) = next.op_as::<TypedBinOp>() else {
        return Ok(None);
    };
    let other = next.inputs[1 - successor.slot];
    let fact = model.outlet_fact(other)?;
    let same = next.outputs[0].fact.shape.as_concrete() == Some(shape);
    let Some(konst) = fact.konst.as_ref().filter(|k| same && k.datum_type() == DatumType::F32)
    else {
        return Ok(None);
    };
    let values = konst.try_as_plain_ram()?.as_slice::<f32>()?;
    let follows = match values {
        [bound] if op.0.is::<Max>() => Follows::Limit(*bound, f32::INFINITY),
        [bound] if op.0.is::<Min>() => Follows::Limit(f32::NEG_INFINITY, *bound),
        _ if op.0.is::<Add>() && konst.rank() == shape.len() => {
            // A number for each channel: the axis of the channels is the only one.
            let long: Vec<usize> = (0..shape.len()).filter(|a| konst.shape()[*a] != 1).collect();
            if long != [channels] || values.len() != shape[channels] {
                return Ok(None);
            }
            Follows::Shift(values.to_vec())
        }
        _ => return Ok(None),
    };
    Ok(Some((next.id, follows)))
}
