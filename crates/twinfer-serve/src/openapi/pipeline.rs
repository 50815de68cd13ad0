//! What `predict` takes of a model and gives.

use serde_json::{Map, Value, json};
use twinfer::{
    Column, DType, InputStep, Missing, OutputStep, Pipeline, RecordInput, TensorSpec, TextInput,
    ValueKind,
};

use super::Served;
use super::common::{cell, number, object, reference_to, text};
use super::model::nested;

/// The bodies of `predict`, by media type.
pub(crate) fn predict_body(served: &Served) -> Vec<(&'static str, Value)> {
    let pipeline = served.config.pipeline.as_ref();
    let envelope = envelope(served);
    let binary = || json!({"type": "string", "format": "binary"});
    let Some(pipeline) = pipeline else {
        return vec![("application/json", envelope)];
    };
    match &pipeline.input {
        InputStep::Picture(_) => vec![
            ("image/png", binary()),
            ("image/jpeg", binary()),
            ("image/webp", binary()),
            ("application/octet-stream", binary()),
            ("application/json", envelope),
        ],
        InputStep::Bytes(_) => vec![
            ("application/octet-stream", binary()),
            ("application/json", envelope),
        ],
        InputStep::Audio(_) => vec![
            ("audio/wav", binary()),
            ("application/octet-stream", binary()),
            ("application/json", envelope),
        ],
        InputStep::Text(step) => {
            let bare = closed(
                &[(step.name.as_str(), texts(step, pipeline))],
                &[step.name.as_str()],
            );
            vec![
                ("text/plain", json!({"type": "string"})),
                ("application/json", json!({"anyOf": [bare, envelope]})),
            ]
        }
        InputStep::Record(step) => {
            let either = json!({"anyOf": [record(step), envelope]});
            vec![("application/json", either)]
        }
    }
}

/// `{"inputs": {…}, "parameters": {…}}`.
pub(crate) fn envelope(served: &Served) -> Value {
    let pipeline = served.config.pipeline.as_ref();
    let step = pipeline.map(|pipeline| {
        let value = match &pipeline.input {
            InputStep::Record(step) => record(step),
            InputStep::Text(step) => texts(step, pipeline),
            _ => object(
                &[
                    (
                        "base64",
                        json!({"type": "string", "contentEncoding": "base64"}),
                    ),
                    ("media_type", json!({"type": "string"})),
                ],
                &["base64"],
            ),
        };
        closed(&[(pipeline.input.name(), value)], &[pipeline.input.name()])
    });
    let inputs = step.unwrap_or_else(|| own_inputs(&served.signature.inputs));
    let fields = [("inputs", inputs), ("parameters", parameters(pipeline))];
    closed(&fields, &["inputs"])
}

