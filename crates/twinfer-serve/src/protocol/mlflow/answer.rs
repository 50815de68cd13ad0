//! What `/invocations` answers: `{"predictions": …}`.
//!
//! | model | predictions |
//! |---|---|
//! | MLflow saved it with the flavor `onnx`; a data frame | a list of objects of all outputs of the model file |
//! | the same; arrays | an object of all outputs |
//! | classifier of an estimator: label and probabilities | a list of labels, as `predict` of scikit-learn gives |
//! | regressor of an estimator: `variable` | a list of numbers |
//! | another pipeline, one output | a list of it |
//! | another pipeline, several outputs | a list of objects |
//! | no pipeline, columns by name | a list of objects, as MLflow's flavor `onnx` gives for a data frame |
//! | no pipeline, tensors | an object of outputs, as the flavor `onnx` gives for arrays |

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value as Json};
use twinfer::{DType, MlflowFlavor, Model, OutputStep, Pipeline, Result, bail, value_to_json};

use super::payload::{Given, Payload};
use crate::loose::{self, Numbers};
use crate::run::{Running, Values};
use crate::{reply, rows};

/// Names that skl2onnx gives the label of a classifier, and the number of a regressor.
const LABELS: [&str; 2] = ["label", "output_label"];
const NUMBER: &str = "variable";

pub(in crate::protocol) fn predictions(
    model: &Running<'_>,
    payload: Payload,
) -> Result<Response<Bytes>> {
    let predictions = predicted(model, payload)?;
    let mut body = br#"{"predictions": "#.to_vec();
    loose::write(&predictions, numbers(model), &mut body);
    body.push(b'}');
    Ok(reply::with_type(
        StatusCode::OK,
        "application/json",
        body.into(),
    ))
}

/// The predictions alone.
///
/// # Errors
/// `invalid_input` without rows, and those of the model.
pub(in crate::protocol) fn predicted(model: &Running<'_>, payload: Payload) -> Result<Json> {
    if matches!(&payload.given, Given::Rows { rows, .. } if rows.is_empty()) {
        bail!(InvalidInput, "there are no rows: send one at least");
    }
    let config = model.config();
    let is_onnx = config.mlflow.as_ref().map(|mlflow| mlflow.flavor) == Some(MlflowFlavor::Onnx);
    if is_onnx && let Some(names) = raw_outputs(config.pipeline.as_ref()) {
        return of_onnx(model, payload, &names);
    }
    Ok(match (&config.pipeline, payload.given) {
        (Some(pipeline), Given::Rows { rows, .. }) => {
            let answers = rows::predict(model, rows, &payload.parameters)?;
            of_pipeline(pipeline, answers)
        }
        (_, Given::Rows { rows, are_named }) => {
            let outputs = columns(model, rows::tensors(model, rows)?);
            of_outputs(outputs, are_named)
        }
        (_, Given::Values(values)) => of_outputs(by_name(model, values)?, false),
    })
}

/// What the flavor `onnx` gives. `names`: of the answers of the pipeline, and of the outputs of the model
/// file that they are.
fn of_onnx(model: &Running<'_>, payload: Payload, names: &[(&str, &str)]) -> Result<Json> {
    let outputs = match (&model.config().pipeline, payload.given) {
        (Some(pipeline), Given::Rows { rows, .. }) => {
            let answers = rows::predict(model, rows, &payload.parameters)?;
            let mut answers: Vec<Json> = (answers.into_iter())
                .map(|answer| rows::without_row(pipeline, answer))
                .collect();
            let column = |(name, output): &(&str, &str)| {
                let cells = answers.iter_mut();
                let cells =
                    cells.map(|answer| answer.get_mut(*name).map_or(Json::Null, Json::take));
                ((*output).to_owned(), cells.collect())
            };
            names.iter().map(column).collect()
        }
        (None, Given::Rows { rows, .. }) => columns(model, rows::tensors(model, rows)?),
        (_, Given::Values(values)) => by_name(model, values)?,
    };
    Ok(match payload.is_frame {
        true => as_rows(outputs),
        false => Json::Object(outputs.into_iter().collect()),
    })
}

