//! Containers of SageMaker: what `/invocations` takes and answers beside the JSON of MLflow, and the
//! routes of batch transform and of endpoints with several models.
//!
//! Sources: the pages "Use Your Own Inference Code with Hosting Services", "… with Batch Transform" and
//! "Create Your Own Container for Multi-Model Endpoints" of the developer guide.

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value as Json, json};
use twinfer::{Model, Parameters, Result, bail, err};

use super::invocations::{self, Invocation};
use super::mlflow::{self, Given, Payload};
use super::{Need, Request};
use crate::formats::csv::{self as table_text, Header};
use crate::formats::lines::lines as lines_of;
use crate::formats::table::{Columns, Item};
use crate::media::{self, MediaType};
use crate::openapi::{Document, Operation, object, path_parameter};
use crate::run::{Called, Running};
use crate::table::Table;
use crate::target::Target;
use crate::{App, loose, predict, reply};

const ATTRIBUTES: HeaderName = HeaderName::from_static("x-amzn-sagemaker-custom-attributes");
const TARGET_MODEL: HeaderName = HeaderName::from_static("x-amzn-sagemaker-target-model");
const TARGET_VARIANT: HeaderName = HeaderName::from_static("x-amzn-sagemaker-target-variant");
/// The largest payload of a batch transform, in MB.
const MAX_PAYLOAD: usize = 100;

#[derive(Debug, PartialEq)]
struct ExecutionParameters;

pub(super) fn find(segments: &[&str]) -> Option<Box<dyn super::Route>> {
    match *segments {
        ["execution-parameters"] => Some(Box::new(ExecutionParameters)),
        // An endpoint with several models calls them so.
        ["models", name, "invoke"] => Some(invocations::of(Target::named(name, None))),
        _ => None,
    }
}

pub(super) fn describe(document: &mut Document<'_>) {
    use mlflow::openapi::{ERROR, TAG};
    let parameters = object(
        &[
            (
                "MaxConcurrentTransforms",
                json!({"type": "integer", "minimum": 1}),
            ),
            ("BatchStrategy", json!({"enum": ["MULTI_RECORD"]})),
            (
                "MaxPayloadInMB",
                json!({"type": "integer", "minimum": 1, "maximum": MAX_PAYLOAD}),
            ),
        ],
        &["MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB"],
    );
    document.add(
        "get",
        "/execution-parameters",
        Operation::new(
            "executionParameters",
            TAG,
            "How a batch transform of SageMaker should call",
        )
        .json("The parameters.", parameters),
    );
    let invoke = Operation::new(
        "invokeModel",
        TAG,
        "Predictions, as endpoints with several models call",
    )
    .parameter(path_parameter(
        "model",
        "The name of a model.",
        "tumour-risk",
    ));
    let invoke = invocations::exchange(invoke, None).errors_in(ERROR, &[400, 404, 415, 422]);
    document.add("post", "/models/{model}/invoke", invoke);
}

/// The headers of a call of `/invocations` that mean something.
pub(super) fn header_parameters() -> [Json; 3] {
    let header = |name: HeaderName, description: &str, pattern: &str| {
        json!({
            "name": name.as_str(), "in": "header", "required": false, "description": description,
            "schema": {"type": "string", "pattern": pattern},
        })
    };
    [
        header(ATTRIBUTES, "Goes back with the answer.", "^[ -~]{1,1024}$"),
        header(
            TARGET_MODEL,
            "A model of the registry, in the place of the default one.",
            "^[a-z0-9-]{1,64}$",
        ),
        header(TARGET_VARIANT, "A tag of that model.", "^[a-z0-9.-]{1,64}$"),
    ]
}

