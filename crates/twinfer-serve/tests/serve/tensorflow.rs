//! TensorFlow Serving's REST interface: its documented shapes.

mod wrong;

use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};
use twinfer_package::{Built, PackOptions};

use crate::onnx_file::{Type, identity};
use crate::support::{Answer, Fixture, SHARED, recipe};

const FLOAT: u64 = 1;
const DOUBLE: u64 = 11;
const STRING: u64 = 8;

/// The model files that the tests of `twinfer pack` import.
fn imported(name: &str) -> std::path::PathBuf {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../twinfer-cli/tests/data");
    Path::new(data).join(name)
}

pub fn add(fixture: &Fixture, file: &Path, name: &str, version: &str) {
    let built = Built::from_file(file, name, version).unwrap();
    let options = PackOptions {
        self_test: false,
        ..PackOptions::default()
    };
    built.pack(&*fixture.store, options).unwrap();
}

fn add_bytes(fixture: &Fixture, file: &[u8], name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, file).unwrap();
    add(fixture, &path, name, "1.0.0");
}

/// `dose` sums three numbers: `1 a + 2 b + 3 c`; `people` has a column each; identities.
static MODELS: LazyLock<Fixture> = LazyLock::new(|| {
    let fixture = Fixture::new(&["tumour-risk", "file-type", "types"]);
    for version in ["1.0.0", "2.0.0", "2.1.0"] {
        let file = imported("mlflow/onnx-tensor/model.onnx");
        add(&fixture, &file, "dose", version);
    }
    fixture.alias("dose", "stable", "1.0.0");
    fixture.alias("dose", "7", "2.1.0");
    add(&fixture, &imported("columns/model.onnx"), "people", "1.0.0");
    for (name, element) in [("floats", FLOAT), ("doubles", DOUBLE), ("texts", STRING)] {
        add_bytes(&fixture, &identity(&Type::Tensor(element)), name);
    }
    fixture
});

fn post(path: &str, body: &Value) -> Answer {
    MODELS.post_json(&format!("/v1/models/{path}"), body)
}

fn text(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    std::str::from_utf8(&answer.body).unwrap()
}

