//! The inference routes of TorchServe, and of its management those that only read.
//!
//! Source: pytorch/serve, `docs/inference_api.md`, `docs/management_api.md`, and the answers of its
//! `InferenceRequestHandler` and `ManagementRequestHandler`.

mod openapi;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Value as Json, json};
use twinfer::{Error, ErrorCode, Input, Parameters, Result, bail, err};
use twinfer_package::{Index, Reference};

pub(super) use openapi::describe;

use super::{Need, Request};
use crate::formats::multipart;
use crate::run::Running;
use crate::target::Target;
use crate::{App, loose, media, predict, query, reply, rows};

/// Models of one page of the list, where the client does not say.
const PAGE: usize = 100;

#[derive(Debug, PartialEq)]
enum Route {
    Predictions(Target),
    Models,
    /// A model, or all its versions.
    Model {
        target: Target,
        all: bool,
    },
    Description,
}

pub(super) fn find(segments: &[&str]) -> Option<Box<dyn super::Route>> {
    let model = |target, all| Route::Model { target, all };
    Some(Box::new(match *segments {
        ["predictions", name] => Route::Predictions(Target::named(name, None)),
        ["predictions", name, version] => Route::Predictions(Target::named(name, Some(version))),
        ["models"] => Route::Models,
        ["models", name] => model(Target::named(name, None), false),
        ["models", name, "all"] => model(Target::named(name, None), true),
        ["models", name, version] => model(Target::named(name, Some(version)), false),
        ["api-description"] => Route::Description,
        _ => return None,
    }))
}

impl super::Route for Route {
    fn methods(&self) -> &'static str {
        match self {
            Self::Predictions(_) => "GET, HEAD, POST, OPTIONS",
            _ => "GET, HEAD",
        }
    }

    fn needs(&self) -> Need<'_> {
        match self {
            Self::Predictions(target) => Need::Model(target),
            Self::Models | Self::Model { .. } => Need::Index,
            Self::Description => Need::Nothing,
        }
    }

    fn answer(&self, app: &App, request: Request<'_>) -> Result<Response<Bytes>> {
        match self {
            Self::Predictions(target) if request.parts.method == Method::OPTIONS => {
                app.describe(target)?;
                Ok(reply::json(&openapi::description()))
            }
            Self::Predictions(target) => predictions(app, target, &request),
            Self::Models => list(&*app.index()?, request.parts.uri.query()),
            Self::Model { target, all } => described(app, target, *all),
            Self::Description => Ok(reply::json(&openapi::description())),
        }
    }

    fn failed(&self, error: &Error) -> Response<Bytes> {
        let status = error.code().http_status();
        let kind = match error.code() {
            ErrorCode::UnknownModel => "ModelNotFoundException",
            ErrorCode::UnknownVersion => "ModelVersionNotFoundException",
            ErrorCode::MethodNotAllowed => "MethodNotAllowedException",
            _ if status == 503 || status == 507 => "ServiceUnavailableException",
            _ if status >= 500 => "InternalServerException",
            _ => "BadRequestException",
        };
        // TorchServe's `code` is the status; ours stands beside it.
        let body = json!({
            "code": status, "type": kind, "message": error.message(), "error_code": error.code().as_str(),
        });
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        reply::with_type(status, "application/json", body.to_string().into())
    }
}

fn predictions(app: &App, target: &Target, request: &Request<'_>) -> Result<Response<Bytes>> {
    let (loaded, _) = app.call(target, request)?;
    let (model, parts) = (&loaded.model, request.parts);
    let given = query::parameters(parts.uri.query())?;
    if request.body.is_empty() && parts.method != Method::POST {
        // A record in the query string.
        let record = given.into_iter().map(|(name, value)| {
            let columns = crate::formats::table::Columns::of(model)?;
            let dtype = columns.dtype(&name, 0);
            let text = value.as_str().unwrap_or_default();
            let value = crate::formats::csv::value(text, dtype);
            Ok((name, value))
        });
        let record = record.collect::<Result<_>>()?;
        let outputs = model.predict(Input::Record(record), &Parameters::new())?;
        return Ok(reply::json(&outputs.outputs));
    }
    // curl says `form-urlencoded` of everything that it sends with `-d`.
    let is_urlencoded = |t: &media::MediaType| t.essence == "application/x-www-form-urlencoded";
    let media_type = media::content_type(&parts.headers)?.filter(|t| !is_urlencoded(t));
    let sent = predict::Sent::with(model, media_type)?;
    if let (Some(form), predict::Kind::Multipart) = (&sent.media_type, sent.kind) {
        // Its clients send the body as the file `data` of a form.
        let mut fields = multipart::parts(form, &request.body)?;
        if let (Some(only), true) = (fields.pop(), fields.is_empty())
            && (only.name == "data" || only.name == "body")
        {
            let sent = predict::Sent::with(model, only.content_type.filter(is_precise))?;
            return answer(model, &sent, only.content, given);
        }
    }
    answer(model, &sent, request.body.clone(), given)
}

