//! Convolutions with our own kernels, put into the graph before the engine lowers it.

use std::sync::Arc;

use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv as EngineConv, KernelFormat};
use tract_onnx::tract_core::ops::math::{Add, Max, Min, Mul};
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
    /// A number for each output channel.
    bias: Vec<f32>,
    /// The input that is not a constant.
    input: OutletId,
    shape: TVec<usize>,
    /// The axis of the output's channels.
    channels: usize,
}

/// Replaces the convolutions that our kernels compute; what follows a convolution and scales,
/// shifts or limits its results (a normalisation, an activation) becomes part of it. The graph
/// is one that the engine has typed and not yet simplified: later the engine may have moved
/// the channels to the last axis.
pub(crate) fn replace(model: &mut TypedModel) -> TractResult<()> {
    model.prop_consts()?;
    for id in model.eval_order()? {
        let Some(found) = find(model, id)? else {
            continue;
        };
        let mut parts = Parts::new(&found)?;
        let mut last = id;
        while let Some((next, follows)) = follower(model, last, &found.shape, found.channels)? {
            if !parts.take(&follows) {
                break;
            }
            last = next;
        }
        let Some(conv) = Conv::new(found.geometry, &parts.weights, &parts.bias, parts.range) else {
            continue;
        };
        let mut patch = TypedModelPatch::new("convolution with kernels of our own");
        let tap = patch.tap_model(model, found.input)?;
        let op = ConvOp {
            conv: Arc::new(conv),
            shape: found.shape,
        };
        let wire = patch.wire_node(model.node(last).name.clone(), op, &[tap])?;
        patch.shunt_outside(model, last.into(), wire[0])?;
        patch.apply(model)?;
    }
    model.compact()
}

/// The numbers of a convolution or product, while others are taken in.
pub(super) struct Parts {
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
    pub range: (f32, f32),
}

pub(super) const UNLIMITED: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

impl Parts {
    fn new(found: &Found) -> TractResult<Self> {
        let weights = found
            .weights
            .try_as_plain_ram()?
            .as_slice::<f32>()?
            .to_vec();
        Ok(Self {
            weights,
            bias: found.bias.clone(),
            range: UNLIMITED,
        })
    }

    /// Takes in what follows; false when it cannot.
    pub fn take(&mut self, follows: &Follows) -> bool {
        let channels = self.bias.len();
        match follows {
            Follows::Limit(low, high) => {
                // `min(max(x, a), b)` is a range when a <= b, and one number otherwise.
                let now = self.range;
                self.range = (now.0.max(*low).min(*high), now.1.min(*high).max(*low));
                true
            }
            _ if self.range != UNLIMITED => false,
            Follows::Shift(by) => {
                self.bias
                    .iter_mut()
                    .zip(each(by, channels))
                    .for_each(|(b, by)| *b += by);
                true
            }
            Follows::Scale(by) => {
                let taps = (self.weights.len() / channels).max(1);
                let rows = self.weights.chunks_exact_mut(taps).zip(each(by, channels));
                rows.for_each(|(row, by)| row.iter_mut().for_each(|w| *w *= by));
                self.bias
                    .iter_mut()
                    .zip(each(by, channels))
                    .for_each(|(b, by)| *b *= by);
                true
            }
        }
    }
}

/// A number for each channel, of as many or of one.
fn each(values: &[f32], channels: usize) -> impl Iterator<Item = f32> {
    (0..channels).map(move |c| values[if values.len() == 1 { 0 } else { c }])
}

fn find(model: &TypedModel, id: usize) -> TractResult<Option<Found>> {
    let node = model.node(id);
    if node.outputs.len() != 1 || !fact_is_f32(&node.outputs[0].fact) {
        return Ok(None);
    }
    if let Some(conv) = node.op_as::<EngineConv>() {
        return convolution(model, node, conv);
    }
    Ok(None)
}

pub(super) fn fact_is_f32(fact: &TypedFact) -> bool {
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
        bias,
        input: node.inputs[0],
        shape: output.into(),
        channels: usize::from(spec.data_format == DataFormat::NCHW),
    }))
}

/// What a node does to every result of the one before.
pub(super) enum Follows {
    Limit(f32, f32),
    /// One number, or one for each output channel.
    Shift(Vec<f32>),
    /// As for a shift.
    Scale(Vec<f32>),
}

/// The only user of a node's output, when it is a step that a convolution can take over.
pub(super) fn follower(
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
    let Some(konst) = fact
        .konst
        .as_ref()
        .filter(|k| same && k.datum_type() == DatumType::F32)
    else {
        return Ok(None);
    };
    let values = konst.try_as_plain_ram()?.as_slice::<f32>()?;
    let follows = match values {
        [bound] if op.0.is::<Max>() => Follows::Limit(*bound, f32::INFINITY),
        [bound] if op.0.is::<Min>() => Follows::Limit(f32::NEG_INFINITY, *bound),
        _ if op.0.is::<Add>() || op.0.is::<Mul>() => {
            // A number for each channel: the axis of the channels is the only one.
            let mut axes = konst.shape().iter().enumerate();
            let fits = konst.rank() == shape.len()
                && axes.all(|(axis, n)| *n == 1 || axis == channels && *n == shape[channels]);
            if !fits {
                return Ok(None);
            }
            if op.0.is::<Add>() {
                Follows::Shift(values.to_vec())
            } else {
                Follows::Scale(values.to_vec())
            }
        }
        _ => return Ok(None),
    };
    Ok(Some((next.id, follows)))
}
