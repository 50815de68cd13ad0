//! FP16 operators: computed in FP32, as onnxruntime does it on processors, whose numbers they give.
//!
//! The engine would sum products of FP16 in FP16, and an LSTM or a `Gemm` whose numbers it widens half
//! way it refuses. onnxruntime puts a `Cast` around each node that it has no kernel for, which are nearly
//! all, and takes out those between two such nodes: a number is rounded where it is moved as FP16, and at
//! the end. So does this, also because it is quicker: no processor that is
//! looked after here, and no wasm, computes with FP16.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::binary::{Nary, wire_rank_broadcast};
use tract_onnx::tract_hir::tract_core::ops::cast::{Cast, cast, wire_cast};
use tract_onnx::tract_hir::tract_core::ops::{binary::TypedBinOp, math};

use super::around;

/// What the builders without these casts are registered as.
const INNER: &str = "half.";

/// What the names of casts have in them that are none of the file's.
const OURS: &str = "#fp16";

/// The operators that compute with numbers. Those that are exact in FP16 too are here so that nothing
/// is narrowed and widened between two others.
const OPERATORS: [&str; 85] = [
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "AveragePool",
    "BatchNormalization",
    "Ceil",
    "Celu",
    "Clip",
    "Conv",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "CumSum",
    "Div",
    "Einsum",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "GRU",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "GridSample",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "InstanceNormalization",
    "LRN",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "MeanVarianceNormalization",
    "Min",
    "Mish",
    "Mul",
    "Neg",
    "PRelu",
    "ParametricSoftplus",
    "Pow",
    "RMSNormalization",
    "RNN",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Resize",
    "Round",
    "ScaledTanh",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sin",
    "Sinh",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
];

/// Puts the casts around the builders that are registered so far.
pub(super) fn register(onnx: &mut Onnx) {
    around::put(onnx, INNER, OPERATORS, build);
}

fn build(context: &ParsingContext, node: &NodeProto) -> around::Built {
    let (operator, closures) = around::inner(context, node, INNER)?;
    let inner = operator.as_op();
    let inner = match (inner.downcast_ref(), inner.downcast_ref()) {
        (Some(expansion), _) => Inner::Expansion(Box::<dyn Expansion>::clone(expansion)),
        (None, Some(nary)) => Inner::Nary(Nary::clone(nary)),
        (None, None) => return Ok((operator, closures)),
    };
    Ok((expand(Single { inner }), closures))
}

/// An operator that gets FP32 where FP16 comes, and gives FP16 where that is declared.
#[derive(Debug, Clone)]
struct Single {
    inner: Inner,
}

#[derive(Debug, Clone)]
enum Inner {
    Expansion(Box<dyn Expansion>),
    /// `Sum`, `Mean`, `Max`, `Min`, which the engine has no expansion for.
    Nary(Nary),
}

impl Single {
    /// The results of the operator, in FP32 where FP16 came; and whether it came.
    fn wire_with(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
        wire: impl FnOnce(&mut TypedModel, &[OutletId]) -> TractResult<TVec<OutletId>>,
        is_half: impl Fn(usize) -> bool,
    ) -> TractResult<TVec<OutletId>> {
        let mut came = false;
        let mut widened = TVec::new();
        for input in inputs {
            let fact = model.outlet_fact(*input)?;
            if fact.datum_type != DatumType::F16 {
                widened.push(*input);
                continue;
            }
            came = true;
            // Some operators want to know their weights here.
            widened.push(match &fact.konst {
                Some(constant) => {
                    let constant = constant.cast_to::<f32>()?.into_owned().into_arc_tensor();
                    let name = model.unique_name(format!("{prefix}.wide"));
                    model.add_const(name, constant)?
                }
                None => {
                    let name = model.unique_name(format!("{prefix}{OURS}"));
                    model.wire_node(name, cast(DatumType::F32), &[*input])?[0]
                }
            });
        }
        let mut outputs = wire(model, &widened)?;
        for (index, output) in outputs.iter_mut().enumerate() {
            let is_single = model.outlet_fact(*output)?.datum_type == DatumType::F32;
            if came && is_single && is_half(index) {
                let name = model.unique_name(format!("{prefix}{OURS}"));
                *output = model.wire_node(name, cast(DatumType::F16), &[*output])?[0];
            }
        }
        Ok(outputs)
    }
}

