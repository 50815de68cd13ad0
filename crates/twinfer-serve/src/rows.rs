//! Rows in JSON, which most protocols send: one prediction for each, all at once where the model
//! takes a batch.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};
use twinfer::{
    Audio, Column, DType, Dim, Input, InputStep, OutputStep, Parameters, Picture, Pipeline,
    RecordInput, Result, Signature, TensorSpec, Value, ValueKind, bail, err, value_from_json,
    value_to_json,
};

use crate::run::Running;

/// Answers rows, one answer for each, in their order.
///
/// What a row is depends on the model:
///
/// | model takes | a row |
/// |---|---|
/// | a record | an object of columns, or a list of their values in the order of the pipeline |
/// | a picture, a sound, bytes | `{"b64": "…"}` or `{"base64": "…"}`, alone or under the name of the input |
/// | a text | the text, or its bytes in that form; alone, in a list of one, or under the name of the input |
/// | one tensor | the tensor without its first axis |
/// | several inputs | an object of them, each without its first axis |
///
/// An answer is what the pipeline gives, an object. Without a pipeline it is the output without its
/// first axis, and an object of them where there are several.
///
/// # Errors
/// Those of [`Model::predict`], with the number of the row, counted from 0; `wrong_shape` where the
/// model has a fixed batch of another size.
pub(crate) fn predict(
    model: &Running<'_>,
    rows: Vec<Json>,
    parameters: &Parameters,
) -> Result<Vec<Json>> {
    if let Some(pipeline) = &model.config().pipeline {
        let one = |(at, row)| {
            let answer = input(&pipeline.input, row).and_then(|i| model.predict(i, parameters));
            let answer = answer.map_err(|e| e.context(format!("row {at}")))?;
            Ok(Json::Object(answer.outputs))
        };
        return rows.into_iter().enumerate().map(one).collect();
    }
    if let Some((name, _)) = parameters.iter().next() {
        bail!(
            UnknownParameter,
            "there is no parameter `{name}`; this model has no pipeline"
        );
    }
    tensors(model, rows)
}

/// The same past the pipeline, with the inputs and outputs of the model file.
///
/// # Errors
/// Those of [`predict`].
pub(crate) fn tensors(model: &Running<'_>, rows: Vec<Json>) -> Result<Vec<Json>> {
    let signature = model.signature();
    match batch(signature, rows.len())? {
        Batch::Together if !rows.is_empty() => {
            let values = together(signature, &rows)?;
            split(model.run_values(values)?, rows.len())
        }
        Batch::Together => Ok(Vec::new()),
        Batch::OneByOne => {
            let one = |(at, row)| {
                let values = together(signature, std::slice::from_ref(&row))?;
                let answers = model.run_values(values).and_then(|v| split(v, 1));
                let mut answers = answers.map_err(|e| e.context(format!("row {at}")))?;
                Ok(answers.pop().unwrap_or(Json::Null))
            };
            rows.into_iter().enumerate().map(one).collect()
        }
    }
}

/// The input of a pipeline that a row is.
pub(crate) fn input(step: &InputStep, row: Json) -> Result<Input> {
    match step {
        InputStep::Record(step) => {
            let mut record = record(step, row)?;
            blank(step, &mut record);
            Ok(Input::Record(record))
        }
        InputStep::Picture(step) => {
            let content = content(&step.name, row)?;
            Ok(Input::Picture(Picture::Encoded(content)))
        }
        InputStep::Bytes(step) => content(&step.name, row).map(Input::Bytes),
        InputStep::Audio(step) => {
            let content = content(&step.name, row)?;
            Ok(Input::Audio(Audio::Encoded(content)))
        }
        InputStep::Text(step) => text(&step.name, row),
    }
}

/// "Not a number" is what is missing: that is how Python writes it.
fn blank(step: &RecordInput, record: &mut Map<String, Json>) {
    let is_text = |column: &Column| step.tensor.is_none() && column.dtype == Some(DType::String);
    for column in step.columns.iter().filter(|column| !is_text(column)) {
        if let Some(cell) = record.get_mut(&column.name)
            && *cell == "NaN"
        {
            *cell = Json::Null;
        }
    }
}

