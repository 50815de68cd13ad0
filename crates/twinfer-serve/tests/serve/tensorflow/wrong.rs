//! What is wrong with a request, and its code.

use serde_json::json;

use super::{MODELS, post};

#[test]
fn wrong_requests_have_their_codes() {
    let row = json!([1, 2, 3]);
    for (path, body, status, code) in [
        ("dose:predict", json!([row]), 400, "invalid_request"),
        ("dose:predict", json!({}), 400, "invalid_request"),
        (
            "dose:predict",
            json!({"instances": [row], "inputs": [row]}),
            400,
            "invalid_request",
        ),
        (
            "dose:predict",
            json!({"instances": []}),
            400,
            "invalid_request",
        ),
        (
            "dose:predict",
            json!({"instances": 1}),
            400,
            "invalid_request",
        ),
        (
            "dose:predict",
            json!({"instances": [row], "signature_name": 1}),
            400,
            "invalid_request",
        ),
        (
            "dose:predict",
            json!({"instances": [row], "signature_name": "other"}),
            400,
            "invalid_parameter",
        ),
        (
            "dose:predict",
            json!({"instances": [row], "signature_name": "tensors"}),
            400,
            "invalid_parameter",
        ),
        (
            "dose:predict",
            json!({"instances": [{"Y": row}]}),
            400,
            "unknown_input",
        ),
        (
            "dose:predict",
            json!({"inputs": {"Y": [row]}}),
            400,
            "unknown_input",
        ),
        ("dose:predict", json!({"inputs": {}}), 400, "unknown_input"),
        (
            "dose:predict",
            json!({"instances": [[1, 2]]}),
            400,
            "wrong_shape",
        ),
        (
            "dose:predict",
            json!({"instances": [row, [1, 2]]}),
            400,
            "wrong_shape",
        ),
        (
            "dose:predict",
            json!({"instances": [["a", 2, 3]]}),
            400,
            "invalid_input",
        ),
        ("dose:predict", json!({"inputs": row}), 400, "wrong_shape"),
        (
            "types:predict",
            json!({"inputs": [1]}),
            400,
            "invalid_input",
        ),
        (
            "types:predict",
            json!({"inputs": {"i": [1, 2, 3]}}),
            400,
            "missing_input",
        ),
        (
            "people:predict",
            json!({"instances": [{"age": 3, "pet": 1}]}),
            400,
            "invalid_record",
        ),
        (
            "people:predict",
            json!({"instances": [3]}),
            400,
            "invalid_record",
        ),
        (
            "people:predict",
            json!({"inputs": {"age": [3, 4], "city": ["Bern"]}}),
            400,
            "wrong_shape",
        ),
        (
            "people:predict",
            json!({"inputs": {"age": 3}}),
            400,
            "wrong_shape",
        ),
        (
            "people:predict",
            json!({"inputs": 3}),
            400,
            "invalid_request",
        ),
        (
            "people:predict",
            json!({"inputs": {}}),
            400,
            "invalid_request",
        ),
        (
            "nothing:predict",
            json!({"instances": [row]}),
            404,
            "unknown_model",
        ),
        (
            "dose/versions/5:predict",
            json!({"instances": [row]}),
            404,
            "unknown_version",
        ),
        (
            "dose/labels/none:predict",
            json!({"instances": [row]}),
            404,
            "unknown_version",
        ),
        (
            "dose:explain",
            json!({"instances": [row]}),
            404,
            "not_found",
        ),
        (
            "dose:train",
            json!({"instances": [row]}),
            405,
            "method_not_allowed",
        ),
    ] {
        let error = post(path, &body).expect_error(status, code);
        assert!(!error.is_empty(), "{path} {body}");
    }
    let predict = "/v1/models/dose:predict";
    for body in ["", "{", "\u{feff}", "{\"instances\": [1,]}"] {
        MODELS
            .post(predict, "application/json", body)
            .expect_error(400, "invalid_json");
    }
    let deep = format!("{{\"instances\": {}", "[".repeat(100_000));
    MODELS
        .post(predict, "application/json", deep)
        .expect_error(400, "invalid_json");
    MODELS.get(predict).expect_error(405, "method_not_allowed");
    // Which package answered is in the headers, as in every protocol.
    let answer = post("dose/versions/1:predict", &json!({"instances": [row]}));
    assert_eq!(answer.headers["x-twinfer-version"], "1.0.0");
}