#[test]
fn the_status_of_versions() {
    let available = |version: &str| json!({"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}});
    let all = MODELS.get("/v1/models/dose").ok();
    assert_eq!(
        all,
        json!({"model_version_status": [available("2.1.0"), available("2"), available("1")]})
    );
    for (path, version) in [
        ("dose/versions/1", "1"),
        ("dose/versions/2", "2"),
        ("dose/versions/2.1.0", "2.1.0"),
        // A tag of that number goes before.
        ("dose/versions/7", "2.1.0"),
        ("dose/labels/stable", "1"),
    ] {
        let one = MODELS.get(&format!("/v1/models/{path}")).ok();
        assert_eq!(
            one,
            json!({"model_version_status": [available(version)]}),
            "{path}"
        );
    }
    for (path, status, code) in [
        ("nothing", 404, "unknown_model"),
        ("dose/versions/3", 404, "unknown_version"),
        ("dose/versions/99999999999999999999", 404, "unknown_version"),
        ("dose/labels/canary", 404, "unknown_version"),
        ("dose/versions/stable", 400, "invalid_request"),
        ("dose/labels/1.0.0", 400, "invalid_request"),
        ("No-Model", 400, "invalid_reference"),
        ("dose/versions", 404, "not_found"),
        ("dose/labels/stable/status", 404, "not_found"),
    ] {
        let answer = MODELS.get(&format!("/v1/models/{path}"));
        answer.expect_error(status, code);
    }
    let posted = post("dose", &json!({}));
    posted.expect_error(405, "method_not_allowed");
    assert_eq!(posted.headers["allow"], "GET, HEAD");
    let names = MODELS.get("/v1/models").ok();
    let names = names["models"].as_array().unwrap();
    assert!(
        names.contains(&json!("dose")) && names.len() == 8,
        "{names:?}"
    );
}

#[test]
fn the_signatures() {
    let dose = MODELS.get("/v1/models/dose/versions/1/metadata").ok();
    let tensor = |name: &str, dtype: &str, sizes: &[&str]| {
        let dims: Vec<Value> = sizes
            .iter()
            .map(|size| json!({"size": size, "name": ""}))
            .collect();
        json!({"dtype": dtype, "tensor_shape": {"dim": dims, "unknown_rank": false}, "name": format!("{name}:0")})
    };
    assert_eq!(
        dose,
        json!({
            "model_spec": {"name": "dose", "signature_name": "", "version": "1"},
            "metadata": {"signature_def": {"signature_def": {"serving_default": {
                "inputs": {"X": tensor("X", "DT_FLOAT", &["-1", "3"])},
                "outputs": {"variable": tensor("variable", "DT_FLOAT", &["-1", "1"])},
                "method_name": "tensorflow/serving/predict",
                "defaults": {},
            }}}},
        })
    );
    let people = MODELS.get("/v1/models/people/labels/missing/metadata");
    people.expect_error(404, "unknown_version");
    let people = MODELS.get("/v1/models/people/metadata").ok();
    let signatures = &people["metadata"]["signature_def"]["signature_def"];
    let default = &signatures["serving_default"];
    assert_eq!(
        default["inputs"]["city"],
        tensor("city", "DT_STRING", &["-1"])
    );
    assert_eq!(
        default["inputs"]["children"],
        tensor("children", "DT_INT64", &["-1"])
    );
    assert_eq!(
        default["outputs"]["label"],
        tensor("label", "DT_STRING", &["-1"])
    );
    assert_eq!(default["outputs"]["probabilities"]["dtype"], "DT_VARIANT");
    assert_eq!(
        signatures["tensors"]["inputs"]["age"],
        tensor("age", "DT_FLOAT", &["-1", "1"])
    );
    let bytes = MODELS.get("/v1/models/file-type/metadata").ok();
    let default = &bytes["metadata"]["signature_def"]["signature_def"]["serving_default"];
    assert_eq!(
        default["inputs"],
        json!({"content": tensor("content", "DT_STRING", &["-1"])})
    );
}

#[test]
fn rows_and_columns_of_one_input_and_output() {
    let rows = json!([[1, 2, 3], [0.5, -1, -0.25]]);
    for path in [
        "dose:predict",
        "dose/versions/1:predict",
        "dose/labels/stable:predict",
    ] {
        let answer = post(path, &json!({"instances": rows})).ok();
        assert_eq!(answer, json!({"predictions": [[14.0], [-2.25]]}), "{path}");
    }
    let named = json!({"instances": [{"X": [1, 2, 3]}], "signature_name": "serving_default"});
    assert_eq!(
        post("dose:predict", &named).ok(),
        json!({"predictions": [[14.0]]})
    );
    for inputs in [json!({"X": rows}), rows] {
        let answer = post("dose:predict", &json!({"inputs": inputs})).ok();
        assert_eq!(answer, json!({"outputs": [[14.0], [-2.25]]}));
    }
    // The documentation's own requests have no JSON content type.
    let form = "application/x-www-form-urlencoded";
    let answer = MODELS.post(
        "/v1/models/floats:predict",
        form,
        r#"{"instances": [1.0, 2, 5]}"#,
    );
    assert_eq!(text(&answer), r#"{"predictions": [1.0,2.0,5.0]}"#);
}

#[test]
fn rows_and_columns_of_several_inputs_and_outputs() {
    let person = |city: &str| json!({"age": 3, "fare": 7.25, "city": city, "children": 0});
    let rows = json!({"instances": [person("Bern"), person("Genève")]});
    let answer = post("people:predict", &rows).ok();
    let predictions = answer["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 2);
    assert_eq!(predictions[0]["label"], "no");
    let no = predictions[0]["probabilities"]["no"].as_f64().unwrap();
    assert!((no - 0.9403131242438834).abs() < 1e-6);
    let columns = json!({"inputs": {"age": [3, 3], "fare": [7.25, 7.25], "city": ["Bern", "Genève"], "children": [0, 0]}});
    let outputs = &post("people:predict", &columns).ok()["outputs"];
    assert_eq!(outputs["label"], json!(["no", predictions[1]["label"]]));
    assert_eq!(outputs["probabilities"][0], predictions[0]["probabilities"]);
    // Past the pipeline, by the names and shapes of the model file.
    let b64 = json!({"b64": "QmVybg=="});
    let tensors = json!({"signature_name": "tensors", "instances": [{"age": [3], "fare": [7.25], "city": [b64], "children": [0]}]});
    let answer = post("people:predict", &tensors).ok();
    assert_eq!(answer["predictions"][0]["output_label"], "no");
    let tensors = json!({"signature_name": "tensors", "inputs": {"age": [[3]], "fare": [[7.25]], "city": [[b64]], "children": [[0]]}});
    let answer = post("people:predict", &tensors).ok();
    assert_eq!(answer["outputs"]["output_label"], json!(["no"]));
    // Outputs without a common first axis.
    let types = json!({"inputs": {"i": [1, -2, 0], "b": [true, false], "d": [0.5]}});
    let answer = post("types:predict", &types).ok();
    assert_eq!(answer["outputs"]["i2"], json!([2, -4, 0]));
    assert_eq!(answer["outputs"]["nb"], json!([false, true]));
}

#[test]
fn bytes_in_base64() {
    let script =
        json!({"b64": "IyEvYmluL3NoCnNldCAtZXUKZm9yIGYgaW4gKjsgZG8gZWNobyAiJGYiOyBkb25lCg=="});
    let expected = &post("file-type:predict", &json!({"instances": [script]})).ok()["predictions"];
    assert_eq!(expected[0]["label"], "shell", "{expected}");
    for request in [
        json!({"instances": [{"content": script}]}),
        json!({"inputs": [script]}),
        json!({"inputs": script}),
        json!({"inputs": {"content": [script]}}),
        json!({"inputs": {"content": script}}),
    ] {
        let answer = post("file-type:predict", &request).ok();
        let field = if request.get("inputs").is_some() {
            "outputs"
        } else {
            "predictions"
        };
        assert_eq!(&answer[field], expected, "{request}");
    }
    let texts = json!({"instances": ["NaN", {"b64": "YQ=="}]});
    assert_eq!(
        post("texts:predict", &texts).ok(),
        json!({"predictions": ["NaN", "a"]})
    );
    assert_eq!(
        post(
            "texts:predict",
            &json!({"inputs": {"x": [{"b64": "YQ=="}]}})
        )
        .ok(),
        json!({"outputs": ["a"]})
    );
    for bad in [
        json!({"instances": [{"b64": "%"}]}),
        json!({"instances": [{"b64": 1}]}),
        json!({"instances": [{"b64": "/w=="}]}),
    ] {
        post("texts:predict", &bad).expect_error(400, "invalid_input");
    }
    post("file-type:predict", &json!({"instances": ["text"]})).expect_error(400, "invalid_input");
}

#[test]
fn numbers_that_json_does_not_have() {
    let path = "/v1/models/floats:predict";
    let body = r#"{"instances": [NaN, Infinity, -Infinity, 0.1, 16777216, 1e-7]}"#;
    let answer = MODELS.post(path, "application/json", body);
    // Single precision comes back as short as it was.
    assert_eq!(
        text(&answer),
        r#"{"predictions": [NaN,Infinity,-Infinity,0.1,16777216.0,1e-7]}"#
    );
    let body = r#"{"inputs": {"x": [0.1, NaN]}}"#;
    let answer = MODELS.post("/v1/models/doubles:predict", "application/json", body);
    assert_eq!(text(&answer), r#"{"outputs": [0.1,NaN]}"#);
    // Missing, for a column of a record.
    let record = r#"{"instances": [{"mean radius": NaN}]}"#;
    let risk = "/v1/models/tumour-risk:predict";
    let with_nan = MODELS.post(risk, "application/json", record).ok();
    let without = post("tumour-risk:predict", &json!({"instances": [{}]})).ok();
    assert_eq!(with_nan, without);
    for bad in [
        r#"{"instances": [nan]}"#,
        r#"{"instances": [NaNs]}"#,
        "{\"instances\": [NaN",
    ] {
        MODELS
            .post(path, "application/json", bad)
            .expect_error(400, "invalid_json");
    }
    MODELS
        .post(path, "application/json", r#"{"instances": [1e39]}"#)
        .expect_error(400, "invalid_input");
}

#[test]
fn classify_and_regress() {
    let examples = json!({"context": {"fare": 7.25, "children": [0]}, "examples": [{"age": 3, "city": ["Bern"]}, {"age": [71.5], "city": {"b64": "QmVybg=="}}]});
    // Texts as bytes are for tensors; columns of a record are texts.
    post("people:classify", &examples).expect_error(400, "invalid_record");
    let mut examples = examples;
    examples["examples"][1]["city"] = json!("Zürich");
    let answer = post("people:classify", &examples).ok();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(
        (&results[0][0][0], &results[0][1][0]),
        (&json!("no"), &json!("yes"))
    );
    assert!((results[0][0][1].as_f64().unwrap() - 0.9403131242438834).abs() < 1e-6);
    let tensors = json!({"signature_name": "tensors", "examples": [{"age": 3, "fare": [7.25], "city": "Bern", "children": 0}]});
    assert_eq!(
        post("people:classify", &tensors).ok()["results"][0],
        results[0]
    );
    let file = json!({"examples": [{"content": {"b64": "IyEvYmluL3NoCnNldCAtZXUKZm9yIGYgaW4gKjsgZG8gZWNobyAiJGYiOyBkb25lCg=="}}]});
    let answer = post("file-type:classify", &file).ok();
    assert_eq!(answer["results"][0][0][0], "shell");
    assert!(answer["results"][0][0][1].as_f64().unwrap() > 0.5);

    let numbers = json!({"examples": [{"X": [1, 2, 3]}, {"X": [0.5, -1, -0.25]}]});
    assert_eq!(
        post("dose:regress", &numbers).ok(),
        json!({"results": [14.0, -2.25]})
    );
    let scalars = json!({"examples": [{"x": 1.5}, {"x": [2]}]});
    assert_eq!(
        post("floats:regress", &scalars).ok(),
        json!({"results": [1.5, 2.0]})
    );
    for (path, body) in [
        ("dose:classify", numbers.clone()),
        ("people:regress", examples.clone()),
        ("texts:regress", json!({"examples": [{"x": "a"}]})),
        ("dose:regress", json!({})),
        ("dose:regress", json!({"examples": []})),
        ("dose:regress", json!({"examples": {"X": [1, 2, 3]}})),
        ("dose:regress", json!({"examples": [[1, 2, 3]]})),
        (
            "dose:regress",
            json!({"examples": [{"X": [1, 2, 3]}], "context": []}),
        ),
        (
            "dose:regress",
            json!({"examples": [{"X": [1, 2, 3]}], "context": {"X": [1, 2, 3]}}),
        ),
    ] {
        post(path, &body).expect_error(400, "invalid_request");
    }
}

#[test]
fn golden_records_have_the_same_labels() {
    let golden = std::fs::read_to_string(recipe("tumour-risk").join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let cases: Vec<&Value> = golden["cases"].as_array().unwrap().iter().collect();
    let cases = cases
        .into_iter()
        .filter(|case| case["expect"]["outputs"]["label"].is_string());
    let (rows, labels): (Vec<&Value>, Vec<&Value>) = cases
        .map(|case| {
            (
                &case["input"]["record"],
                &case["expect"]["outputs"]["label"],
            )
        })
        .unzip();
    assert!(rows.len() > 3);
    let path = "/v1/models/tumour-risk:predict";
    let answer = SHARED.post_json(path, &json!({"instances": rows})).ok();
    let got: Vec<&Value> = answer["predictions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["label"])
        .collect();
    assert_eq!(got, labels);
}