fn record(step: &RecordInput, row: Json) -> Result<Map<String, Json>> {
    match row {
        Json::Object(mut columns) => {
            // Wrapped in the name of the input, as in the envelope of `predict`.
            let is_column = step.columns.iter().any(|column| column.name == step.name);
            if columns.len() == 1
                && !is_column
                && let Some(Json::Object(inner)) = columns.get_mut(&step.name)
            {
                return Ok(std::mem::take(inner));
            }
            Ok(columns)
        }
        Json::Array(values) if !step.columns.is_empty() => {
            if values.len() != step.columns.len() {
                bail!(
                    InvalidRecord,
                    "a row as a list has the {} columns of the model in their order, got {}",
                    step.columns.len(),
                    values.len()
                );
            }
            let names = step.columns.iter().map(|column| column.name.clone());
            Ok(names.zip(values).collect())
        }
        _ => bail!(
            InvalidRecord,
            "a row must be an object of columns, or a list of their values"
        ),
    }
}

fn text(name: &str, row: Json) -> Result<Input> {
    match row {
        Json::String(text) => Ok(Input::Text(vec![text])),
        // A row of a table with one column.
        Json::Array(mut cells) if cells.len() == 1 => text(name, cells.swap_remove(0)),
        Json::Object(mut fields) if fields.len() == 1 => match fields.remove(name) {
            Some(inner) => text(name, inner),
            None => Input::text_from_utf8(content(name, Json::Object(fields))?),
        },
        _ => bail!(
            InvalidInput,
            "`{name}` in JSON is a text, or {{\"b64\": \"…\"}} with its bytes"
        ),
    }
}

/// Binary content in JSON: TensorFlow Serving writes `b64`, `predict` writes `base64`.
fn content(name: &str, row: Json) -> Result<Vec<u8>> {
    let found = match row {
        Json::Object(mut fields) => {
            if let Some(inner @ Json::Object(_)) = fields.remove(name) {
                return content(name, inner);
            }
            fields.remove("b64").or_else(|| fields.remove("base64"))
        }
        _ => None,
    };
    let Some(Json::String(text)) = found else {
        bail!(
            InvalidInput,
            "`{name}` in JSON is {{\"b64\": \"…\"}}, its bytes in base64"
        );
    };
    STANDARD
        .decode(text)
        .map_err(|e| err!(InvalidInput, "`{name}` is not base64: {e}"))
}

/// How rows become runs of the model.
#[derive(Debug, PartialEq)]
enum Batch {
    Together,
    OneByOne,
}

/// By the first axes of the inputs. A free one takes them all at once, a fixed one as many as it is
/// long; 1 means that the model takes no batch.
fn batch(signature: &Signature, rows: usize) -> Result<Batch> {
    let mut one_by_one = false;
    for spec in &signature.inputs {
        match (&spec.kind, spec.shape.as_deref().map(<[Dim]>::first)) {
            (ValueKind::Maps, _) | (ValueKind::Tensor, None) => {}
            (ValueKind::Sequence | ValueKind::Optional, _) | (_, Some(None)) => one_by_one = true,
            (ValueKind::Tensor, Some(Some(Dim::Fixed(1)))) => one_by_one = true,
            (ValueKind::Tensor, Some(Some(Dim::Fixed(length)))) if *length != rows => bail!(
                WrongShape,
                "input `{}` takes a batch of exactly {length} rows, got {rows}",
                spec.name
            ),
            _ => {}
        }
    }
    Ok(if one_by_one {
        Batch::OneByOne
    } else {
        Batch::Together
    })
}

/// The inputs of the model, with an axis of rows in front.
pub(crate) fn together(signature: &Signature, rows: &[Json]) -> Result<Vec<(String, Value)>> {
    let column = |spec: &TensorSpec| {
        let cell = |(at, row)| {
            cell(signature, spec, row).map_err(|e: twinfer::Error| e.context(format!("row {at}")))
        };
        let cells = rows
            .iter()
            .enumerate()
            .map(cell)
            .collect::<Result<Vec<_>>>()?;
        let has_no_rows = spec.kind != ValueKind::Maps
            && (spec.kind != ValueKind::Tensor || spec.shape.as_ref().is_some_and(Vec::is_empty));
        let json = match cells {
            mut one if has_no_rows => one.pop().unwrap_or(Json::Null),
            cells => Json::Array(cells),
        };
        Ok((spec.name.clone(), value_from_json(spec, &json)?))
    };
    // Of what may be given as well, that which the first row has: then all must have it.
    let is_given = |spec: &&TensorSpec| matches!(rows.first(), Some(Json::Object(fields)) if fields.contains_key(&spec.name));
    let optional = signature.optional.iter().filter(is_given);
    signature
        .inputs
        .iter()
        .chain(optional)
        .map(column)
        .collect()
}

