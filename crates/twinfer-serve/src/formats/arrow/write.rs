//! Answers as one record batch.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::Float64Type;
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, NullArray, RecordBatch,
    RecordBatchOptions, StringArray,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Field, Schema};
use serde_json::Value as Json;
use twinfer::{Result, err};

use crate::formats::table::{self, Item, number};

/// Answers as a stream; `metadata` is that of its schema.
///
/// # Errors
/// `internal`.
pub(crate) fn write(items: &[Item], metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    stream(items, metadata)
        .map_err(|e| err!(Internal, "the answer cannot be written as Arrow: {e}"))
}

fn stream(
    items: &[Item],
    metadata: HashMap<String, String>,
) -> std::result::Result<Vec<u8>, ArrowError> {
    let columns = table::columns(items);
    let arrays: Vec<ArrayRef> = columns.iter().map(|column| array(&column.cells)).collect();
    let fields: Vec<Field> = (columns.iter().zip(&arrays))
        .map(|(column, array)| Field::new(&column.name, array.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let options = RecordBatchOptions::new().with_row_count(Some(items.len()));
    let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    writer.write(&batch)?;
    writer.into_inner()
}

/// The narrowest type that all cells have: truth values, whole numbers, numbers, texts, lists of
/// numbers; what is none of these is its JSON as text.
fn array(cells: &[Json]) -> ArrayRef {
    let there = || cells.iter().filter(|cell| !cell.is_null());
    if there().next().is_none() {
        return Arc::new(NullArray::new(cells.len()));
    }
    if there().all(Json::is_boolean) {
        return Arc::new(cells.iter().map(Json::as_bool).collect::<BooleanArray>());
    }
    if there().all(Json::is_i64) {
        return Arc::new(cells.iter().map(Json::as_i64).collect::<Int64Array>());
    }
    if there().all(|cell| number(cell).is_some()) && there().any(Json::is_number) {
        return Arc::new(cells.iter().map(number).collect::<Float64Array>());
    }
    if there().all(Json::is_string) {
        return Arc::new(cells.iter().map(Json::as_str).collect::<StringArray>());
    }
    let is_list = |cell: &Json| {
        let items = cell.as_array();
        items.is_some_and(|items| items.iter().all(|item| number(item).is_some()))
    };
    if there().all(is_list) {
        let lists = cells.iter().map(|cell| {
            let items = cell.as_array()?;
            Some(items.iter().map(number).collect::<Vec<_>>())
        });
        return Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists));
    }
    let texts = cells.iter().map(|cell| match cell {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    });
    Arc::new(texts.collect::<StringArray>())
}
