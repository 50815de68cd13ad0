//! What the server says of itself and its models.

use serde_json::json;

use crate::support::{Fixture, SHARED};

#[test]
fn the_server() {
    let server = SHARED.get("/v2").ok();
    assert_eq!(server["name"], "twinfer");
    assert!(server["version"].is_string());
    assert!(
        server["extensions"]
            .as_array()
            .unwrap()
            .contains(&json!("binary_tensor_data"))
    );
    assert_eq!(SHARED.get("/v2/health/live").ok(), json!({"live": true}));
    assert_eq!(
        SHARED.get("/v2/health/ready").ok(),
        json!({"live": true, "ready": true})
    );
}

#[test]
fn the_models_with_versions_and_aliases() {
    let fixture = Fixture::new(&["types"]);
    let second = fixture.pack_version("types", "1.10.0");
    fixture.pack_version("types", "1.9.0");
    fixture.alias("types", "stable", "1.9.0");
    let models = fixture.get("/v2/models").ok()["models"].clone();
    assert_eq!(models[0]["name"], "types");
    assert_eq!(models[0]["versions"], json!(["1.10.0", "1.9.0", "1.0.0"]));
    assert_eq!(models[0]["digest"], second.digest.to_string());
    assert!(
        models[0]["aliases"]["stable"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    assert_eq!(
        Fixture::new(&[]).get("/v2/models").ok(),
        json!({"models": []})
    );
}

#[test]
fn a_signature() {
    let model = SHARED.get("/v2/models/face-detector").ok();
    assert_eq!(model["name"], "face-detector");
    assert_eq!(model["versions"], json!(["1.0.0"]));
    assert_eq!(model["platform"], "onnx_onnxv1");
    assert_eq!(
        model["inputs"],
        json!([{"name": "input", "datatype": "FP32", "shape": [1, 3, 240, 320]}])
    );
    assert_eq!(model["outputs"][0]["name"], "scores");
    assert_eq!(model["properties"]["predict.kind"], "picture");
    assert!(
        model["properties"]["digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    assert!(
        model["properties"]
            .as_object()
            .unwrap()
            .values()
            .all(|value| value.is_string())
    );
    assert_eq!(
        SHARED.get("/v2/models/face-detector/versions/1.0.0").ok(),
        model
    );
    let digest = model["properties"]["digest"].as_str().unwrap();
    assert_eq!(
        SHARED
            .get(&format!("/v2/models/face-detector/versions/{digest}"))
            .ok(),
        model
    );
}

#[test]
fn free_axes_and_maps() {
    let untidy = SHARED.get("/v2/models/untidy").ok();
    assert!(
        untidy["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .any(|i| i["shape"].as_array().unwrap().contains(&json!(-1))),
        "{untidy}"
    );
    let risk = SHARED.get("/v2/models/tumour-risk").ok();
    assert_eq!(risk["properties"]["output.output_probability.kind"], "maps");
    assert_eq!(risk["outputs"][0]["datatype"], "BYTES");
}

#[test]
fn readiness_loads_the_model() {
    assert_eq!(
        SHARED.get("/v2/models/types/ready").ok(),
        json!({"name": "types", "ready": true})
    );
    let missing = SHARED.get("/v2/models/nobody/ready");
    missing.expect_error(404, "unknown_model");
    assert_eq!(missing.json()["ready"], false);
}

#[test]
fn other_methods_and_routes() {
    for (method, path) in [
        ("POST", "/v2"),
        ("DELETE", "/v2/models/types"),
        ("GET", "/v2/models/types/infer"),
        ("PUT", "/v2/models/types/predict"),
    ] {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .body(bytes::Bytes::new())
            .unwrap();
        let answer = SHARED.send(request);
        answer.expect_error(405, "method_not_allowed");
        assert!(!answer.headers["allow"].is_empty());
    }
    for path in [
        "/nothing",
        "/v1/models/types/nothing",
        "/v1/model/types",
        "/v2/models/types/explain",
        "/v2/models/types/versions/1.0.0/nothing",
    ] {
        SHARED.get(path).expect_error(404, "not_found");
    }
}
