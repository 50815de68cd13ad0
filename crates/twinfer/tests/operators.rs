//! Operators, each in a small model, against onnxruntime (`reference/operators_reference.py`).

// Helpers of tests: a failure in them is a failed test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use twinfer::{DType, Session, Tensor, Tensors};

/// Sums in another order, and other approximations of `exp` and the like.
const TOLERANCE: f64 = 2e-5;

fn tensor(json: &Json) -> (String, Tensor) {
    let name = json["name"].as_str().unwrap().to_string();
    let shape: Vec<usize> = serde_json::from_value(json["shape"].clone()).unwrap();
    let dtype = DType::from_name(json["dtype"].as_str().unwrap()).unwrap();
    let tensor = match dtype {
        DType::String => {
            let strings = serde_json::from_value(json["strings"].clone()).unwrap();
            Tensor::from_strings(&shape, strings)
        }
        _ => {
            let bytes = STANDARD.decode(json["base64"].as_str().unwrap()).unwrap();
            Tensor::from_bytes(dtype, &shape, bytes)
        }
    };
    (name, tensor.unwrap())
}

fn all(json: &Json) -> Tensors {
    json.as_array().unwrap().iter().map(tensor).collect()
}

fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    match tensor.dtype() {
        DType::F32 => Some(
            tensor
                .view::<f32>()
                .unwrap()
                .iter()
                .map(|&x| x.into())
                .collect(),
        ),
        DType::F64 => Some(tensor.to_vec::<f64>().unwrap()),
        _ => None,
    }
}

fn is_close(got: &Tensor, want: &Tensor) -> bool {
    if got.dtype() != want.dtype() || got.shape() != want.shape() {
        return false;
    }
    let (Some(got), Some(want)) = (numbers(got), numbers(want)) else {
        return got == want;
    };
    let close = |got: f64, want: f64| {
        (got - want).abs() <= TOLERANCE * (1.0 + want.abs())
            || got == want
            || (got.is_nan() && want.is_nan())
    };
    got.into_iter()
        .zip(want)
        .all(|(got, want)| close(got, want))
}

#[test]
fn outputs_are_those_of_onnxruntime() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/operators.json");
    let cases: Vec<Json> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut failures = Vec::new();
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let model = STANDARD.decode(case["model"].as_str().unwrap()).unwrap();
        let ran = Session::load(&model).and_then(|session| session.run(all(&case["inputs"])));
        let outputs = match ran {
            Ok(outputs) => outputs,
            Err(error) => {
                failures.push(format!("{name}: {}: {error}", error.code()));
                continue;
            }
        };
        let wanted = all(&case["outputs"]);
        assert_eq!(outputs.len(), wanted.len(), "{name}");
        for ((output, got), (_, want)) in outputs.iter().zip(&wanted) {
            let got = got.tensor().unwrap();
            if !is_close(got, want) {
                failures.push(format!("{name}, `{output}`: {got:?} instead of {want:?}"));
            }
        }
    }
    assert!(cases.len() >= 130, "the reference cases are gone");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
