//! `POST …/predict`: the pipeline's own input in, its answer out.

mod answer;
mod body;
mod form;
pub(crate) mod json;

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value};
use twinfer::{Error, Input, Model, Parameters, Result, bail, err};

use crate::formats::csv::{self, Header};
use crate::formats::lines::lines;
use crate::formats::packed;
use crate::formats::table::{Columns, Item};
use crate::protocol::Request;
use crate::run::{Called, Running};
use crate::timing::Call;
use crate::{query, rows};

pub(crate) use answer::{Form, form_of, plain};
pub(crate) use body::{Kind, Sent};

pub(crate) fn predict(
    loaded: &Called<'_>,
    request: Request<'_>,
    call: Call,
) -> Result<Response<Bytes>> {
    let model = &loaded.model;
    let Request { parts, body, .. } = request;
    let sent = Sent::of(model, &parts.headers)?;
    // Before the model runs: an answer that nobody can read should not cost a prediction.
    let wanted = answer::choose(&parts.headers, sent.kind)?;
    let answers = run(model, &sent, body, query::parameters(parts.uri.query())?)?;
    answer::respond(model, answers, wanted, call)
}

/// What there is to say to a body.
pub(crate) enum Answers {
    /// To one input, its outputs.
    One(Item),
    /// To several, in their order.
    Many(Vec<Row>),
}

/// The answer to one of several inputs.
pub(crate) struct Row {
    pub(crate) place: Place,
    pub(crate) outputs: Result<Item>,
}

/// Where an input was, for whoever looks for the one that failed.
pub(crate) enum Place {
    /// A line, counted from 1.
    Line(usize),
    File(String),
    /// A row of a table: none fails alone.
    Row,
}

/// Answers a body, with these parameters beside those that are in it.
///
/// # Errors
/// What is wrong with the body as a whole, or with the only input in it. What is wrong with one of
/// several lines or files is its answer; a table is answered as a whole.
pub(crate) fn run(
    model: &Running<'_>,
    sent: &Sent,
    body: Bytes,
    beside: Parameters,
) -> Result<Answers> {
    let table = |rows: Vec<Value>| {
        let rows = outputs(model, rows, &beside)?
            .into_iter()
            .map(|outputs| Row {
                place: Place::Row,
                outputs: Ok(outputs),
            });
        Ok(Answers::Many(rows.collect()))
    };
    let (input, parameters) = match sent.kind {
        Kind::Of(_, Form::Lines) => return Ok(answer_lines(model, &body, &beside)),
        Kind::Of(_, Form::Csv) => {
            let header = Header::of(sent.media_type.as_ref())?;
            return table(csv::rows(&Columns::of(model)?, header, &body)?);
        }
        #[cfg(feature = "arrow")]
        Kind::Of(_, Form::Arrow) => {
            return table(crate::formats::arrow::rows(&Columns::of(model)?, &body)?);
        }
        Kind::Multipart => return form::answer(model, sent, &body, beside),
        Kind::Of(_, Form::Json) => json::from_json(model, &body)?,
        Kind::Of(_, Form::Cbor) => from_value(model, &packed::read_cbor(&body)?)?,
        Kind::Of(_, Form::Msgpack) => from_value(model, &packed::read_msgpack(&body)?)?,
        Kind::Picture | Kind::Audio | Kind::Text | Kind::Bytes => {
            (body::content(model, sent.kind, body)?, Map::new())
        }
    };
    one(model, input, parameters, &beside).map(Answers::One)
}

/// What other formats say, in the one form that is read.
fn from_value(model: &Model, value: &Value) -> Result<(Input, Parameters)> {
    let text = serde_json::to_vec(value)
        .map_err(|e| err!(Internal, "the request cannot be written as JSON: {e}"))?;
    json::from_json(model, &text)
}

fn one(
    model: &Running<'_>,
    input: Input,
    parameters: Parameters,
    beside: &Parameters,
) -> Result<Item> {
    let parameters = joined(parameters, beside)?;
    Ok(model.predict(input, &parameters)?.outputs)
}

/// Parameters in the body and beside it.
///
/// # Errors
/// `invalid_parameter` for one that is in both.
pub(crate) fn joined(mut parameters: Parameters, beside: &Parameters) -> Result<Parameters> {
    for (name, value) in beside {
        if parameters.contains_key(name) {
            bail!(
                InvalidParameter,
                "parameter {name:?} is given in the body and in the query string"
            );
        }
        parameters.insert(name.clone(), value.clone());
    }
    Ok(parameters)
}

fn answer_lines(model: &Running<'_>, body: &[u8], beside: &Parameters) -> Answers {
    let answer = |(number, text)| Row {
        place: Place::Line(number),
        outputs: line(model, text, beside).map_err(|e: Error| e.context(format!("line {number}"))),
    };
    Answers::Many(lines(body).map(answer).collect())
}

/// A row as in [`crate::rows`], or the envelope of a request.
fn line(model: &Running<'_>, text: &[u8], beside: &Parameters) -> Result<Item> {
    let row: Value =
        serde_json::from_slice(text).map_err(|e| err!(InvalidJson, "it is not JSON: {e}"))?;
    if let Value::Object(fields) = &row
        && json::is_envelope(model, |name| fields.contains_key(name))
    {
        let (input, parameters) = json::from_json(model, text)?;
        return one(model, input, parameters, beside);
    }
    let mut outputs = outputs(model, vec![row], beside)?;
    outputs
        .pop()
        .ok_or_else(|| err!(Internal, "a row has no answer"))
}

/// [`rows::predict`], with the name of the output where the model has one and no pipeline.
pub(crate) fn outputs(
    model: &Running<'_>,
    rows: Vec<Value>,
    parameters: &Parameters,
) -> Result<Vec<Item>> {
    let answers = rows::predict(model, rows, parameters)?.into_iter();
    Ok(answers.map(|answer| named(model, answer)).collect())
}

/// An answer of [`rows`] as an object.
pub(crate) fn named(model: &Model, answer: Value) -> Item {
    let only = match (&model.config().pipeline, &model.signature().outputs[..]) {
        (None, [only]) => Some(&only.name),
        _ => None,
    };
    match (only, answer) {
        (Some(name), answer) => Map::from_iter([(name.clone(), answer)]),
        (None, Value::Object(outputs)) => outputs,
        (None, other) => Map::from_iter([("output".to_owned(), other)]),
    }
}
