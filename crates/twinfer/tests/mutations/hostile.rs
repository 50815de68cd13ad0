//! Operators with sizes, indices and numbers that nobody means: each is refused, or gives what the
//! standard says, at once and in little memory. Each is tried with constants, which the engine
//! computes with when it prepares a model, and with values that come when it runs.

use prost::Message;
use tract_onnx::pb::{AttributeProto, TensorProto, ValueInfoProto, type_proto};
use twinfer::{ErrorCode, Session, Tensor, Value};

use crate::build::{
    BOOL, FLOAT, INT32, INT64, STRING, float, floats, graph, int, ints, model, node, text, value,
};

/// What is to come of it.
#[derive(Debug, Clone, PartialEq)]
enum Want {
    Refused,
    /// An output of this shape.
    Shape(&'static [usize]),
    /// These numbers.
    Numbers(&'static [f64]),
    /// Any result, or an error.
    Anything,
    /// Integers that are too large: they wrap around. A build with checks for that panics in the engine.
    Wraps,
    /// Refused where the input comes at run time. As a constant it is computed with unchecked.
    RefusedGiven,
}
use Want::{Anything, Numbers, Refused, RefusedGiven, Shape, Wraps};

/// An input.
#[derive(Clone)]
enum In {
    F(Vec<usize>, Vec<f32>),
    D(Vec<usize>, Vec<f64>),
    I(Vec<usize>, Vec<i64>),
    J(Vec<usize>, Vec<i32>),
    B(Vec<usize>, Vec<bool>),
    S(Vec<usize>, Vec<&'static str>),
    LeftOut,
}
use In::{B, D, F, I, J, LeftOut, S};

impl In {
    fn tensor(&self) -> Option<Tensor> {
        let made = match self {
            F(shape, all) => Tensor::from_vec(shape, all.clone()),
            D(shape, all) => Tensor::from_vec(shape, all.clone()),
            I(shape, all) => Tensor::from_vec(shape, all.clone()),
            J(shape, all) => Tensor::from_vec(shape, all.clone()),
            B(shape, all) => Tensor::from_vec(shape, all.clone()),
            S(shape, all) => {
                Tensor::from_strings(shape, all.iter().map(|&s| s.to_owned()).collect())
            }
            LeftOut => return None,
        };
        Some(made.unwrap())
    }

    fn code(&self) -> i32 {
        match self {
            F(..) => FLOAT,
            D(..) => 11,
            I(..) => INT64,
            J(..) => INT32,
            B(..) => BOOL,
            S(..) => STRING,
            LeftOut => 0,
        }
    }

    fn proto(&self, name: &str) -> TensorProto {
        let tensor = self.tensor().unwrap();
        TensorProto {
            name: name.into(),
            dims: tensor.shape().iter().map(|&n| n as i64).collect(),
            data_type: self.code(),
            raw_data: tensor.as_bytes().unwrap_or_default().to_vec(),
            string_data: match self {
                S(_, all) => all.iter().map(|s| s.as_bytes().to_vec()).collect(),
                _ => Vec::new(),
            },
            ..TensorProto::default()
        }
    }
}

/// A node and what it is given.
pub struct Case {
    operator: &'static str,
    attributes: Vec<AttributeProto>,
    inputs: Vec<In>,
    output: i32,
    want: Want,
}

fn case(
    operator: &'static str,
    attributes: &[AttributeProto],
    inputs: Vec<In>,
    output: i32,
    want: Want,
) -> Case {
    Case {
        operator,
        attributes: attributes.to_vec(),
        inputs,
        output,
        want,
    }
}

fn i(n: i64) -> In {
    I(vec![], vec![n])
}
fn f(x: f32) -> In {
    F(vec![], vec![x])
}
fn d(x: f64) -> In {
    D(vec![], vec![x])
}
fn list(all: &[i64]) -> In {
    I(vec![all.len()], all.to_vec())
}
fn numbers(all: &[f32]) -> In {
    F(vec![all.len()], all.to_vec())
}
/// Small numbers that differ.
fn x(shape: &[usize]) -> In {
    let count = shape.iter().product::<usize>();
    F(shape.to_vec(), (0..count).map(|n| n as f32 / 4.0).collect())
}

/// FP32 or another type, of any shape.
fn open(name: &str, code: i32) -> ValueInfoProto {
    let mut info = value(name, code, &[]);
    if let Some(type_proto::Value::TensorType(tensor)) =
        info.r#type.as_mut().and_then(|t| t.value.as_mut())
    {
        tensor.shape = None;
    }
    info
}

const LARGE: i64 = 1 << 40;

pub fn cases() -> Vec<Case> {
    let mut all = sizes();
    all.extend(attributes());
    all.extend(indices());
    all.extend(arithmetic());
    all.extend(windows());
    all
}

/// Outputs whose size an input says.
fn sizes() -> Vec<Case> {
    let nan = f32::NAN;
    let image = || x(&[1, 1, 2, 2]);
    vec![
        case("Range", &[], vec![i(0), i(LARGE), i(1)], INT64, Refused),
        case(
            "Range",
            &[],
            vec![i(i64::MIN), i(i64::MAX), i(1)],
            INT64,
            Refused,
        ),
        case("Range", &[], vec![i(0), i(5), i(0)], INT64, Refused),
        case(
            "Range",
            &[],
            vec![i(i64::MAX - 2), i(i64::MAX), i(2)],
            INT64,
            Anything,
        ),
        case("Range", &[], vec![i(0), i(5), i(i64::MIN)], INT64, Anything),
        case("Range", &[], vec![f(0.0), f(1e30), f(1.0)], FLOAT, Refused),
        case("Range", &[], vec![f(0.0), f(1.0), f(1e-30)], FLOAT, Refused),
        case("Range", &[], vec![f(0.0), f(1.0), f(0.0)], FLOAT, Refused),
        case("Range", &[], vec![f(0.0), f(1.0), f(nan)], FLOAT, Refused),
        case("Range", &[], vec![f(nan), f(1.0), f(1.0)], FLOAT, Refused),
        case(
            "Range",
            &[],
            vec![f(0.0), f(f32::INFINITY), f(1.0)],
            FLOAT,
            Refused,
        ),
        case("Range", &[], vec![d(0.0), d(1.0), d(1e-300)], 11, Refused),
        case(
            "Range",
            &[],
            vec![d(0.0), d(1.0), d(0.25)],
            11,
            Numbers(&[0.0, 0.25, 0.5, 0.75]),
        ),
        case("ConstantOfShape", &[], vec![list(&[LARGE])], FLOAT, Refused),
        case(
            "ConstantOfShape",
            &[],
            vec![list(&[1 << 31, 1 << 31, 1 << 31])],
            FLOAT,
            Refused,
        ),
        case("ConstantOfShape", &[], vec![list(&[-1])], FLOAT, Refused),
        case(
            "ConstantOfShape",
            &[],
            vec![list(&[0, LARGE])],
            FLOAT,
            Anything,
        ),
        case("Expand", &[], vec![x(&[1]), list(&[LARGE])], FLOAT, Refused),
        case(
            "Expand",
            &[],
            vec![x(&[2]), list(&[1 << 31, 1 << 31, 1 << 31, 1])],
            FLOAT,
            Refused,
        ),
        case("Expand", &[], vec![x(&[2]), list(&[-2])], FLOAT, Refused),
        case("Expand", &[], vec![x(&[2]), list(&[3])], FLOAT, Refused),
        case("Expand", &[], vec![x(&[1]), list(&[0])], FLOAT, Shape(&[0])),
        case("Tile", &[], vec![x(&[2]), list(&[LARGE])], FLOAT, Refused),
        case(
            "Tile",
            &[],
            vec![x(&[2]), list(&[i64::MAX])],
            FLOAT,
            Refused,
        ),
        case("Tile", &[], vec![x(&[2]), list(&[-1])], FLOAT, Refused),
        case("Tile", &[], vec![x(&[2]), list(&[1, 1])], FLOAT, Refused),
        case("Tile", &[], vec![x(&[2]), list(&[0])], FLOAT, Shape(&[0])),
        case("Pad", &[], vec![x(&[2]), list(&[LARGE, 0])], FLOAT, Refused),
        case(
            "Pad",
            &[],
            vec![x(&[2]), list(&[i64::MAX, i64::MAX])],
            FLOAT,
            Refused,
        ),
        case("Pad", &[], vec![x(&[2]), list(&[-2, -2])], FLOAT, Refused),
        case(
            "Pad",
            &[],
            vec![x(&[2]), list(&[i64::MIN, 0])],
            FLOAT,
            Refused,
        ),
        case("Pad", &[], vec![x(&[2]), list(&[1])], FLOAT, Refused),
        case(
            "Pad",
            &[text("mode", "reflect")],
            vec![x(&[2]), list(&[LARGE, 0])],
            FLOAT,
            Refused,
        ),
        case(
            "Pad",
            &[text("mode", "reflect")],
            vec![x(&[0]), list(&[1, 0])],
            FLOAT,
            Refused,
        ),
        case(
            "Pad",
            &[text("mode", "edge")],
            vec![x(&[0]), list(&[1, 0])],
            FLOAT,
            Refused,
        ),
        case(
            "Resize",
            &[],
            vec![image(), LeftOut, numbers(&[1.0, 1.0, 1e30, 1.0])],
            FLOAT,
            Refused,
        ),
        case(
            "Resize",
            &[],
            vec![image(), LeftOut, numbers(&[1.0, 1.0, nan, 1.0])],
            FLOAT,
            Refused,
        ),
        case(
            "Resize",
            &[],
            vec![image(), LeftOut, numbers(&[1.0, 1.0, 0.0, 1.0])],
            FLOAT,
            Refused,
        ),
        case(
            "Resize",
            &[],
            vec![image(), LeftOut, numbers(&[1.0, 1.0, -1.0, 1.0])],
            FLOAT,
            Refused,
        ),
        case(
            "Resize",
            &[],
            vec![image(), LeftOut, numbers(&[1.0, 2.0])],
            FLOAT,
            Refused,
        ),
        case(
            "Resize",
            &[],
            vec![image(), LeftOut, LeftOut, list(&[1, 1, LARGE, 2])],
            FLOAT,
            Refused,
        ),
        case(
            "Resize",
            &[],
            vec![image(), LeftOut, LeftOut, list(&[1, 1, -2, 2])],
            FLOAT,
            Refused,
        ),
        case(
            "Resize",
            &[text("mode", "cubic")],
            vec![image(), LeftOut, LeftOut, list(&[1, 1, LARGE, LARGE])],
            FLOAT,
            Refused,
        ),
        case(
            "OneHot",
            &[],
            vec![list(&[1]), i(LARGE), numbers(&[0.0, 1.0])],
            FLOAT,
            Refused,
        ),
        case(
            "OneHot",
            &[],
            vec![list(&[1]), i(-1), numbers(&[0.0, 1.0])],
            FLOAT,
            Refused,
        ),
        case(
            "OneHot",
            &[],
            vec![list(&[1]), i(2), numbers(&[0.0])],
            FLOAT,
            Refused,
        ),
        case(
            "OneHot",
            &[],
            vec![list(&[-3, 9, 1]), i(2), numbers(&[0.0, 1.0])],
            FLOAT,
            Shape(&[3, 2]),
        ),
        case(
            "CenterCropPad",
            &[],
            vec![x(&[2]), list(&[LARGE])],
            FLOAT,
            Refused,
        ),
        case(
            "AffineGrid",
            &[],
            vec![x(&[1, 2, 3]), list(&[1, 1, 1 << 31, 1 << 31])],
            FLOAT,
            Refused,
        ),
        case("DFT", &[], vec![x(&[1, 2, 1]), i(LARGE)], FLOAT, Refused),
        case("DFT", &[], vec![x(&[1, 2, 1]), i(0)], FLOAT, Anything),
        case("DFT", &[], vec![x(&[1, 2, 1]), i(-1)], FLOAT, Refused),
        case(
            "STFT",
            &[],
            vec![x(&[1, 8, 1]), i(0), LeftOut, i(4)],
            FLOAT,
            Refused,
        ),
        case(
            "STFT",
            &[],
            vec![x(&[1, 8, 1]), i(1), LeftOut, i(LARGE)],
            FLOAT,
            Refused,
        ),
        case(
            "STFT",
            &[],
            vec![x(&[1, 8, 1]), i(1), LeftOut, i(0)],
            FLOAT,
            Refused,
        ),
        case("HannWindow", &[], vec![i(LARGE)], FLOAT, Refused),
        case("HannWindow", &[], vec![i(-1)], FLOAT, Refused),
        case("BlackmanWindow", &[], vec![list(&[])], FLOAT, Refused),
        case("Range", &[], vec![list(&[]), i(5), i(1)], INT64, Refused),
        case("TopK", &[], vec![x(&[3]), list(&[4])], FLOAT, Refused),
        case("TopK", &[], vec![x(&[3]), list(&[-1])], FLOAT, Refused),
        case("TopK", &[], vec![x(&[3]), list(&[LARGE])], FLOAT, Refused),
        case("TopK", &[], vec![x(&[3]), list(&[0])], FLOAT, Shape(&[0])),
        case(
            "TopK",
            &[int("axis", 1)],
            vec![x(&[3]), list(&[1])],
            FLOAT,
            Refused,
        ),
        case(
            "Reshape",
            &[],
            vec![x(&[0]), list(&[-1, 0])],
            FLOAT,
            Anything,
        ),
        case(
            "Reshape",
            &[],
            vec![x(&[0]), list(&[0, -1])],
            FLOAT,
            Anything,
        ),
        case(
            "Reshape",
            &[],
            vec![x(&[0]), list(&[2, -1])],
            FLOAT,
            Shape(&[2, 0]),
        ),
        case(
            "Reshape",
            &[],
            vec![x(&[4]), list(&[3, -1])],
            FLOAT,
            Refused,
        ),
        case(
            "Reshape",
            &[],
            vec![x(&[4]), list(&[-1, -1])],
            FLOAT,
            Refused,
        ),
        case(
            "Reshape",
            &[],
            vec![x(&[4]), list(&[-2, 2])],
            FLOAT,
            Refused,
        ),
        case(
            "Reshape",
            &[],
            vec![x(&[4]), list(&[LARGE, LARGE])],
            FLOAT,
            Refused,
        ),
        case("Reshape", &[], vec![x(&[4]), list(&[4, 0])], FLOAT, Refused),
        case(
            "MaxUnpool",
            &[ints("kernel_shape", &[2, 2])],
            vec![
                image(),
                I(vec![1, 1, 2, 2], vec![0, 1, 2, 3]),
                list(&[1, 1, 1 << 31, 1 << 31]),
            ],
            FLOAT,
            Refused,
        ),
        case(
            "MaxUnpool",
            &[ints("kernel_shape", &[1, 1])],
            vec![image(), I(vec![1, 1, 2, 2], vec![0, 1, LARGE, -1])],
            FLOAT,
            Refused,
        ),
        case(
            "Col2Im",
            &[],
            vec![x(&[1, 4, 1]), list(&[LARGE, 2]), list(&[2, 2])],
            FLOAT,
            Refused,
        ),
        case(
            "Col2Im",
            &[],
            vec![x(&[1, 4, 1]), list(&[2, 2]), list(&[0, 2])],
            FLOAT,
            Refused,
        ),
        case(
            "NonMaxSuppression",
            &[],
            vec![x(&[1, 1, 4]), x(&[1, 1, 1]), i(i64::MAX)],
            INT64,
            Anything,
        ),
        case(
            "NonMaxSuppression",
            &[],
            vec![x(&[1, 2, 4]), x(&[1, 1, 1]), i(1)],
            INT64,
            Refused,
        ),
        case(
            "NonMaxSuppression",
            &[],
            vec![x(&[1, 1, 4]), x(&[1, 1, 1]), i(-1)],
            INT64,
            Anything,
        ),
    ]
}

/// Outputs whose size an attribute says.
fn attributes() -> Vec<Case> {
    let image = || x(&[1, 4, 2, 2]);
    let rois = || vec![image(), x(&[1, 4]), list(&[0])];
    vec![
        case(
            "RandomUniform",
            &[ints("shape", &[LARGE])],
            vec![],
            FLOAT,
            Refused,
        ),
        case(
            "RandomNormal",
            &[ints("shape", &[-1])],
            vec![],
            FLOAT,
            Refused,
        ),
        case(
            "RandomUniform",
            &[ints("shape", &[2, 3])],
            vec![],
            FLOAT,
            Shape(&[2, 3]),
        ),
        case(
            "Multinomial",
            &[int("sample_size", LARGE)],
            vec![x(&[1, 3])],
            INT32,
            Refused,
        ),
        case(
            "Multinomial",
            &[int("sample_size", -1)],
            vec![x(&[1, 3])],
            INT32,
            Refused,
        ),
        case(
            "RoiAlign",
            &[int("output_height", LARGE)],
            rois(),
            FLOAT,
            Refused,
        ),
        case(
            "RoiAlign",
            &[int("output_height", 0)],
            rois(),
            FLOAT,
            Anything,
        ),
        case(
            "RoiAlign",
            &[int("sampling_ratio", LARGE)],
            rois(),
            FLOAT,
            Refused,
        ),
        case(
            "DepthToSpace",
            &[int("blocksize", 0)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "DepthToSpace",
            &[int("blocksize", -2)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "DepthToSpace",
            &[int("blocksize", 3)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "DepthToSpace",
            &[int("blocksize", LARGE)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "SpaceToDepth",
            &[int("blocksize", 0)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "SpaceToDepth",
            &[int("blocksize", 3)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "SpaceToDepth",
            &[int("blocksize", i64::MIN)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case("LRN", &[int("size", LARGE)], vec![image()], FLOAT, Anything),
        case("LRN", &[int("size", 0)], vec![image()], FLOAT, Refused),
        case(
            "EyeLike",
            &[int("k", i64::MIN)],
            vec![x(&[2, 2])],
            FLOAT,
            Shape(&[2, 2]),
        ),
        case(
            "EyeLike",
            &[int("k", 0)],
            vec![x(&[0, 2])],
            FLOAT,
            Shape(&[0, 2]),
        ),
        case("Flatten", &[int("axis", 5)], vec![image()], FLOAT, Refused),
        case(
            "Transpose",
            &[ints("perm", &[0, 1, 2, 9])],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "Transpose",
            &[ints("perm", &[0, 0, 1, 2])],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "Transpose",
            &[ints("perm", &[0])],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "Concat",
            &[int("axis", 9)],
            vec![image(), image()],
            FLOAT,
            Refused,
        ),
        case(
            "Concat",
            &[int("axis", 1)],
            vec![image(), x(&[1, 4, 3, 2])],
            FLOAT,
            Refused,
        ),
        case("Softmax", &[int("axis", 4)], vec![image()], FLOAT, Refused),
        case(
            "Softmax",
            &[int("axis", i64::MIN)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "LogSoftmax",
            &[int("axis", 4)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case("ArgMax", &[int("axis", 4)], vec![image()], INT64, Refused),
        case(
            "ArgMax",
            &[int("axis", 0)],
            vec![x(&[0, 2])],
            INT64,
            Refused,
        ),
        case(
            "ReduceMax",
            &[ints("axes", &[4])],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "ReduceMax",
            &[ints("axes", &[i64::MIN])],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "ReduceMean",
            &[ints("axes", &[0]), int("keepdims", 0)],
            vec![x(&[0, 2])],
            FLOAT,
            Shape(&[2]),
        ),
        case(
            "ReduceMean",
            &[ints("axes", &[0]), int("keepdims", 0)],
            vec![I(vec![0, 2], vec![])],
            INT64,
            Numbers(&[0.0, 0.0]),
        ),
        case(
            "LpNormalization",
            &[int("axis", 4)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case("Unique", &[int("axis", 4)], vec![image()], FLOAT, Refused),
        case(
            "Einsum",
            &[text("equation", "ij,jk->il")],
            vec![x(&[2, 2]), x(&[2, 2])],
            FLOAT,
            Refused,
        ),
        case(
            "Einsum",
            &[text("equation", "ij")],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "Einsum",
            &[text("equation", "->")],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "Einsum",
            &[text("equation", "ij,kj->ik")],
            vec![x(&[2, 0]), x(&[3, 0])],
            FLOAT,
            Numbers(&[0.0; 6]),
        ),
        case(
            "Gemm",
            &[],
            vec![x(&[2, 0]), x(&[0, 3])],
            FLOAT,
            Numbers(&[0.0; 6]),
        ),
        case(
            "MatMul",
            &[],
            vec![x(&[2, 0]), x(&[0, 3])],
            FLOAT,
            Numbers(&[0.0; 6]),
        ),
        case("MatMul", &[], vec![x(&[2, 3]), x(&[2, 3])], FLOAT, Refused),
        case(
            "LSTM",
            &[int("hidden_size", LARGE)],
            vec![x(&[1, 1, 2]), x(&[1, 8, 2]), x(&[1, 8, 2])],
            FLOAT,
            Refused,
        ),
        case(
            "LSTM",
            &[int("hidden_size", -1)],
            vec![x(&[1, 1, 2]), x(&[1, 8, 2]), x(&[1, 8, 2])],
            FLOAT,
            Refused,
        ),
        case(
            "GRU",
            &[int("hidden_size", 0)],
            vec![x(&[1, 1, 2]), x(&[1, 6, 2]), x(&[1, 6, 2])],
            FLOAT,
            Refused,
        ),
        case(
            "LSTM",
            &[int("hidden_size", 2)],
            vec![x(&[0, 1, 2]), x(&[1, 8, 2]), x(&[1, 8, 2])],
            FLOAT,
            Anything,
        ),
        case(
            "LayerNormalization",
            &[],
            vec![x(&[2, 0]), x(&[0])],
            FLOAT,
            Anything,
        ),
        case(
            "InstanceNormalization",
            &[],
            vec![x(&[1, 2, 0]), x(&[2]), x(&[2])],
            FLOAT,
            Anything,
        ),
        case(
            "GlobalAveragePool",
            &[],
            vec![x(&[1, 2, 0, 2])],
            FLOAT,
            Anything,
        ),
        case(
            "GlobalMaxPool",
            &[],
            vec![x(&[1, 2, 0, 2])],
            FLOAT,
            Anything,
        ),
        case("LpNormalization", &[], vec![x(&[2, 0])], FLOAT, Anything),
        case(
            "MeanVarianceNormalization",
            &[],
            vec![x(&[1, 2, 0, 2])],
            FLOAT,
            Anything,
        ),
        case("Softmax", &[], vec![x(&[2, 0])], FLOAT, Shape(&[2, 0])),
        case(
            "RegexFullMatch",
            &[text("pattern", "((a{1000}){1000}){1000}")],
            vec![S(vec![1], vec!["a"])],
            BOOL,
            Refused,
        ),
        case(
            "RegexFullMatch",
            &[text("pattern", "(a*)*b")],
            vec![S(vec![1], vec!["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"])],
            BOOL,
            Anything,
        ),
        case(
            "RegexFullMatch",
            &[text("pattern", "(")],
            vec![S(vec![1], vec!["a"])],
            BOOL,
            Refused,
        ),
        case(
            "StringSplit",
            &[int("maxsplit", i64::MIN), text("delimiter", "")],
            vec![S(vec![1], vec!["a b"])],
            STRING,
            Anything,
        ),
        case("Cast", &[int("to", 99)], vec![x(&[1])], FLOAT, Refused),
        case("Cast", &[int("to", -1)], vec![x(&[1])], FLOAT, Refused),
    ]
}

/// Indices, axes and places.
fn indices() -> Vec<Case> {
    let split = |sizes: &[i64]| vec![x(&[4]), list(sizes)];
    vec![
        case("Gather", &[], vec![x(&[3]), list(&[3])], FLOAT, Refused),
        case("Gather", &[], vec![x(&[3]), list(&[-4])], FLOAT, Refused),
        case(
            "Gather",
            &[],
            vec![x(&[3]), list(&[i64::MIN])],
            FLOAT,
            Refused,
        ),
        case("Gather", &[], vec![x(&[0]), list(&[0])], FLOAT, Refused),
        case("Gather", &[], vec![x(&[0]), list(&[])], FLOAT, Shape(&[0])),
        case(
            "Gather",
            &[int("axis", 1)],
            vec![x(&[3]), list(&[0])],
            FLOAT,
            Refused,
        ),
        case("Gather", &[], vec![f(1.0), list(&[0])], FLOAT, Refused),
        case(
            "GatherElements",
            &[],
            vec![x(&[3]), list(&[3])],
            FLOAT,
            Refused,
        ),
        case(
            "GatherElements",
            &[],
            vec![x(&[3]), list(&[i64::MIN])],
            FLOAT,
            Refused,
        ),
        case(
            "GatherElements",
            &[int("axis", 1)],
            vec![x(&[3]), list(&[0])],
            FLOAT,
            Refused,
        ),
        case(
            "GatherElements",
            &[],
            vec![x(&[3, 2]), list(&[0])],
            FLOAT,
            Refused,
        ),
        case(
            "GatherElements",
            &[],
            vec![x(&[3]), list(&[0, 0, 0, 0])],
            FLOAT,
            Shape(&[4]),
        ),
        case(
            "GatherND",
            &[],
            vec![x(&[3]), I(vec![1, 1], vec![3])],
            FLOAT,
            Refused,
        ),
        case(
            "GatherND",
            &[],
            vec![x(&[3]), I(vec![1, 1], vec![i64::MIN])],
            FLOAT,
            Refused,
        ),
        case(
            "GatherND",
            &[],
            vec![x(&[3]), I(vec![1, 2], vec![0, 0])],
            FLOAT,
            Refused,
        ),
        case("GatherND", &[], vec![x(&[3]), i(0)], FLOAT, Refused),
        case(
            "GatherND",
            &[int("batch_dims", 1)],
            vec![x(&[3]), I(vec![2, 1], vec![0, 0])],
            FLOAT,
            Refused,
        ),
        case(
            "GatherND",
            &[int("batch_dims", LARGE)],
            vec![x(&[3]), I(vec![1, 1], vec![0])],
            FLOAT,
            Refused,
        ),
        case(
            "ScatterND",
            &[],
            vec![x(&[3]), I(vec![1, 1], vec![3]), x(&[1])],
            FLOAT,
            Refused,
        ),
        case(
            "ScatterND",
            &[],
            vec![x(&[3]), I(vec![1, 1], vec![i64::MIN]), x(&[1])],
            FLOAT,
            Refused,
        ),
        case(
            "ScatterND",
            &[],
            vec![x(&[3]), I(vec![1, 2], vec![0, 0]), x(&[1])],
            FLOAT,
            Refused,
        ),
        case(
            "ScatterND",
            &[],
            vec![x(&[3]), I(vec![1, 1], vec![0]), x(&[2])],
            FLOAT,
            Refused,
        ),
        case(
            "ScatterND",
            &[],
            vec![x(&[3]), I(vec![0, 1], vec![]), x(&[0])],
            FLOAT,
            Shape(&[3]),
        ),
        case(
            "ScatterElements",
            &[],
            vec![x(&[3]), list(&[3]), x(&[1])],
            FLOAT,
            Refused,
        ),
        case(
            "ScatterElements",
            &[],
            vec![x(&[3]), list(&[i64::MIN]), x(&[1])],
            FLOAT,
            Refused,
        ),
        case(
            "ScatterElements",
            &[],
            vec![x(&[3]), list(&[0, 1]), x(&[1])],
            FLOAT,
            Refused,
        ),
        case(
            "ScatterElements",
            &[int("axis", 1)],
            vec![x(&[3]), list(&[0]), x(&[1])],
            FLOAT,
            Refused,
        ),
        case(
            "ScatterElements",
            &[],
            vec![x(&[3, 1]), list(&[0]), x(&[1])],
            FLOAT,
            Refused,
        ),
        case(
            "Slice",
            &[],
            vec![x(&[4]), list(&[0]), list(&[4]), list(&[0]), list(&[0])],
            FLOAT,
            Refused,
        ),
        case(
            "Slice",
            &[],
            vec![
                x(&[4]),
                list(&[3]),
                list(&[i64::MIN]),
                list(&[0]),
                list(&[i64::MIN]),
            ],
            FLOAT,
            Refused,
        ),
        case(
            "Slice",
            &[],
            vec![
                x(&[4]),
                list(&[i64::MIN]),
                list(&[i64::MAX]),
                list(&[0]),
                list(&[i64::MAX]),
            ],
            FLOAT,
            Numbers(&[0.0]),
        ),
        case(
            "Slice",
            &[],
            vec![x(&[4]), list(&[3]), list(&[1])],
            FLOAT,
            Shape(&[0]),
        ),
        case(
            "Slice",
            &[],
            vec![x(&[4]), list(&[1]), list(&[3]), list(&[0]), list(&[-1])],
            FLOAT,
            Shape(&[0]),
        ),
        case(
            "Slice",
            &[],
            vec![x(&[4]), list(&[-1]), list(&[-3])],
            FLOAT,
            Shape(&[0]),
        ),
        case(
            "Slice",
            &[],
            vec![
                x(&[4]),
                list(&[3]),
                list(&[i64::MIN + 2]),
                list(&[0]),
                list(&[-1]),
            ],
            FLOAT,
            Numbers(&[0.75, 0.5, 0.25, 0.0]),
        ),
        case(
            "Slice",
            &[],
            vec![x(&[4]), list(&[0]), list(&[1]), list(&[1])],
            FLOAT,
            Refused,
        ),
        case(
            "Slice",
            &[],
            vec![x(&[4]), list(&[0, 0]), list(&[1])],
            FLOAT,
            Refused,
        ),
        case(
            "Slice",
            &[],
            vec![x(&[4]), list(&[0, 0]), list(&[1, 1]), list(&[0, 0])],
            FLOAT,
            Anything,
        ),
        case("Split", &[], split(&[1, 1]), FLOAT, Refused),
        case("Split", &[], split(&[3, 3]), FLOAT, Refused),
        case("Split", &[], split(&[-1, 5]), FLOAT, Refused),
        case("Split", &[], split(&[i64::MAX, i64::MAX]), FLOAT, Refused),
        case("Split", &[int("axis", 1)], split(&[4]), FLOAT, Refused),
        case("Squeeze", &[], vec![x(&[2, 1]), list(&[0])], FLOAT, Refused),
        case("Squeeze", &[], vec![x(&[2, 1]), list(&[2])], FLOAT, Refused),
        case(
            "Squeeze",
            &[],
            vec![x(&[2, 1]), list(&[1, 1])],
            FLOAT,
            Anything,
        ),
        case("Unsqueeze", &[], vec![x(&[2]), list(&[5])], FLOAT, Refused),
        case(
            "Unsqueeze",
            &[],
            vec![x(&[2]), list(&[0, 0])],
            FLOAT,
            Refused,
        ),
        case(
            "Unsqueeze",
            &[],
            vec![x(&[2]), list(&[i64::MIN])],
            FLOAT,
            Refused,
        ),
        case("CumSum", &[], vec![x(&[2]), i(1)], FLOAT, Refused),
        case("CumSum", &[], vec![x(&[2]), i(i64::MIN)], FLOAT, Refused),
        case("CumSum", &[], vec![f(1.0), i(0)], FLOAT, Refused),
        case(
            "Trilu",
            &[],
            vec![x(&[2, 2]), i(i64::MIN)],
            FLOAT,
            Shape(&[2, 2]),
        ),
        case("Trilu", &[], vec![x(&[2, 0]), i(0)], FLOAT, Shape(&[2, 0])),
        case("Trilu", &[], vec![x(&[2]), i(0)], FLOAT, Refused),
        case(
            "Compress",
            &[],
            vec![x(&[2]), B(vec![3], vec![true; 3])],
            FLOAT,
            Refused,
        ),
        case(
            "ReverseSequence",
            &[],
            vec![x(&[2, 2]), list(&[3, 1])],
            FLOAT,
            Refused,
        ),
        case("TopK", &[], vec![x(&[0]), list(&[0])], FLOAT, Shape(&[0])),
    ]
}

/// Numbers that have no result, or too large a one.
fn arithmetic() -> Vec<Case> {
    let long = |all: &[i64]| I(vec![all.len()], all.to_vec());
    let short = |all: &[i32]| J(vec![all.len()], all.to_vec());
    let to = |code: i32| [int("to", i64::from(code))];
    let odd = || numbers(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30]);
    vec![
        case(
            "Div",
            &[],
            vec![long(&[1, 2]), long(&[0, 1])],
            INT64,
            Anything,
        ),
        case(
            "Div",
            &[],
            vec![short(&[1, 2]), short(&[0, 1])],
            INT32,
            Anything,
        ),
        case("Div", &[], vec![long(&[1, 2]), i(0)], INT64, Anything),
        case(
            "Div",
            &[],
            vec![long(&[i64::MIN]), long(&[-1])],
            INT64,
            Wraps,
        ),
        case(
            "Div",
            &[],
            vec![short(&[i32::MIN]), short(&[-1])],
            INT32,
            Anything,
        ),
        case(
            "Mod",
            &[],
            vec![long(&[1, 2]), long(&[0, 1])],
            INT64,
            Anything,
        ),
        case(
            "Mod",
            &[int("fmod", 1)],
            vec![long(&[1, 2]), long(&[0, 1])],
            INT64,
            Anything,
        ),
        case(
            "Mod",
            &[],
            vec![long(&[i64::MIN]), long(&[-1])],
            INT64,
            Wraps,
        ),
        case(
            "Mod",
            &[int("fmod", 1)],
            vec![short(&[i32::MIN]), short(&[-1])],
            INT32,
            Anything,
        ),
        case("Neg", &[], vec![long(&[i64::MIN])], INT64, Wraps),
        case("Abs", &[], vec![long(&[i64::MIN])], INT64, Wraps),
        case("Abs", &[], vec![short(&[i32::MIN])], INT32, Wraps),
        case(
            "Add",
            &[],
            vec![long(&[i64::MAX]), long(&[1])],
            INT64,
            Wraps,
        ),
        case(
            "Sub",
            &[],
            vec![long(&[i64::MIN]), long(&[1])],
            INT64,
            Wraps,
        ),
        case(
            "Mul",
            &[],
            vec![long(&[i64::MAX]), long(&[2])],
            INT64,
            Shape(&[1]),
        ),
        case(
            "Mul",
            &[],
            vec![short(&[i32::MAX]), short(&[2])],
            INT32,
            Shape(&[1]),
        ),
        case(
            "Sum",
            &[],
            vec![long(&[i64::MAX]), long(&[1])],
            INT64,
            Wraps,
        ),
        case("Pow", &[], vec![long(&[2]), long(&[LARGE])], INT64, Wraps),
        case("Pow", &[], vec![long(&[2]), long(&[-1])], INT64, Wraps),
        case(
            "Pow",
            &[],
            vec![short(&[i32::MIN]), short(&[33])],
            INT32,
            Wraps,
        ),
        case(
            "ReduceSum",
            &[],
            vec![long(&[i64::MAX, i64::MAX])],
            INT64,
            Anything,
        ),
        case(
            "ReduceProd",
            &[],
            vec![long(&[i64::MAX, i64::MAX])],
            INT64,
            Wraps,
        ),
        case("ReduceL1", &[], vec![long(&[i64::MIN])], INT64, Wraps),
        case(
            "ReduceSumSquare",
            &[],
            vec![long(&[i64::MIN])],
            INT64,
            Anything,
        ),
        case(
            "ReduceMean",
            &[],
            vec![long(&[i64::MAX, i64::MAX])],
            INT64,
            Anything,
        ),
        case(
            "CumSum",
            &[],
            vec![long(&[i64::MAX, i64::MAX]), i(0)],
            INT64,
            Wraps,
        ),
        case(
            "MatMul",
            &[],
            vec![I(vec![1, 1], vec![i64::MAX]), I(vec![1, 1], vec![2])],
            INT64,
            Refused,
        ),
        case("Cast", &to(INT32), vec![odd()], INT32, Shape(&[4])),
        case("Cast", &to(INT64), vec![odd()], INT64, Shape(&[4])),
        case("Cast", &to(2), vec![odd()], 2, Shape(&[4])),
        case("Cast", &to(BOOL), vec![odd()], BOOL, Shape(&[4])),
        case(
            "Cast",
            &to(3),
            vec![long(&[i64::MAX, i64::MIN])],
            3,
            Shape(&[2]),
        ),
        case(
            "Cast",
            &to(FLOAT),
            vec![S(vec![1], vec!["abc"])],
            FLOAT,
            Refused,
        ),
        case(
            "Cast",
            &to(INT64),
            vec![S(vec![1], vec!["1e400"])],
            INT64,
            Anything,
        ),
        case("Sqrt", &[], vec![odd()], FLOAT, Shape(&[4])),
        case("Log", &[], vec![numbers(&[0.0, -1.0])], FLOAT, Shape(&[2])),
        case("Round", &[], vec![odd()], FLOAT, Shape(&[4])),
        case(
            "Clip",
            &[],
            vec![x(&[2]), f(1.0), f(-1.0)],
            FLOAT,
            Numbers(&[-1.0, -1.0]),
        ),
        case("Clip", &[], vec![x(&[2]), f(f32::NAN)], FLOAT, Anything),
        case("QuantizeLinear", &[], vec![odd(), f(0.0)], 2, Anything),
        case("DynamicQuantizeLinear", &[], vec![x(&[0])], 2, Anything),
        case("DynamicQuantizeLinear", &[], vec![odd()], 2, Anything),
        case("TopK", &[], vec![odd(), list(&[2])], FLOAT, Shape(&[2])),
        case("ArgMax", &[], vec![odd()], INT64, Shape(&[1])),
        case("Det", &[], vec![x(&[2, 3])], FLOAT, Refused),
        case("Det", &[], vec![x(&[0, 0])], FLOAT, Anything),
    ]
}

/// Windows that do not fit.
fn windows() -> Vec<Case> {
    let image = || x(&[1, 1, 2, 2]);
    let kernel = |size: i64| ints("kernel_shape", &[size, size]);
    let same = |name: &str, n: i64, count: usize| ints(name, &vec![n; count]);
    let conv = |size: usize| vec![image(), x(&[1, 1, size, size])];
    vec![
        case("Conv", &[], conv(3), FLOAT, RefusedGiven),
        case("Conv", &[same("pads", 1, 4)], conv(5), FLOAT, RefusedGiven),
        case("Conv", &[same("pads", -2, 4)], conv(1), FLOAT, Refused),
        case("Conv", &[same("strides", 0, 2)], conv(1), FLOAT, Refused),
        case("Conv", &[same("strides", -1, 2)], conv(1), FLOAT, Refused),
        case("Conv", &[same("dilations", 0, 2)], conv(1), FLOAT, Refused),
        case(
            "Conv",
            &[same("dilations", 2, 2)],
            conv(2),
            FLOAT,
            RefusedGiven,
        ),
        case("Conv", &[int("group", 0)], conv(1), FLOAT, Refused),
        case("Conv", &[int("group", 2)], conv(1), FLOAT, Refused),
        case("Conv", &[int("group", -1)], conv(1), FLOAT, Refused),
        case("Conv", &[], vec![image(), x(&[1, 2, 1, 1])], FLOAT, Refused),
        case("Conv", &[], vec![image(), x(&[1, 1, 1])], FLOAT, Refused),
        case(
            "Conv",
            &[],
            vec![x(&[0, 1, 2, 2]), x(&[1, 1, 1, 1])],
            FLOAT,
            Shape(&[0, 1, 2, 2]),
        ),
        case("Conv", &[same("pads", 1 << 20, 4)], conv(1), FLOAT, Refused),
        case("MaxPool", &[kernel(3)], vec![image()], FLOAT, RefusedGiven),
        case("MaxPool", &[kernel(0)], vec![image()], FLOAT, Refused),
        case(
            "MaxPool",
            &[kernel(1), same("strides", 0, 2)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "MaxPool",
            &[kernel(1), same("pads", 1 << 20, 4)],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "AveragePool",
            &[kernel(3)],
            vec![image()],
            FLOAT,
            RefusedGiven,
        ),
        case("AveragePool", &[kernel(-1)], vec![image()], FLOAT, Refused),
        case("LpPool", &[kernel(3)], vec![image()], FLOAT, Refused),
        case(
            "ConvTranspose",
            &[ints("output_shape", &[LARGE, LARGE])],
            conv(1),
            FLOAT,
            Refused,
        ),
        case(
            "ConvTranspose",
            &[same("strides", 1 << 24, 2)],
            conv(1),
            FLOAT,
            Refused,
        ),
        case(
            "ConvTranspose",
            &[same("strides", 0, 2)],
            conv(1),
            FLOAT,
            Refused,
        ),
        case(
            "ConvTranspose",
            &[same("pads", 5, 4)],
            conv(1),
            FLOAT,
            Refused,
        ),
        case("ConvTranspose", &[int("group", 0)], conv(1), FLOAT, Refused),
        case(
            "GridSample",
            &[],
            vec![image(), F(vec![1, 1, 1, 2], vec![f32::NAN, 1e30])],
            FLOAT,
            Wraps,
        ),
        case(
            "GridSample",
            &[],
            vec![x(&[1, 1, 0, 0]), x(&[1, 1, 1, 2])],
            FLOAT,
            Anything,
        ),
        case(
            "Upsample",
            &[floats("scales", &[1.0, 1.0, 1e30, 1.0])],
            vec![image()],
            FLOAT,
            Refused,
        ),
        case(
            "InstanceNormalization",
            &[float("epsilon", f32::NAN)],
            vec![image(), x(&[1]), x(&[1])],
            FLOAT,
            Anything,
        ),
    ]
}

/// Loads and runs a case, with the inputs of `given` coming when it runs. What is wrong with what comes
/// of it, if anything.
fn tried(case: &Case, given: impl Fn(usize) -> bool) -> Option<String> {
    let mut names = String::new();
    let (mut infos, mut initializers, mut tensors) = (Vec::new(), Vec::new(), Vec::new());
    for (at, input) in case.inputs.iter().enumerate() {
        let name = format!("i{at}");
        match input.tensor() {
            None => names.push_str(" _"),
            Some(tensor) => {
                names.push_str(&format!(" {name}"));
                if given(at) {
                    infos.push(value(&name, input.code(), &vec![-2; tensor.shape().len()]));
                    tensors.push((name, tensor));
                } else {
                    initializers.push(input.proto(&name));
                }
            }
        }
    }
    let outputs = match case.operator {
        "TopK" | "Split" => "y z",
        "DynamicQuantizeLinear" => "y z w",
        _ => "y",
    };
    let made = node(case.operator, &names, outputs, &case.attributes);
    let opset = match case.operator {
        "Upsample" => 7,
        "CenterCropPad" | "Col2Im" => 18,
        "AffineGrid" | "RegexFullMatch" | "StringSplit" => 20,
        _ => 17,
    };
    let whole = model(
        opset,
        graph(
            infos,
            vec![made],
            initializers,
            vec![open("y", case.output)],
        ),
    );
    let case_is_constant = tensors.is_empty();
    let result = Session::load(&whole.encode_to_vec()).and_then(|session| session.run(tensors));
    match (&case.want, result) {
        (Wraps, Ok(_)) => None,
        (Wraps, Err(error)) if error.to_string().contains("with overflow") => None,
        (_, Err(error)) if error.to_string().contains("engine failed") => {
            Some(format!("a panic: {error}"))
        }
        (_, Err(error)) if error.code() == ErrorCode::Internal => Some(format!("{error}")),
        (Refused | RefusedGiven | Anything, Err(_)) | (Anything, Ok(_)) => None,
        (RefusedGiven, Ok(_)) if case_is_constant => None,
        (Refused | RefusedGiven, Ok(made)) => Some(format!("gave {}", said(&made))),
        (_, Err(error)) => Some(format!("was refused: {error}")),
        (Shape(shape), Ok(made)) => {
            let is_right = made[0].1.tensor().is_ok_and(|t| t.shape() == *shape);
            (!is_right).then(|| format!("gave {}", said(&made)))
        }
        (Numbers(all), Ok(made)) => {
            let tensor = made[0].1.tensor().unwrap();
            let got: Vec<f64> = match case.output {
                INT64 => tensor
                    .to_vec::<i64>()
                    .unwrap()
                    .iter()
                    .map(|&n| n as f64)
                    .collect(),
                11 => tensor.to_vec::<f64>().unwrap(),
                _ => tensor
                    .to_vec::<f32>()
                    .unwrap()
                    .iter()
                    .map(|&n| n.into())
                    .collect(),
            };
            (got != *all).then(|| format!("gave {got:?}"))
        }
    }
}

fn said(made: &[(String, Value)]) -> String {
    let text = format!("{:?}", made.first());
    text.chars().take(200).collect()
}

/// Tries a case in every way, and says what is wrong.
pub fn attempt(case: &Case, way: usize) -> Option<String> {
    match way {
        0 => tried(case, |_| false),
        1 => tried(case, |at| at == 0),
        _ => tried(case, |_| true),
    }
}

/// The ways of [`attempt`].
pub const WAYS: [&str; 3] = ["all constant", "the first given", "all given"];

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let attribute = |a: &AttributeProto| {
            format!(
                "{}={}/{:?}/{:?}",
                a.name,
                a.i,
                a.ints,
                String::from_utf8_lossy(&a.s)
            )
        };
        let attributes: Vec<String> = self.attributes.iter().map(attribute).collect();
        let values = |input: &In| match input {
            I(_, all) => format!("{all:?}"),
            F(_, all) if all.len() < 5 => format!("{all:?}"),
            other => input_shape(other),
        };
        let inputs: Vec<String> = self.inputs.iter().map(values).collect();
        write!(
            f,
            "{}({}) of {}",
            self.operator,
            attributes.join(", "),
            inputs.join(", ")
        )
    }
}

fn input_shape(input: &In) -> String {
    input
        .tensor()
        .map_or("-".into(), |tensor| format!("{:?}", tensor.shape()))
}