/// `None` for a pipeline that has been changed since the import, so that its answers are no outputs of the
/// model file.
fn raw_outputs(pipeline: Option<&Pipeline>) -> Option<Vec<(&str, &str)>> {
    let steps = pipeline.map_or(&[][..], |pipeline| &pipeline.outputs);
    steps.iter().map(raw).collect()
}

/// The name of an answer, and of the output of the model file that it is.
fn raw(step: &OutputStep) -> Option<(&str, &str)> {
    match step {
        OutputStep::Tensor(plain) | OutputStep::Label(plain) | OutputStep::Probabilities(plain) => {
            Some((&plain.name, &plain.tensor))
        }
        _ => None,
    }
}

fn by_name(model: &Running<'_>, values: Values) -> Result<Vec<(String, Json)>> {
    let outputs = model.run_values(values)?.into_iter();
    let outputs = outputs.map(|(name, value)| Ok((name, value_to_json(&value)?)));
    outputs.collect()
}

/// Python writes `NaN` bare. Where texts are among the answers they are left alone.
fn numbers(model: &Model) -> Numbers {
    let outputs = &model.signature().outputs;
    match outputs.iter().any(|output| output.dtype == DType::String) {
        true => Numbers::Plain,
        false => Numbers::Bare,
    }
}

fn of_pipeline(pipeline: &Pipeline, answers: Vec<Json>) -> Json {
    let label = pipeline
        .outputs
        .iter()
        .find(|o| matches!(o, OutputStep::Label(_)));
    let is_classifier = pipeline.outputs.len() == 2
        && pipeline
            .outputs
            .iter()
            .any(|o| matches!(o, OutputStep::Probabilities(_)));
    let alone = match &pipeline.outputs[..] {
        [only] => Some(only.name()),
        _ if is_classifier => label.map(OutputStep::name),
        _ => None,
    };
    let one = |answer| {
        let mut answer = rows::without_row(pipeline, answer);
        match alone.and_then(|name| answer.get_mut(name)) {
            Some(value) => value.take(),
            None => answer,
        }
    };
    answers.into_iter().map(one).collect()
}

/// Outputs as columns, of rows as [`rows::tensors`] gives them.
fn columns(model: &Model, answers: Vec<Json>) -> Vec<(String, Json)> {
    let outputs = &model.signature().outputs[..];
    if let [only] = outputs {
        return vec![(only.name.clone(), Json::Array(answers))];
    }
    let mut columns: Vec<(String, Vec<Json>)> = outputs
        .iter()
        .map(|output| (output.name.clone(), Vec::new()))
        .collect();
    for mut answer in answers {
        for (name, column) in &mut columns {
            column.push(answer.get_mut(name.as_str()).map_or(Json::Null, Json::take));
        }
    }
    let whole = |(name, column)| (name, Json::Array(column));
    columns.into_iter().map(whole).collect()
}

/// A column of a data frame: of the rows of an output, single numbers without their list.
fn flat(column: Json) -> Json {
    match column {
        Json::Array(cells) => cells.into_iter().map(rows::single).collect(),
        other => other,
    }
}

fn of_outputs(mut outputs: Vec<(String, Json)>, are_named: bool) -> Json {
    match &outputs[..] {
        [(name, _)] if name == NUMBER => return flat(outputs.remove(0).1),
        [(name, _), _] if LABELS.contains(&name.as_str()) => return flat(outputs.remove(0).1),
        _ => {}
    }
    match are_named {
        true => as_rows(outputs),
        false => Json::Object(outputs.into_iter().collect()),
    }
}

/// Outputs as the rows of a data frame.
fn as_rows(outputs: Vec<(String, Json)>) -> Json {
    let length = outputs
        .first()
        .and_then(|(_, column)| column.as_array())
        .map_or(0, Vec::len);
    let mut rows = vec![Map::new(); length];
    for (name, column) in outputs {
        let Json::Array(cells) = flat(column) else {
            continue;
        };
        for (row, cell) in rows.iter_mut().zip(cells) {
            row.insert(name.clone(), cell);
        }
    }
    rows.into_iter().map(Json::Object).collect()
}
