//! A form: files for models of pictures, sounds, texts and bytes, columns for models of records, and parameters.

use bytes::Bytes;
use serde_json::Map;
use twinfer::{Input, InputStep, Model, Parameters, Result, bail};

use super::body::content;
use super::{Answers, Kind, Place, Row, Sent, one};
use crate::formats::csv;
use crate::formats::multipart::{self, Part};
use crate::formats::table::{Columns, article};
use crate::run::Running;

/// # Errors
/// `invalid_request` for what is no form, or one without a file where the model takes one; those of
/// the only input.
pub(super) fn answer(
    model: &Running<'_>,
    sent: &Sent,
    body: &Bytes,
    mut parameters: Parameters,
) -> Result<Answers> {
    let Some(pipeline) = &model.config().pipeline else {
        bail!(
            UnsupportedMediaType,
            "this model has no pipeline: send tensors to /infer"
        );
    };
    let Some(media_type) = &sent.media_type else {
        bail!(UnsupportedMediaType, "a form needs its boundary");
    };
    let is_parameter = |name: &str| pipeline.parameters.iter().any(|known| known.name == name);
    let mut parts = Vec::new();
    for part in multipart::parts(media_type, body)? {
        if part.file.is_some() || !is_parameter(&part.name) {
            parts.push(part);
            continue;
        }
        let value = text(&part)?.to_owned();
        if parameters.insert(part.name.clone(), value.into()).is_some() {
            bail!(InvalidParameter, "parameter {:?} is given twice", part.name);
        }
    }
    match &pipeline.input {
        InputStep::Record(_) => {
            let record = Input::Record(record(model, &parts)?);
            one(model, record, Parameters::new(), &parameters).map(Answers::One)
        }
        step => files(model, step, parts, &parameters),
    }
}

/// Each file is an input. A field without a file name is one where it has the name of the input.
fn files(
    model: &Running<'_>,
    step: &InputStep,
    parts: Vec<Part>,
    parameters: &Parameters,
) -> Result<Answers> {
    let name = step.name();
    if let Some(other) = parts.iter().find(|p| p.file.is_none() && p.name != name) {
        bail!(
            UnknownParameter,
            "the form has a field `{}`, which is no parameter of this model; {} is a file, or the field `{name}`",
            other.name,
            article(step)
        );
    }
    let several = parts.len() > 1;
    let answer = |part: Part| {
        let place = part.file.unwrap_or(part.name);
        let input = content(model, Kind::Bytes, part.content);
        let outputs = input.and_then(|input| one(model, input, Parameters::new(), parameters));
        Row {
            outputs: outputs.map_err(|e| match several {
                true => e.context(format!("file `{place}`")),
                false => e,
            }),
            place: Place::File(place),
        }
    };
    let mut rows: Vec<Row> = parts.into_iter().map(answer).collect();
    match (rows.pop(), rows.is_empty()) {
        (None, _) => bail!(
            InvalidRequest,
            "the form has no file; this model takes {}",
            article(step)
        ),
        (Some(only), true) => only.outputs.map(Answers::One),
        (Some(last), false) => {
            rows.push(last);
            Ok(Answers::Many(rows))
        }
    }
}

/// Fields as columns, read like the cells of CSV.
fn record(model: &Model, parts: &[Part]) -> Result<Map<String, serde_json::Value>> {
    let columns = Columns::of(model)?;
    let mut record = Map::new();
    for (at, part) in parts.iter().enumerate() {
        if let Some(file) = &part.file {
            bail!(
                UnsupportedMediaType,
                "this model takes a record, not the file {file:?}: fields of the form are its columns"
            );
        }
        let value = csv::value(text(part)?, columns.dtype(&part.name, at));
        if record.insert(part.name.clone(), value).is_some() {
            bail!(
                InvalidRecord,
                "the form has two fields of the name `{}`",
                part.name
            );
        }
    }
    Ok(record)
}

fn text(part: &Part) -> Result<&str> {
    match std::str::from_utf8(&part.content) {
        Ok(text) => Ok(text),
        Err(e) => bail!(
            InvalidRequest,
            "the field `{}` of the form is not UTF-8: {e}",
            part.name
        ),
    }
}
