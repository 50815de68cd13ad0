//! Requests that are wrong, and questions about what is served.

use super::cases::{Case, Expect};
use super::wire::request;

const RISK: &str = "/v2/models/tumour-risk/versions/1.0.0/predict";
const TENSORS: &str = "/v2/models/tumour-risk/versions/1.0.0/infer";
const FACE: &str = "/v2/models/face-detector/versions/1.0.0/predict";

/// Content type and body of a POST, and the status and code that it must get.
type Wrong = (&'static str, &'static str, &'static str, u16, &'static str);

const WRONG: [Wrong; 9] = [
    (
        RISK,
        "application/json",
        r#"{"mean radius": "#,
        400,
        "invalid_json",
    ),
    (
        RISK,
        "application/json",
        r#"{"mean radius": "wide"}"#,
        400,
        "invalid_record",
    ),
    (
        RISK,
        "application/json",
        r#"{"no such column": 1}"#,
        400,
        "invalid_record",
    ),
    (RISK, "text/html", "<p>", 415, "unsupported_media_type"),
    (
        TENSORS,
        "application/json",
        r#"{"inputs":[{"name":"X","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}"#,
        400,
        "wrong_shape",
    ),
    (
        TENSORS,
        "application/json",
        r#"{"inputs":[{"name":"X","datatype":"FP32","shape":[1,30],"data":[1,2,3]}]}"#,
        400,
        "wrong_shape",
    ),
    (
        TENSORS,
        "application/json",
        r#"{"inputs":[]}"#,
        400,
        "missing_input",
    ),
    (
        TENSORS,
        "application/json",
        r#"{"inputs":[{"name":"X","datatype":"FP32","shape":[1,30],"parameters":{"binary_data_size":120}}]}"#,
        400,
        "invalid_request",
    ),
    (
        FACE,
        "image/jpeg",
        "this is no picture",
        400,
        "invalid_picture",
    ),
];

/// Method and path of what is not there.
const MISSING: [(&str, &str, u16, &str); 4] = [
    ("GET", "/v2/models/nobody", 404, "unknown_model"),
    (
        "GET",
        "/v2/models/tumour-risk/versions/9.9.9",
        404,
        "unknown_version",
    ),
    ("GET", "/v2/nothing/here", 404, "not_found"),
    ("DELETE", "/v2/models", 405, "method_not_allowed"),
];

const QUESTIONS: [&str; 7] = [
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/healthz",
    "/v2/models",
    "/v2/models/face-detector",
    "/registry/index.json",
];

/// Requests that are wrong, with the codes that they must get, and questions about what is served.
pub fn others() -> Vec<Case> {
    let deep = "[".repeat(5_000);
    let nested: Wrong = (RISK, "application/json", "", 400, "invalid_json");
    let posts = WRONG
        .iter()
        .map(|wrong| (wrong, wrong.2))
        .chain([(&nested, deep.as_str())]);
    let posts = posts.map(|((path, content_type, _, status, code), body)| Case {
        kind: "wrong",
        name: format!("POST {path}: {code}"),
        bytes: request(
            "POST",
            path,
            &[("content-type", content_type)],
            body.as_bytes(),
        ),
        expect: Expect::Error(*status, code),
    });
    let missing = MISSING.iter().map(|(method, path, status, code)| Case {
        kind: "wrong",
        name: format!("{method} {path}: {code}"),
        bytes: request(method, path, &[], b""),
        expect: Expect::Error(*status, code),
    });
    let questions = QUESTIONS.iter().map(|path| Case {
        kind: "question",
        name: format!("GET {path}"),
        bytes: request("GET", path, &[], b""),
        expect: Expect::Status(200),
    });
    posts.chain(missing).chain(questions).collect()
}