/// The model that the headers of a call of `/invocations` name: as `NAME` or `NAME:TAG`, with the
/// ending of the archive that SageMaker takes models for, or not. The variant is a tag of it.
pub(super) fn targeted(headers: &HeaderMap) -> Option<Target> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let model = text(TARGET_MODEL)?.trim().trim_start_matches('/');
    let model = model.strip_suffix(".tar.gz").unwrap_or(model);
    let (name, tag) = match model.split_once(':') {
        Some((name, tag)) => (name, Some(tag)),
        None => (model, text(TARGET_VARIANT).map(str::trim)),
    };
    Some(Target::named(name, tag))
}

/// What a client says about its call goes back to it, as the contract has it for containers that
/// have nothing to add.
pub(super) fn pass_back(from: &HeaderMap, to: &mut HeaderMap) {
    if let Some(attributes) = from.get(ATTRIBUTES) {
        to.insert(ATTRIBUTES, attributes.clone());
    }
}

impl super::Route for ExecutionParameters {
    fn methods(&self) -> &'static str {
        "GET, HEAD"
    }

    fn needs(&self) -> Need<'_> {
        Need::Nothing
    }

    /// How many calls an instance takes at once is not known here: one is right anywhere.
    fn answer(&self, app: &App, _request: Request<'_>) -> Result<Response<Bytes>> {
        let payload = (app.options().max_body >> 20).clamp(1, MAX_PAYLOAD);
        Ok(reply::json(&json!({
            "MaxConcurrentTransforms": 1,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": payload,
        })))
    }
}

/// A form of answers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wanted {
    Json,
    Csv,
    Lines(&'static str),
}

/// What `Accept` says. What it asks for beyond these is answered with the first, since the server of
/// MLflow does not read it at all.
fn wanted(headers: &HeaderMap, first: &'static str) -> Wanted {
    let offers = [
        first,
        "application/json",
        "text/csv",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/jsonl",
        "application/x-ndjson",
    ];
    match media::choose(headers, &offers).unwrap_or(first) {
        "application/json" => Wanted::Json,
        "text/csv" => Wanted::Csv,
        lines => Wanted::Lines(lines),
    }
}

/// `application/json`: what MLflow takes, or a plain list of rows.
pub(super) fn json(loaded: &Called<'_>, invocation: &Invocation<'_>) -> Result<Response<Bytes>> {
    let body = invocation.body.trim_ascii_start();
    let payload = if body.starts_with(b"[") {
        let rows: Vec<Json> = serde_json::from_slice(&loose::quote_words(body))
            .map_err(|e| err!(InvalidJson, "the request is not JSON: {e}"))?;
        Payload {
            given: Given::Rows {
                rows,
                are_named: false,
            },
            parameters: Parameters::new(),
            is_frame: true,
        }
    } else {
        mlflow::read(&loaded.model, body)?
    };
    answer(&loaded.model, payload, &invocation.parts.headers)
}

/// `text/csv`. In the clouds a table has no names in its first line, from pandas it has: what is
/// there is told by the parameter `header`, or by the line itself.
pub(super) fn csv(loaded: &Called<'_>, invocation: &Invocation<'_>) -> Result<Response<Bytes>> {
    let model = &loaded.model;
    let parameters = &invocation.content.parameters;
    let header = match parameters.iter().find(|(name, _)| name == "header") {
        Some((_, value)) => {
            Header::of(MediaType::parse(&format!("text/csv;header={value}")).as_ref())?
        }
        None => Header::Guess,
    };
    let first = table_text::read(invocation.body).unwrap_or_default();
    let first = first.first().map_or(&[][..], |(_, cells)| &cells[..]);
    let has_names = match Columns::of(model) {
        Ok(columns) => header.is_there(&columns, first),
        // A column of base64.
        Err(_) => header != Header::Absent,
    };
    let table = Table::from_csv(invocation.body, has_names)?;
    let payload = Payload::of_table(model, table)?;
    answer(model, payload, &invocation.parts.headers)
}

