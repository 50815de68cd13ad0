//! Reductions of nothing: sums, maxima and the like over axes without elements. The engine divides by
//! the length of the axis to find out how many rows there are, and where it does not, takes the least
//! finite number for the maximum.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::nn::{Reduce, Reducer};

use super::around;

/// What the builders behind this are registered as.
const FILLED: &str = "filled.";

/// What comes of nothing (Operators.md, ai.onnx 20; where that says "undefined", what onnxruntime 1.32
/// gives).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nothing {
    Zero,
    One,
    Least,
    Most,
    /// There is no place of the largest element.
    Refused,
}

const REDUCTIONS: [(&str, Nothing); 12] = [
    ("ArgMax", Nothing::Refused),
    ("ArgMin", Nothing::Refused),
    ("ReduceL1", Nothing::Zero),
    ("ReduceL2", Nothing::Zero),
    ("ReduceLogSum", Nothing::Least),
    ("ReduceLogSumExp", Nothing::Least),
    ("ReduceMax", Nothing::Least),
    ("ReduceMean", Nothing::Zero),
    ("ReduceMin", Nothing::Most),
    ("ReduceProd", Nothing::One),
    ("ReduceSum", Nothing::Zero),
    ("ReduceSumSquare", Nothing::Zero),
];

/// Operators with one output, of the shape of the first input, which the engine makes of reductions.
const SAME: [&str; 5] = [
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "LpNormalization",
    "MeanVarianceNormalization",
];

impl Nothing {
    /// As many as the shape needs.
    fn of_shape(self, dtype: DatumType, shape: &[usize]) -> TractResult<Tensor> {
        if self == Self::Refused && shape.iter().all(|&axis| axis > 0) {
            bail!("an axis without elements has no largest or smallest one");
        }
        // Exact: one of these is a number of every type, or as large as it gets.
        let value = match self {
            Self::Zero | Self::Refused => tensor0(0f64),
            Self::One => tensor0(1f64),
            Self::Least if dtype.is_float() => tensor0(f64::NEG_INFINITY),
            Self::Most if dtype.is_float() => tensor0(f64::INFINITY),
            Self::Least => return least(dtype)?.broadcast_scalar_to_shape(shape),
            Self::Most => return most(dtype)?.broadcast_scalar_to_shape(shape),
        };
        let value = value.cast_to_dt(dtype)?.into_owned();
        value.broadcast_scalar_to_shape(shape)
    }
}

macro_rules! limits {
    ($($dtype:ident $kind:ty),*) => {
        fn least(dtype: DatumType) -> TractResult<Tensor> {
            Ok(match dtype {
                $(DatumType::$dtype => tensor0(<$kind>::MIN),)*
                other => bail!("{other:?} has no least number"),
            })
        }

        fn most(dtype: DatumType) -> TractResult<Tensor> {
            Ok(match dtype {
                $(DatumType::$dtype => tensor0(<$kind>::MAX),)*
                other => bail!("{other:?} has no largest number"),
            })
        }
    };
}
limits!(U8 u8, U16 u16, U32 u32, U64 u64, I8 i8, I16 i16, I32 i32, I64 i64);

/// Puts this before the engine's builders.
pub(super) fn register(onnx: &mut Onnx) {
    around::put(
        onnx,
        FILLED,
        REDUCTIONS.iter().map(|(name, _)| *name).chain(SAME),
        build,
    );
}

fn build(context: &ParsingContext, node: &NodeProto) -> around::Built {
    let (operator, closures) = around::inner(context, node, FILLED)?;
    let Some(inner) = operator.as_op().downcast_ref::<Box<dyn Expansion>>() else {
        return Ok((operator, closures));
    };
    let nothing = REDUCTIONS.iter().find(|(name, _)| *name == node.op_type);
    let Some((_, nothing)) = nothing else {
        return match node.output.iter().skip(1).all(String::is_empty) {
            true => Ok((expand(Unchanged(inner.clone())), closures)),
            false => Ok((operator, closures)),
        };
    };
    let find = |name: &str| node.attribute.iter().find(|a| a.name == name);
    let flag = |name: &str, default: bool| find(name).map_or(default, |a| a.i != 0);
    let reduction = Reduction {
        inner: inner.clone(),
        nothing: *nothing,
        axes: match node.op_type.starts_with("Arg") {
            true => Some(vec![find("axis").map_or(0, |a| a.i)]),
            false => find("axes").map(|a| a.ints.clone()),
        },
        keep: flag("keepdims", true),
        noop: flag("noop_with_empty_axes", false),
    };
    Ok((expand(reduction), closures))
}

/// A reduction of the engine, which it only sees where there is something to reduce.
#[derive(Debug, Clone)]
struct Reduction {
    inner: Box<dyn Expansion>,
    nothing: Nothing,
    /// Those of the attribute; newer versions have an input for them.
    axes: Option<Vec<i64>>,
    keep: bool,
    noop: bool,
}

