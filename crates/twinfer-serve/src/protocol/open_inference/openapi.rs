//! The Open Inference Protocol in the OpenAPI document.

use serde_json::{Value, json};

use crate::openapi::{
    Document, Operation, Served, answer_schema, infer_request, infer_response, object,
    path_parameter, predict_body, text,
};

const TAG: &str = "Open Inference Protocol v2";
const PREDICT: &str = "Predict";

pub(in crate::protocol) fn describe(document: &mut Document<'_>) {
    document.tag(
        TAG,
        "Tensors in, tensors out, with the binary tensor extension: what clients of KServe and Triton speak.",
    );
    document.tag(
        PREDICT,
        "The model's own input in, with its steps before and after: a picture, a sound, a text, bytes, or a record.",
    );
    server(document);
    let metadata = schemas(document);
    for (prefix, version) in [
        ("/v2/models/{model}", false),
        ("/v2/models/{model}/versions/{version}", true),
    ] {
        of_a_model(document, prefix, version, &metadata);
    }
    for served in document.models() {
        own(document, served);
    }
}

fn server(document: &mut Document<'_>) {
    let flags = |fields: &[&str]| {
        let all: Vec<(&str, Value)> = fields
            .iter()
            .map(|f| (*f, json!({"type": "boolean"})))
            .collect();
        object(&all, fields)
    };
    let metadata = object(
        &[
            ("name", text("")),
            ("version", text("")),
            (
                "extensions",
                json!({"type": "array", "items": {"type": "string"}}),
            ),
        ],
        &["name", "version", "extensions"],
    );
    let listed = object(
        &[
            ("name", text("")),
            (
                "versions",
                json!({"type": "array", "items": {"type": "string"}}),
            ),
            (
                "aliases",
                json!({"type": "object", "additionalProperties": {"type": "string"}}),
            ),
            ("digest", json!({"type": ["string", "null"]})),
        ],
        &["name", "versions", "aliases", "digest"],
    );
    let models = object(
        &[("models", json!({"type": "array", "items": listed}))],
        &["models"],
    );
    let statistics = document.schema("Statistics", statistics());
    let get = |id, summary| Operation::new(id, TAG, summary);
    document.add(
        "get",
        "/v2",
        get("serverMetadata", "The server and its extensions").json("The server.", metadata),
    );
    document.add(
        "get",
        "/v2/health/live",
        get("serverLive", "Whether it runs").json("It does.", flags(&["live"])),
    );
    document.add(
        "get",
        "/v2/health/ready",
        get(
            "serverReady",
            "Whether it can answer: its registry can be read",
        )
        .json("It can.", flags(&["live", "ready"])),
    );
    document.add(
        "get",
        "/v2/models",
        get("models", "Every model with its versions and aliases").json("The models.", models),
    );
    document.add(
        "get",
        "/v2/models/stats",
        get(
            "statistics",
            "What this instance was asked, of every version",
        )
        .json("Counts and times in nanoseconds.", statistics),
    );
}

fn statistics() -> Value {
    let natural = json!({"type": "integer", "minimum": 0});
    let times = object(
        &[("count", natural.clone()), ("ns", natural.clone())],
        &["count", "ns"],
    );
    let one = object(
        &[
            ("name", text("")),
            ("version", text("")),
            ("inference_count", natural.clone()),
            ("execution_count", natural),
            (
                "inference_stats",
                json!({"type": "object", "additionalProperties": times}),
            ),
        ],
        &[
            "name",
            "version",
            "inference_count",
            "execution_count",
            "inference_stats",
        ],
    );
    object(
        &[("model_stats", json!({"type": "array", "items": one}))],
        &["model_stats"],
    )
}

/// Schemas that are the same for every model; gives that of its metadata.
fn schemas(document: &mut Document<'_>) -> Value {
    let shape = json!({"type": "array", "items": {"type": "integer", "minimum": -1}});
    let tensor = object(
        &[
            ("name", text("")),
            ("datatype", text("FP32, INT64, BYTES and so on.")),
            ("shape", shape),
        ],
        &["name", "datatype", "shape"],
    );
    let list = json!({"type": "array", "items": document.schema("TensorMetadata", tensor)});
    document.schema(
        "Parameters",
        json!({
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean"]},
            "properties": {
                "binary_data_output": {"type": "boolean"},
                "binary_data": {"type": "boolean"},
            },
        }),
    );
    answers(document);
    let metadata = object(
        &[
            ("name", text("")),
            (
                "versions",
                json!({"type": "array", "items": {"type": "string"}}),
            ),
            ("platform", json!({"const": "onnx_onnxv1"})),
            ("inputs", list.clone()),
            ("outputs", list),
            (
                "properties",
                json!({"type": "object", "additionalProperties": {"type": "string"}}),
            ),
        ],
        &["name", "versions", "platform", "inputs", "outputs"],
    );
    document.schema("ModelMetadata", metadata)
}

