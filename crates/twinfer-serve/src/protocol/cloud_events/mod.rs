//! CloudEvents 1.0 over HTTP: an event with an input in, an event with the answer out.
//!
//! Structured (`application/cloudevents+json`), binary (`ce-` headers) and batch
//! (`application/cloudevents-batch+json`); the answer comes in the mode of the request, in the response,
//! where Knative takes it as the reply.
//!
//! Source: cloudevents/spec, `cloudevents/spec.md`, `bindings/http-protocol-binding.md`,
//! `formats/json-format.md`, `extensions/correlation.md`, `extensions/distributed-tracing.md`.

mod event;
mod openapi;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use serde_json::{Map, Value as Json, json};
use twinfer::{Error, Parameters, Result, bail, err};
use twinfer_package::Digest;

pub(super) use openapi::describe;

use super::{Need, Request};
use crate::media::{self, MediaType};
use crate::run::Called;
use crate::target::Target;
use crate::{App, predict, reply};
use event::Event;

/// The type of an event with an answer, and of one that says what was wrong.
const PREDICTION: &str = "dev.twinfer.prediction";
const FAILURE: &str = "dev.twinfer.error";

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
/// Attributes that an answer takes over: what it is about, and the trace that it belongs to.
const TAKEN_OVER: [&str; 4] = ["subject", "traceparent", "tracestate", "partitionkey"];

#[derive(Debug, PartialEq)]
struct Route(Target);

pub(super) fn find(segments: &[&str]) -> Option<Box<dyn super::Route>> {
    Some(Box::new(Route(match *segments {
        ["events"] => Target::default_model(),
        ["events", name] => Target::named(name, None),
        ["events", name, version] => Target::named(name, Some(version)),
        _ => return None,
    })))
}

impl super::Route for Route {
    fn methods(&self) -> &'static str {
        "POST"
    }

    fn needs(&self) -> Need<'_> {
        Need::Model(&self.0)
    }

    fn answer(&self, app: &App, request: Request<'_>) -> Result<Response<Bytes>> {
        let headers = &request.parts.headers;
        let media_type = media::content_type(headers)?;
        let essence = media_type.as_ref().map_or("", |given| &given.essence);
        if essence == BATCH {
            let events = event::read_batch(&request.body)?;
            let (loaded, _) = app.call(&self.0, &request)?;
            let answers = events.into_iter().map(|event| in_batch(&loaded, event));
            let answers = answers.map(|event| event.to_json());
            return Ok(typed(BATCH, &Json::Array(answers.collect::<Result<_>>()?)));
        }
        if essence == STRUCTURED {
            let event = event::read(&request.body)?;
            let (loaded, _) = app.call(&self.0, &request)?;
            let answer = answered(&loaded, &event)?;
            return Ok(typed(STRUCTURED, &answer.to_json()?));
        }
        if essence.starts_with("application/cloudevents") {
            bail!(
                UnsupportedMediaType,
                "events are read as {STRUCTURED}, {BATCH} or with `ce-` headers, not as {essence}"
            );
        }
        let event = event::from_headers(headers, request.body.clone())?;
        let (loaded, _) = app.call(&self.0, &request)?;
        answered(&loaded, &event)?.into_response()
    }
}

fn typed(content_type: &'static str, json: &Json) -> Response<Bytes> {
    reply::with_type(StatusCode::OK, content_type, json.to_string().into())
}

/// # Errors
/// What is wrong with the data of the event.
fn answered(loaded: &Called<'_>, event: &Event) -> Result<Event> {
    let model = &loaded.model;
    let media_type = match &event.data_type {
        None => None,
        Some(text) => match MediaType::parse(text) {
            Some(media_type) => Some(media_type),
            None => bail!(
                UnsupportedMediaType,
                "the datacontenttype {text:?} cannot be read"
            ),
        },
    };
    let sent = predict::Sent::with(model, media_type)?;
    let answers = predict::run(model, &sent, event.data.clone(), Parameters::new())?;
    let name = match &answers {
        predict::Answers::One(_) => "outputs",
        predict::Answers::Many(_) => "predictions",
    };
    let config = model.config();
    let data = json!({
        "model_name": config.name,
        "model_version": config.version,
        "digest": model.digest(),
        name: predict::plain(answers),
    });
    Ok(about(loaded, event, PREDICTION, &data))
}

/// One that fails does not keep the others from their answers.
fn in_batch(loaded: &Called<'_>, event: Result<Event>) -> Event {
    let failure = |error: Error| json!({"error": error.message(), "code": error.code().as_str()});
    match event {
        Ok(event) => match answered(loaded, &event) {
            Ok(answer) => answer,
            Err(error) => about(loaded, &event, FAILURE, &failure(error)),
        },
        // There is no event that it would be about.
        Err(error) => about(loaded, &Event::default(), FAILURE, &failure(error)),
    }
}

/// An event of ours about one that came.
///
/// Its id is made of those of the other one, so that an event that is delivered twice has the same
/// answer, which whoever gets it can recognise. There is no `time`: the application has no clock.
fn about(loaded: &Called<'_>, event: &Event, kind: &str, data: &Json) -> Event {
    let config = loaded.model.config();
    let text = |name: &str| event.attributes.get(name).map_or("", String::as_str);
    let identity = format!(
        "{}\n{}\n{kind}\n{}",
        text("source"),
        text("id"),
        loaded.model.digest()
    );
    let mut attributes = Map::new();
    let mut set = |name: &str, value: &str| {
        if !value.is_empty() {
            attributes.insert(name.to_owned(), value.into());
        }
    };
    set("specversion", "1.0");
    set("id", &Digest::of(identity.as_bytes()).hex());
    set(
        "source",
        &format!("/v2/models/{}/versions/{}", config.name, config.version),
    );
    set("type", kind);
    for name in TAKEN_OVER {
        set(name, text(name));
    }
    // What caused it, and what began it all.
    set("causationid", text("id"));
    let first = text("correlationid");
    set(
        "correlationid",
        if first.is_empty() { text("id") } else { first },
    );
    let attributes = attributes.into_iter();
    let attributes =
        attributes.filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
    Event {
        attributes: attributes.collect(),
        data_type: Some("application/json".into()),
        data: data.to_string().into(),
    }
}

impl Event {
    /// As the response itself: attributes as headers, the data as the body.
    fn into_response(self) -> Result<Response<Bytes>> {
        let mut response = Response::new(self.data);
        let headers = response.headers_mut();
        let value = |text: &str| {
            http::HeaderValue::from_str(text).map_err(|e| {
                err!(
                    Internal,
                    "an attribute of the answer cannot be a header: {e}"
                )
            })
        };
        if let Some(data_type) = &self.data_type {
            headers.insert(CONTENT_TYPE, value(data_type)?);
        }
        for (name, text) in &self.attributes {
            let name = http::HeaderName::try_from(format!("ce-{name}"))
                .map_err(|e| err!(Internal, "an attribute of the answer has no header: {e}"))?;
            headers.insert(name, value(&event::encode(text))?);
        }
        Ok(response)
    }
}
