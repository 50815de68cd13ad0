//! Rows, and the answers to them ([`crate::rows`]): what most protocols are made of.

use serde_json::{Map, Value, json};
use twinfer::{
    Column, InputStep, MlflowColumn, MlflowSchema, MlflowType, RecordInput, Signature, TensorSpec,
    ValueKind,
};

use super::Served;
use super::common::{cell, object};
use super::model::nested;
use super::pipeline::{closed, column_schema, output, outputs, record};

/// A list of one row at least.
pub(crate) fn list(of: Value) -> Value {
    json!({"type": "array", "minItems": 1, "items": of})
}

/// A row of a model; anything where none is known.
pub(crate) fn row(served: Option<&Served>) -> Value {
    let Some(served) = served else {
        return json!({"description": "An object of columns or inputs, or the value of the only input."});
    };
    match served.config.pipeline.as_ref().map(|p| &p.input) {
        Some(InputStep::Record(step)) if step.columns.is_empty() => record(step),
        Some(InputStep::Record(step)) => json!({"anyOf": [record(step), cells(step)]}),
        Some(_) => content(),
        None => plain(&served.signature),
    }
}

/// The values of the columns in their order.
fn cells(step: &RecordInput) -> Value {
    let all: Vec<Value> = (step.columns.iter())
        .map(|column| column_schema(step, column))
        .collect();
    json!({"type": "array", "minItems": all.len(), "maxItems": all.len(), "prefixItems": all})
}

/// A picture or bytes.
fn content() -> Value {
    closed(
        &[(
            "b64",
            json!({"type": "string", "contentEncoding": "base64"}),
        )],
        &["b64"],
    )
}

/// The inputs of the model file, each without its first axis.
fn plain(signature: &Signature) -> Value {
    let one = |spec: &TensorSpec| match (spec.kind, spec.shape.as_deref()) {
        (ValueKind::Tensor, Some([_, rest @ ..])) => nested(spec.dtype, rest),
        (ValueKind::Tensor, Some([])) => nested(spec.dtype, &[]),
        (ValueKind::Maps, _) => json!({"type": "object", "additionalProperties": cell(spec.dtype)}),
        _ => json!({}),
    };
    if let ([only], []) = (&signature.inputs[..], &signature.optional[..]) {
        return one(only);
    }
    let all = signature.inputs.iter().chain(&signature.optional);
    let fields: Vec<(&str, Value)> = all.map(|spec| (spec.name.as_str(), one(spec))).collect();
    let required: Vec<&str> = (signature.inputs.iter())
        .map(|spec| spec.name.as_str())
        .collect();
    closed(&fields, &required)
}

/// What is said to a row: all outputs, or the only one of a model without a pipeline.
pub(crate) fn row_answer(served: Option<&Served>) -> Value {
    match served {
        None => json!({"description": "The outputs."}),
        Some(served) if served.config.pipeline.is_some() => outputs(served),
        Some(served) => match &served.signature.outputs[..] {
            [only] => json!({"description": format!("`{}` without its first axis.", only.name)}),
            _ => outputs(served),
        },
    }
}

/// Outputs side by side, each without its name where it is the only one (TensorFlow).
pub(crate) fn features(served: &Served) -> Value {
    match &served.config.pipeline {
        Some(pipeline) => match &pipeline.outputs[..] {
            [only] => output(only),
            _ => outputs(served),
        },
        None => row_answer(Some(served)),
    }
}

/// Whole inputs by name: of a record a list for each column, else those of the model file.
pub(crate) fn columns(served: &Served) -> Value {
    let Some(InputStep::Record(step)) = served.config.pipeline.as_ref().map(|p| &p.input) else {
        return json!({"description": "An object of whole inputs, or the value of the only one."});
    };
    let column = |column: &Column| {
        let cells = list(column_schema(step, column));
        (column.name.clone(), cells)
    };
    let fields: Map<String, Value> = step.columns.iter().map(column).collect();
    json!({"type": "object", "properties": fields, "description": "Lists of the same length."})
}

/// A row of a data frame (MLflow): columns more are left out there.
pub(crate) fn frame_row(served: &Served) -> Value {
    let schema = served.config.mlflow.as_ref();
    if let Some(MlflowSchema::Columns(columns)) = schema.and_then(|mlflow| mlflow.inputs.as_ref())
        && columns.iter().all(|column| column.name.is_some())
    {
        return of_mlflow(columns);
    }
    let mut row = match served.config.pipeline.as_ref().map(|p| &p.input) {
        Some(InputStep::Record(step)) => record(step),
        _ => object(&[], &[]),
    };
    if let Some(row) = row.as_object_mut()
        && row.contains_key("properties")
    {
        row.remove("additionalProperties");
    }
    row
}

fn of_mlflow(columns: &[MlflowColumn]) -> Value {
    let name = |column: &MlflowColumn| column.name.clone().unwrap_or_default();
    let kind = |column: &MlflowColumn| match column.kind {
        MlflowType::Boolean => json!({"type": "boolean"}),
        MlflowType::Integer => json!({"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX}),
        MlflowType::Long => json!({"type": "integer"}),
        MlflowType::Float | MlflowType::Double => json!({"type": ["number", "null"]}),
        MlflowType::String => json!({"type": "string"}),
        MlflowType::Binary => json!({"type": "string", "contentEncoding": "base64"}),
        MlflowType::Datetime => json!({"type": "string", "format": "date-time"}),
        _ => json!({}),
    };
    let fields: Map<String, Value> = (columns.iter())
        .map(|column| (name(column), kind(column)))
        .collect();
    let required: Vec<String> = (columns.iter())
        .filter(|column| column.required)
        .map(name)
        .collect();
    json!({"type": "object", "properties": fields, "required": required})
}
