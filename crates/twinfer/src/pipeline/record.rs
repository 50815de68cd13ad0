//! A record of named columns to one row of numbers, or to a tensor for each column.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::suggest::suggestion;
use crate::{
    Column, DType, Dim, InputStep, MapKeys, Maps, Missing, OutputSpec, OutputStep, Pipeline,
    PlainOutput, RecordInput, Result, Signature, Tensor, TensorSpec, Tensors, Value, ValueKind,
    bail, err,
};

impl RecordInput {
    /// The data type of the tensor that this column goes into.
    pub(crate) fn dtype_of(&self, column: &Column) -> DType {
        match self.tensor {
            Some(_) => self.dtype,
            None => column.dtype.unwrap_or(self.dtype),
        }
    }

    /// What the model takes of a record: a tensor `[1, columns]`, or for each column a tensor
    /// `[1, 1]`.
    ///
    /// # Errors
    /// `invalid_record`, naming the column.
    pub fn tensors(&self, record: &Map<String, Json>) -> Result<Tensors> {
        refuse_unknown(self, record)?;
        if let Some(name) = &self.tensor {
            let tensor = tensor(self.dtype, &self.columns, record)?;
            return Ok(vec![(name.clone(), tensor)]);
        }
        let one = |column: &Column| {
            let columns = std::slice::from_ref(column);
            let tensor = tensor(self.dtype_of(column), columns, record)?;
            Ok((column.name.clone(), tensor))
        };
        self.columns.iter().map(one).collect()
    }
}

impl RecordInput {
    /// What a model that takes a map takes of a record: one with the same keys.
    ///
    /// # Errors
    /// `invalid_record`, naming the key.
    pub(crate) fn map(&self, record: &Map<String, Json>) -> Result<Vec<(String, Value)>> {
        let column = |name: &String| Column {
            name: name.clone(),
            missing: Missing::Error,
            dtype: None,
        };
        let columns: Vec<Column> = record.keys().map(column).collect();
        let maps = Maps {
            keys: MapKeys::Strings(record.keys().cloned().collect()),
            values: tensor(self.dtype, &columns, record)?,
        };
        let name = self.tensor.clone().unwrap_or_default();
        Ok(vec![(name, Value::Maps(maps))])
    }
}

/// A row of these columns.
fn tensor(dtype: DType, columns: &[Column], record: &Map<String, Json>) -> Result<Tensor> {
    let shape = [1, columns.len()];
    match dtype {
        DType::F64 => Tensor::from_vec(&shape, row(columns, record, to_f64, f64::NAN, "number")?),
        DType::I64 => Tensor::from_vec(&shape, row(columns, record, to_i64, 0, "number")?),
        DType::F32 => Tensor::from_vec(&shape, row(columns, record, to_f32, f32::NAN, "number")?),
        DType::Bool => {
            Tensor::from_vec(&shape, row(columns, record, to_bool, false, "truth value")?)
        }
        DType::String => Tensor::from_strings(
            &shape,
            row(columns, record, to_text, String::new(), "text")?,
        ),
        other => bail!(InvalidPackage, "a record cannot become a tensor of {other}"),
    }
}

impl Pipeline {
    /// The pipeline of a model file that nobody wrote one for: of one that takes a map, as skl2onnx
    /// exports a `DictVectorizer`, and that of [`Pipeline::of_columns`]. Both take records.
    pub fn of_records(signature: &Signature, may_miss: impl Fn(&str) -> bool) -> Option<Self> {
        let [spec] = signature.inputs.as_slice() else {
            return Self::of_columns(signature, may_miss);
        };
        let dtypes = [DType::F32, DType::F64, DType::I64, DType::String];
        if spec.kind != ValueKind::Maps || !dtypes.contains(&spec.dtype) {
            return None;
        }
        Some(Self {
            input: InputStep::Record(RecordInput {
                name: "record".into(),
                tensor: Some(spec.name.clone()),
                dtype: spec.dtype,
                columns: Vec::new(),
            }),
            outputs: OutputStep::of_estimator(signature),
            parameters: Vec::new(),
        })
    }

