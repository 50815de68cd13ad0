//! TensorFlow Serving's REST interface in the OpenAPI document.

use serde_json::{Value, json};

use super::classify::output_of;
use crate::openapi::{
    Document, Operation, Served, closed, columns, features, list, object, path_parameter,
    reference_to, row, text,
};

const TAG: &str = "TensorFlow Serving";

/// Where a model is, and the names of the variables in that.
const PLACES: [(&str, Option<&str>); 3] = [
    ("/v1/models/{model}", None),
    ("/v1/models/{model}/versions/{version}", Some("version")),
    ("/v1/models/{model}/labels/{label}", Some("label")),
];

pub(in crate::protocol) fn describe(document: &mut Document<'_>) {
    document.tag(
        TAG,
        "The REST interface of TensorFlow Serving; `:predict` in rows is version 1 of KServe's protocol, too.",
    );
    schemas(document);
    let names = json!({"type": "array", "items": {"type": "string"}});
    document.add(
        "get",
        "/v1/models",
        Operation::new(
            "tensorflowModels",
            TAG,
            "The names of the models, as KServe has them",
        )
        .json("The names.", object(&[("models", names)], &["models"])),
    );
    for (prefix, variable) in PLACES {
        of_a_model(document, prefix, variable);
    }
    for served in document.models() {
        own(document, served);
    }
}

fn schemas(document: &mut Document<'_>) {
    let version = object(
        &[
            ("version", text("")),
            ("state", json!({"enum": ["AVAILABLE"]})),
            (
                "status",
                object(
                    &[("error_code", text("")), ("error_message", text(""))],
                    &["error_code", "error_message"],
                ),
            ),
        ],
        &["version", "state", "status"],
    );
    let status = object(
        &[("model_version_status", list(version))],
        &["model_version_status"],
    );
    document.schema("TensorflowStatus", status);
    document.schema("TensorflowMetadata", metadata());
    document.schema("TensorflowPredictions", predictions(&json!({})));
    let any = json!({"type": "array", "minItems": 1});
    document.schema(
        "TensorflowRequest",
        request(&any, &json!({"description": "Inputs."})),
    );
    document.schema("TensorflowExamples", examples(&json!({"type": "object"})));
}

/// The signatures of a model (`GetModelMetadataResponse`).
fn metadata() -> Value {
    let dim = object(
        &[("size", text("A number.")), ("name", text(""))],
        &["size", "name"],
    );
    let shape = object(
        &[
            ("dim", json!({"type": "array", "items": dim})),
            ("unknown_rank", json!({"type": "boolean"})),
        ],
        &["dim", "unknown_rank"],
    );
    let tensor = object(
        &[
            (
                "dtype",
                text("DT_FLOAT, DT_STRING and so on; DT_VARIANT for what is no tensor."),
            ),
            ("tensor_shape", shape),
            ("name", text("")),
        ],
        &["dtype", "tensor_shape", "name"],
    );
    let tensors = json!({"type": "object", "additionalProperties": tensor});
    let signature = object(
        &[
            ("inputs", tensors.clone()),
            ("outputs", tensors),
            ("method_name", text("")),
        ],
        &["inputs", "outputs", "method_name"],
    );
    let names = ["name", "signature_name", "version"];
    let defs = json!({"type": "object", "required": ["serving_default"], "additionalProperties": signature});
    let inner = object(&[("signature_def", defs)], &["signature_def"]);
    object(
        &[
            (
                "model_spec",
                object(&names.map(|name| (name, text(""))), &names),
            ),
            (
                "metadata",
                object(&[("signature_def", inner)], &["signature_def"]),
            ),
        ],
        &["model_spec", "metadata"],
    )
}

fn signature_name() -> Value {
    json!({"enum": ["serving_default", ""], "default": "serving_default"})
}

/// Rows or columns.
fn request(rows: &Value, inputs: &Value) -> Value {
    let one = |name: &str, schema: &Value, what: &str| {
        let mut schema = closed(
            &[(name, schema.clone()), ("signature_name", signature_name())],
            &[name],
        );
        schema["description"] = what.into();
        schema
    };
    json!({"anyOf": [
        one("instances", rows, "Rows: `predictions` in the answer."),
        one("inputs", inputs, "Columns: `outputs` in the answer."),
    ]})
}

