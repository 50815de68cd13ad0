//! TorchServe in the OpenAPI document, and its own description of itself.

use serde_json::{Value, json};
use twinfer::ErrorCode;

use super::super::invocations;
use crate::openapi::{
    self, Document, Operation, Served, list, object, outputs, path_parameter, predict_body, row,
    text,
};

const TAG: &str = "TorchServe";
/// The form of errors.
const ERROR: &str = "TorchServeError";

/// The document that its clients ask for: the inference routes, and what it manages.
pub(super) fn description() -> Value {
    openapi::of_protocols(&[describe, invocations::describe_ping])
}

pub(in crate::protocol) fn describe(document: &mut Document<'_>) {
    document.tag(
        TAG,
        "Predictions, and the part of the management that only reads.",
    );
    document.error_form(ERROR, error());
    for (path, suffix) in [
        ("/predictions/{model}", ""),
        ("/predictions/{model}/{version}", "OfVersion"),
    ] {
        predictions(document, path, suffix);
    }
    management(document);
    for served in document.models() {
        own(document, served);
    }
}

/// An error as [`super::Route::failed`] writes it.
fn error() -> Value {
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    object(
        &[
            (
                "code",
                json!({"type": "integer", "description": "The status."}),
            ),
            ("type", text("TorchServe's name for it.")),
            ("message", text("What was wrong, where, and what to do.")),
            (
                "error_code",
                json!({"description": "Stable, for programs.", "enum": codes}),
            ),
        ],
        &["code", "type", "message", "error_code"],
    )
}

fn operation(id: &str, summary: &str) -> Operation {
    Operation::new(id, TAG, summary).errors_in(ERROR, &[400, 404])
}

fn of_a_model(operation: Operation, suffix: &str) -> Operation {
    let operation = operation.parameter(path_parameter(
        "model",
        "The name of a model.",
        "tumour-risk",
    ));
    if suffix.is_empty() {
        return operation;
    }
    let what = "A version, an alias, or a digest.";
    operation.parameter(path_parameter("version", what, "1.0.0"))
}

fn predictions(document: &mut Document<'_>, path: &str, suffix: &str) {
    let any = json!({"description": "The outputs, or a list of them."});
    let json =
        json!({"description": "What the model takes, a list of rows, or rows as `instances`."});
    let binary = json!({"type": "string", "format": "binary"});
    document.add(
        "post",
        path,
        of_a_model(
            operation(&format!("torchPredict{suffix}"), "Predictions"),
            suffix,
        )
        .body(
            true,
            &[
                ("application/json", json),
                ("application/octet-stream", binary),
            ],
        )
        .json("The outputs.", any.clone())
        .errors_in(ERROR, &[400, 404, 415, 422]),
    );
    document.add(
        "get",
        path,
        of_a_model(
            operation(
                &format!("torchQuery{suffix}"),
                "Predictions for a record in the query string",
            ),
            suffix,
        )
        .parameter(json!({
            "name": "record", "in": "query", "style": "form", "explode": true,
            "description": "Values by the names of columns.",
            "schema": {"type": "object", "additionalProperties": {"type": "string"}},
        }))
        .json("The outputs.", any),
    );
    document.add(
        "options",
        path,
        of_a_model(
            operation(&format!("torchOptions{suffix}"), "OpenAPI of these routes"),
            suffix,
        )
        .json("OpenAPI.", document_schema()),
    );
}

fn document_schema() -> Value {
    json!({"type": "object", "required": ["openapi", "paths"]})
}

fn management(document: &mut Document<'_>) {
    let entry = object(
        &[("modelName", text("")), ("modelUrl", text(""))],
        &["modelName", "modelUrl"],
    );
    let page = object(
        &[
            ("models", json!({"type": "array", "items": entry})),
            ("nextPageToken", text("Where the next page begins.")),
        ],
        &["models"],
    );
    let number = |name: &str, description: &str| {
        json!({
            "name": name, "in": "query", "required": false, "description": description,
            "schema": {"type": "integer", "minimum": 0, "maximum": i32::MAX},
        })
    };
    document.add(
        "get",
        "/models",
        operation("torchModels", "The models, in pages")
            .parameter(number("limit", "Models of a page, 100 at most."))
            .parameter(number("next_page_token", "From the page before."))
            .json("A page.", page),
    );
    let described = document.schema("TorchServeModel", model());
    let described = json!({"type": "array", "minItems": 1, "items": described});
    for (path, id, summary, suffix) in [
        ("/models/{model}", "torchModel", "What a model is", ""),
        (
            "/models/{model}/all",
            "torchModelAll",
            "All its versions",
            "",
        ),
        (
            "/models/{model}/{version}",
            "torchModelOfVersion",
            "What a version is",
            "OfVersion",
        ),
    ] {
        document.add(
            "get",
            path,
            of_a_model(operation(id, summary), suffix).json("A list.", described.clone()),
        );
    }
    document.add(
        "get",
        "/api-description",
        operation("torchDescription", "OpenAPI of these routes")
            .json("OpenAPI.", document_schema()),
    );
}

fn model() -> Value {
    let natural = json!({"type": "integer", "minimum": 0});
    let worker = object(
        &[
            ("id", text("")),
            ("status", json!({"enum": ["READY", "UNLOADED"]})),
            ("gpu", json!({"type": "boolean"})),
        ],
        &["id", "status"],
    );
    object(
        &[
            ("modelName", text("")),
            ("modelVersion", text("")),
            ("modelUrl", text("Its name and digest.")),
            ("runtime", json!({"const": "wasm"})),
            ("minWorkers", natural.clone()),
            ("maxWorkers", natural.clone()),
            ("batchSize", natural.clone()),
            ("maxBatchDelay", natural),
            ("loadedAtStartup", json!({"type": "boolean"})),
            ("workers", json!({"type": "array", "items": worker})),
        ],
        &["modelName", "modelVersion", "modelUrl", "workers"],
    )
}

/// The predictions of one model, with its own schemas.
fn own(document: &mut Document<'_>, served: &Served) {
    let Served {
        segment,
        key,
        config,
        ..
    } = served;
    let rows = list(row(Some(served)));
    let instances = object(&[("instances", rows.clone())], &["instances"]);
    let body = predict_body(served).into_iter().map(|(name, schema)| {
        let schema = match name {
            "application/json" => json!({"anyOf": [schema, rows, instances]}),
            _ => schema,
        };
        (name, schema)
    });
    let body: Vec<(&str, Value)> = body.collect();
    let one = outputs(served);
    let answers = json!({"type": "array", "items": openapi::row_answer(Some(served))});
    let predictions = object(&[("predictions", answers.clone())], &["predictions"]);
    let answer = json!({"anyOf": [one, answers, predictions]});
    document.add(
        "post",
        &format!("/predictions/{segment}"),
        operation(
            &format!("torchPredict.{key}"),
            &format!("Predictions: {}", config.name),
        )
        .body(true, &body)
        .json("The outputs.", answer)
        .errors_in(ERROR, &[400, 404, 415, 422]),
    );
}
