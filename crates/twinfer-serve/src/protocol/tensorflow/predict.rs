//! `:predict`, in rows (`instances`) and in columns (`inputs`).

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value as Json};
use twinfer::{
    InputStep, Model, OutputStep, Parameters, Pipeline, Result, Value, ValueKind, bail,
    value_from_json, value_to_json,
};

use super::Signature;
use super::answer::{Shape, numbers, written};
use crate::loose::Numbers;
use crate::rows;
use crate::run::Running;

pub(super) fn predict(
    model: &Running<'_>,
    mut fields: Map<String, Json>,
) -> Result<Response<Bytes>> {
    let signature = Signature::of(model, &mut fields)?;
    let pipeline = match signature {
        Signature::Default => model.config().pipeline.as_ref(),
        Signature::Tensors => None,
    };
    match (fields.remove("instances"), fields.remove("inputs")) {
        (Some(_), Some(_)) => bail!(
            InvalidRequest,
            "the request must have one of `instances` and `inputs`, not both"
        ),
        (None, None) => bail!(
            InvalidRequest,
            "the request must have `instances` (rows) or `inputs` (columns)"
        ),
        (Some(Json::Array(rows)), None) if !rows.is_empty() => {
            let length = rows.len();
            let columns = by_rows(model, pipeline, rows)?;
            let shape = match columns.len() {
                1 => Shape::Single,
                _ => Shape::Rows(length),
            };
            Ok(answer(model, pipeline, "predictions", &columns, shape))
        }
        (Some(_), None) => bail!(
            InvalidRequest,
            "`instances` must be a list of one row at least"
        ),
        (None, Some(inputs)) => {
            let columns = match pipeline {
                Some(pipeline) => by_rows(model, Some(pipeline), of_columns(pipeline, inputs)?)?,
                None => by_columns(model, &inputs)?,
            };
            let shape = match columns.len() {
                1 => Shape::Single,
                _ => Shape::Object,
            };
            Ok(answer(model, pipeline, "outputs", &columns, shape))
        }
    }
}

/// Outputs, each a list of what the rows give.
fn by_rows(
    model: &Running<'_>,
    pipeline: Option<&Pipeline>,
    rows: Vec<Json>,
) -> Result<Vec<(String, Json)>> {
    let (names, answers): (Vec<&str>, Vec<Json>) = match pipeline {
        Some(pipeline) => {
            let answers = rows::predict(model, rows, &Parameters::new())?.into_iter();
            let answers = answers.map(|answer| rows::without_row(pipeline, answer));
            let names = pipeline.outputs.iter().map(OutputStep::name);
            (names.collect(), answers.collect())
        }
        None => {
            let outputs = model.signature().outputs.iter();
            let names: Vec<&str> = outputs.map(|output| output.name.as_str()).collect();
            let answers = rows::tensors(model, rows)?;
            if let [only] = names[..] {
                return Ok(vec![(only.to_owned(), Json::Array(answers))]);
            }
            (names, answers)
        }
    };
    let mut columns: Vec<(String, Vec<Json>)> = names
        .into_iter()
        .map(|name| (name.to_owned(), Vec::new()))
        .collect();
    for mut answer in answers {
        for (name, column) in &mut columns {
            column.push(answer.get_mut(name.as_str()).map_or(Json::Null, Json::take));
        }
    }
    let whole = |(name, column)| (name, Json::Array(column));
    Ok(columns.into_iter().map(whole).collect())
}

/// Columns of a pipeline as the rows that they are.
fn of_columns(pipeline: &Pipeline, inputs: Json) -> Result<Vec<Json>> {
    let is_content = |inputs: &Map<String, Json>| {
        inputs.len() == 1 && (inputs.contains_key("b64") || inputs.contains_key("base64"))
    };
    let columns = match inputs {
        Json::Array(rows) if !rows.is_empty() => return Ok(rows),
        Json::Object(content) if is_content(&content) => return Ok(vec![Json::Object(content)]),
        Json::Object(columns) if !columns.is_empty() => columns,
        _ => bail!(
            InvalidRequest,
            "`inputs` must be an object of columns, or the list that is the only one"
        ),
    };
    let mut rows: Vec<Map<String, Json>> = Vec::new();
    for (at, (name, column)) in columns.into_iter().enumerate() {
        let cells = match column {
            Json::Array(cells) => cells,
            // One picture is a list of one.
            content @ Json::Object(_) if !matches!(pipeline.input, InputStep::Record(_)) => {
                vec![content]
            }
            _ => bail!(
                WrongShape,
                "`inputs`: {name:?} must be a list, an entry for each row"
            ),
        };
        if at == 0 {
            rows.resize(cells.len(), Map::new());
        }
        if cells.len() != rows.len() {
            bail!(
                WrongShape,
                "`inputs`: {name:?} has {} entries, another column has {}",
                cells.len(),
                rows.len()
            );
        }
        for (row, cell) in rows.iter_mut().zip(cells) {
            row.insert(name.clone(), cell);
        }
    }
    Ok(rows.into_iter().map(Json::Object).collect())
}

/// The model on whole inputs.
fn by_columns(model: &Model, inputs: &Json) -> Result<Vec<(String, Json)>> {
    let signature = model.signature();
    let own = |fields: &Map<String, Json>| {
        fields.keys().all(|name| signature.input(name).is_some()) && !fields.is_empty()
    };
    let value = |spec: &twinfer::TensorSpec, json: &Json| -> Result<(String, Value)> {
        let value = value_from_json(spec, &rows::text_of(json, spec)?)?;
        Ok((spec.name.clone(), value))
    };
    let values = match (inputs, &signature.inputs[..]) {
        (Json::Object(fields), _) if own(fields) => {
            let spec = |name: &String| signature.input(name);
            let given = fields
                .iter()
                .filter_map(|(name, json)| Some((spec(name)?, json)));
            given
                .map(|(spec, json)| value(spec, json))
                .collect::<Result<_>>()?
        }
        // Maps are objects themselves; bytes in base64 are one, too.
        (json, [only])
            if !json.is_object() || only.kind == ValueKind::Maps || json.get("b64").is_some() =>
        {
            vec![value(only, json)?]
        }
        (Json::Object(fields), _) => {
            let unknown = fields.keys().find(|name| signature.input(name).is_none());
            bail!(
                UnknownInput,
                "`inputs` has no input {:?} of the model; /metadata lists them",
                unknown.map_or("", String::as_str)
            )
        }
        _ => bail!(
            InvalidInput,
            "the model has {} inputs: `inputs` must be an object of them",
            signature.inputs.len()
        ),
    };
    let outputs = model.run_values(values)?.into_iter();
    let outputs = outputs.map(|(name, value)| Ok((name, value_to_json(&value)?)));
    outputs.collect()
}

fn answer(
    model: &Running<'_>,
    pipeline: Option<&Pipeline>,
    field: &str,
    columns: &[(String, Json)],
    shape: Shape,
) -> Response<Bytes> {
    let columns: Vec<(Option<&str>, &Json, Numbers)> = (columns.iter())
        .map(|(name, json)| (Some(name.as_str()), json, numbers(model, pipeline, name)))
        .collect();
    written(field, &columns, shape)
}
