//! The columns that answers have in tables: by the model, so that they are the same for each row.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use twinfer::{DType, Dim, Model, OutputStep, ValueKind};
use twinfer_serve::offline::Item;

/// A column of answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    /// Where it is in an answer: the keys of the objects around it.
    path: Vec<String>,
    kind: Kind,
}

/// What its values are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Value(DType),
    /// Lists in each other, so deep.
    Lists(usize, DType),
    /// `[{label, score}]`
    Classes,
    /// `[{x, y, width, height, score}]`
    Boxes,
    /// What has no type that is known before: JSON, as text.
    Json,
}

/// The columns of this model's answers. `sample` is one of them: the labels of probabilities are seen
/// there only.
pub(crate) fn columns(model: &Model, sample: Option<&Item>) -> Vec<Column> {
    let mut columns = Vec::new();
    match &model.config().pipeline {
        Some(pipeline) => {
            for step in &pipeline.outputs {
                columns.extend(of_step(model, step, sample));
            }
        }
        None => {
            for output in &model.signature().outputs {
                columns.extend(of_output(
                    &output.name,
                    output_spec(model, &output.name),
                    1,
                    sample,
                ));
            }
        }
    }
    columns
}

/// The names that answers have at their top.
pub(crate) fn names(model: &Model) -> Vec<&str> {
    match &model.config().pipeline {
        Some(pipeline) => pipeline.outputs.iter().map(OutputStep::name).collect(),
        None => (model.signature().outputs.iter())
            .map(|output| output.name.as_str())
            .collect(),
    }
}

fn of_step(model: &Model, step: &OutputStep, sample: Option<&Item>) -> Vec<Column> {
    let one = |kind| vec![Column::new(&[step.name()], kind)];
    match step {
        OutputStep::Tensor(plain) => {
            of_output(&plain.name, output_spec(model, &plain.tensor), 0, sample)
        }
        OutputStep::Label(plain) => match output_spec(model, &plain.tensor) {
            Some(spec) => one(value_kind(spec.dtype)),
            None => one(Kind::Json),
        },
        OutputStep::Probabilities(plain) => numbers_by_key(&plain.name, sample),
        OutputStep::Classes(_) => one(Kind::Classes),
        OutputStep::Decision(_) => {
            let text = ["label", "model_label", "overwrite_reason"];
            let mut columns = vec![Column::new(
                &[step.name(), "score"],
                Kind::Value(DType::F64),
            )];
            for (at, key) in text.into_iter().enumerate() {
                let column = Column::new(&[step.name(), key], Kind::Value(DType::String));
                // The label before its score, as in the answer.
                columns.insert(if at == 0 { 0 } else { columns.len() }, column);
            }
            columns
        }
        OutputStep::Boxes(_) => one(Kind::Boxes),
    }
}

/// What is known of an output of the model file.
struct Spec<'a> {
    dtype: DType,
    kind: ValueKind,
    shape: Option<&'a [Dim]>,
}

fn output_spec<'a>(model: &'a Model, name: &str) -> Option<Spec<'a>> {
    let spec = model.signature().outputs.iter().find(|o| o.name == name)?;
    Some(Spec {
        dtype: spec.dtype,
        kind: spec.kind,
        shape: spec.shape.as_deref(),
    })
}

/// An output as it is, without its first `without` axes.
fn of_output(
    name: &str,
    spec: Option<Spec<'_>>,
    without: usize,
    sample: Option<&Item>,
) -> Vec<Column> {
    let kind = match spec {
        Some(spec) if spec.kind == ValueKind::Maps && without == 1 => {
            return numbers_by_key(name, sample);
        }
        Some(Spec {
            dtype,
            kind: ValueKind::Tensor,
            shape: Some(shape),
        }) => match (shape.len().checked_sub(without), value_kind(dtype)) {
            (Some(0), kind) => kind,
            (Some(depth), Kind::Value(dtype)) => Kind::Lists(depth, dtype),
            _ => Kind::Json,
        },
        _ => Kind::Json,
    };
    vec![Column::new(&[name], kind)]
}

fn numbers_by_key(name: &str, sample: Option<&Item>) -> Vec<Column> {
    match sample.and_then(|sample| sample.get(name)) {
        Some(Json::Object(found)) => (found.keys())
            .map(|key| Column::new(&[name, key], Kind::Value(DType::F64)))
            .collect(),
        _ => vec![Column::new(&[name], Kind::Json)],
    }
}

fn value_kind(dtype: DType) -> Kind {
    match scalar(dtype) {
        Some(_) => Kind::Value(dtype),
        None => Kind::Json,
    }
}

/// The type of Arrow that a value has.
fn scalar(dtype: DType) -> Option<DataType> {
    Some(match dtype {
        DType::Bool => DataType::Boolean,
        DType::U8 => DataType::UInt8,
        DType::U16 => DataType::UInt16,
        DType::U32 => DataType::UInt32,
        DType::U64 => DataType::UInt64,
        DType::I8 => DataType::Int8,
        DType::I16 => DataType::Int16,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
        DType::F16 | DType::BF16 | DType::F32 => DataType::Float32,
        DType::F64 => DataType::Float64,
        DType::String => DataType::Utf8,
        _ => return None,
    })
}

impl Column {
    fn new(path: &[&str], kind: Kind) -> Self {
        Self {
            path: path.iter().map(|key| (*key).to_owned()).collect(),
            kind,
        }
    }

    /// The keys of the path with dots between.
    pub(crate) fn name(&self) -> String {
        self.path.join(".")
    }

    /// The value of this column in an answer; `null` where it has none.
    pub(crate) fn value<'a>(&self, item: &'a Item) -> &'a Json {
        let mut path = self.path.iter();
        let first = path.next().and_then(|key| item.get(key));
        let value = path.try_fold(first.unwrap_or(&Json::Null), |value, key| value.get(key));
        value.unwrap_or(&Json::Null)
    }

    /// The same in the form that [`Column::field`] says.
    pub(crate) fn cell(&self, item: &Item) -> Json {
        match (&self.kind, self.value(item)) {
            (Kind::Json, value) if !value.is_null() => value.to_string().into(),
            (_, value) => value.clone(),
        }
    }

    /// The field of a schema, with this before its name.
    pub(crate) fn field(&self, prefix: &str) -> FieldRef {
        let data_type = match &self.kind {
            Kind::Value(dtype) => scalar(*dtype).unwrap_or(DataType::Utf8),
            Kind::Lists(depth, dtype) => {
                let item = scalar(*dtype).unwrap_or(DataType::Utf8);
                (0..*depth).fold(item, |item, _| list(item))
            }
            Kind::Classes => list(structure(&[
                ("label", DataType::Utf8),
                ("score", DataType::Float64),
            ])),
            Kind::Boxes => {
                let number = |name| (name, DataType::Float64);
                list(structure(
                    &["x", "y", "width", "height", "score"].map(number),
                ))
            }
            Kind::Json => DataType::Utf8,
        };
        Arc::new(Field::new(
            format!("{prefix}{}", self.name()),
            data_type,
            true,
        ))
    }
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn structure(fields: &[(&str, DataType)]) -> DataType {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    DataType::Struct(fields.iter().map(field).collect())
}

/// Rows of cells by name, for [`arrow_json`].
pub(crate) fn cells(columns: &[Column], prefix: &str, item: &Item) -> Map<String, Json> {
    let cell = |column: &Column| (format!("{prefix}{}", column.name()), column.cell(item));
    columns.iter().map(cell).collect()
}
