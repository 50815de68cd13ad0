//! What can be said of a model before it is put somewhere: whether it runs, and what a run takes.

use std::collections::HashMap;

use super::graph;
use super::{Body, Session, Weights};
use crate::ops::{self, MissingOperator};
use crate::program::{Meter, Program, bytes_of};
use crate::{DType, Dim, Error, MapKeys, Maps, Result, Tensor, TensorSpec, Value, ValueKind, bail};

/// Whether a model runs, and what a prediction takes.
#[derive(Debug, Clone)]
pub struct Assessment {
    /// The operators that it wants and nothing here has, all of them.
    pub missing: Vec<MissingOperator>,
    /// Why it does not load, where it does not; with missing operators, the same in words.
    pub problem: Option<Error>,
    /// Its nodes run one by one, because the engine does not take the graph as a whole.
    pub node_by_node: bool,
    /// What a prediction takes.
    pub cost: Option<Cost>,
    /// Why that is not known, where it is not and the model loads.
    pub unknown_cost: Option<Error>,
}

/// What a prediction takes, found out by running the model on zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// The inputs of the run: name, type, axes. Axes that the model leaves open were chosen: one row,
    /// and of others as few as the model takes.
    pub inputs: Vec<(String, DType, Vec<usize>)>,
    /// Multiply-adds of matrix products, convolutions, recurrent cells and attention; what works on
    /// single elements is not counted.
    pub multiply_adds: u64,
    /// The bytes of all weights, as they are in the file.
    pub weight_bytes: u64,
    /// The most bytes that inputs and values between the nodes take at a time. A model that runs as
    /// a whole takes less: values that are read once are not kept.
    pub value_bytes: u64,
}

/// What open axes other than the first are tried with: the smallest that any model takes, then what
/// pictures and texts have.
const SIZES: [usize; 4] = [1, 16, 64, 224];

impl Session {
    /// Loads a model, and runs it once on zeros, to say whether it can run and what that takes.
    ///
    /// # Errors
    /// `model_too_large`, `invalid_model` for what is no model at all. That a model does not run is
    /// no error here: [`Assessment::problem`] says so.
    pub fn assess(onnx: &[u8], weights: &dyn Weights) -> Result<Assessment> {
        let mut assessment = Assessment {
            missing: graph::missing(onnx)?,
            problem: None,
            node_by_node: false,
            cost: None,
            unknown_cost: None,
        };
        match Self::load_with(onnx, weights) {
            Ok(session) => {
                assessment.node_by_node = matches!(session.body, Body::Program(_));
                let Session {
                    signature,
                    defaults,
                    body,
                    ..
                } = session;
                let program = match body {
                    Body::Program(program) | Body::Whole(_, Some(program)) => Ok(*program),
                    Body::Whole(_, None) => {
                        let optional = &signature.optional;
                        graph::program_of(onnx, weights, optional, ops::registry())
                            .map(|(program, _)| program)
                    }
                };
                match program.and_then(|program| cost(&program, &signature.inputs, &defaults)) {
                    Ok(cost) => assessment.cost = Some(cost),
                    Err(error) => assessment.unknown_cost = Some(error),
                }
            }
            Err(error) => assessment.problem = Some(error),
        }
        Ok(assessment)
    }
}

fn cost(program: &Program, inputs: &[TensorSpec], defaults: &[Tensor]) -> Result<Cost> {
    let unknown =
        |input: &&TensorSpec| matches!(input.kind, ValueKind::Sequence | ValueKind::Optional);
    if let Some(input) = inputs.iter().find(unknown) {
        bail!(
            UnsupportedDtype,
            "input `{}` is {}: what a run takes depends on what is in it",
            input.name,
            input.kind.name()
        );
    }
    let mut first = None;
    for size in SIZES {
        match cost_of(program, inputs, defaults, size) {
            Ok(cost) => return Ok(cost),
            Err(error) => first = first.or(Some(error)),
        }
    }
    match first {
        Some(error) => Err(error.context("a run on zeros")),
        None => bail!(Internal, "nothing was tried"),
    }
}