/// A text; a list of them where the whole answer is tensors.
fn texts(step: &TextInput, pipeline: &Pipeline) -> Value {
    let mut text = json!({"type": "string"});
    if let Some(most) = step.max_characters {
        text["maxLength"] = most.into();
    }
    let of_all = |output: &OutputStep| matches!(output, OutputStep::Tensor(_));
    if !pipeline.outputs.iter().all(of_all) {
        return text;
    }
    json!({"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]})
}

/// The model's own inputs, each by its name.
fn own_inputs(specs: &[TensorSpec]) -> Value {
    let fields: Vec<(&str, Value)> = specs
        .iter()
        .map(|spec| (spec.name.as_str(), own_input(spec)))
        .collect();
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    closed(&fields, &names)
}

fn own_input(spec: &TensorSpec) -> Value {
    match (spec.kind, &spec.shape) {
        (ValueKind::Tensor, Some(dims)) => nested(spec.dtype, dims),
        (ValueKind::Tensor, None) => json!({"description": "Nested arrays of any rank."}),
        (ValueKind::Maps, _) => json!({"description": "An object, or a list of objects."}),
        (ValueKind::Sequence, _) => json!({"type": "array"}),
        (ValueKind::Optional, _) => json!({"description": "A value, or null."}),
    }
}

/// An object that has these fields and no others.
pub(crate) fn closed(fields: &[(&str, Value)], required: &[&str]) -> Value {
    let mut schema = object(fields, required);
    schema["additionalProperties"] = false.into();
    schema
}

/// The choices of a call, in the envelope.
pub(crate) fn parameters(pipeline: Option<&Pipeline>) -> Value {
    let all = pipeline
        .map(|p| p.parameters.as_slice())
        .unwrap_or_default();
    let fields: Vec<(&str, Value)> = all
        .iter()
        .map(|p| {
            let schema = json!({"enum": p.values, "default": p.default});
            (p.name.as_str(), schema)
        })
        .collect();
    closed(&fields, &[])
}

/// A row of named columns.
pub(super) fn record(step: &RecordInput) -> Value {
    if step.columns.is_empty() {
        return json!({"type": "object", "additionalProperties": cell(step.dtype)});
    }
    let fields: Vec<(&str, Value)> = (step.columns.iter())
        .map(|column| (column.name.as_str(), column_schema(step, column)))
        .collect();
    let required: Vec<&str> = (step.columns.iter())
        .filter(|column| column.missing == Missing::Error)
        .map(|column| column.name.as_str())
        .collect();
    closed(&fields, &required)
}

pub(super) fn column_schema(step: &RecordInput, column: &Column) -> Value {
    let dtype = match step.tensor {
        Some(_) => step.dtype,
        None => column.dtype.unwrap_or(step.dtype),
    };
    let mut kinds = vec![cell(dtype)];
    if dtype != DType::String && dtype != DType::Bool {
        // They count as 1 and 0.
        kinds.push(json!({"type": "boolean"}));
    }
    if column.missing == Missing::Nan {
        kinds.push(json!({"type": "null"}));
    }
    match kinds.len() {
        1 => kinds.remove(0),
        _ => json!({ "anyOf": kinds }),
    }
}

/// What `predict` gives.
pub(crate) fn answer_schema(served: &Served) -> Value {
    let outputs = outputs(served);
    json!({"allOf": [reference_to("Prediction"), object(&[("outputs", outputs)], &[])]})
}

/// The outputs of a model for one input.
pub(crate) fn outputs(served: &Served) -> Value {
    let outputs: Map<String, Value> = match &served.config.pipeline {
        Some(pipeline) => (pipeline.outputs.iter())
            .map(|step| (step.name().to_owned(), output(step)))
            .collect(),
        None => (served.signature.outputs.iter())
            .map(|spec| (spec.name.clone(), json!({})))
            .collect(),
    };
    let names: Vec<&String> = outputs.keys().collect();
    let required = json!(names);
    json!({"type": "object", "properties": outputs, "required": required})
}

pub(super) fn output(step: &OutputStep) -> Value {
    let list =
        |of: Value, most: u32| json!({"type": ["array", "null"], "items": of, "maxItems": most});
    match step {
        OutputStep::Tensor(_) => json!({"description": "Nested arrays."}),
        OutputStep::Label(_) => {
            json!({"description": "The label.", "type": ["string", "number", "boolean", "null"]})
        }
        OutputStep::Probabilities(_) => {
            json!({"type": ["object", "null"], "additionalProperties": number()})
        }
        OutputStep::Classes(step) => {
            let of = object(
                &[("label", text("")), ("score", number())],
                &["label", "score"],
            );
            list(of, step.top_k)
        }
        OutputStep::Decision(_) => object(
            &[("label", text("")), ("score", number())],
            &["label", "score"],
        ),
        OutputStep::Boxes(step) => {
            let names = ["x", "y", "width", "height", "score"];
            list(
                object(&names.map(|name| (name, number())), &names),
                step.max_boxes,
            )
        }
    }
}