/// Rows or columns, as they were asked for.
fn predictions(row: &Value) -> Value {
    let rows = json!({"type": "array", "items": row});
    json!({"anyOf": [
        object(&[("predictions", rows)], &["predictions"]),
        object(&[("outputs", json!({}))], &["outputs"]),
    ]})
}

fn examples(features: &Value) -> Value {
    closed(
        &[
            ("examples", list(features.clone())),
            (
                "context",
                json!({"type": "object", "description": "Features of every example."}),
            ),
            ("signature_name", signature_name()),
        ],
        &["examples"],
    )
}

/// The results of `:classify`, or of `:regress`.
fn results(is_class: bool) -> Value {
    let number = json!({"type": "number"});
    let one = match is_class {
        true => {
            let pair = json!({"type": "array", "minItems": 2, "maxItems": 2, "description": "A label and its score."});
            json!({"type": "array", "items": pair})
        }
        false => number,
    };
    object(&[("results", list(one))], &["results"])
}

/// The routes of every model, with the name as a variable.
fn of_a_model(document: &mut Document<'_>, prefix: &str, variable: Option<&str>) {
    let operation = |id: &str, summary| {
        let suffix = match variable {
            None => "",
            Some("version") => "OfVersion",
            Some(_) => "OfLabel",
        };
        let operation = Operation::new(&format!("tensorflow{id}{suffix}"), TAG, summary)
            .parameter(path_parameter(
                "model",
                "The name of a model.",
                "tumour-risk",
            ))
            .errors(&[400, 403, 404]);
        match variable {
            None => operation,
            Some("version") => operation.parameter(path_parameter(
                "version",
                "A number, a version, or a digest.",
                "1.0.0",
            )),
            Some(label) => operation.parameter(path_parameter(label, "An alias.", "stable")),
        }
    };
    document.add(
        "get",
        prefix,
        operation("Status", "Its versions").json("The versions.", reference_to("TensorflowStatus")),
    );
    document.add(
        "get",
        &format!("{prefix}/metadata"),
        operation("Metadata", "Its signatures")
            .json("The signatures.", reference_to("TensorflowMetadata")),
    );
    document.add(
        "post",
        &format!("{prefix}:predict"),
        operation("Predict", "Predictions, in rows or in columns")
            .body(
                true,
                &[("application/json", reference_to("TensorflowRequest"))],
            )
            .json("The predictions.", reference_to("TensorflowPredictions")),
    );
    for (verb, id, summary, is_class) in [
        ("classify", "Classify", "Classes with their scores", true),
        ("regress", "Regress", "A number for each example", false),
    ] {
        document.add(
            "post",
            &format!("{prefix}:{verb}"),
            operation(id, summary)
                .body(
                    true,
                    &[("application/json", reference_to("TensorflowExamples"))],
                )
                .json("The results.", results(is_class)),
        );
    }
}

/// The routes of one model, with its own schemas.
fn own(document: &mut Document<'_>, served: &Served) {
    let Served {
        segment,
        key,
        config,
        signature,
    } = served;
    let operation = |verb: &str, summary: &str| {
        Operation::new(
            &format!("tensorflow.{verb}.{key}"),
            TAG,
            &format!("{summary}: {}", config.name),
        )
        .errors(&[400, 403, 404])
    };
    let row = document.schema(&format!("Row.{key}"), row(Some(served)));
    let body = request(&list(row.clone()), &columns(served));
    let body = document.schema(&format!("TensorflowRequest.{key}"), body);
    let answer = predictions(&features(served));
    let answer = document.schema(&format!("TensorflowPredictions.{key}"), answer);
    let path = |verb: &str| format!("/v1/models/{segment}:{verb}");
    document.add(
        "post",
        &path("predict"),
        operation("predict", "Predictions")
            .body(true, &[("application/json", body)])
            .json("The predictions.", answer),
    );
    for (verb, summary, is_class) in [("classify", "Classes", true), ("regress", "Numbers", false)]
    {
        if output_of(signature, config.pipeline.as_ref(), is_class).is_err() {
            continue;
        }
        // An example is an object also where a row need not be one.
        let features = json!({"allOf": [row, {"type": "object"}]});
        document.add(
            "post",
            &path(verb),
            operation(verb, summary)
                .body(true, &[("application/json", examples(&features))])
                .json("The results.", results(is_class)),
        );
    }
}
