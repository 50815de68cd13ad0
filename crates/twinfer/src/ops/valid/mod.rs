//! What attributes and inputs of the engine's operators have to be (Operators.md), where the engine
//! does not ask.

use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::tract_hir::internal::*;

macro_rules! refuse {
    ($($text:tt)*) => {
        return Err(Refusal(format!($($text)*)).into())
    };
}

mod known;
mod slice;

use self::known::Of;
pub(super) use self::slice::ends;
use super::guard::Refusal;

/// The operators that are looked at.
pub(super) const OPERATORS: &[&str] = &[
    "ArgMax",
    "ArgMin",
    "AveragePool",
    "BlackmanWindow",
    "Concat",
    "ConstantOfShape",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "Compress",
    "CumSum",
    "DepthToSpace",
    "Div",
    "Einsum",
    "Expand",
    "Gather",
    "GatherElements",
    "GatherND",
    "GRU",
    "HammingWindow",
    "HannWindow",
    "Hardmax",
    "LogSoftmax",
    "LRN",
    "LSTM",
    "MatMul",
    "MaxPool",
    "Mod",
    "Multinomial",
    "OneHot",
    "Pad",
    "QLinearConv",
    "RandomNormal",
    "RandomUniform",
    "Range",
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
    "Resize",
    "RNN",
    "ScatterElements",
    "ScatterND",
    "Slice",
    "Softmax",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "STFT",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Upsample",
];

/// What is known of an input.
pub(super) struct Known {
    /// The lengths of the axes, where they are numbers.
    pub(super) shape: Option<Vec<Option<i64>>>,
    pub(super) value: Option<Arc<Tensor>>,
    pub(super) dtype: Option<DatumType>,
}

/// A longer axis than any value can have.
const MAX_LENGTH: i64 = 1 << 31;

/// More random numbers than a value can have, of four bytes each.
const MAX_RANDOM: i64 = 1 << 29;

/// A longer frame than any spectrum is made of.
const MAX_FRAME: i64 = 1 << 24;

/// Integers that the engine has a product of matrices for.
const OF_PRODUCTS: [DatumType; 3] = [DatumType::I8, DatumType::U8, DatumType::I32];

/// A larger block than any picture has.
const MAX_BLOCK: i64 = 1 << 16;

fn find<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// Attributes that are right or wrong whatever the inputs are.
pub(super) fn attributes(node: &NodeProto) -> TractResult<()> {
    for attribute in &node.attribute {
        let name = &attribute.name;
        match &**name {
            "strides" | "dilations" | "kernel_shape" if attribute.ints.iter().any(|&n| n < 1) => {
                refuse!("{name} {:?} has to be 1 or more", attribute.ints);
            }
            "group" | "hidden_size" if attribute.i < 1 => {
                refuse!("{name} has to be 1 or more, and is {}", attribute.i)
            }
            "blocksize" if !(1..=MAX_BLOCK).contains(&attribute.i) => {
                refuse!("{name} is {}", attribute.i)
            }
            "size" if node.op_type == "LRN" && attribute.i < 1 => {
                refuse!("{name} has to be 1 or more, and is {}", attribute.i)
            }
            "perm" => {
                let mut sorted = attribute.ints.clone();
                sorted.sort_unstable();
                if !sorted.iter().copied().eq(0..sorted.len() as i64) {
                    refuse!("perm {:?} is no order of axes", attribute.ints);
                }
            }
            "sample_size" if !(1..=MAX_LENGTH).contains(&attribute.i) => {
                refuse!("{name} is {}", attribute.i)
            }
            "shape" if node.op_type.starts_with("Random") => {
                let count = attribute.ints.iter().try_fold(1i64, |all, &n| match n {
                    0..=MAX_LENGTH => all.checked_mul(n),
                    _ => None,
                });
                if count.is_none_or(|count| count > MAX_RANDOM) {
                    refuse!("{name} {:?} is none, or too large", attribute.ints);
                }
            }
            "equation" => equation(&String::from_utf8_lossy(&attribute.s))?,
            _ => {}
        }
    }
    Ok(())
}

/// Every axis of the result of an `Einsum` is one of its inputs'.
fn equation(text: &str) -> TractResult<()> {
    let Some((given, made)) = text.split_once("->") else {
        return Ok(());
    };
    for axis in made.chars().filter(|axis| axis.is_alphabetic()) {
        if !given.contains(axis) {
            refuse!("axis `{axis}` of the result of `{text}` is in no input");
        }
    }
    Ok(())
}