/// `Sum` and the like of several inputs, in pairs.
fn wire_nary(
    nary: &Nary,
    prefix: &str,
    model: &mut TypedModel,
    inputs: &[OutletId],
) -> TractResult<TVec<OutletId>> {
    let mut types = TVec::new();
    for input in inputs {
        types.push(model.outlet_fact(*input)?.datum_type);
    }
    let Some(dtype) = DatumType::super_type_for(&types) else {
        bail!("no type for {types:?} together");
    };
    let inputs = wire_cast(
        prefix,
        model,
        inputs,
        nary.0.operating_datum_type(dtype, dtype)?,
    )?;
    let mut sum = inputs[0];
    for (index, input) in inputs[1..].iter().enumerate() {
        let name = format!("{prefix}.{index}");
        let pair = wire_rank_broadcast(&name, model, &[sum, *input])?;
        sum = model.wire_node(&name, TypedBinOp(nary.0.clone(), None), &pair)?[0];
    }
    if nary.1 {
        let fact = model.outlet_fact(sum)?;
        let count = tensor0(inputs.len() as i32)
            .cast_to_dt(fact.datum_type)?
            .into_owned()
            .broadcast_into_rank(fact.rank())?;
        let count = model.add_const(format!("{prefix}.count"), count.into_arc_tensor())?;
        sum = model.wire_node(format!("{prefix}.mean"), math::div(), &[sum, count])?[0];
    }
    Ok(tvec!(sum))
}

impl Expansion for Single {
    fn name(&self) -> StaticName {
        match &self.inner {
            Inner::Expansion(inner) => inner.name(),
            Inner::Nary(inner) => inner.name(),
        }
    }

    fn validation(&self) -> Validation {
        match &self.inner {
            Inner::Expansion(inner) => inner.validation(),
            Inner::Nary(inner) => inner.validation(),
        }
    }

    fn info(&self) -> TractResult<Vec<String>> {
        match &self.inner {
            Inner::Expansion(inner) => inner.info(),
            Inner::Nary(inner) => inner.info(),
        }
    }

    fn nboutputs(&self) -> TractResult<usize> {
        match &self.inner {
            Inner::Expansion(inner) => inner.as_ref().nboutputs(),
            Inner::Nary(_) => Ok(1),
        }
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let wire = |model: &mut TypedModel, inputs: &[OutletId]| match &self.inner {
            Inner::Expansion(inner) => inner.wire(prefix, model, inputs),
            Inner::Nary(nary) => wire_nary(nary, prefix, model, inputs),
        };
        // Nothing is declared here; of several results only the first is sure to be of the type of
        // what comes: mean and deviation of a layer norm are FP32.
        let is_half = |index| index == 0 || self.name() != "LayerNorm";
        self.wire_with(prefix, model, inputs, wire, is_half)
    }

    fn wire_with_inference_model_and_node(
        &self,
        prefix: &str,
        source: &InferenceModel,
        node: &InferenceNode,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let wire = |model: &mut TypedModel, inputs: &[OutletId]| match &self.inner {
            Inner::Expansion(inner) => {
                inner.wire_with_inference_model_and_node(prefix, source, node, model, inputs)
            }
            Inner::Nary(nary) => wire_nary(nary, prefix, model, inputs),
        };
        let is_half = |index: usize| {
            let declared = node.outputs.get(index).and_then(|o| o.fact.datum_type());
            declared == Some(DatumType::F16)
        };
        self.wire_with(prefix, model, inputs, wire, is_half)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        match &self.inner {
            Inner::Expansion(inner) => inner.rules(s, inputs, outputs),
            Inner::Nary(nary) => nary.rules(s, inputs, outputs),
        }
    }

    fn runs_out_of_plan(&self) -> bool {
        match &self.inner {
            Inner::Expansion(inner) => inner.runs_out_of_plan(),
            Inner::Nary(_) => true,
        }
    }
}

/// Takes out casts to FP16 and back to FP32 of which one is none of the file's.
pub(crate) fn join(model: &mut TypedModel) -> TractResult<()> {
    let is_cast = |model: &TypedModel, id: usize, to: DatumType| {
        model.node(id).op_as::<Cast>().is_some_and(|c| c.to == to)
    };
    for id in model.eval_order()? {
        let Some(&narrow) = model.node(id).inputs.first() else {
            continue;
        };
        if !is_cast(model, id, DatumType::F32) || !is_cast(model, narrow.node, DatumType::F16) {
            continue;
        }
        let narrow = model.node(narrow.node);
        let Some(&wide) = narrow.inputs.first() else {
            continue;
        };
        if model.outlet_fact(wide)?.datum_type != DatumType::F32 {
            continue;
        }
        if !narrow.name.contains(OURS) && !model.node(id).name.contains(OURS) {
            continue;
        }
        let mut patch = TypedModelPatch::new("FP16 in FP32");
        let wire = patch.tap_model(model, wide)?;
        patch.shunt_outside(model, id.into(), wire)?;
        patch.apply(model)?;
    }
    Ok(())
}
