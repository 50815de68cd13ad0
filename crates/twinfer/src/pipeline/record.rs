//! A record of named columns to one row of numbers.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::suggest::suggestion;
use crate::{Column, DType, Missing, RecordInput, Result, Tensor, bail, err};

/// The tensor `[1, columns]`.
///
/// # Errors
/// `invalid_record`, naming the column.
pub(crate) fn before(step: &RecordInput, record: &Map<String, Json>) -> Result<Tensor> {
    refuse_unknown(step, record)?;
    let shape = [1, step.columns.len()];
    match step.dtype {
        DType::F64 => Tensor::from_vec(&shape, row(step, record, to_f64, f64::NAN)?),
        DType::I64 => Tensor::from_vec(&shape, row(step, record, to_i64, 0)?),
        DType::F32 => Tensor::from_vec(&shape, row(step, record, to_f32, f32::NAN)?),
        other => bail!(InvalidPackage, "a record cannot become a tensor of {other}"),
    }
}

fn refuse_unknown(step: &RecordInput, record: &Map<String, Json>) -> Result<()> {
    // Names of columns are unique, so counting those that are there is enough, and quick.
    let there = step.columns.iter();
    let there = there.filter(|column| record.contains_key(&column.name));
    if there.count() == record.len() {
        return Ok(());
    }
    let known: BTreeSet<&str> = step
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    let mut unknown = record.keys().filter(|key| !known.contains(key.as_str()));
    let Some(first) = unknown.next() else {
        return Ok(());
    };
    let more = match unknown.count() {
        0 => String::new(),
        n => format!(" (and {n} more that are not known)"),
    };
    let did_you_mean = suggestion(
        first,
        step.columns.iter().map(|column| column.name.as_str()),
    );
    bail!(
        InvalidRecord,
        "the record has a column `{}`{more} that this model does not take{did_you_mean}",
        shorten(first)
    )
}

fn row<T: Copy>(
    step: &RecordInput,
    record: &Map<String, Json>,
    convert: impl Fn(&Json) -> Result<T, String>,
    nan: T,
) -> Result<Vec<T>> {
    let value = |column: &Column| {
        let name = &column.name;
        match record.get(name) {
            None | Some(Json::Null) => match column.missing {
                Missing::Nan => Ok(nan),
                Missing::Error => {
                    let what = if record.contains_key(name) {
                        "is null"
                    } else {
                        "is missing"
                    };
                    Err(err!(
                        InvalidRecord,
                        "column `{name}` {what}; this model needs a number there"
                    ))
                }
            },
            Some(value) => convert(value).map_err(|problem| {
                let hint = match (value, column.missing) {
                    (Json::String(_), Missing::Nan) => "; for a missing value give null",
                    _ => "",
                };
                err!(InvalidRecord, "column `{name}`: {problem}{hint}")
            }),
        }
    };
    step.columns.iter().map(value).collect()
}

/// Numbers are those of JSON in JavaScript, double precision, so that page and server agree.
fn to_f64(value: &Json) -> Result<f64, String> {
    match value {
        Json::Bool(value) => Ok(f64::from(u8::from(*value))),
        Json::Number(number) => number
            .as_f64()
            .ok_or_else(|| format!("{number} is out of range")),
        other => Err(format!("expected a number, got {}", describe(other))),
    }
}

fn to_f32(value: &Json) -> Result<f32, String> {
    let wide = to_f64(value)?;
    let narrow = wide as f32;
    if narrow.is_infinite() {
        return Err(format!(
            "{wide:e} is out of the range of FP32 (up to {:e})",
            f32::MAX
        ));
    }
    Ok(narrow)
}

fn to_i64(value: &Json) -> Result<i64, String> {
    /// Up to here every whole number has a double of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let Json::Number(number) = value else {
        return to_f64(value).map(|number| number as i64);
    };
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => Ok(whole),
        (None, Some(float)) if float.fract() == 0.0 && float.abs() <= EXACT => Ok(float as i64),
        (None, Some(float)) if float.fract() == 0.0 => Err(format!(
            "{number} is out of the range of INT64, or not exact"
        )),
        _ => Err(format!("expected a whole number, got {number}")),
    }
}

fn describe(value: &Json) -> String {
    match value {
        Json::String(text) => format!("the text \"{}\"", shorten(text)),
        Json::Array(items) => format!("a list of {}", items.len()),
        Json::Object(_) => "an object".into(),
        other => other.to_string(),
    }
}

/// Text of the caller for a message: not all of it.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into(),
    }
}
