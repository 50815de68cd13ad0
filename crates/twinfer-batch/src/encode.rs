//! From answers to the bytes or columns of the output.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StringArray, UInt64Array, make_array,
};
use arrow_json::writer::LineDelimited;
use arrow_json::{ReaderBuilder, WriterBuilder};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use serde_json::{Map, Value as Json};
use twinfer::{Error, Result, err};
use twinfer_serve::offline::Item;

use crate::columns::{Column, cells};
use crate::decode::Kept;
use crate::job::OutputFormat;

/// How answers are written.
pub(crate) struct Encoder {
    pub(crate) format: OutputFormat,
    pub(crate) columns: Vec<Column>,
    pub(crate) kept: KeptColumns,
    pub(crate) row_number: Option<String>,
    pub(crate) prefix: String,
}

/// What stands beside answers.
#[derive(Debug, Clone)]
pub(crate) enum KeptColumns {
    /// These.
    Named(Vec<String>),
    /// Those of a table, with their types.
    Table(SchemaRef),
    /// Whatever a row has: in JSON Lines only.
    Any,
}

/// A part of the output.
pub(crate) enum Encoded {
    Text(Vec<u8>),
    Table(RecordBatch),
}

/// An answer that will be written, with the number of its row.
pub(crate) type Numbered = (u64, Item);

impl Encoder {
    /// What stands in front of all rows.
    pub(crate) fn header(&self) -> Vec<u8> {
        if self.format != OutputFormat::Csv {
            return Vec::new();
        }
        let kept: Vec<String> = match &self.kept {
            KeptColumns::Named(names) => names.clone(),
            KeptColumns::Table(schema) => {
                schema.fields().iter().map(|f| f.name().clone()).collect()
            }
            KeptColumns::Any => Vec::new(),
        };
        let answers = self.columns.iter();
        let answers = answers.map(|column| format!("{}{}", self.prefix, column.name()));
        let mut text = Vec::new();
        let names: Vec<String> = (self.row_number.iter().cloned())
            .chain(kept)
            .chain(answers)
            .collect();
        line(&mut text, names.iter().map(String::as_str));
        text
    }

    /// The answers of a chunk, where `good` says which of its rows have one. What cannot be written
    /// is an error in its place.
    ///
    /// # Errors
    /// What is wrong with all of them: `internal`.
    pub(crate) fn encode(&self, answers: &mut [Result<Numbered>], kept: Kept) -> Result<Encoded> {
        match self.format {
            OutputFormat::Parquet => self.table(answers, kept),
            OutputFormat::JsonLines => Ok(Encoded::Text(self.lines(answers, kept)?)),
            OutputFormat::Csv => Ok(Encoded::Text(self.csv(answers, kept)?)),
        }
    }