/// What a row gives for an input.
fn cell(signature: &Signature, spec: &TensorSpec, row: &Json) -> Result<Json> {
    match (row, &signature.inputs[..]) {
        // A map is itself an object; so is a row that wraps it in the name of the input.
        (Json::Object(fields), [only]) if only.kind == ValueKind::Maps => {
            match fields.get(&only.name) {
                Some(inner @ Json::Object(_)) if fields.len() == 1 => Ok(inner.clone()),
                _ => Ok(row.clone()),
            }
        }
        (Json::Object(fields), inputs) => {
            if let Some(unknown) = (fields.keys())
                .find(|name| signature.input(name).is_none() && !is_content(name, inputs))
            {
                bail!(
                    UnknownInput,
                    "there is no input `{unknown}`; the model takes {}",
                    names(inputs)
                );
            }
            match fields.get(&spec.name) {
                Some(value) => text_of(value, spec),
                None if is_text(inputs) => text_of(row, spec),
                None => bail!(MissingInput, "input `{}` is missing", spec.name),
            }
        }
        (_, [_]) => text_of(row, spec),
        (_, inputs) => bail!(
            InvalidInput,
            "a row must be an object of the inputs {}",
            names(inputs)
        ),
    }
}

/// `{"b64": "…"}` where one text is wanted.
fn is_content(name: &str, inputs: &[TensorSpec]) -> bool {
    (name == "b64" || name == "base64") && is_text(inputs)
}

fn is_text(inputs: &[TensorSpec]) -> bool {
    matches!(inputs, [only] if only.dtype == DType::String)
}

/// Texts may come as their bytes.
pub(crate) fn text_of(json: &Json, spec: &TensorSpec) -> Result<Json> {
    if spec.dtype != DType::String || spec.kind != ValueKind::Tensor {
        return Ok(json.clone());
    }
    if let Json::Array(items) = json {
        return items.iter().map(|item| text_of(item, spec)).collect();
    }
    let wrapped =
        matches!(json, Json::Object(o) if o.contains_key("b64") || o.contains_key("base64"));
    if !wrapped {
        return Ok(json.clone());
    }
    let bytes = content(&spec.name, json.clone())?;
    let text = String::from_utf8(bytes);
    text.map(Json::String).map_err(|_| {
        err!(
            InvalidInput,
            "input `{}` is a text, and its bytes are not UTF-8",
            spec.name
        )
    })
}

fn names(inputs: &[TensorSpec]) -> String {
    let names = inputs.iter().map(|spec| format!("`{}`", spec.name));
    names.collect::<Vec<_>>().join(", ")
}

/// Outputs with an axis of rows in front, row by row.
pub(crate) fn split(outputs: Vec<(String, Value)>, rows: usize) -> Result<Vec<Json>> {
    let several = outputs.len() > 1;
    let mut answers = vec![Map::new(); rows];
    let mut single = Vec::new();
    for (name, value) in outputs {
        let json = value_to_json(&value)?;
        let parts = match json {
            Json::Array(parts) if parts.len() == rows => parts,
            whole if rows == 1 => vec![whole],
            _ => bail!(
                WrongShape,
                "the model gave something else than one `{name}` for each of {rows} rows: send them as one batch, in columns"
            ),
        };
        if !several {
            single = parts;
            continue;
        }
        for (answer, part) in answers.iter_mut().zip(parts) {
            answer.insert(name.clone(), part);
        }
    }
    Ok(if several {
        answers.into_iter().map(Json::Object).collect()
    } else {
        single
    })
}

/// An answer of a pipeline without the axis of rows, which the answer to one row still has where it
/// is a model output as it is; a list of one number is that number.
pub(crate) fn without_row(pipeline: &Pipeline, mut answer: Json) -> Json {
    for step in &pipeline.outputs {
        let OutputStep::Tensor(plain) = step else {
            continue;
        };
        let Some(value) = answer.get_mut(&plain.name) else {
            continue;
        };
        if let Json::Array(rows) = value
            && let [row] = &mut rows[..]
        {
            *value = row.take();
        }
        *value = single(value.take());
    }
    answer
}

/// A list of one element that is no list is that element.
pub(crate) fn single(value: Json) -> Json {
    match value {
        Json::Array(mut items) if items.len() == 1 && !items[0].is_array() => items.remove(0),
        other => other,
    }
}
