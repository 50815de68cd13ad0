//! Whole models with a pipeline: input in, answer out.

// Helpers of tests: a failure in them is a failed test.
#![allow(clippy::unwrap_used)]

#[path = "../../../fuzz/src/audio.rs"]
mod fuzz_audio;

use serde_json::{Map, Value as Json, json};
use twinfer::{ErrorCode, Input, Model, ModelConfig, Parameters, Tensor, Value, value_to_json};

const COLUMNS: [&str; 4] = ["sepal length", "sepal width", "petal length", "petal width"];

fn config(change: impl Fn(&mut Json)) -> ModelConfig {
    let columns: Vec<Json> = COLUMNS.iter().map(|name| json!({"name": name})).collect();
    let mut config = json!({
        "format_version": 1, "name": "iris", "version": "1.0.0",
        "pipeline": {
            "input": {"kind": "record", "name": "record", "tensor": "X", "columns": columns},
            "outputs": [
                {"kind": "label", "name": "species", "tensor": "output_label"},
                {"kind": "probabilities", "name": "probabilities", "tensor": "output_probability"},
                {"kind": "tensor", "name": "raw", "tensor": "output_probability"},
            ],
        },
    });
    change(&mut config);
    ModelConfig::from_json(config.to_string().as_bytes()).unwrap()
}

fn load(change: impl Fn(&mut Json)) -> twinfer::Result<Model> {
    let onnx = include_bytes!("data/forest_iris.onnx");
    Model::load(&config(change), onnx, "sha256:0")
}

fn record(values: [f64; 4]) -> Map<String, Json> {
    COLUMNS
        .iter()
        .zip(values)
        .map(|(name, value)| (name.to_string(), json!(value)))
        .collect()
}

#[test]
fn a_record_is_answered_as_the_tensor_that_it_stands_for() {
    let model = load(|_| ()).unwrap();
    let values = [5.1, 3.5, 1.4, 0.2];
    let answer = model
        .predict(Input::Record(record(values)), &Parameters::new())
        .unwrap();
    let tensor = Tensor::from_vec(&[1, 4], values.map(|v| v as f32).to_vec()).unwrap();
    let tensors = vec![("X".to_string(), tensor)];
    let made = model.preprocess(Input::Record(record(values))).unwrap();
    assert_eq!(
        made,
        [("X".to_string(), Value::Tensor(tensors[0].1.clone()))]
    );
    let raw = model.run(tensors.clone()).unwrap();
    let by_name = |name: &str| {
        let (_, value) = raw.iter().find(|(known, _)| known == name).unwrap();
        value_to_json(value).unwrap()
    };
    let names: Vec<&String> = answer.outputs.keys().collect();
    assert_eq!(names, ["species", "probabilities", "raw"]);
    assert_eq!(answer.outputs["species"], by_name("output_label")[0]);
    assert_eq!(
        answer.outputs["probabilities"],
        by_name("output_probability")[0]
    );
    assert_eq!(answer.outputs["raw"], by_name("output_probability"));
    assert_eq!(answer.digest, "sha256:0");
    // Tensors skip the steps before the model only.
    let from_tensors = model
        .predict(Input::Tensors(tensors), &Parameters::new())
        .unwrap();
    assert_eq!(from_tensors, answer);
}

#[test]
fn wrong_input_has_its_code_and_leaves_the_model_working() {
    let model = load(|_| ()).unwrap();
    let good = || Input::Record(record([5.1, 3.5, 1.4, 0.2]));
    let with = |name: &str, value: Json| {
        let mut record = record([1.0; 4]);
        record.insert(name.into(), value);
        Input::Record(record)
    };
    let two_rows = |dtype_ok: bool| {
        let tensor = if dtype_ok {
            Tensor::from_vec(&[2, 3], vec![0f32; 6])
        } else {
            Tensor::from_vec(&[2, 4], vec![0f64; 8])
        };
        Input::Tensors(vec![("X".into(), tensor.unwrap())])
    };
    let parameter = |name: &str| Parameters::from_iter([(name.to_string(), json!("x"))]);
    let cases = [
        (
            with("petal width", json!("wide")),
            Parameters::new(),
            ErrorCode::InvalidRecord,
        ),
        (
            with("petals", json!(5)),
            Parameters::new(),
            ErrorCode::InvalidRecord,
        ),
        (
            Input::Bytes(vec![1]),
            Parameters::new(),
            ErrorCode::InvalidInput,
        ),
        (two_rows(true), Parameters::new(), ErrorCode::WrongShape),
        (two_rows(false), Parameters::new(), ErrorCode::WrongDtype),
        (good(), parameter("mode"), ErrorCode::UnknownParameter),
    ];
    let before = model.predict(good(), &Parameters::new()).unwrap();
    let failed: Vec<String> = cases
        .into_iter()
        .filter_map(|(input, parameters, code)| {
            let what = format!("{input:?} {parameters:?}");
            match model.predict(input, &parameters) {
                Err(error) if error.code() == code => None,
                other => Some(format!("{what}: {other:?}")),
            }
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(model.predict(good(), &Parameters::new()).unwrap(), before);
}

#[test]
fn a_pipeline_that_does_not_fit_the_model_is_refused_when_it_is_loaded() {
    let cases: [(&str, Json, &str); 4] = [
        (
            "/pipeline/input/tensor",
            json!("x"),
            "no input `x`; it has `X`",
        ),
        (
            "/pipeline/input/columns/3",
            json!({"name": "sepal length 2"}),
            "",
        ),
        (
            "/pipeline/outputs/0/tensor",
            json!("label"),
            "no output `label`",
        ),
        (
            "/pipeline/outputs/1/kind",
            json!("label"),
            "is maps (ZipMap), this kind needs a tensor",
        ),
    ];
    for (pointer, value, text) in cases {
        let result = load(|config| *config.pointer_mut(pointer).unwrap() = value.clone());
        match (result, text) {
            (Ok(_), "") => {}
            (Err(error), text) if !text.is_empty() => {
                assert_eq!(error.code(), ErrorCode::InvalidPackage, "{error}");
                assert!(error.message().contains(text), "{pointer}: {error}");
            }
            (result, _) => panic!("{pointer}: {:?}", result.err()),
        }
    }
}

/// The function of the fuzz target, on damaged sounds of the sample model.
#[test]
fn sounds_of_any_bytes_are_taken_or_refused() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../models/sound-type/sounds"
    );
    let mut state = 0x5eed_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let (mut files, mut taken) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let mut whole = std::fs::read(entry.unwrap().path()).unwrap();
        // The head, and some samples: the rest is more of the same.
        whole.truncate(700);
        files += 1;
        for _ in 0..200 {
            let mut file = whole.clone();
            for _ in 0..1 + random(4) {
                let at = random(file.len().min(64));
                file[at] = [0, 0xff, random(256) as u8, file[at] ^ (1 << random(8))][random(4)];
            }
            file.truncate(file.len() - random(2) * random(file.len()));
            taken += fuzz_audio::everything(&file).unwrap();
        }
    }
    assert!(files > 5 && taken > 100, "{files} files, {taken} taken");
}