    fn lines(&self, answers: &[Result<Numbered>], kept: Kept) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for (answer, kept) in answers.iter().zip(json_of(kept)?) {
            let Ok((number, item)) = answer else { continue };
            let mut row = Map::new();
            if let Some(name) = &self.row_number {
                row.insert(name.clone(), (*number).into());
            }
            row.extend(kept);
            for (name, value) in item {
                row.insert(format!("{}{name}", self.prefix), value.clone());
            }
            text.extend_from_slice(Json::Object(row).to_string().as_bytes());
            text.push(b'\n');
        }
        Ok(text)
    }

    fn csv(&self, answers: &[Result<Numbered>], kept: Kept) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for (answer, kept) in answers.iter().zip(json_of(kept)?) {
            let Ok((number, item)) = answer else { continue };
            let number = self.row_number.iter().map(|_| number.to_string());
            let kept = kept.values().map(shown);
            let answer = self.columns.iter().map(|column| shown(column.value(item)));
            let cells: Vec<String> = number.chain(kept).chain(answer).collect();
            line(&mut text, cells.iter().map(String::as_str));
        }
        Ok(text)
    }

    /// The schema of the output.
    pub(crate) fn schema(&self) -> SchemaRef {
        let number = |name: &String| Arc::new(Field::new(name, DataType::UInt64, false));
        let mut fields: Vec<FieldRef> = self.row_number.iter().map(number).collect();
        match &self.kept {
            KeptColumns::Named(names) => fields.extend(
                (names.iter()).map(|name| Arc::new(Field::new(name, DataType::Utf8, true))),
            ),
            KeptColumns::Table(schema) => fields.extend(schema.fields().iter().cloned()),
            KeptColumns::Any => {}
        }
        fields.extend(self.answer_fields());
        Arc::new(Schema::new(fields))
    }

    fn answer_fields(&self) -> impl Iterator<Item = FieldRef> {
        self.columns.iter().map(|column| column.field(&self.prefix))
    }

    fn table(&self, answers: &mut [Result<Numbered>], kept: Kept) -> Result<Encoded> {
        let schema = Arc::new(Schema::new(self.answer_fields().collect::<Vec<_>>()));
        let rows = |answers: &[Result<Numbered>]| -> Vec<_> {
            let good = answers.iter().flatten();
            good.map(|(_, item)| cells(&self.columns, &self.prefix, item))
                .collect()
        };
        let made = match arrays(&schema, &rows(answers)) {
            Ok(made) => made,
            // One of them is not what the signature says.
            Err(_) => {
                for answer in answers.iter_mut() {
                    let one = rows(std::slice::from_ref(answer));
                    if let Err(error) = arrays(&schema, &one) {
                        *answer = Err(err!(
                            WrongShape,
                            "the answer is not what the signature says: {error}"
                        ));
                    }
                }
                arrays(&schema, &rows(answers)).map_err(|e| unwritable(&e))?
            }
        };
        let numbers: Vec<u64> = answers
            .iter()
            .flatten()
            .map(|(number, _)| *number)
            .collect();
        let count = numbers.len();
        let mut all: Vec<ArrayRef> = Vec::new();
        if self.row_number.is_some() {
            all.push(Arc::new(UInt64Array::from(numbers)));
        }
        all.extend(self.kept_arrays(answers, kept)?);
        all.extend(made);
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.schema(), all, &options)
            .map(Encoded::Table)
            .map_err(|e| unwritable(&e))
    }

    fn kept_arrays(&self, answers: &[Result<Numbered>], kept: Kept) -> Result<Vec<ArrayRef>> {
        let good: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        match (kept, &self.kept) {
            (Kept::Table(batch), _) => {
                let good = BooleanArray::from(good);
                let filtered = filter_record_batch(&batch, &good).map_err(|e| unwritable(&e))?;
                Ok(filtered.columns().to_vec())
            }
            (Kept::Json(rows), KeptColumns::Named(names)) => {
                let array = |name: &String| -> ArrayRef {
                    let good = rows.iter().zip(&good).filter(|(_, good)| **good);
                    let cells = good.map(|(row, _)| match row.get(name) {
                        None | Some(Json::Null) => None,
                        Some(value) => Some(shown(value)),
                    });
                    Arc::new(cells.collect::<StringArray>())
                };
                Ok(names.iter().map(array).collect())
            }
            (Kept::Json(_), _) => Ok(Vec::new()),
        }
    }
}

/// Values as arrays of this schema.
fn arrays(schema: &SchemaRef, rows: &[Map<String, Json>]) -> Result<Vec<ArrayRef>, ArrowError> {
    if rows.is_empty() || schema.fields().is_empty() {
        return Ok(RecordBatch::new_empty(schema.clone()).columns().to_vec());
    }
    let builder = ReaderBuilder::new(schema.clone()).with_batch_size(rows.len());
    // A label that is a number in one model and a text in another is a text.
    let mut decoder = builder.with_coerce_primitive(true).build_decoder()?;
    decoder.serialize(rows)?;
    match decoder.flush()? {
        Some(batch) if batch.num_rows() == rows.len() => Ok(batch.columns().to_vec()),
        _ => Err(ArrowError::JsonError("rows are missing".into())),
    }
}

fn unwritable(error: &ArrowError) -> Error {
    err!(Internal, "the answers cannot be written: {error}")
}

/// What is kept, as objects.
fn json_of(kept: Kept) -> Result<Vec<Map<String, Json>>> {
    match kept {
        Kept::Json(rows) => Ok(rows),
        Kept::Table(batch) if batch.num_columns() == 0 => Ok(vec![Map::new(); batch.num_rows()]),
        Kept::Table(batch) => json_rows(&batch),
    }
}

/// Rows of a table as objects; dates and decimals as text, times with a zone in UTC, binary values in
/// hexadecimal digits.
///
/// # Errors
/// `wrong_dtype` for types that have no form in JSON.
pub(crate) fn json_rows(batch: &RecordBatch) -> Result<Vec<Map<String, Json>>> {
    let failed = |e: &dyn std::fmt::Display| err!(WrongDtype, "a column has no form in text: {e}");
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(Vec::new());
    let batch = in_utc(batch).map_err(|e| failed(&e))?;
    writer.write(&batch).map_err(|e| failed(&e))?;
    writer.finish().map_err(|e| failed(&e))?;
    let text = writer.into_inner();
    let lines = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).map_err(|e| failed(&e)))
        .collect()
}

/// The same moments. Names of zones would need their tables in the program, and numbers do not.
fn in_utc(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let mut fields: Vec<FieldRef> = Vec::with_capacity(batch.num_columns());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        let DataType::Timestamp(unit, Some(_)) = field.data_type() else {
            fields.push(field.clone());
            arrays.push(array.clone());
            continue;
        };
        let utc = DataType::Timestamp(*unit, Some("+00:00".into()));
        let data = array
            .to_data()
            .into_builder()
            .data_type(utc.clone())
            .build()?;
        fields.push(Arc::new(Field::new(field.name(), utc, field.is_nullable())));
        arrays.push(make_array(data));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
}

