//! The OpenAPI document says what is there.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::{Fixture, SHARED};
use crate::trust;

/// A server with one model, which is the default one.
static ONE: LazyLock<Fixture> = LazyLock::new(|| Fixture::new(&["tumour-risk"]));
/// A model with an alias.
static ALIASED: LazyLock<Fixture> = LazyLock::new(|| {
    let fixture = Fixture::new(&["types"]);
    fixture.alias("types", "stable", "1.0.0");
    fixture
});

fn document() -> Value {
    SHARED.get("/openapi.json").ok()
}

/// Every `$ref` of a value.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.push(reference);
            }
            fields.values().for_each(|v| references(v, found));
        }
        Value::Array(values) => values.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_its_own_id() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut ids = Vec::new();
    for operations in document["paths"].as_object().unwrap().values() {
        let operations = operations.as_object().unwrap().values();
        ids.extend(operations.map(|operation| operation["operationId"].as_str().unwrap()));
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn every_operation_without_a_body_answers_as_it_says() {
    let document = document();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(operation) = operations.get("get") else {
            continue;
        };
        let path = path
            .replace("{model}", "types")
            .replace("{version}", "1.0.0")
            .replace("{label}", "stable");
        // What names no model is for the default one.
        let answer = match path.as_str() {
            "/ping" | "/health" => ONE.get(&path),
            path if path.contains("{deployed}") => ONE.get(path),
            // A record of the model `types` has no columns.
            path if path.starts_with("/predictions/") => continue,
            path if path.contains("/labels/") => ALIASED.get(path),
            path => SHARED.get(path),
        };
        assert_eq!(answer.status, 200, "{path}");
        let content = operation["responses"]["200"]["content"]
            .as_object()
            .unwrap();
        let media_type = answer.headers["content-type"].to_str().unwrap();
        let media_type = media_type.split(';').next().unwrap();
        assert!(content.contains_key(media_type), "{path}: {media_type}");
        asked += 1;
    }
    assert!(asked >= 25, "{asked}");
}

#[test]
fn the_schemas_are_those_of_the_models() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let infer = &schemas["InferRequest.face-detector"]["properties"]["inputs"];
    let [low, high] = [&infer["minItems"], &infer["maxItems"]];
    assert_eq!((low, high), (&json!(1), &json!(1)));
    let input = &infer["items"]["properties"];
    assert_eq!(input["shape"]["const"], json!([1, 3, 240, 320]));
    assert_eq!(input["datatype"]["const"], "FP32");

    let predict = &document["paths"]["/v2/models/tumour-risk/predict"]["post"];
    let body = &predict["requestBody"]["content"]["application/json"]["schema"]["anyOf"][0];
    assert_eq!(body["properties"].as_object().unwrap().len(), 30);
    assert_eq!(body["additionalProperties"], false);

    let file = &document["paths"]["/v2/models/file-type/predict"]["post"];
    assert_eq!(
        file["parameters"][0]["schema"]["default"],
        "high_confidence"
    );
    assert_eq!(
        file["parameters"][0]["schema"]["enum"]
            .as_array()
            .unwrap()
            .len(),
        3
    );

    let boxes = &schemas["Prediction.face-detector"]["allOf"][1]["properties"]["outputs"];
    assert_eq!(boxes["properties"]["boxes"]["maxItems"], 200);
}

#[test]
fn one_model_can_be_asked_for() {
    let one = SHARED.get("/openapi.json?model=types").ok();
    let paths = one["paths"].as_object().unwrap();
    assert!(paths.contains_key("/v2/models/types/infer"));
    assert!(!paths.contains_key("/v2/models/untidy/infer"));
    assert!(paths.contains_key("/v2/models/{model}/infer"));
    SHARED
        .get("/openapi.json?model=nobody")
        .expect_error(404, "unknown_model");
    SHARED
        .get("/openapi.json?model=No+body")
        .expect_error(400, "invalid_reference");
}

#[test]
fn a_model_that_may_not_be_loaded_is_not_described() {
    let fixture = Fixture::with(&["types"], |options| options.trust = trust::policy(|| 0));
    let document = fixture.get("/openapi.json").ok();
    let paths = document["paths"].as_object().unwrap();
    assert!(!paths.keys().any(|path| path.contains("types")));
    assert!(!document.to_string().contains("InferRequest.types"));
}

#[test]
fn every_protocol_is_in_it() {
    let document = ONE.get("/openapi.json").ok();
    let paths = document["paths"].as_object().unwrap();
    for (method, path) in [
        ("post", "/v2/models/{model}/infer"),
        ("post", "/v2/models/tumour-risk/predict"),
        ("get", "/v1/models/{model}/versions/{version}/metadata"),
        ("post", "/v1/models/{model}/labels/{label}:predict"),
        ("post", "/v1/models/tumour-risk:predict"),
        ("post", "/v1/models/tumour-risk:classify"),
        ("get", "/ping"),
        ("get", "/health"),
        ("get", "/version"),
        ("post", "/invocations"),
        ("get", "/execution-parameters"),
        ("post", "/models/{model}/invoke"),
        (
            "post",
            "/v1/endpoints/{endpoint}/deployedModels/{deployed}:predict",
        ),
        ("post", "/score"),
        ("post", "/predictions/tumour-risk"),
        ("get", "/predictions/{model}"),
        ("get", "/models"),
        ("get", "/models/{model}/all"),
        ("post", "/events"),
        ("post", "/events/tumour-risk"),
    ] {
        assert!(paths[path][method].is_object(), "{method} {path}");
    }
    // It gives no number, so there is nothing to ask for at `:regress`.
    assert!(!paths.contains_key("/v1/models/tumour-risk:regress"));
    let schemas = &document["components"]["schemas"];
    let row = &schemas["Row.tumour-risk"]["anyOf"];
    assert_eq!(row[0]["properties"].as_object().unwrap().len(), 30);
    assert_eq!(row[1]["maxItems"], 30);
    // Each has the form of its errors.
    for (path, form) in [
        ("/invocations", "MlflowError400"),
        ("/predictions/tumour-risk", "TorchServeError400"),
        ("/score", "Error400"),
    ] {
        let reference = &paths[path]["post"]["responses"]["400"]["$ref"];
        assert_eq!(reference, &json!(format!("#/components/responses/{form}")));
    }
    // The record of the default model is in what names none.
    let instances = &schemas["VertexRequest"]["properties"]["instances"]["items"]["anyOf"][0];
    assert_eq!(instances["properties"].as_object().unwrap().len(), 30);
}

#[test]
fn the_routes_of_vertex_ai_are_those_of_the_environment() {
    let fixture = Fixture::with(&["tumour-risk"], |options| {
        options.predict_route = Some("/ask".into());
        options.health_route = Some("/well".into());
    });
    let paths = &fixture.get("/openapi.json").ok()["paths"];
    assert!(paths["/ask"]["post"].is_object() && paths["/well"]["get"].is_object());
}
