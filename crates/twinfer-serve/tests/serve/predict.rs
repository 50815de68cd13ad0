//! The pipeline's own inputs.

use crate::support::{Fixture, SHARED, recipe};
use serde_json::{Value, json};
use twinfer_package::{Built, PackOptions};

const FACE: &str = "/v2/models/face-detector/predict";
const FILE: &str = "/v2/models/file-type/predict";
const RISK: &str = "/v2/models/tumour-risk/predict";

fn golden(model: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(recipe(model).join("golden.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["cases"]
        .as_array()
        .unwrap()
        .clone()
}

fn picture(name: &str) -> Vec<u8> {
    std::fs::read(recipe("face-detector").join("pictures").join(name)).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn a_picture_in_every_form_gives_the_same() {
    let jpeg = picture("group.jpg");
    let answer = SHARED.post(FACE, "image/jpeg", jpeg.clone()).ok();
    assert_eq!(
        (
            &answer["model_name"],
            &answer["model_version"],
            &answer["mode"]
        ),
        (&json!("face-detector"), &json!("1.0.0"), &json!("strict"))
    );
    assert!(answer["digest"].as_str().unwrap().starts_with("sha256:"));
    assert!(answer["outputs"]["boxes"].as_array().unwrap().len() > 2);
    let outputs = &answer["outputs"];
    assert_eq!(
        &SHARED
            .post(FACE, "application/octet-stream", jpeg.clone())
            .ok()["outputs"],
        outputs
    );
    let none = http::Request::post(FACE).body(jpeg.clone().into()).unwrap();
    assert_eq!(&SHARED.send(none).ok()["outputs"], outputs);
    let json =
        json!({"inputs": {"picture": {"base64": base64(&jpeg), "media_type": "image/jpeg"}}});
    assert_eq!(&SHARED.post_json(FACE, &json).ok()["outputs"], outputs);
}

#[test]
fn bytes_with_a_parameter() {
    let bytes = b"#!/bin/sh\nset -eu\nfor f in *; do echo \"$f\"; done\n".to_vec();
    let plain = SHARED
        .post(FILE, "application/octet-stream", bytes.clone())
        .ok();
    assert!(
        plain["outputs"]["content_type"]["label"].is_string(),
        "{plain}"
    );
    let query = format!("{FILE}?prediction_mode=best_guess");
    let guessed = SHARED
        .post(&query, "application/octet-stream", bytes.clone())
        .ok();
    let json = json!({"inputs": {"content": {"base64": base64(&bytes)}}, "parameters": {"prediction_mode": "best_guess"}});
    assert_eq!(
        SHARED.post_json(FILE, &json).ok()["outputs"],
        guessed["outputs"]
    );
    // An upload that happens to be a picture is bytes to this model only when
    // it is sent as bytes.
    SHARED
        .post(FILE, "image/png", bytes)
        .expect_error(415, "unsupported_media_type");
}

#[test]
fn a_record_bare_or_in_an_envelope() {
    let case = &golden("tumour-risk")[0];
    let record = &case["input"]["record"];
    let bare = SHARED.post_json(RISK, record).ok();
    assert_eq!(bare["outputs"]["label"], case["expect"]["outputs"]["label"]);
    let envelope = SHARED
        .post_json(RISK, &json!({"inputs": {"record": record}}))
        .ok();
    assert_eq!(envelope["outputs"], bare["outputs"]);
}

#[test]
fn golden_inputs_can_be_sent_as_they_are() {
    for model in ["tumour-risk", "file-type"] {
        let path = format!("/v2/models/{model}/predict");
        for case in golden(model).iter().take(12) {
            let mut request = json!({"inputs": case["input"]});
            if let Some(parameters) = case.get("parameters") {
                request["parameters"] = parameters.clone();
            }
            let answer = SHARED.post_json(&path, &request).ok();
            // Some cases expect only raw tensors.
            for (name, expected) in case["expect"]["outputs"].as_object().into_iter().flatten() {
                let got = &answer["outputs"][name];
                let label = |value: &Value| {
                    value
                        .get("label")
                        .unwrap_or(value)
                        .as_str()
                        .map(str::to_owned)
                };
                assert_eq!(
                    label(got),
                    label(expected),
                    "{model} {} {name}",
                    case["name"]
                );
            }
        }
    }
}

#[test]
fn wrong_inputs_have_their_codes() {
    let valid = json!({"base64": ""});
    let cases: Vec<(&str, Value, u16, &str)> = vec![
        (FACE, json!({}), 400, "invalid_request"),
        (FACE, json!([]), 400, "invalid_request"),
        (FACE, json!({"inputs": {}}), 400, "invalid_request"),
        (
            FACE,
            json!({"inputs": {"picture": valid, "other": valid}}),
            400,
            "invalid_request",
        ),
        (
            FACE,
            json!({"inputs": {"other": valid}}),
            400,
            "unknown_input",
        ),
        (
            FACE,
            json!({"inputs": {"picture": "text"}}),
            400,
            "invalid_request",
        ),
        (
            FACE,
            json!({"inputs": {"picture": {"base64": "%%"}}}),
            400,
            "invalid_request",
        ),
        (
            FACE,
            json!({"inputs": {"picture": {"base64": ""}}}),
            400,
            "invalid_picture",
        ),
        (
            FACE,
            json!({"inputs": {"picture": {"base64": "", "more": 1}}}),
            400,
            "invalid_request",
        ),
        (
            FACE,
            json!({"inputs": {"picture": valid}, "more": 1}),
            400,
            "invalid_request",
        ),
        (
            FACE,
            json!({"inputs": {"picture": valid}, "parameters": {"p": 1}}),
            400,
            "unknown_parameter",
        ),
        (
            FACE,
            json!({"inputs": {"tensors": {}}}),
            400,
            "invalid_request",
        ),
        (
            FACE,
            json!({"inputs": {"tensors": [{"name": "input", "dtype": "FP32", "shape": [1], "data": [1]}]}}),
            400,
            "wrong_shape",
        ),
        (
            FILE,
            json!({"inputs": {"content": valid}, "parameters": {"prediction_mode": "wild"}}),
            400,
            "invalid_parameter",
        ),
        (RISK, json!({"no such column": 1.0}), 400, "invalid_record"),
        (RISK, json!({"mean radius": "wide"}), 400, "invalid_record"),
        (RISK, json!([1, 2]), 400, "invalid_request"),
        (
            RISK,
            json!({"inputs": {"record": [1]}}),
            400,
            "invalid_request",
        ),
    ];
    for (path, body, status, code) in cases {
        SHARED.post_json(path, &body).expect_error(status, code);
    }
    SHARED
        .post(FACE, "text/html", "<p>")
        .expect_error(415, "unsupported_media_type");
    SHARED
        .post(RISK, "application/octet-stream", "x")
        .expect_error(415, "unsupported_media_type");
    SHARED
        .post(RISK, "application/json", "{\"mean radius\": NaN}")
        .expect_error(400, "invalid_json");
    SHARED
        .post("/v2/models/types/predict", "image/png", "x")
        .expect_error(415, "unsupported_media_type");
    SHARED
        .post(
            &format!("{FILE}?prediction_mode=best_guess&prediction_mode=best_guess"),
            "application/octet-stream",
            "x",
        )
        .expect_error(400, "invalid_parameter");
    SHARED
        .post(&format!("{FILE}?other=1"), "application/octet-stream", "x")
        .expect_error(400, "unknown_parameter");
    let twice =
        json!({"inputs": {"content": valid}, "parameters": {"prediction_mode": "best_guess"}});
    SHARED
        .post_json(&format!("{FILE}?prediction_mode=best_guess"), &twice)
        .expect_error(400, "invalid_parameter");
}

/// A model with an input for each column, packed from its file alone: see
/// `columns_reference.py` beside it.
#[test]
fn a_record_for_a_model_with_an_input_for_each_column() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../twinfer-cli/tests/data/columns"
    );
    let folder = std::path::Path::new(folder);
    let fixture = Fixture::new(&[]);
    let built = Built::from_file(&folder.join("model.onnx"), "columns", "1.0.0").unwrap();
    built.pack(&*fixture.store, PackOptions::default()).unwrap();
    let answers = std::fs::read_to_string(folder.join("answers.json")).unwrap();
    let answers: Vec<Value> = serde_json::from_str(&answers).unwrap();
    assert!(answers.len() > 3);
    for case in &answers {
        let path = "/v2/models/columns/predict";
        let outputs = &fixture.post_json(path, &case["record"]).ok()["outputs"];
        assert_eq!(outputs["label"], case["label"], "{case}");
        for (label, want) in case["probabilities"].as_object().unwrap() {
            let (got, want) = (&outputs["probabilities"][label], want.as_f64().unwrap());
            // Single precision beside double.
            assert!(
                (got.as_f64().unwrap() - want).abs() < 1e-6,
                "{case}: {outputs}"
            );
        }
    }
}