fn shown(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A line of a table in text, with `\n` behind it, as pandas writes them.
fn line<'a>(text: &mut Vec<u8>, cells: impl Iterator<Item = &'a str>) {
    let start = text.len();
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            text.push(b',');
        }
        if cell.contains([',', '"', '\r', '\n']) {
            text.push(b'"');
            text.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            text.push(b'"');
        } else {
            text.extend_from_slice(cell.as_bytes());
        }
    }
    if text.len() == start {
        // An empty line would be no row.
        text.extend_from_slice(b"\"\"");
    }
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float32Type, Float64Type};
    use serde_json::json;

    /// What `columns` makes of a model, as a checkpoint has it.
    fn encoder(format: OutputFormat) -> Encoder {
        let columns = json!([
            {"path": ["y"], "kind": {"value": "FP32"}},
            {"path": ["p", "a"], "kind": {"value": "FP64"}},
            {"path": ["l"], "kind": {"lists": [2, "FP32"]}},
            {"path": ["b"], "kind": "boxes"},
            {"path": ["j"], "kind": "json"},
        ]);
        Encoder {
            format,
            columns: serde_json::from_value(columns).unwrap(),
            kept: KeptColumns::Named(vec!["id".into()]),
            row_number: Some("row".into()),
            prefix: "m ".into(),
        }
    }

    fn answers() -> (Vec<Result<Numbered>>, Kept) {
        let item = |json: Json| json.as_object().unwrap().clone();
        let answers = vec![
            Ok((
                5,
                item(json!({
                    "y": "NaN", "p": {"a": "-Infinity"}, "l": [[1.5, 2]],
                    "b": [{"x": 1, "y": 2, "width": 3, "height": 4, "score": 0.5}], "j": {"k": 1},
                })),
            )),
            Err(err!(InvalidRecord, "no")),
            Ok((
                7,
                item(json!({"y": 0.25, "p": null, "l": [], "b": [], "j": null})),
            )),
        ];
        let kept = ["a", "b", "c\"d"].map(|id| Map::from_iter([("id".to_owned(), id.into())]));
        (answers, Kept::Json(kept.into()))
    }

    #[test]
    fn columns_have_types_and_bad_rows_are_left_out() {
        let encoder = encoder(OutputFormat::Parquet);
        let (mut rows, kept) = answers();
        let Encoded::Table(batch) = encoder.encode(&mut rows, kept).unwrap() else {
            panic!("text");
        };
        assert_eq!(batch.num_rows(), 2);
        assert!(
            batch
                .column(2)
                .as_primitive::<Float32Type>()
                .value(0)
                .is_nan()
        );
        let probabilities = batch.column(3).as_primitive::<Float64Type>();
        assert_eq!(
            probabilities.iter().collect::<Vec<_>>(),
            [Some(f64::NEG_INFINITY), None]
        );
        assert_eq!(
            json_rows(&batch.project(&[0, 1, 4, 5, 6]).unwrap()).unwrap(),
            [
                json!({"row": 5, "id": "a", "m l": [[1.5, 2.0]], "m j": "{\"k\":1}",
                    "m b": [{"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "score": 0.5}]}),
                json!({"row": 7, "id": "c\"d", "m l": [], "m j": null, "m b": []}),
            ]
            .map(|row| row.as_object().unwrap().clone())
        );
    }

    #[test]
    fn an_answer_that_is_not_what_the_signature_says_is_a_bad_row() {
        let encoder = encoder(OutputFormat::Parquet);
        let (mut rows, kept) = answers();
        if let Ok((_, item)) = &mut rows[2] {
            item.insert("y".into(), json!([1, 2]));
        }
        let Encoded::Table(batch) = encoder.encode(&mut rows, kept).unwrap() else {
            panic!("text");
        };
        assert_eq!(batch.num_rows(), 1);
        assert_eq!(
            rows[2].as_ref().unwrap_err().code(),
            twinfer::ErrorCode::WrongShape
        );
    }

    #[test]
    fn text() {
        let encoder = encoder(OutputFormat::Csv);
        let (mut rows, kept) = answers();
        let Encoded::Text(text) = encoder.encode(&mut rows, kept).unwrap() else {
            panic!("table");
        };
        let text = [encoder.header(), text].concat();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "row,id,m y,m p.a,m l,m b,m j\n\
             5,a,NaN,-Infinity,\"[[1.5,2]]\",\"[{\"\"x\"\":1,\"\"y\"\":2,\"\"width\"\":3,\"\"height\"\":4,\"\"score\"\":0.5}]\",\"{\"\"k\"\":1}\"\n\
             7,\"c\"\"d\",0.25,,[],[],\n"
        );
    }
}