/// Predictions as MLflow has them; as a table or as lines, all outputs.
fn answer(model: &Running<'_>, payload: Payload, headers: &HeaderMap) -> Result<Response<Bytes>> {
    let wanted = wanted(headers, "application/json");
    if wanted == Wanted::Json {
        return mlflow::predictions(model, payload);
    }
    let Given::Rows { rows, .. } = payload.given else {
        bail!(
            UnsupportedMediaType,
            "`inputs` are no rows, so their answer is no table: ask for application/json"
        );
    };
    let outputs = predict::outputs(model, rows, &payload.parameters)?;
    Ok(written(outputs, wanted))
}

/// JSON lines: the answers are in the order of the lines.
pub(super) fn lines(loaded: &Called<'_>, invocation: &Invocation<'_>) -> Result<Response<Bytes>> {
    let model = &loaded.model;
    let mut rows = Vec::new();
    let mut numbers = Vec::new();
    for (number, line) in lines_of(invocation.body) {
        let row: Json = serde_json::from_slice(&loose::quote_words(line))
            .map_err(|e| err!(InvalidJson, "line {number} is not JSON: {e}"))?;
        rows.push(features(model, row));
        numbers.push(number);
    }
    let none = Parameters::new();
    let outputs = match predict::outputs(model, rows.clone(), &none) {
        Ok(outputs) => outputs,
        Err(error) => {
            // Together they fail without saying where: the first that fails alone is named.
            let alone = rows.into_iter().zip(numbers).find_map(|(row, number)| {
                let error = predict::outputs(model, vec![row], &none).err()?;
                Some(error.context(format!("line {number}")))
            });
            return Err(alone.unwrap_or(error));
        }
    };
    let sent = predict::form_of(&invocation.content.essence);
    let sent = sent.map_or("application/jsonlines", |(name, _)| name);
    Ok(written(outputs, wanted(&invocation.parts.headers, sent)))
}

/// `{"features": […]}` is how SageMaker's own algorithms wrap a row.
fn features(model: &Model, row: Json) -> Json {
    match row {
        Json::Object(mut fields)
            if fields.len() == 1
                && fields.get("features").is_some_and(Json::is_array)
                && Columns::of(model).is_ok_and(|columns| !columns.has("features")) =>
        {
            fields.remove("features").unwrap_or_default()
        }
        row => row,
    }
}

fn written(outputs: Vec<Item>, wanted: Wanted) -> Response<Bytes> {
    match wanted {
        Wanted::Json => reply::json(&json!({"predictions": outputs})),
        Wanted::Csv => {
            let body = table_text::write(&outputs, false);
            reply::with_type(StatusCode::OK, "text/csv; charset=utf-8", body.into())
        }
        Wanted::Lines(name) => {
            let lines = outputs.into_iter();
            let lines = lines.map(|outputs| Json::Object(outputs).to_string() + "\n");
            reply::with_type(StatusCode::OK, name, lines.collect::<String>().into())
        }
    }
}

/// A picture, a sound or bytes.
pub(super) fn content(loaded: &Called<'_>, invocation: &Invocation<'_>) -> Result<Response<Bytes>> {
    let kind = match invocation.content.essence.as_str() {
        "application/x-image" => predict::Kind::Picture,
        essence if essence.starts_with("image/") => predict::Kind::Picture,
        essence if essence.starts_with("audio/") => predict::Kind::Audio,
        _ => predict::Kind::Bytes,
    };
    let sent = predict::Sent {
        kind,
        media_type: None,
    };
    let body = invocation.body.clone();
    let answers = predict::run(&loaded.model, &sent, body, Parameters::new())?;
    let outputs = match answers {
        predict::Answers::One(outputs) => vec![outputs],
        predict::Answers::Many(rows) => {
            let outputs = rows.into_iter().map(|row| row.outputs);
            outputs.collect::<Result<_>>()?
        }
    };
    let wanted = wanted(&invocation.parts.headers, "application/json");
    Ok(written(outputs, wanted))
}
