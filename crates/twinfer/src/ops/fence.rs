//! A node that does nothing, between operators that the engine must not look at together.
//!
//! Between a `DequantizeLinear` and a `QuantizeLinear` of 8 bits the engine takes every operator whose
//! axes go through it unchanged for one that works on single elements, and makes a table of 256
//! results of it (tract-core 0.23.9, `ops/quant.rs`, `DequantizeLinearF32::declutter`). A softmax is no
//! such operator: of one element it is 1, whatever that is.

use tract_onnx::pb::{GraphProto, NodeProto};
use tract_onnx::tract_hir::internal::*;

/// What it is registered as.
pub(super) const NAME: &str = "twinfer.Fence";

/// Operators of which an element of the result depends on others than its own, and whose axes go
/// through them.
const NOT_ELEMENTWISE: [&str; 4] = ["Softmax", "LogSoftmax", "Hardmax", "Trilu"];

/// Puts a fence behind each operator that the engine would make a table of.
pub(super) fn put(graph: &mut GraphProto) {
    let is = |node: &NodeProto, name: &str| node.op_type == name && node.domain.is_empty();
    if !graph.node.iter().any(|node| is(node, "DequantizeLinear")) {
        return;
    }
    let nodes = std::mem::take(&mut graph.node);
    for mut node in nodes {
        let is_one = NOT_ELEMENTWISE.iter().any(|name| is(&node, name));
        match node.output.first_mut() {
            Some(output) if is_one && !output.is_empty() => {
                let before = format!("{output}/before-fence");
                let fence = NodeProto {
                    op_type: NAME.to_owned(),
                    name: format!("{output}/fence"),
                    input: vec![before.clone()],
                    output: vec![std::mem::replace(output, before)],
                    ..NodeProto::default()
                };
                graph.node.extend([node, fence]);
            }
            _ => graph.node.push(node),
        }
    }
}

/// The operator, for the engine.
pub(super) fn op() -> Box<dyn InferenceOp> {
    expand(Fence)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Fence;

impl Expansion for Fence {
    fn name(&self) -> StaticName {
        "Fence".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, Fence, inputs)
    }
}

impl Op for Fence {
    fn name(&self) -> StaticName {
        "Fence".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Fence {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Ok(inputs)
    }
}

impl TypedOp for Fence {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].datum_type.fact(inputs[0].shape.clone())))
    }
}
