//! Tables: columns of what a model takes, and answers as columns.

use serde_json::{Map, Value as Json};
use twinfer::{
    Column, DType, Dim, InputStep, Model, RecordInput, Result, TensorSpec, TextInput, ValueKind,
    bail, err, number_from_words,
};

use crate::table::fold;

/// What the columns of a table are to a model.
pub(crate) enum Columns<'a> {
    /// The columns of its records.
    Record(&'a RecordInput),
    /// One column of texts.
    Text(&'a TextInput),
    /// Any columns: the model takes maps.
    Map(DType),
    /// The elements of its one tensor, in their order.
    Elements(&'a TensorSpec),
    /// Its inputs, by name.
    Inputs(&'a [TensorSpec]),
}

impl<'a> Columns<'a> {
    /// # Errors
    /// `unsupported_media_type` for models of pictures, sounds and bytes, which no table has.
    pub(crate) fn of(model: &'a Model) -> Result<Self> {
        let inputs = &model.signature().inputs;
        match model.config().pipeline.as_ref().map(|p| &p.input) {
            Some(InputStep::Record(step)) if step.columns.is_empty() => Ok(Self::Map(step.dtype)),
            Some(InputStep::Record(step)) => Ok(Self::Record(step)),
            Some(InputStep::Text(step)) => Ok(Self::Text(step)),
            Some(step) => bail!(
                UnsupportedMediaType,
                "this model takes {}, not a table",
                article(step)
            ),
            None => match &inputs[..] {
                [only] if only.kind == ValueKind::Maps => Ok(Self::Map(only.dtype)),
                [only] if is_row(only) => Ok(Self::Elements(only)),
                inputs => Ok(Self::Inputs(inputs)),
            },
        }
    }

    /// Whether this is the name of a column.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Record(step) => step.columns.iter().any(|column| column.name == name),
            Self::Text(step) => step.name == name,
            Self::Map(_) | Self::Elements(_) => false,
            Self::Inputs(inputs) => inputs.iter().any(|input| input.name == name),
        }
    }

    /// The data type of a column, where it is known.
    pub(crate) fn dtype(&self, name: &str, at: usize) -> Option<DType> {
        let of = |step: &RecordInput, column: &Column| match step.tensor {
            Some(_) => step.dtype,
            None => column.dtype.unwrap_or(step.dtype),
        };
        match self {
            Self::Record(step) if name.is_empty() => {
                step.columns.get(at).map(|column| of(step, column))
            }
            Self::Record(step) => (step.columns.iter())
                .find(|column| column.name == name)
                .map(|column| of(step, column)),
            Self::Text(_) => Some(DType::String),
            Self::Map(dtype) => Some(*dtype),
            Self::Elements(spec) => Some(spec.dtype),
            Self::Inputs(inputs) => (inputs.iter())
                .find(|input| input.name == name)
                .map(|input| input.dtype),
        }
    }

    /// What stands for a value that is missing: `null` in a record, where the model says what that
    /// means; NaN in a tensor of floats.
    pub(crate) fn missing(&self, dtype: Option<DType>) -> Json {
        let float = matches!(
            dtype,
            Some(DType::F16 | DType::BF16 | DType::F32 | DType::F64)
        );
        match self {
            Self::Elements(_) | Self::Inputs(_) if float => "NaN".into(),
            _ => Json::Null,
        }
    }

    /// A row for [`crate::rows`]: an object of columns, or a list where the model has no names for
    /// them or the table has none (`names` is empty).
    pub(crate) fn row(&self, names: &[String], cells: Vec<Json>) -> Json {
        let named = match self {
            Self::Elements(_) => false,
            Self::Record(_) | Self::Text(_) | Self::Map(_) | Self::Inputs(_) => !names.is_empty(),
        };
        if !named {
            return Json::Array(cells);
        }
        let cell = |(name, cell): (&String, Json)| {
            let input = match self {
                Self::Inputs(inputs) => inputs.iter().find(|input| input.name == *name),
                _ => None,
            };
            let cell = match input {
                Some(input) => fold(cell, input),
                None => cell,
            };
            (name.clone(), cell)
        };
        Json::Object(names.iter().zip(cells).map(cell).collect())
    }

    /// # Errors
    /// `invalid_request` for a name that is there twice.
    pub(crate) fn check(names: &[String]) -> Result<()> {
        let mut sorted: Vec<&String> = names.iter().collect();
        sorted.sort();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(err!(
                InvalidRequest,
                "the table has two columns of the name `{}`",
                pair[0]
            )),
            None => Ok(()),
        }
    }
}

pub(crate) fn article(step: &InputStep) -> &'static str {
    match step {
        InputStep::Picture(_) => "a picture",
        InputStep::Bytes(_) => "bytes",
        InputStep::Audio(_) => "a sound",
        InputStep::Text(_) => "a text",
        InputStep::Record(_) => "a record",
    }
}

/// `[rows, elements]`: a row of a table is one of it.
fn is_row(spec: &TensorSpec) -> bool {
    let free = |dim: &Dim| !matches!(dim, Dim::Fixed(1));
    spec.kind == ValueKind::Tensor && matches!(spec.shape.as_deref(), Some([_, last]) if free(last))
}

/// An answer, or what went wrong in the place of one.
pub(crate) type Item = Map<String, Json>;

/// A column of answers.
#[derive(Debug, PartialEq)]
pub(crate) struct Answers {
    pub(crate) name: String,
    /// One for each row; `null` where a row has none.
    pub(crate) cells: Vec<Json>,
}

/// Answers as columns: what is inside of an object gets the names of both with a dot between.
/// Columns are in the order in which they come up.
pub(crate) fn columns(items: &[Item]) -> Vec<Answers> {
    let mut columns: Vec<Answers> = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    for (row, item) in items.iter().enumerate() {
        flatten("", item, &mut |name, value| {
            let at = *places.entry(name.to_owned()).or_insert_with(|| {
                columns.push(Answers {
                    name: name.to_owned(),
                    cells: vec![Json::Null; items.len()],
                });
                columns.len() - 1
            });
            columns[at].cells[row] = value.clone();
        });
    }
    columns
}

/// What is in an answer, with the names of nested objects joined by dots, in its order.
pub(crate) fn flatten(prefix: &str, map: &Item, found: &mut impl FnMut(&str, &Json)) {
    for (key, value) in map {
        let name = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            Json::Object(inner) => flatten_inner(&name, inner, found),
            value => found(&name, value),
        }
    }
}

/// Behind `dyn`, so that the recursion has one type.
fn flatten_inner(prefix: &str, map: &Item, found: &mut dyn FnMut(&str, &Json)) {
    flatten(prefix, map, &mut |name, value| found(name, value));
}

/// A number, or one of the words for what JSON has none for.
pub(crate) fn number(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(word) => number_from_words(word),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_become_columns() {
        let item = |json: Json| json.as_object().unwrap().clone();
        let items = [
            item(json!({"label": "a", "p": {"a": 1.0, "b": {"c": 2}}})),
            item(json!({"error": "no"})),
        ];
        let found: Vec<(String, Json)> = (columns(&items).into_iter())
            .map(|column| (column.name, Json::Array(column.cells)))
            .collect();
        let wanted = [
            ("label", json!(["a", null])),
            ("p.a", json!([1.0, null])),
            ("p.b.c", json!([2, null])),
            ("error", json!([null, "no"])),
        ];
        assert_eq!(found, wanted.map(|(name, cells)| (name.to_owned(), cells)));
    }
}
