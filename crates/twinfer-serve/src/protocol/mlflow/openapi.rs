//! MLflow's scoring server in the OpenAPI document: its health, and the JSON of `/invocations`.

use serde_json::{Value, json};
use twinfer::{ErrorCode, MlflowFlavor, MlflowSchema};

use crate::openapi::{Document, Operation, Served, closed, frame_row, list, object, row, text};

pub(in crate::protocol) const TAG: &str = "MLflow and SageMaker";
/// The form of errors.
pub(in crate::protocol) const ERROR: &str = "MlflowError";

pub(in crate::protocol) fn describe(document: &mut Document<'_>) {
    document.add(
        "get",
        "/health",
        Operation::new("mlflowHealth", TAG, "Whether the default model is there")
            .json("It is.", super::super::invocations::healthy())
            .errors_in(ERROR, &[404]),
    );
    document.add(
        "get",
        "/version",
        Operation::new(
            "mlflowVersion",
            TAG,
            "The version of MLflow whose protocol this is",
        )
        .answer(
            200,
            "The version.",
            &[("text/plain", json!({"type": "string"}))],
        ),
    );
}

/// An error as [`super::failed`] writes it.
pub(in crate::protocol) fn error() -> Value {
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    object(
        &[
            ("error_code", text("MLflow's name for it.")),
            ("message", text("What was wrong, where, and what to do.")),
            (
                "code",
                json!({"description": "Stable, for programs.", "enum": codes}),
            ),
        ],
        &["error_code", "message", "code"],
    )
}

/// The JSON that a model takes: one of four forms, or a plain list of rows.
pub(in crate::protocol) fn request(served: Option<&Served>) -> Value {
    let params = params(served);
    let one =
        |name: &str, schema: Value| closed(&[(name, schema), ("params", params.clone())], &[name]);
    let any = json!({"type": "array"});
    let split = closed(
        &[
            (
                "columns",
                json!({"type": "array", "items": {"type": "string"}}),
            ),
            ("index", any.clone()),
            ("data", json!({"type": "array", "items": any})),
        ],
        &["data"],
    );
    let frame = served.map_or_else(|| json!({"type": "object"}), frame_row);
    let rows = list(row(served));
    json!({"anyOf": [
        one("dataframe_split", split),
        one("dataframe_records", list(frame)),
        one("instances", rows.clone()),
        one("inputs", json!({"type": ["array", "object"]})),
        rows,
    ]})
}

/// The parameters of a call: those of the signature, others are left out.
fn params(served: Option<&Served>) -> Value {
    let specs = served.and_then(|served| served.config.mlflow.as_ref()?.params.as_ref());
    let fields = specs.into_iter().flatten().map(|spec| {
        let mut schema = json!({"description": format!("`{}` of MLflow.", spec.kind.name())});
        if let Some(default) = &spec.default {
            schema["default"] = default.clone();
        }
        (spec.name.as_str(), schema)
    });
    object(&fields.collect::<Vec<_>>(), &[])
}

/// `{"predictions": …}`.
pub(in crate::protocol) fn answer(served: Option<&Served>) -> Value {
    let any = json!({"type": ["array", "object"]});
    let predictions = match served.and_then(|served| served.config.mlflow.as_ref()) {
        Some(mlflow) => match (mlflow.flavor, &mlflow.inputs) {
            (MlflowFlavor::Sklearn, _) => json!({"type": "array"}),
            (MlflowFlavor::Onnx, Some(MlflowSchema::Columns(_))) => {
                json!({"type": "array", "items": {"type": "object"}})
            }
            (MlflowFlavor::Onnx, Some(MlflowSchema::Tensors(_))) => json!({"type": "object"}),
            (MlflowFlavor::Onnx, None) => any,
        },
        None => any,
    };
    object(&[("predictions", predictions)], &["predictions"])
}
