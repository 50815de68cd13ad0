//! Checks before the engine's rules for types and shapes, which trust some attributes: with others
//! they count up to any number, or read past the end of a shape.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::around;

/// What the engine's own builders are registered as.
const ENGINE: &str = "engine.";

/// Operators that take `[batch, channels, ...]`: the engine reads both axes unchecked.
const WITH_CHANNELS: [&str; 14] = [
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "InstanceNormalization",
    "LpPool",
    "LRN",
    "MaxPool",
    "QLinearAveragePool",
    "QLinearConv",
];

/// Operators with an axis that the engine counts to, and how many more axes than the input has it
/// may choose from.
const WITH_AXIS: [(&str, i64); 2] = [("LayerNormalization", 0), ("OneHot", 1)];

/// Operators that make a tensor as large as their first inputs say, and how many these are.
const OF_A_SIZE: [(&str, usize); 4] = [
    ("BlackmanWindow", 1),
    ("HammingWindow", 1),
    ("HannWindow", 1),
    ("MelWeightMatrix", 2),
];

/// Longer windows than any signal has; in doubles, 128 megabytes.
const MAX_SIZE: i64 = 1 << 24;

/// The engine lists the places of a window, one by one; larger ones than of 4096 x 4096 would be
/// lists of gigabytes.
const MAX_WINDOW: i64 = 1 << 24;

/// Puts the checks before the engine's builders.
pub(super) fn register(onnx: &mut Onnx) {
    let names = WITH_AXIS.iter().map(|(name, _)| *name);
    let sized = OF_A_SIZE.iter().map(|(name, _)| *name);
    around::put(
        onnx,
        ENGINE,
        WITH_CHANNELS.into_iter().chain(names).chain(sized),
        build,
    );
}

/// Builds the node with the engine's builder, behind the checks.
fn build(context: &ParsingContext, node: &NodeProto) -> around::Built {
    window(node)?;
    let (operator, closures) = around::inner(context, node, ENGINE)?;
    let Some(inner) = operator.as_op().downcast_ref::<Box<dyn Expansion>>() else {
        return Ok((operator, closures));
    };
    let with_axis = WITH_AXIS.iter().find(|(name, _)| *name == node.op_type);
    let of_a_size = OF_A_SIZE.iter().find(|(name, _)| *name == node.op_type);
    let checked = Checked {
        inner: inner.clone(),
        needs: match (with_axis, of_a_size) {
            (None, Some(&(_, inputs))) => Needs::Small { inputs },
            (None, None) => Needs::Channels,
            (Some(&(_, more)), _) => {
                let given = node.attribute.iter().find(|a| a.name == "axis");
                Needs::Axis {
                    axis: given.map_or(-1, |attribute| attribute.i),
                    more,
                }
            }
        },
    };
    Ok((expand(checked), closures))
}

/// Checks the attributes that say how large a window is, and how far it moves.
fn window(node: &NodeProto) -> TractResult<()> {
    for attribute in &node.attribute {
        let sizes = attribute.ints.iter().map(|n| n.saturating_abs().max(1));
        let largest = match attribute.name.as_str() {
            "kernel_shape" => sizes.fold(1, i64::saturating_mul),
            "dilations" | "strides" | "pads" | "output_padding" => sizes.max().unwrap_or(1),
            _ => continue,
        };
        if largest > MAX_WINDOW {
            bail!("{} is too large: {:?}", attribute.name, attribute.ints);
        }
    }
    Ok(())
}

/// An operator of the engine whose rules are asked only for ranks that they can take.
#[derive(Debug, Clone)]
struct Checked {
    inner: Box<dyn Expansion>,
    needs: Needs,
}

#[derive(Debug, Clone, Copy)]
enum Needs {
    Channels,
    Axis { axis: i64, more: i64 },
    Small { inputs: usize },
}

impl Needs {
    fn check(self, rank: i64) -> TractResult<()> {
        match self {
            Self::Channels if rank < 2 => {
                bail!("an input of {rank} axes has no batch and channels")
            }
            Self::Axis { axis, more } if axis < -rank - more || axis >= rank + more => {
                bail!("axis {axis} of an input of {rank} axes")
            }
            _ => Ok(()),
        }
    }
}

fn check_sizes(sizes: &[Arc<Tensor>]) -> TractResult<()> {
    let mut product = 1i64;
    for size in sizes {
        // The engine reads the first element, also where there is none.
        if size.len() != 1 {
            bail!(
                "a size is one number, not a tensor of shape {:?}",
                size.shape()
            );
        }
        product = product.saturating_mul(size.cast_to_scalar::<i64>()?.max(1));
    }
    if product > MAX_SIZE {
        bail!("a window of {product} elements is larger than {MAX_SIZE}");
    }
    Ok(())
}

impl Expansion for Checked {
    fn name(&self) -> StaticName {
        self.inner.name()
    }

    fn validation(&self) -> Validation {
        self.inner.validation()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        self.inner.info()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.inner.as_ref().nboutputs()
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        self.inner.wire(prefix, model, inputs)
    }

    fn wire_with_inference_model_and_node(
        &self,
        prefix: &str,
        model: &InferenceModel,
        node: &InferenceNode,
        typed_model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        (self.inner).wire_with_inference_model_and_node(prefix, model, node, typed_model, inputs)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        let Some(first) = inputs.first() else {
            bail!("{} has no input", self.inner.name());
        };
        if let Needs::Small { inputs: count } = self.needs {
            let sizes = inputs.iter().take(count).map(|input| &input.value);
            return s.given_all(sizes, move |s, sizes: Vec<Arc<Tensor>>| {
                check_sizes(&sizes)?;
                self.inner.rules(s, inputs, outputs)
            });
        }
        s.given(&first.rank, move |s, rank| {
            self.needs.check(rank)?;
            self.inner.rules(s, inputs, outputs)
        })
    }

    fn runs_out_of_plan(&self) -> bool {
        self.inner.runs_out_of_plan()
    }
}
