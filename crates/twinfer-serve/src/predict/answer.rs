//! Answers in the form that the client wants.

use bytes::Bytes;
use http::header::VARY;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use twinfer::{Mode, Model, Result};

use super::{Answers, Kind, Place, Row};
use crate::formats::table::Item;
use crate::formats::{csv, packed};
use crate::timing::{Call, Timing};
use crate::{media, reply};

/// A form in which bodies come and answers go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Form {
    Json,
    Lines,
    Csv,
    Cbor,
    Msgpack,
    #[cfg(feature = "arrow")]
    Arrow,
}

/// Media types, in the order in which they are preferred where the client does not mind. Those that
/// are not registered are what libraries send.
const FORMS: &[(&str, Form)] = &[
    ("application/json", Form::Json),
    ("application/x-ndjson", Form::Lines),
    ("application/jsonlines", Form::Lines),
    ("application/jsonl", Form::Lines),
    ("application/x-jsonlines", Form::Lines),
    ("text/csv", Form::Csv),
    ("application/cbor", Form::Cbor),
    ("application/msgpack", Form::Msgpack),
    ("application/vnd.msgpack", Form::Msgpack),
    ("application/x-msgpack", Form::Msgpack),
    #[cfg(feature = "arrow")]
    ("application/vnd.apache.arrow.stream", Form::Arrow),
];

/// The form of a media type.
pub(crate) fn form_of(essence: &str) -> Option<(&'static str, Form)> {
    FORMS.iter().find(|(name, _)| *name == essence).copied()
}

/// The form of the answer, by `Accept`. Where the client does not mind it is the one of the body,
/// or JSON.
///
/// # Errors
/// `unsupported_media_type`.
pub(super) fn choose(headers: &HeaderMap, kind: Kind) -> Result<(&'static str, Form)> {
    let mut offers: Vec<&'static str> = FORMS.iter().map(|(name, _)| *name).collect();
    if let Kind::Of(name, _) = kind {
        offers.retain(|other| *other != name);
        offers.insert(0, name);
    }
    let chosen = media::choose(headers, &offers)?;
    Ok(form_of(chosen).unwrap_or(("application/json", Form::Json)))
}

/// An answer to one input, or to several.
#[derive(Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    digest: &'a str,
    mode: Mode,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<&'a Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timing: Option<Timing>,
}

impl<'a> Answer<'a> {
    fn new(model: &'a Model, answers: &'a Answers, call: Call) -> Self {
        let (outputs, predictions) = match answers {
            Answers::One(outputs) => (Some(outputs), None),
            Answers::Many(rows) => (None, Some(rows.iter().map(shown).collect())),
        };
        Self {
            model_name: &model.config().name,
            model_version: &model.config().version,
            digest: model.digest(),
            mode: Mode::Strict,
            outputs,
            predictions,
            timing: call.timing(),
        }
    }
}

/// The answer to one of several inputs, or what was wrong with it.
fn shown(row: &Row) -> Value {
    let mut shown = Map::new();
    match &row.outputs {
        Ok(outputs) => drop(shown.insert("outputs".into(), outputs.clone().into())),
        Err(error) => shown = failure(error),
    }
    match &row.place {
        Place::Line(line) if row.outputs.is_err() => {
            shown.insert("line".into(), json!(line));
        }
        Place::File(name) => {
            shown.insert("file".into(), json!(name));
        }
        Place::Line(_) | Place::Row => {}
    }
    Value::Object(shown)
}

fn failure(error: &twinfer::Error) -> Item {
    Map::from_iter([
        ("error".to_owned(), error.message().into()),
        ("code".to_owned(), error.code().as_str().into()),
    ])
}

/// Outputs alone: an object, or a list of objects for several inputs, with what was wrong in the
/// place of one that failed.
pub(crate) fn plain(answers: Answers) -> Value {
    match answers {
        Answers::One(outputs) => Value::Object(outputs),
        Answers::Many(rows) => {
            let one = |row: Row| row.outputs.unwrap_or_else(|error| failure(&error));
            rows.into_iter().map(one).map(Value::Object).collect()
        }
    }
}

/// # Errors
/// `internal`.
pub(super) fn respond(
    model: &Model,
    answers: Answers,
    (content_type, form): (&'static str, Form),
    call: Call,
) -> Result<Response<Bytes>> {
    let body = match form {
        Form::Json => {
            let mut response = reply::json(&Answer::new(model, &answers, call));
            vary(&mut response);
            return Ok(response);
        }
        Form::Lines => lines(&answers),
        Form::Csv => csv::write(&items(answers), true),
        Form::Cbor => packed::write_cbor(&Answer::new(model, &answers, call))?,
        Form::Msgpack => packed::write_msgpack(&Answer::new(model, &answers, call))?,
        #[cfg(feature = "arrow")]
        Form::Arrow => {
            let config = model.config();
            let said = [
                ("model_name", config.name.as_str()),
                ("model_version", config.version.as_str()),
                ("digest", model.digest()),
            ];
            let said = said.map(|(key, value)| (key.to_owned(), value.to_owned()));
            crate::formats::arrow::write(&items(answers), said.into())?
        }
    };
    let mut response = reply::with_type(StatusCode::OK, content_type, body.into());
    vary(&mut response);
    Ok(response)
}

/// Caches keep the forms apart.
fn vary(response: &mut Response<Bytes>) {
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept"));
}

fn lines(answers: &Answers) -> Vec<u8> {
    let mut text = String::new();
    let mut line = |value: &Value| {
        text.push_str(&value.to_string());
        text.push('\n');
    };
    match answers {
        Answers::One(outputs) => line(&json!({"outputs": outputs})),
        Answers::Many(rows) => rows.iter().for_each(|row| line(&shown(row))),
    }
    text.into_bytes()
}

/// Outputs as the rows of a table. One that failed has the columns `error` and `code` instead.
fn items(answers: Answers) -> Vec<Item> {
    match answers {
        Answers::One(outputs) => vec![outputs],
        Answers::Many(rows) => {
            let item = |row: Row| row.outputs.unwrap_or_else(|error| failure(&error));
            rows.into_iter().map(item).collect()
        }
    }
}
