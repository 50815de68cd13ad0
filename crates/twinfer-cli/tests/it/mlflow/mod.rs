//! `twinfer pack` of MLflow models: checked-in folders, hostile ones, and the real MLflow.

mod answers;
mod real;

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::Place;

/// A checked-in MLflow model (made by tests/python/mlflow_models.py), copied to `name`.
fn copy(place: &Place, model: &str, name: &str) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/mlflow")
        .join(model);
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let file = entry.file_name();
        place.write(
            &format!("{name}/{}", file.to_str().unwrap()),
            fs::read(entry.path()).unwrap(),
        );
    }
}

/// The MLmodel of the copy, changed.
fn edit(place: &Place, name: &str, from: &str, to: &str) {
    let file = format!("{name}/MLmodel");
    let text = fs::read_to_string(place.path(&file)).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    place.write(&file, text.replace(from, to));
}

#[test]
fn an_onnx_model_with_columns_becomes_a_record_model_without_python() {
    let place = Place::new();
    copy(&place, "onnx-columns", "Risk Model");
    let packed = place.json(&["pack", "Risk Model", "--python", "none"]);
    place.good(&[
        "pack",
        "Risk Model",
        "--python",
        "none",
        "--write-recipe",
        "recipe",
    ]);
    assert_eq!(
        packed["reference"].as_str().unwrap().split('@').next(),
        Some("risk-model:0.1.0")
    );
    assert_eq!(packed["self_test"]["passed"], 3, "{packed}");
    let record = r#"{"age": -0.5, "blood pressure": 0.1, "dose": 0.25}"#;
    let answer = place.json(&[
        "predict",
        "risk-model",
        "--input",
        &format!("record={record}"),
    ]);
    assert_eq!(answer["outputs"]["label"], "well", "{answer}");
    let golden = fs::read_to_string(place.path("recipe/golden.json")).unwrap();
    assert!(
        golden.contains("itself, when the model was imported"),
        "{golden}"
    );
    let card = fs::read_to_string(place.path("recipe/README.md")).unwrap();
    for part in [
        "3.17.2",
        "blood pressure: double",
        "\"team\": \"risk\"",
        "onnx 1.22.0",
    ] {
        assert!(card.contains(part), "{part} is not in {card}");
    }
    let recipe = fs::read_to_string(place.path("recipe/twinfer.toml")).unwrap();
    assert!(recipe.contains("created = \"2026-11-25T"), "{recipe}");
    // The recipe that is kept packs to the same package.
    let again = place.json(&["pack", "recipe"]);
    assert_eq!(again["digest"], packed["digest"]);
    assert_eq!(again["unchanged"], true);
    // And is not overwritten.
    let error = place.bad(
        &[
            "pack",
            "Risk Model",
            "--python",
            "none",
            "--write-recipe",
            "recipe",
        ],
        "storage",
        4,
    );
    assert!(error.contains("not empty"), "{error}");
}

#[test]
fn an_onnx_model_with_tensors_stays_one_of_tensors() {
    let place = Place::new();
    copy(&place, "onnx-tensor", "dose");
    let options = [
        "--python",
        "none",
        "--name",
        "dosage",
        "--model-version",
        "2.1.0",
    ];
    let packed = place.json(&[&["pack", "dose"], options.as_slice()].concat());
    assert_eq!(packed["name"], "dosage");
    assert_eq!(packed["version"], "2.1.0");
    assert_eq!(packed["self_test"]["passed"], 1);
    let inspected = place.json(&["inspect", "dosage"]);
    assert_eq!(inspected["config"]["pipeline"], json!(null));
    let without = place.json(&["pack", "dose", "--no-example", "--name", "bare"]);
    assert_eq!(without["self_test"]["cases"], json!([]), "{without}");
}