    /// The pipeline of a model that takes a tensor for each column of a table, as skl2onnx exports
    /// what begins with a `ColumnTransformer`: two inputs or more, all `[N, 1]`. It takes records;
    /// of what it gives, label and probabilities of a classifier are made those. `None` for other
    /// models.
    ///
    /// `may_miss` tells of which inputs a number may be missing, since the model fills it in.
    pub fn of_columns(signature: &Signature, may_miss: impl Fn(&str) -> bool) -> Option<Self> {
        if signature.inputs.len() < 2 || !signature.inputs.iter().all(is_column) {
            return None;
        }
        let column = |spec: &TensorSpec| Column {
            name: spec.name.clone(),
            missing: match matches!(spec.dtype, DType::F32 | DType::F64) && may_miss(&spec.name) {
                true => Missing::Nan,
                false => Missing::Error,
            },
            dtype: Some(spec.dtype),
        };
        Some(Self {
            input: InputStep::Record(RecordInput {
                name: "record".into(),
                tensor: None,
                dtype: DType::F32,
                columns: signature.inputs.iter().map(column).collect(),
            }),
            outputs: OutputStep::of_estimator(signature),
            parameters: Vec::new(),
        })
    }
}

fn is_column(spec: &TensorSpec) -> bool {
    let dtypes = [
        DType::F32,
        DType::F64,
        DType::I64,
        DType::Bool,
        DType::String,
    ];
    let shape = match spec.shape.as_deref() {
        Some([Dim::Fixed(rows), Dim::Fixed(1)]) => *rows == 1,
        Some([_, Dim::Fixed(1)]) => true,
        _ => false,
    };
    shape && spec.kind.is_tensor() && dtypes.contains(&spec.dtype)
}

impl OutputStep {
    /// Label and probabilities where the model is a classifier as skl2onnx writes it; all other
    /// outputs as they are.
    pub fn of_estimator(signature: &Signature) -> Vec<Self> {
        let maps = (signature.outputs.iter()).filter(|output| output.kind == ValueKind::Maps);
        let classifier = signature.outputs.len() == 2 && maps.count() == 1;
        let step = |output: &OutputSpec| {
            let plain = |name: &str| PlainOutput {
                name: name.into(),
                tensor: output.name.clone(),
            };
            let vector = output.shape.as_ref().is_none_or(|shape| shape.len() == 1);
            match output.kind {
                ValueKind::Maps if classifier => Self::Probabilities(plain("probabilities")),
                ValueKind::Maps => Self::Probabilities(plain(&output.name)),
                ValueKind::Tensor if classifier && vector => Self::Label(plain("label")),
                _ => Self::Tensor(plain(&output.name)),
            }
        };
        signature.outputs.iter().map(step).collect()
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

fn row<T: Clone>(
    columns: &[Column],
    record: &Map<String, Json>,
    convert: impl Fn(&Json) -> Result<T, String>,
    nan: T,
    noun: &str,
) -> Result<Vec<T>> {
    let value = |column: &Column| {
        let name = &column.name;
        match record.get(name) {
            None | Some(Json::Null) => match column.missing {
                Missing::Nan => Ok(nan.clone()),
                Missing::Error => {
                    let what = if record.contains_key(name) {
                        "is null"
                    } else {
                        "is missing"
                    };
                    Err(err!(
                        InvalidRecord,
                        "column `{name}` {what}; this model needs a {noun} there"
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
    columns.iter().map(value).collect()
}

fn to_text(value: &Json) -> Result<String, String> {
    match value {
        Json::String(text) => Ok(text.clone()),
        other => Err(format!("expected a text, got {}", describe(other))),
    }
}

fn to_bool(value: &Json) -> Result<bool, String> {
    match value {
        Json::Bool(value) => Ok(*value),
        other => Err(format!("expected true or false, got {}", describe(other))),
    }
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