/// What `infer` and `predict` give, of any model.
fn answers(document: &mut Document<'_>) {
    let output = object(
        &[
            ("name", text("")),
            ("datatype", text("")),
            (
                "shape",
                json!({"type": "array", "items": {"type": "integer", "minimum": 0}}),
            ),
            ("parameters", json!({"type": "object"})),
            ("data", json!({"type": "array"})),
        ],
        &["name", "datatype", "shape"],
    );
    let (name, version) = (("model_name", text("")), ("model_version", text("")));
    document.schema(
        "InferResponse",
        object(
            &[
                name.clone(),
                version.clone(),
                ("id", text("That of the request.")),
                ("parameters", json!({"type": "object"})),
                ("outputs", json!({"type": "array", "items": output})),
            ],
            &["model_name", "model_version", "outputs"],
        ),
    );
    document.schema(
        "Prediction",
        object(
            &[
                name,
                version,
                ("digest", text("The package that answered.")),
                ("mode", text("How the numbers were computed.")),
                ("outputs", json!({"type": "object"})),
                (
                    "timing",
                    json!({"type": "object", "additionalProperties": {"type": "number"}}),
                ),
            ],
            &["model_name", "model_version", "digest", "mode", "outputs"],
        ),
    );
}

/// The routes of every model, with the name as a variable.
fn of_a_model(document: &mut Document<'_>, prefix: &str, version: bool, metadata: &Value) {
    let operation = |id: &str, tag, summary| {
        let id = if version {
            format!("{id}OfVersion")
        } else {
            id.to_owned()
        };
        let operation = Operation::new(&id, tag, summary)
            .parameter(path_parameter(
                "model",
                "The name of a model.",
                "face-detector",
            ))
            .errors(&[400, 403, 404]);
        if !version {
            return operation;
        }
        let what = "A version, an alias, or a digest.";
        operation.parameter(path_parameter("version", what, "1.0.0"))
    };
    let object = || json!({"type": "object"});
    let ready = json!({"type": "object", "required": ["name", "ready"], "properties": {"ready": {"const": true}}});
    let any = json!({"type": "object", "required": ["inputs"], "properties": {"inputs": {"type": "array"}}});
    document.add(
        "get",
        prefix,
        operation("modelMetadata", TAG, "Its inputs and outputs")
            .json("The model.", metadata.clone()),
    );
    document.add(
        "get",
        &format!("{prefix}/config"),
        operation("modelConfig", TAG, "The same in Triton's form")
            .json("Its configuration.", object()),
    );
    document.add(
        "get",
        &format!("{prefix}/stats"),
        operation("modelStatistics", TAG, "What this instance was asked").json(
            "Counts and times in nanoseconds.",
            crate::openapi::reference_to("Statistics"),
        ),
    );
    document.add(
        "get",
        &format!("{prefix}/ready"),
        operation(
            "modelReady",
            TAG,
            "Loads it, so that the first request is fast",
        )
        .json("It is loaded.", ready),
    );
    document.add(
        "post",
        &format!("{prefix}/infer"),
        infer(
            operation("infer", TAG, "Tensors in, tensors out"),
            any,
            crate::openapi::reference_to("InferResponse"),
        ),
    );
    document.add(
        "post",
        &format!("{prefix}/predict"),
        operation(
            "predict",
            PREDICT,
            "The model's own input in, its answer out",
        )
        .body(
            true,
            &[
                ("application/json", object()),
                ("application/octet-stream", json!({})),
            ],
        )
        .json(
            "The prediction.",
            crate::openapi::reference_to("Prediction"),
        )
        .errors(&[413, 415, 422]),
    );
}

/// Bodies of `infer` in both forms.
fn infer(operation: Operation, request: Value, response: Value) -> Operation {
    let binary = json!({"type": "string", "format": "binary", "description": "The JSON, and behind it the bytes of tensors."});
    operation
        .description(
            "With `Inference-Header-Content-Length` the body is JSON of that many bytes, and behind it the tensors that have `binary_data_size` among their parameters; 0 means that all of the body is the one input.",
        )
        .parameter(json!({
            "name": "Inference-Header-Content-Length", "in": "header", "required": false,
            "schema": {"type": "integer", "minimum": 0},
        }))
        .body(true, &[("application/json", request), ("application/octet-stream", binary.clone())])
        .answer(
            200,
            "The outputs; binary where that was asked for.",
            &[("application/json", response), ("application/octet-stream", binary)],
        )
        .errors(&[413, 415, 422])
}

/// The routes of one model, with its own schemas.
fn own(document: &mut Document<'_>, served: &Served) {
    let Served {
        segment,
        key,
        config,
        signature,
    } = served;
    let summary = |what: &str| format!("{what}: {}", config.name);
    let request = document.schema(&format!("InferRequest.{key}"), infer_request(signature));
    let response = document.schema(&format!("InferResponse.{key}"), infer_response(signature));
    let operation = Operation::new(
        &format!("infer.{key}"),
        TAG,
        &summary("Tensors in, tensors out"),
    );
    let operation = infer(operation, request, response).errors(&[400, 403, 404]);
    document.add("post", &format!("/v2/models/{segment}/infer"), operation);

    let answer = document.schema(&format!("Prediction.{key}"), answer_schema(served));
    let mut operation = Operation::new(&format!("predict.{key}"), PREDICT, &summary("Predict"))
        .body(true, &predict_body(served))
        .json("The prediction.", answer)
        .errors(&[400, 403, 404, 413, 415, 422]);
    if !config.description.is_empty() {
        operation = operation.description(&config.description);
    }
    for parameter in config.pipeline.iter().flat_map(|p| &p.parameters) {
        operation = operation.parameter(json!({
            "name": parameter.name, "in": "query", "required": false,
            "schema": {"enum": parameter.values, "default": parameter.default},
        }));
    }
    document.add("post", &format!("/v2/models/{segment}/predict"), operation);
}