/// The inputs of a node, as far as they are known.
pub(super) fn inputs(node: &NodeProto, version: i64, all: &[Option<Known>]) -> TractResult<()> {
    let input = |at: usize| all.get(at).and_then(Option::as_ref);
    let of = Of {
        node,
        version,
        shape: |at: usize| input(at).and_then(|known| known.shape.as_deref()),
        value: |at: usize| input(at).and_then(|known| known.value.as_deref()),
    };
    let dtype = input(0).and_then(|known| known.dtype);
    match &*node.op_type {
        "MatMul" => match dtype {
            Some(dtype) if dtype.is_integer() && !OF_PRODUCTS.contains(&dtype) => {
                refuse!(
                    "a product of matrices of {dtype:?} is not supported; cast them to FP32 or FP64"
                )
            }
            _ => Ok(()),
        },
        "Softmax" | "LogSoftmax" | "Hardmax" => of.axis(if version < 13 { 1 } else { -1 }, 0),
        "ArgMax" | "ArgMin" | "Concat" => of.axis(0, 0),
        "Split" => {
            of.axis(0, 0)?;
            of.split()
        }
        "Gather" => {
            of.axis(0, 0)?;
            of.indices()
        }
        "GatherElements" | "ScatterElements" => {
            of.axis(0, 0)?;
            of.same_rank(0, 1)?;
            of.indices()
        }
        "BlackmanWindow" | "HammingWindow" | "HannWindow" => match of.shape(0) {
            // The engine reads the first element, also where there is none.
            Some(shape)
                if shape
                    .iter()
                    .any(|length| length.is_some_and(|length| length != 1)) =>
            {
                refuse!(
                    "a size is one number, not a tensor of shape {}",
                    shown(shape)
                )
            }
            _ => Ok(()),
        },
        "Compress" => of.compress(),
        "Div" | "Mod" => of.divisor(),
        "STFT" => of.frames(),
        "ConvTranspose" => of.transposed(),
        "Trilu" => match of.rank() {
            Some(rank) if rank < 2 => refuse!("a triangle of an input of {rank} axes"),
            _ => Ok(()),
        },
        "OneHot" => of.one_hot(),
        "TopK" => of.top_k(),
        "CumSum" => of.axes(1, 0, false),
        "Unsqueeze" => of.unsqueeze(),
        "Squeeze" => of.axes(1, 0, true),
        "Slice" => match of.ints(4) {
            Some(steps) if steps.iter().any(|&n| n == 0 || n == i64::MIN) => {
                refuse!("a slice in steps of {steps:?}")
            }
            _ => of.axes(3, 0, false),
        },
        "Transpose" => match (of.shape(0), find(node, "perm")) {
            (Some(shape), Some(perm)) if shape.len() != perm.ints.len() => {
                refuse!("perm {:?} of {} axes", perm.ints, shape.len())
            }
            _ => Ok(()),
        },
        "GatherND" => of.gather_nd(),
        "ScatterND" => of.scatter_nd(),
        "Range" => of.range(),
        "ConstantOfShape" => of.lengths(0),
        "Expand" => of.lengths(1),
        "Tile" => of.tile(),
        "Pad" => of.pad(),
        "Resize" => of.resize(if version < 11 { 1 } else { 2 }, 3),
        "Upsample" => of.resize(1, 3),
        "LSTM" | "GRU" | "RNN" => of.hidden_size(),
        name if name.starts_with("Reduce") => of.axes(1, 0, false),
        _ => Ok(()),
    }
}

/// Whether a `Range` ends, and what it makes is no larger than any value may be.
pub(super) fn range(start: &Tensor, end: &Tensor, step: &Tensor) -> TractResult<()> {
    if [start, end, step].iter().any(|tensor| tensor.len() != 1) {
        refuse!("start, limit and delta of a range are one number each");
    }
    let is_integer = start.datum_type().is_integer() || start.datum_type() == DatumType::TDim;
    let number = |tensor: &Tensor| tensor.cast_to_scalar::<f64>();
    let (start, end, step) = (number(start)?, number(end)?, number(step)?);
    let count = ((end - start) / step).ceil();
    if step == 0.0 || !step.is_finite() || !count.is_finite() {
        refuse!("from {start} to {end} by {step} there is no end");
    }
    if count > MAX_RANGE {
        refuse!("from {start} to {end} by {step} are more than {MAX_RANGE} numbers");
    }
    // The engine adds the step once more than it needs to.
    if is_integer && [start, end, step].iter().any(|n| n.abs() >= MAX_STEP) {
        refuse!("from {start} to {end} by {step} is beyond the largest integers");
    }
    Ok(())
}

/// Numbers of a `Range`, of eight bytes at most.
const MAX_RANGE: f64 = (1u64 << 28) as f64;

/// 2^62: twice as much is an INT64 just so.
const MAX_STEP: f64 = (1u64 << 62) as f64;

/// Whether integers can be divided by these.
pub(super) fn check_divisor(divisor: &Tensor) -> TractResult<()> {
    let is_integer = divisor.datum_type().is_integer() || divisor.datum_type() == DatumType::TDim;
    if !is_integer {
        return Ok(());
    }
    let Ok(divisor) = divisor.cast_to::<i64>() else {
        return Ok(());
    };
    let divisor = divisor.try_as_plain_ram()?;
    if divisor.as_slice::<i64>()?.contains(&0) {
        refuse!("a division of integers by 0");
    }
    Ok(())
}

/// A shape for people.
fn shown(shape: &[Option<i64>]) -> String {
    let axis = |n: &Option<i64>| n.map_or("?".to_owned(), |n| n.to_string());
    let axes: Vec<String> = shape.iter().map(axis).collect();
    format!("[{}]", axes.join(", "))
}
