//! Operators with sizes, indices and numbers that nobody means: each is refused, or gives what the
//! standard says, at once and in little memory. Each is tried with constants, which the engine
//! computes with when it prepares a model, and with values that come when it runs.

mod arithmetic;
mod attributes;
mod indices;
mod sizes;
mod windows;

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
    /// Integers that are too large: they wrap around, in every build.
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
    let families = [
        sizes::cases(),
        attributes::cases(),
        indices::cases(),
        arithmetic::cases(),
        windows::cases(),
    ];
    families.into_iter().flatten().collect()
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
        // Constants are computed while the model is loaded, as lengths of axes are; a build with checks
        // refuses one that is too large.
        (Wraps | Numbers(_), Err(error))
            if case_is_constant && error.to_string().contains("with overflow") =>
        {
            None
        }
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