impl Reduction {
    /// The result, where the input has no elements.
    fn of_nothing(&self, model: &TypedModel, inputs: &[OutletId]) -> TractResult<Option<Tensor>> {
        let Some(input) = inputs.first() else {
            return Ok(None);
        };
        let fact = model.outlet_fact(*input)?;
        let Some(shape) = fact.shape.as_concrete().filter(|s| s.contains(&0)) else {
            return Ok(None);
        };
        let given = match inputs.get(1) {
            Some(axes) => match &model.outlet_fact(*axes)?.konst {
                Some(axes) => {
                    let axes = axes.cast_to::<i64>()?;
                    Some(axes.try_as_plain_ram()?.as_slice::<i64>()?.to_vec())
                }
                None => return Ok(None),
            },
            None => self.axes.clone(),
        };
        let rank = shape.len() as i64;
        let axes: Vec<i64> = match given {
            Some(axes) if !axes.is_empty() => axes,
            _ if self.noop => return Ok(None),
            _ => (0..rank).collect(),
        };
        let is_reduced = |axis: i64| axes.iter().any(|&a| a == axis || a + rank == axis);
        if axes.iter().any(|&axis| axis < -rank || axis >= rank) {
            // The engine says what is wrong with it.
            return Ok(None);
        }
        let mut reduced = Vec::with_capacity(shape.len());
        for (axis, &length) in (0..).zip(shape) {
            match is_reduced(axis) {
                false => reduced.push(length),
                true if self.keep => reduced.push(1),
                true => {}
            }
        }
        let dtype = match self.nothing {
            Nothing::Refused => DatumType::I64,
            _ => fact.datum_type,
        };
        self.nothing.of_shape(dtype, &reduced).map(Some)
    }
}

impl Expansion for Reduction {
    fn name(&self) -> StaticName {
        self.inner.name()
    }

    fn validation(&self) -> Validation {
        self.inner.validation()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        self.inner.info()
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        match self.of_nothing(model, inputs)? {
            Some(result) => Ok(tvec!(model.add_const(prefix, result)?)),
            None => self.inner.wire(prefix, model, inputs),
        }
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.inner.rules(s, inputs, outputs)
    }

    fn runs_out_of_plan(&self) -> bool {
        self.inner.runs_out_of_plan()
    }
}

/// An operator whose result has the shape of its first input: without elements that is all of it.
#[derive(Debug, Clone)]
struct Unchanged(Box<dyn Expansion>);

impl Expansion for Unchanged {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    fn validation(&self) -> Validation {
        self.0.validation()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        self.0.info()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.0.as_ref().nboutputs()
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let fact = inputs.first().map(|input| model.outlet_fact(*input));
        if let Some(fact) = fact.transpose()?
            && let Some(shape) = fact.shape.as_concrete().filter(|s| s.contains(&0))
        {
            let empty = Nothing::Zero.of_shape(fact.datum_type, shape)?;
            return Ok(tvec!(model.add_const(prefix, empty)?));
        }
        self.0.wire(prefix, model, inputs)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.0.rules(s, inputs, outputs)
    }

    fn runs_out_of_plan(&self) -> bool {
        self.0.runs_out_of_plan()
    }
}

/// The same for reductions that other operators are made of (means of `LayerNormalization`, and the
/// like), once shapes are known.
pub(crate) fn replace(model: &mut TypedModel) -> TractResult<()> {
    let mut results = Vec::new();
    for node in &model.nodes {
        let Some(reduce) = node.op_as::<Reduce>() else {
            continue;
        };
        let (Some(input), Some(output)) = (node.inputs.first(), node.outputs.first()) else {
            continue;
        };
        let given = model.outlet_fact(*input)?.shape.as_concrete();
        let made = output.fact.shape.as_concrete();
        let (Some(given), Some(made)) = (given, made) else {
            continue;
        };
        if !given.contains(&0) {
            continue;
        }
        let nothing = match reduce.reducer {
            Reducer::ArgMax(_) | Reducer::ArgMin(_) => Nothing::Refused,
            Reducer::Max => Nothing::Least,
            Reducer::Min => Nothing::Most,
            Reducer::Prod | Reducer::All => Nothing::One,
            Reducer::Sum | Reducer::MeanOfSquares | Reducer::Any => Nothing::Zero,
        };
        results.push((node.id, nothing.of_shape(output.fact.datum_type, made)?));
    }
    for (node, result) in results {
        let mut patch = TypedModelPatch::default();
        let result = patch.add_const(format!("{}.nothing", model.node(node).name), result)?;
        patch.shunt_outside(model, node.into(), result)?;
        patch.apply(model)?;
    }
    Ok(())
}