#[test]
fn the_flavor_and_the_signature_are_kept() {
    let place = Place::new();
    copy(&place, "onnx-columns", "risk");
    place.json(&["pack", "risk", "--python", "none"]);
    let kept = &place.json(&["inspect", "risk"])["config"]["mlflow"];
    assert_eq!(kept["flavor"], "onnx");
    assert_eq!(
        kept["inputs"]["columns"][1],
        json!({"name": "blood pressure", "type": "double"})
    );
    assert_eq!(
        kept["outputs"]["tensors"],
        json!([{"dtype": "str", "shape": [-1]}])
    );
    assert_eq!(kept["params"], json!(null));

    copy(&place, "onnx-columns", "called");
    let params = r#"'[{"name": "top", "type": "long", "default": 3, "shape": null},
    {"name": "names", "dtype": "string", "default": ["a"], "shape": [-1]},
    {"name": "rate", "type": "double", "default": null, "shape": null}]'"#;
    edit(
        &place,
        "called",
        "  params: null",
        &format!("  params: {params}"),
    );
    edit(
        &place,
        "called",
        "\"dose\",\n    \"required\": true}",
        r#""dose", "required": false}, {"type": "sparkml vector", "name": "more", "required": false}"#,
    );
    place.json(&["pack", "called", "--python", "none", "--no-example"]);
    let kept = &place.json(&["inspect", "called"])["config"]["mlflow"];
    assert_eq!(
        kept["params"],
        json!([
            {"name": "top", "type": "long", "default": 3},
            {"name": "names", "type": "string", "default": ["a"], "list": true},
            {"name": "rate", "type": "double"},
        ])
    );
    let columns = &kept["inputs"]["columns"];
    assert_eq!(columns[2]["required"], false);
    assert_eq!(
        columns[3],
        json!({"name": "more", "type": "any", "required": false})
    );
}

#[test]
fn weights_beside_the_model_are_copied_when_it_names_them() {
    let place = Place::new();
    copy(&place, "onnx-tensor", "dose");
    // The name of the model's input, so that the file name stands in the model file.
    place.write("dose/variable", "weights");
    place.write("dose/unrelated.bin", "other");
    place.good(&[
        "pack",
        "dose",
        "--python",
        "none",
        "--write-recipe",
        "recipe",
    ]);
    assert!(place.path("recipe/variable").exists());
    assert!(!place.path("recipe/unrelated.bin").exists());
}

