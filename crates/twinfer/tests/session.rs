//! Sessions against onnxruntime (`reference/session_reference.py`), and against files and
//! inputs that are wrong.

// Helpers of tests: a failure in them is a failed test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use twinfer::{DType, ErrorCode, MapKeys, Session, Tensor, Tensors, Value};

fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn session(name: &str) -> Session {
    Session::load(&data(&format!("{name}.onnx"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn tensor(json: &Json) -> (String, Tensor) {
    let name = json["name"].as_str().unwrap().to_string();
    let shape: Vec<usize> = serde_json::from_value(json["shape"].clone()).unwrap();
    let dtype = DType::from_name(json["dtype"].as_str().unwrap()).unwrap();
    let tensor = if dtype == DType::String {
        Tensor::from_strings(
            &shape,
            serde_json::from_value(json["strings"].clone()).unwrap(),
        )
    } else {
        let bytes = STANDARD.decode(json["base64"].as_str().unwrap()).unwrap();
        Tensor::from_bytes(dtype, &shape, bytes)
    };
    (name, tensor.unwrap())
}

fn keys(json: &Json) -> Option<MapKeys> {
    let keys = json.get("keys")?;
    Some(match serde_json::from_value(keys.clone()) {
        Ok(ints) => MapKeys::Ints(ints),
        Err(_) => MapKeys::Strings(serde_json::from_value(keys.clone()).unwrap()),
    })
}

/// The largest error of an output against its reference, as a multiple of the tolerance.
fn difference(got: &Tensor, want: &Tensor, tolerance: f64) -> Result<(), String> {
    if got.dtype() != want.dtype() || got.shape() != want.shape() {
        return Err(format!(
            "{} {:?} instead of {} {:?}",
            got.dtype(),
            got.shape(),
            want.dtype(),
            want.shape()
        ));
    }
    if got.dtype() != DType::F32 {
        return if got == want {
            Ok(())
        } else {
            Err(format!("{got:?} instead of {want:?}"))
        };
    }
    let pairs = got
        .to_vec::<f32>()
        .unwrap()
        .into_iter()
        .zip(want.to_vec::<f32>().unwrap());
    for (index, (got, want)) in pairs.enumerate() {
        let close =
            (f64::from(got) - f64::from(want)).abs() <= tolerance * (1.0 + f64::from(want).abs());
        if !(close || got == want || (got.is_nan() && want.is_nan())) {
            return Err(format!("element {index}: {got} instead of {want}"));
        }
    }
    Ok(())
}

#[test]
fn outputs_are_those_of_onnxruntime() {
    let cases: Vec<Json> = serde_json::from_slice(&data("cases.json")).unwrap();
    let mut failures = Vec::new();
    for case in &cases {
        let name = case["model"].as_str().unwrap();
        let session = session(name);
        let tolerance = case["tolerance"].as_f64().unwrap();
        for (call, json) in case["calls"].as_array().unwrap().iter().enumerate() {
            let inputs: Tensors = json["inputs"]
                .as_array()
                .unwrap()
                .iter()
                .map(tensor)
                .collect();
            let outputs = match session.run(inputs.clone()) {
                Ok(outputs) => outputs,
                Err(e) => {
                    failures.push(format!("{name} call {call}: {}: {e}", e.code()));
                    continue;
                }
            };
            assert_eq!(
                outputs,
                session.run(inputs).unwrap_or_default(),
                "{name}: not the same twice"
            );
            for ((got_name, got), want) in outputs.iter().zip(json["outputs"].as_array().unwrap()) {
                let (want_name, want_tensor) = tensor(want);
                assert_eq!(*got_name, want_name);
                let got_keys = if let Value::Maps(maps) = got {
                    Some(maps.keys.clone())
                } else {
                    None
                };
                if got_keys != keys(want) {
                    failures.push(format!("{name} {got_name}: keys {got_keys:?}"));
                }
                if let Err(e) = difference(got.tensor().unwrap(), &want_tensor, tolerance) {
                    failures.push(format!("{name} call {call} output {got_name}: {e}"));
                }
            }
        }
    }
    assert!(cases.len() >= 9, "the reference cases are gone");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Not close: equal. Models that amplify the last bit need it (`ops/tanh.rs`).
#[test]
fn tanh_has_the_bits_of_onnxruntime() {
    let cases: Vec<Json> = serde_json::from_slice(&data("cases.json")).unwrap();
    let case = cases.iter().find(|c| c["model"] == "math_probe").unwrap();
    let call = &case["calls"][0];
    let outputs = session("math_probe")
        .run(vec![tensor(&call["inputs"][0])])
        .unwrap();
    let (_, got) = outputs.iter().find(|(name, _)| name == "tanh").unwrap();
    let want = call["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|o| o["name"] == "tanh")
        .unwrap();
    assert_eq!(got.tensor().unwrap(), &tensor(want).1);
}

#[test]
fn files_that_are_no_model_have_their_code() {
    let whole = data("boosted_binary.onnx");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "empty"),
        (
            "HTML page",
            b"<!doctype html><title>Not found</title>".to_vec(),
            "HTML",
        ),
        (
            "text",
            b"not a model at all, but some text".to_vec(),
            "not a whole ONNX model",
        ),
        (
            "PNG",
            b"\x89PNG\r\n\x1a\n0000000000".to_vec(),
            "not a whole ONNX model",
        ),
        ("zeros", vec![0; 4096], "not a whole ONNX model"),
        (
            "cut in half",
            whole[..whole.len() / 2].to_vec(),
            "not a whole ONNX model",
        ),
        (
            "cut by a byte",
            whole[..whole.len() - 1].to_vec(),
            "not a whole ONNX model",
        ),
    ];
    for (what, bytes, words) in cases {
        let error = Session::load(&bytes).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidModel, "{what}: {error}");
        assert!(error.message().contains(words), "{what}: {error}");
    }
}

#[test]
fn an_operator_that_nobody_has_is_named_with_its_domain_and_node() {
    // The name has the same length, so that the file stays well-formed.
    let cases = [
        (
            "boosted_binary",
            "TreeEnsembleClassifier",
            "TreeEnsembleClassifiex",
            "ai.onnx.ml",
        ),
        ("types", "Cast", "Cost", "ai.onnx"),
    ];
    for (model, operator, other, domain) in cases {
        let mut bytes = data(&format!("{model}.onnx"));
        // The operator's name is written with its length in front: not the node's name.
        let pattern = [&[operator.len() as u8], operator.as_bytes()].concat();
        let windows: Vec<usize> = (0..bytes.len() - pattern.len())
            .filter(|&i| bytes[i..].starts_with(&pattern))
            .collect();
        for at in windows {
            bytes[at + 1..at + pattern.len()].copy_from_slice(other.as_bytes());
        }
        let error = Session::load(&bytes).unwrap_err();
        assert_eq!(
            error.code(),
            ErrorCode::UnsupportedOperator,
            "{model}: {error}"
        );
        for word in [other, domain, "node"] {
            assert!(error.message().contains(word), "{model}: {error}");
        }
    }
}

#[test]
fn the_signature_has_only_what_a_caller_gives() {
    let session = session("untidy");
    let signature = serde_json::to_value(session.signature()).unwrap();
    assert_eq!(
        signature["inputs"],
        serde_json::json!([{"name": "in/x:0", "dtype": "FP32", "shape": ["batch", null, 2]}])
    );
    assert_eq!(signature["optional"][0]["name"], "w/0:weight");
    assert_eq!(session.opsets(), ["ai.onnx:17"]);
    let boosted = self::session("boosted_binary");
    let outputs = serde_json::to_value(&boosted.signature().outputs).unwrap();
    assert_eq!(outputs[1]["kind"], "maps");
    assert_eq!(outputs[1]["dtype"], "FP32");
}

#[test]
fn a_description_says_what_loading_says() {
    let mut described = 0;
    for entry in
        std::fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data")).unwrap()
    {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "onnx") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let description = Session::describe(&bytes).unwrap();
        let loaded = Session::load(&bytes).unwrap();
        assert_eq!(description.opsets, loaded.opsets(), "{}", path.display());
        if let Some(signature) = description.signature {
            assert_eq!(signature, *loaded.signature(), "{}", path.display());
            described += 1;
        }
    }
    // Those with a ZipMap at the end too: their file says what it gives.
    assert_eq!(described, 9);
}

#[test]
fn wrong_inputs_are_refused_before_the_engine_sees_them() {
    let session = session("untidy");
    let x = |shape: &[usize]| Tensor::from_vec(shape, vec![0f32; shape.iter().product()]).unwrap();
    let cases: Vec<(&str, Tensors, ErrorCode)> = vec![
        ("nothing", vec![], ErrorCode::MissingInput),
        (
            "a weight",
            vec![
                ("in/x:0".into(), x(&[1, 1, 2])),
                ("w/0:weight".into(), x(&[3, 2])),
            ],
            ErrorCode::WrongShape,
        ),
        (
            "a name that is none of an input",
            vec![
                ("in/x:0".into(), x(&[1, 1, 2])),
                ("out/y:0".into(), x(&[2, 3])),
            ],
            ErrorCode::UnknownInput,
        ),
        (
            "rank",
            vec![("in/x:0".into(), x(&[1, 2]))],
            ErrorCode::WrongShape,
        ),
        (
            "axis",
            vec![("in/x:0".into(), x(&[1, 1, 3]))],
            ErrorCode::WrongShape,
        ),
        (
            "dtype",
            vec![(
                "in/x:0".into(),
                Tensor::from_vec(&[1, 1, 2], vec![0i64; 2]).unwrap(),
            )],
            ErrorCode::WrongDtype,
        ),
    ];
    for (what, inputs, code) in cases {
        assert_eq!(session.run(inputs).unwrap_err().code(), code, "{what}");
    }
    assert!(
        session.run(vec![("in/x:0".into(), x(&[1, 1, 2]))]).is_ok(),
        "it goes on"
    );
}

/// Files with bytes changed at random load, or fail with a code; nothing panics or hangs.
#[test]
fn damaged_files_give_errors_not_panics() {
    let mut seed = 0x5EED_u64;
    let mut random = move || {
        // xorshift64: enough for choosing bytes.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    for name in ["boosted_iris", "mlp_binary", "untidy", "types"] {
        let whole = data(&format!("{name}.onnx"));
        for _ in 0..100 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random() % 4 {
                let at = random() % bytes.len();
                bytes[at] = random() as u8;
            }
            if let Err(error) = Session::load(&bytes) {
                assert_ne!(error.code(), ErrorCode::Internal, "{name}: {error}");
            }
        }
    }
}

#[test]
fn sessions_are_shared_between_threads() {
    let session = session("untidy");
    let call = |n: usize| {
        let x = Tensor::from_vec(&[n, 1, 2], vec![1f32; 2 * n]).unwrap();
        session.run(vec![("in/x:0".into(), x)]).unwrap()
    };
    let alone: Vec<_> = (1..8).map(call).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (n, expected) in (1..8).zip(&alone) {
                    assert_eq!(call(n), *expected);
                }
            });
        }
    });
}
