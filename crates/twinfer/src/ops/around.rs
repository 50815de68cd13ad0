//! Builders of ours around those that are registered already, which stay under another name.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// An operator, and the names of the values from outside that graphs in it take.
pub(super) type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// What makes an operator of a node.
pub(super) type Builder = fn(&ParsingContext, &NodeProto) -> Built;

/// Has these operators built by `build`; the builders they had are found by [`inner`]. Of operators
/// that nobody builds nothing is changed.
///
/// `kept` begins the names of the former builders, and is one that no other use has.
pub(super) fn put<'n>(
    onnx: &mut Onnx,
    kept: &str,
    names: impl IntoIterator<Item = &'n str>,
    build: Builder,
) {
    let operators = &mut onnx.op_register.0;
    for name in names {
        match operators.insert(name.to_owned(), build) {
            Some(builder) => operators.insert(format!("{kept}{name}"), builder),
            None => operators.remove(name),
        };
    }
}

/// Builds a node as it was built before [`put`].
pub(super) fn inner(context: &ParsingContext, node: &NodeProto, kept: &str) -> Built {
    let name = format!("{kept}{}", node.op_type);
    match context.framework.op_register.0.get(&name) {
        Some(builder) => builder(context, node),
        None => bail!("{} is not known", node.op_type),
    }
}