#[test]
fn a_folder_that_is_no_proper_model_says_why() {
    type Change = fn(&Place);
    let cases: [(&str, Change, &str, &str); 11] = [
        (
            "no yaml",
            |p| p.write("m/MLmodel", "a: b: ["),
            "invalid_model",
            "no YAML",
        ),
        (
            "a list",
            |p| p.write("m/MLmodel", "- 1"),
            "invalid_model",
            "not the YAML of an MLflow",
        ),
        (
            "bytes",
            |p| p.write("m/MLmodel", b"\xff\xfe"),
            "invalid_model",
            "UTF-8",
        ),
        (
            "deep",
            |p| p.write("m/MLmodel", "[".repeat(100_000)),
            "invalid_model",
            "no YAML",
        ),
        (
            "huge",
            |p| p.write("m/MLmodel", vec![b' '; (8 << 20) + 1]),
            "model_too_large",
            "MLmodel",
        ),
        (
            "no flavors",
            |p| p.write("m/MLmodel", "run_id: x"),
            "invalid_model",
            "no `flavors`",
        ),
        (
            "other flavors",
            |p| edit(p, "m", "  onnx:", "  xgboost:"),
            "conversion_failed",
            "python_function, xgboost",
        ),
        (
            "outside",
            |p| edit(p, "m", "data: model.onnx", "data: ../secret.onnx"),
            "invalid_model",
            "outside",
        ),
        (
            "not there",
            |p| edit(p, "m", "data: model.onnx", "data: other.onnx"),
            "invalid_model",
            "not in the folder",
        ),
        (
            "signature",
            |p| edit(p, "m", "inputs: '[{", "inputs: '[{{"),
            "invalid_model",
            "signature.inputs",
        ),
        (
            "params",
            |p| edit(p, "m", "  params: null", "  params: '[{}]'"),
            "invalid_model",
            "signature.params",
        ),
    ];
    for (what, change, code, text) in cases {
        let place = Place::new();
        copy(&place, "onnx-columns", "m");
        change(&place);
        let exit = 1;
        let error = place.bad(&["pack", "m", "--python", "none"], code, exit);
        assert!(error.contains(text), "{what}: {error}");
        assert!(!place.path("registry").exists(), "{what}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_folder_is_refused() {
    let place = Place::new();
    copy(&place, "onnx-columns", "m");
    place.write("secret.onnx", fs::read(place.path("m/model.onnx")).unwrap());
    fs::remove_file(place.path("m/model.onnx")).unwrap();
    std::os::unix::fs::symlink(place.path("secret.onnx"), place.path("m/model.onnx")).unwrap();
    let error = place.bad(&["pack", "m", "--python", "none"], "invalid_model", 1);
    assert!(error.contains("leads out"), "{error}");
}

#[test]
fn an_example_that_does_not_fit_can_be_left_out() {
    let place = Place::new();
    copy(&place, "onnx-columns", "m");
    place.write(
        "m/serving_input_example.json",
        r#"{"dataframe_split": {"columns": ["age"], "data": [[1]]}}"#,
    );
    let error = place.bad(&["pack", "m", "--python", "none"], "invalid_recipe", 1);
    assert!(
        error.contains("`blood pressure`") && error.contains("--no-example"),
        "{error}"
    );
    place.good(&["pack", "m", "--python", "none", "--no-example"]);
}

#[test]
fn an_unpickling_needs_leave_and_a_python() {
    let place = Place::new();
    place.write(
        "m/MLmodel",
        "flavors:\n  sklearn:\n    pickled_model: model.pkl\n    serialization_format: pickle\n",
    );
    place.write("m/model.pkl", "never read");
    let error = place.bad(&["pack", "m"], "conversion_failed", 1);
    assert!(
        error.contains("run any code") && error.contains("--convert"),
        "{error}"
    );
    place.bad(
        &["pack", "m", "--convert", "--python", "none"],
        "conversion_failed",
        1,
    );
    let error = place.bad(
        &["pack", "m", "--convert", "--python", "/no/python"],
        "conversion_failed",
        1,
    );
    assert!(error.contains("/no/python"), "{error}");
}

#[test]
fn a_registry_in_a_folder_is_read_even_after_it_moved() {
    let place = Place::new();
    copy(&place, "onnx-columns", "mlruns/1/run/artifacts/model");
    for version in [1, 2, 10] {
        place.write(
            &format!("mlruns/models/Risk/version-{version}/meta.yaml"),
            format!(
                "name: Risk\nversion: {version}\ndescription: The {version}th.\n\
                 source: file:///somewhere/else/mlruns/1/run/artifacts/model\n"
            ),
        );
    }
    place.write("mlruns/models/Risk/meta.yaml", "name: Risk\n");
    place.write("mlruns/models/Risk/aliases/champion", "2");
    place.write("mlruns/models/Risk/aliases/broken", "x");
    for (uri, version) in [
        ("models:/Risk/1", "1.0.0"),
        ("models:/Risk@champion", "2.0.0"),
        ("models:/Risk", "10.0.0"),
        ("models:/Risk/latest", "10.0.0"),
    ] {
        let packed = place.json(&["pack", uri, "--tracking-uri", "mlruns", "--python", "none"]);
        assert_eq!(packed["name"], "risk", "{uri}");
        assert_eq!(packed["version"], version, "{uri}");
    }
    for (uri, code) in [
        ("models:/Risk@nobody", "unknown_version"),
        ("models:/Risk/7", "unknown_version"),
        ("models:/Other/1", "unknown_model"),
        ("models:/Risk@broken", "invalid_model"),
        ("models:/Risk/Production", "invalid_reference"),
        ("models:/../Risk/1", "invalid_reference"),
        (
            "models:/m-0123456789abcdef0123456789abcdef",
            "unknown_model",
        ),
    ] {
        place.bad(&["pack", uri, "--tracking-uri", "mlruns"], code, 1);
    }
    // Outside of the tracking folder nothing is read.
    copy(&place, "onnx-columns", "outside");
    let outside = place.path("outside");
    place.write(
        "mlruns/models/Risk/version-2/meta.yaml",
        format!("source: file://{}\n", outside.display()),
    );
    place.bad(
        &["pack", "models:/Risk/2", "--tracking-uri", "mlruns"],
        "invalid_model",
        1,
    );
    place.bad(
        &["pack", "models:/Risk/2", "--tracking-uri", "sqlite:///x.db"],
        "invalid_reference",
        1,
    );
    place.bad(
        &["pack", "models:/Risk/2", "--tracking-uri", "nowhere"],
        "storage",
        4,
    );
}
