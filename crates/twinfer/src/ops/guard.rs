//! Checks before the engine looks at a node: what it does not check itself, and would count up to,
//! allocate, index with, or answer wrongly.
//!
//! They run on what is known of the inputs when the engine works out types and shapes, before it
//! computes with constants. What is in inputs that change is looked at when it runs (`indices`).

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::around;
use super::valid::{self, Known};

/// What the guarded builders are registered as.
const GUARDED: &str = "guarded.";

/// What is wrong with a node or with what it is given, in words for people. The engine's own errors
/// are about itself.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) String);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// More bytes than a value between nodes may have: sizes come from models and callers, and a kilobyte
/// of a file must not ask for all memory. No page and no function has as much.
pub(crate) const MAX_VALUE_BYTES: usize = 1 << 31;

/// Puts the checks before the builders of the operators that have any.
pub(super) fn register(onnx: &mut Onnx) {
    around::put(onnx, GUARDED, valid::OPERATORS.iter().copied(), build);
}

fn build(context: &ParsingContext, node: &NodeProto) -> around::Built {
    valid::attributes(node)?;
    let (inner, closures) = around::inner(context, node, GUARDED)?;
    let node = Arc::new(node.clone());
    let version = context.onnx_operator_set_version;
    let guarded = Guarded {
        inner,
        node,
        version,
    };
    Ok((Box::new(guarded), closures))
}

/// An operator of the engine, behind the checks. To the engine it is the operator itself.
#[derive(Debug, Clone)]
struct Guarded {
    inner: Box<dyn InferenceOp>,
    node: Arc<NodeProto>,
    version: i64,
}

impl Guarded {
    /// Left-out inputs are not there for the engine: the places of the others as in the file.
    fn known(&self, inputs: &[&InferenceFact]) -> Vec<Option<Known>> {
        let mut facts = inputs.iter();
        let names = self.node.input.iter();
        let known = names.map(|name| match name.is_empty() {
            true => None,
            false => facts.next().map(|fact| known(fact)),
        });
        known.collect()
    }

    fn check(&self, inputs: &TVec<&InferenceFact>) -> TractResult<()> {
        valid::inputs(&self.node, self.version, &self.known(inputs))
    }

    /// Other ends for a `Slice` of which one is before its start: it has no elements, and the engine
    /// takes the distance for its length. They are the third input, and never left out.
    fn ends(&self, inputs: &[&InferenceFact]) -> Option<Arc<Tensor>> {
        let is_new = self.node.op_type == "Slice" && self.node.input.len() > 2;
        is_new.then(|| valid::ends(&self.known(inputs))).flatten()
    }
}

fn known(fact: &InferenceFact) -> Known {
    let axis = |dim: &TDim| dim.to_i64().ok();
    Known {
        shape: (fact.shape.concretize()).map(|shape| shape.iter().map(axis).collect()),
        value: fact.value.concretize(),
        dtype: fact.datum_type.concretize(),
    }
}

/// Whether the outputs are as large as any may be.
fn check_sizes(outputs: &TVec<InferenceFact>) -> TractResult<()> {
    for fact in outputs {
        let shape = fact.shape.concretize();
        let shape = shape.and_then(|s| s.iter().map(|d| d.to_usize().ok()).collect());
        let dtype = fact.datum_type.concretize();
        if let (Some(shape), Some(dtype)) = (shape, dtype) {
            check_size(&shape, dtype)?;
        }
    }
    Ok(())
}

/// Whether a value is as large as any may be.
pub(crate) fn check_size(shape: &TVec<usize>, dtype: DatumType) -> TractResult<()> {
    let bytes = (shape.iter()).try_fold(dtype.size_of(), |all, &n| all.checked_mul(n));
    match bytes {
        Some(bytes) if bytes <= MAX_VALUE_BYTES => Ok(()),
        // One axis of no length, and others beyond all bounds: nothing is allocated for it.
        _ if shape.contains(&0) => Ok(()),
        _ => Err(Refusal(format!(
            "a value of shape {shape:?} is larger than {MAX_VALUE_BYTES} bytes"
        ))
        .into()),
    }
}

impl InferenceOp for Guarded {
    fn infer(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(
        TVec<InferenceFact>,
        TVec<InferenceFact>,
        TVec<InferenceFact>,
    )> {
        self.check(&inputs)?;
        if let (Some(ends), Some(given)) = (self.ends(&inputs), inputs.get(2).copied()) {
            let ends = InferenceFact::try_from(ends)?;
            // A new list: a clone would want the ends to live as long as the inputs.
            let with_ends = |(at, fact)| if at == 2 { &ends } else { fact };
            let changed: TVec<&InferenceFact> =
                inputs.iter().copied().enumerate().map(with_ends).collect();
            let mut inferred = self.inner.infer(changed, outputs, observed)?;
            if let Some(place) = inferred.0.get_mut(2) {
                *place = given.clone();
            }
            return Ok(inferred);
        }
        // Before the operator is run on constants.
        let inferred =
            (self.inner).infer_facts(inputs.clone(), outputs.clone(), observed.clone())?;
        check_sizes(&inferred.1)?;
        self.inner.infer(inputs, outputs, observed)
    }

    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(
        TVec<InferenceFact>,
        TVec<InferenceFact>,
        TVec<InferenceFact>,
    )> {
        self.check(&inputs)?;
        self.inner.infer_facts(inputs, outputs, observed)
    }

    fn observe_outlets(
        &self,
        model: &InferenceModel,
        node: &InferenceNode,
    ) -> TractResult<Vec<OutletId>> {
        self.inner.observe_outlets(model, node)
    }

    fn incorporate(
        &self,
        model: &InferenceModel,
        node: &InferenceNode,
    ) -> TractResult<Option<InferenceModelPatch>> {
        self.inner.incorporate(model, node)
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.inner.nboutputs()
    }

    fn as_op(&self) -> &dyn Op {
        self.inner.as_op()
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self.inner.as_op_mut()
    }

    fn to_typed(
        &self,
        source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        let facts = node.inputs.iter().map(|input| source.outlet_fact(*input));
        let facts: Vec<&InferenceFact> = facts.collect::<TractResult<_>>()?;
        if let (Some(ends), Some(place)) = (self.ends(&facts), node.inputs.get(2)) {
            let ends = target.add_const(format!("{}.ends", node.name), ends)?;
            let mut changed = mapping.clone();
            changed.insert(*place, ends);
            return self.inner.to_typed(source, node, target, &changed);
        }
        self.inner.to_typed(source, node, target, mapping)
    }
}

impl Op for Guarded {
    fn name(&self) -> StaticName {
        self.inner.as_op().name()
    }

    not_a_typed_op!();
}

impl PartialEq for Guarded {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}
impl Eq for Guarded {}

impl EvalOp for Guarded {
    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.inner.as_op().eval(context, inputs)
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        self.inner.as_op().eval_out_of_plan(inputs)
    }
}