/// What is sent with no care for its type has this one.
fn is_precise(media_type: &media::MediaType) -> bool {
    media_type.essence != "application/octet-stream" && media_type.essence != "text/plain"
}

/// Outputs alone, as handlers give them: an object, or a list for several inputs.
fn answer(
    model: &Running<'_>,
    sent: &predict::Sent,
    body: Bytes,
    given: Parameters,
) -> Result<Response<Bytes>> {
    if sent.kind == predict::Kind::Of("application/json", predict::Form::Json) {
        let json: Json = serde_json::from_slice(&loose::quote_words(&body))
            .map_err(|e| err!(InvalidJson, "the request is not JSON: {e}"))?;
        match json {
            Json::Array(rows) => return Ok(reply::json(&rows::predict(model, rows, &given)?)),
            // The form of KServe, which TorchServe has too.
            Json::Object(mut fields) if fields.get("instances").is_some_and(Json::is_array) => {
                let Some(Json::Array(rows)) = fields.remove("instances") else {
                    bail!(InvalidRequest, "`instances` must be a list of rows");
                };
                let predictions = rows::predict(model, rows, &given)?;
                return Ok(reply::json(&json!({"predictions": predictions})));
            }
            _ => {}
        }
    }
    let answers = predict::run(model, sent, body, given)?;
    Ok(reply::json(&predict::plain(answers)))
}

/// `GET /models`: a page of the models, with where the next one begins.
fn list(index: &Index, query: Option<&str>) -> Result<Response<Bytes>> {
    let given = query::parameters(query)?;
    let number = |name: &str| match given.get(name).and_then(Json::as_str) {
        None => Ok(None),
        Some(text) => match text.parse::<usize>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => bail!(
                InvalidParameter,
                "`{name}` must be a whole number, not {text:?}"
            ),
        },
    };
    let limit = number("limit")?.filter(|limit| (1..=PAGE).contains(limit));
    let (limit, start) = (
        limit.unwrap_or(PAGE),
        number("next_page_token")?.unwrap_or(0),
    );
    let mut models: BTreeMap<String, String> = BTreeMap::new();
    for tag in index.tags() {
        let reference: Reference = match tag.name.parse() {
            Ok(reference) => reference,
            Err(_) => continue,
        };
        if let Ok(descriptor) = index.resolve(&reference) {
            models.insert(tag.name, descriptor.digest.to_string());
        }
    }
    let page = models.iter().skip(start).take(limit);
    let page = page
        .map(|(name, digest)| json!({"modelName": name, "modelUrl": format!("{name}@{digest}")}));
    let mut answer = json!({"models": page.collect::<Vec<_>>()});
    let next = start.saturating_add(limit);
    if next < models.len() {
        answer["nextPageToken"] = json!(next.to_string());
    }
    Ok(reply::json(&answer))
}

/// `GET /models/{m}`: a list of versions, in the form that its clients read. What is known only to a
/// server with worker processes is what is true here: one worker, a batch of one.
fn described(app: &App, target: &Target, all: bool) -> Result<Response<Bytes>> {
    let index = app.index()?;
    let reference = app.primary(target, &index)?;
    let mut references = vec![reference.clone()];
    if all {
        let tags = index.tags().into_iter();
        let versions = tags.filter(|tag| tag.name == reference.name() && tag.version().is_some());
        let versions = versions.map(|tag| Reference::new(&tag.name, &tag.tag));
        let versions = versions.collect::<Result<Vec<_>>>()?;
        if !versions.is_empty() {
            references = versions;
        }
    }
    let one = |reference: Reference| {
        let entry = app.admit(&index, &reference)?;
        let digest = entry.descriptor.digest;
        // A package that is not here yet has the version that its tag says.
        let config = app.models.config(&reference, &entry.descriptor).ok();
        let version = config.map(|config| config.version);
        let version = version.or_else(|| reference.tag().map(str::to_owned));
        let name = reference.name();
        let is_loaded = app.models.holds(&digest);
        Ok(json!({
            "modelName": name,
            "modelVersion": version.unwrap_or_default(),
            "modelUrl": format!("{name}@{digest}"),
            "runtime": "wasm",
            "minWorkers": 1,
            "maxWorkers": 1,
            "batchSize": 1,
            "maxBatchDelay": 0,
            "loadedAtStartup": false,
            "workers": [{"id": "0", "status": if is_loaded { "READY" } else { "UNLOADED" }, "gpu": false}],
        }))
    };
    let list: Result<Vec<Json>> = references.into_iter().map(one).collect();
    Ok(reply::json(&list?))
}
