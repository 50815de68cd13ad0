//! A small OpenAPI document for clients that ask a server for it before they send anything: those of
//! TorchServe and Azure Machine Learning.

use serde_json::{Map, Value, json};

/// Predictions at these paths.
pub(super) fn of(paths: &[&str]) -> Value {
    let answer = json!({"description": "The answer of the model", "content": {"application/json": {"schema": {}}}});
    let failure = json!({"description": "What was wrong, with a stable code", "content": {"application/json": {"schema": {"type": "object"}}}});
    let path = |path: &&str| {
        let variables = path.split('/').filter_map(|segment| {
            let name = segment.strip_prefix('{')?.strip_suffix('}')?;
            Some(
                json!({"in": "path", "name": name, "required": true, "schema": {"type": "string"}}),
            )
        });
        let operation = json!({
            "operationId": path.trim_matches('/').replace(['/', '{', '}'], "_"),
            "parameters": variables.collect::<Vec<_>>(),
            "requestBody": {"required": true, "content": {"*/*": {"schema": {}}}},
            "responses": {"200": answer, "default": failure},
        });
        ((*path).to_owned(), json!({"post": operation}))
    };
    let paths: Map<String, Value> = paths.iter().map(path).collect();
    json!({
        "openapi": "3.0.1",
        "info": {"title": "Twinfer", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
    })
}
