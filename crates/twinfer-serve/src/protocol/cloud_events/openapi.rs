//! CloudEvents in the OpenAPI document.

use serde_json::{Value, json};

use super::{BATCH, STRUCTURED};
use crate::openapi::{
    Document, Operation, Served, envelope, object, outputs, path_parameter, predict_body,
    reference_to, text,
};

const TAG: &str = "CloudEvents";

pub(in crate::protocol) fn describe(document: &mut Document<'_>) {
    document.tag(
        TAG,
        "An event with an input in, an event with the answer out; Knative takes it as the reply.",
    );
    document.schema("CloudEvent", event(&json!({})));
    let prediction = object(
        &[
            ("model_name", text("")),
            ("model_version", text("")),
            ("digest", text("")),
            ("outputs", json!({"type": "object"})),
            ("predictions", json!({"type": "array"})),
        ],
        &["model_name", "model_version", "digest"],
    );
    document.schema("EventData", prediction);
    let failed = reference_to("Error");
    let either = json!({"anyOf": [reference_to("EventData"), failed]});
    document.schema("CloudEventAnswer", event(&either));

    let default = document.default_model().map(input);
    let default = default.unwrap_or_else(|| json!({}));
    let operation = |id: &str, summary: &str| {
        Operation::new(id, TAG, summary)
            .description("Structured, in a batch, or in binary mode: then attributes are headers, and the data is the body.")
            .errors(&[400, 403, 404, 413, 415, 422])
    };
    let model = || path_parameter("model", "The name of a model.", "tumour-risk");
    let version = || path_parameter("version", "A version, an alias, or a digest.", "1.0.0");
    let data = reference_to("EventData");
    for (path, operation, input) in [
        (
            "/events",
            operation("event", "An event for the default model"),
            default,
        ),
        (
            "/events/{model}",
            operation("eventOfModel", "An event for a model").parameter(model()),
            json!({}),
        ),
        (
            "/events/{model}/{version}",
            operation("eventOfVersion", "An event for a version")
                .parameter(model())
                .parameter(version()),
            json!({}),
        ),
    ] {
        document.add("post", path, exchange(operation, &input, &data));
    }
    for served in document.models() {
        let Served {
            segment,
            key,
            config,
            ..
        } = served;
        let summary = format!("An event for {}", config.name);
        let operation = operation(&format!("event.{key}"), &summary);
        let own = object(&[("outputs", outputs(served))], &[]);
        let data = json!({"allOf": [reference_to("EventData"), own]});
        let data = document.schema(&format!("EventData.{key}"), data);
        let operation = exchange(operation, &input(served), &data);
        document.add("post", &format!("/events/{segment}"), operation);
    }
}

/// What `predict` takes as JSON.
fn input(served: &Served) -> Value {
    let bodies = predict_body(served);
    let json = bodies
        .into_iter()
        .find(|(name, _)| *name == "application/json");
    json.map_or_else(|| envelope(served), |(_, schema)| schema)
}

/// An event (cloudevents/spec, `cloudevents/formats/cloudevents.json`).
fn event(data: &Value) -> Value {
    let filled =
        |description: &str| json!({"type": "string", "minLength": 1, "description": description});
    object(
        &[
            ("specversion", json!({"const": "1.0"})),
            ("id", filled("With `source`, of no other event.")),
            ("source", filled("Where it came from, a URI reference.")),
            ("type", filled("What happened.")),
            ("datacontenttype", text("The media type of the data.")),
            ("subject", text("")),
            ("data", data.clone()),
            (
                "data_base64",
                json!({"type": "string", "contentEncoding": "base64"}),
            ),
        ],
        &["specversion", "id", "source", "type"],
    )
}

fn exchange(operation: Operation, input: &Value, answer: &Value) -> Operation {
    let asked =
        json!({"allOf": [reference_to("CloudEvent"), object(&[("data", input.clone())], &[])]});
    let said = json!({"allOf": [
        reference_to("CloudEventAnswer"),
        object(&[("data", answer.clone())], &["data"]),
    ]});
    let batch = |items: &Value| json!({"type": "array", "items": items});
    let binary = json!({"type": "string", "format": "binary"});
    let mut operation = operation;
    for name in ["specversion", "id", "source", "type"] {
        operation = operation.parameter(json!({
            "in": "header", "name": format!("ce-{name}"), "required": false,
            "description": "In binary mode.", "schema": {"type": "string", "minLength": 1},
        }));
    }
    operation
        .body(
            true,
            &[
                (STRUCTURED, asked.clone()),
                (BATCH, batch(&asked)),
                ("application/json", input.clone()),
                ("application/octet-stream", binary),
            ],
        )
        .answer(
            200,
            "The answer, in the mode of the request.",
            &[
                (STRUCTURED, said),
                (BATCH, batch(&reference_to("CloudEventAnswer"))),
                ("application/json", answer.clone()),
            ],
        )
}