fn cost_of(
    program: &Program,
    inputs: &[TensorSpec],
    defaults: &[Tensor],
    size: usize,
) -> Result<Cost> {
    let shapes = shapes(inputs, size);
    let mut given = Vec::with_capacity(inputs.len());
    let mut chosen = Vec::with_capacity(inputs.len());
    for (input, shape) in inputs.iter().zip(shapes) {
        given.push(match input.kind {
            ValueKind::Maps => Value::Maps(empty_map(input)?),
            _ => Value::Tensor(zeros(input.dtype, &shape)?),
        });
        chosen.push((input.name.clone(), input.dtype, shape));
    }
    let meter = Meter::default();
    meter.made(given.iter().map(bytes_of).sum());
    let defaults: Vec<Value> = defaults.iter().cloned().map(Value::Tensor).collect();
    let default_bytes: u64 = defaults.iter().map(bytes_of).sum();
    given.extend(defaults);
    program.measure(given, &meter)?;
    Ok(Cost {
        inputs: chosen,
        multiply_adds: meter.multiply_adds(),
        weight_bytes: program.weight_bytes() + default_bytes,
        value_bytes: meter.peak(),
    })
}

/// One map without keys, which is as good as zeros.
fn empty_map(input: &TensorSpec) -> Result<Maps> {
    let keys = match input.keys {
        Some(DType::I64) => MapKeys::Ints(Vec::new()),
        _ => MapKeys::Strings(Vec::new()),
    };
    let values = zeros(input.dtype, &[1, 0])?;
    Ok(Maps { keys, values })
}

/// Axes for a run: what is fixed; one row where an axis is the first of all that have its name; and
/// this size for the others.
fn shapes(inputs: &[TensorSpec], size: usize) -> Vec<Vec<usize>> {
    let mut names: HashMap<&str, usize> = HashMap::new();
    for input in inputs {
        for (at, dim) in input.shape.iter().flatten().enumerate() {
            if let Dim::Symbol(name) = dim {
                let chosen = names.entry(name).or_insert(1);
                *chosen = if at == 0 { *chosen } else { size };
            }
        }
    }
    let shape = |input: &TensorSpec| {
        let dims = input.shape.iter().flatten().enumerate();
        dims.map(|(at, dim)| match dim {
            Dim::Fixed(n) => *n,
            Dim::Symbol(name) => names.get(name.as_str()).copied().unwrap_or(size),
            Dim::Free if at == 0 => 1,
            Dim::Free => size,
        })
        .collect()
    };
    inputs.iter().map(shape).collect()
}

fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor> {
    let count = crate::element_count(shape)?;
    match dtype.bits() {
        None => Tensor::from_strings(shape, vec![String::new(); count]),
        Some(bits) => {
            let Some(bits) = count.checked_mul(bits) else {
                bail!(InvalidModel, "an input of shape {shape:?} is too large");
            };
            Tensor::from_bytes(dtype, shape, vec![0; bits.div_ceil(8)])
        }
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{GraphProto, NodeProto};

    use super::super::test_models::{info, int, ints, model, node, open, text, weights};
    use super::*;
    use crate::{ErrorCode, NoWeights};

    fn one(node: NodeProto, x: &[i64], w: &[&[i64]]) -> Cost {
        let graph = GraphProto {
            name: "g".into(),
            input: vec![info("x", x)],
            output: vec![open("y")],
            initializer: (w.iter().enumerate())
                .map(|(at, dims)| weights(&format!("w{at}"), dims))
                .collect(),
            node: vec![node],
            ..GraphProto::default()
        };
        let assessment = Session::assess(&model(graph), &NoWeights).unwrap();
        assert!(assessment.problem.is_none(), "{:?}", assessment.problem);
        assessment
            .cost
            .unwrap_or_else(|| panic!("{:?}", assessment.unknown_cost))
    }

    /// Each figure is the product of the axes that the operator's definition sums over and gives.
    #[test]
    fn multiply_adds_are_those_of_the_definitions() {
        let mut conv = node("Conv", &["x", "w0"], "y");
        conv.attribute = vec![ints("pads", &[1, 1, 1, 1]), int("group", 2)];
        // 6 channels of 8 x 8, each a sum over 2 channels and 3 x 3.
        let cost = one(conv, &[1, 4, 8, 8], &[&[6, 2, 3, 3]]);
        assert_eq!(cost.multiply_adds, 6 * 64 * 2 * 9);
        assert_eq!(cost.weight_bytes, 6 * 2 * 9 * 4);
        assert_eq!(cost.value_bytes, (4 + 6) * 64 * 4);

        let transposed = node("ConvTranspose", &["x", "w0"], "y");
        let cost = one(transposed, &[1, 4, 5, 5], &[&[4, 3, 2, 2]]);
        assert_eq!(cost.multiply_adds, 4 * 25 * 3 * 4);

        let cost = one(node("MatMul", &["x", "w0"], "y"), &[2, 3, 5], &[&[5, 7]]);
        assert_eq!(cost.multiply_adds, 2 * 3 * 5 * 7);

        let mut gemm = node("Gemm", &["x", "w0"], "y");
        gemm.attribute = vec![int("transA", 1)];
        assert_eq!(one(gemm, &[5, 3], &[&[5, 7]]).multiply_adds, 3 * 5 * 7);

        let mut einsum = node("Einsum", &["x", "w0"], "y");
        einsum.attribute = vec![text("equation", "b i j, j k -> b i k")];
        let cost = one(einsum, &[2, 3, 5], &[&[5, 7]]);
        assert_eq!(cost.multiply_adds, 2 * 3 * 5 * 7);

        let mut gru = node("GRU", &["x", "w0", "w1"], "y");
        gru.attribute = vec![int("hidden_size", 4)];
        // 6 steps of 2 rows through three gates of 4, from 5 and from 4.
        let cost = one(gru, &[6, 2, 5], &[&[1, 12, 5], &[1, 12, 4]]);
        assert_eq!(cost.multiply_adds, 6 * 2 * 12 * (5 + 4));

        assert_eq!(one(node("Relu", &["x"], "y"), &[3], &[]).multiply_adds, 0);
    }

    #[test]
    fn open_axes_are_one_row_and_as_small_as_the_model_takes() {
        let product = || node("MatMul", &["x", "w0"], "y");
        assert_eq!(one(product(), &[-1, 4], &[&[4, 2]]).inputs[0].2, [1, 4]);
        // The same name in the first place and in another one: it is not the rows.
        let cost = one(product(), &[-1, 3, -1], &[&[64, 2]]);
        assert_eq!(cost.inputs[0].2, [64, 3, 64]);
    }

    #[test]
    fn all_missing_operators_are_named_with_their_nodes() {
        let mut first = node("Frobnicate", &["x"], "a");
        first.name = "first".into();
        let mut other = node("Mend", &["b"], "y");
        other.domain = "acme".into();
        let graph = GraphProto {
            name: "g".into(),
            input: vec![info("x", &[1])],
            output: vec![info("y", &[1])],
            node: vec![first, node("Frobnicate", &["a"], "b"), other],
            ..GraphProto::default()
        };
        let assessment = Session::assess(&model(graph), &NoWeights).unwrap();
        assert_eq!(assessment.missing.len(), 2);
        let missing = &assessment.missing[0];
        assert_eq!(
            (&*missing.operator, &*missing.domain),
            ("Frobnicate", "ai.onnx")
        );
        assert_eq!(missing.version, Some(13));
        assert_eq!(missing.nodes, ["first", "b"]);
        assert_eq!(assessment.missing[1].version, None);
        let problem = assessment.problem.unwrap();
        assert_eq!(problem.code(), ErrorCode::UnsupportedOperator);
        let text = problem.message();
        for part in [
            "operator `Frobnicate` of ai.onnx (version 13), node `first`, node `b`",
            "operator `Mend` of acme (version ?), node `y`",
            "run those steps outside",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
