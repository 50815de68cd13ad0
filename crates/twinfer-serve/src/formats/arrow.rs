//! Tables as Arrow IPC streams (the Arrow columnar format, "IPC Streaming Format").

mod check;
mod write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrowPrimitiveType, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_schema::{ArrowError, DataType, Schema};
use bytes::Bytes;
use serde_json::Value as Json;
use twinfer::{DType, Error, Result, bail, err, number_to_json};

use super::table::Columns;

pub(crate) use write::write;

/// Bytes of text that a table may become: a dictionary says one text any number of times.
const MAX_TEXT: usize = 64 << 20;

/// The rows of a table for [`crate::rows`]. `null` and, in a record, NaN are missing values.
///
/// # Errors
/// `invalid_request` for what is no such stream; `wrong_dtype` for a column of a type that its input
/// has not; `body_too_large` for one that becomes too much text.
pub(crate) fn rows(columns: &Columns<'_>, body: &Bytes) -> Result<Vec<Json>> {
    check::messages(body, |schema| check_columns(columns, schema))?;
    let mut reader = Reader {
        columns,
        // A row takes a bit at the least, so more rows than that are not in it.
        rows_left: body.len().saturating_mul(8),
        text_left: MAX_TEXT,
        rows: Vec::new(),
    };
    let mut decoder = StreamDecoder::new();
    let mut buffer = Buffer::from(body.clone());
    while !buffer.is_empty() {
        if let Some(batch) = decoder.decode(&mut buffer).map_err(malformed)? {
            reader.read(&batch)?;
        }
    }
    decoder.finish().map_err(malformed)?;
    Ok(reader.rows)
}

/// Rows of one batch that is in memory already, as [`rows`] gives them; those who have it check the
/// schema before, once.
///
/// # Errors
/// `invalid_request`, `wrong_dtype`.
pub(crate) fn rows_of(columns: &Columns<'_>, batch: &RecordBatch) -> Result<Vec<Json>> {
    let mut reader = Reader {
        columns,
        rows_left: usize::MAX,
        text_left: usize::MAX,
        rows: Vec::new(),
    };
    reader.read(batch)?;
    Ok(reader.rows)
}

fn malformed(error: ArrowError) -> Error {
    err!(
        InvalidRequest,
        "the body is not an Arrow stream that can be read: {error}"
    )
}

struct Reader<'a> {
    columns: &'a Columns<'a>,
    rows_left: usize,
    text_left: usize,
    rows: Vec<Json>,
}

/// Whether the model takes columns of these names and types.
pub(crate) fn check_columns(columns: &Columns<'_>, schema: &Schema) -> Result<()> {
    let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    Columns::check(&names)?;
    for (at, field) in schema.fields().iter().enumerate() {
        let (name, found) = (field.name(), field.data_type());
        let Some(kind) = Kind::of(found) else {
            bail!(
                WrongDtype,
                "column `{name}` is of the Arrow type {found}, which no input is"
            );
        };
        if let Some(wanted) = columns.dtype(name, at)
            && !kind.fits(wanted)
        {
            bail!(
                WrongDtype,
                "column `{name}` is {wanted} in the model, and of the Arrow type {found} in the table"
            );
        }
    }
    Ok(())
}

impl Reader<'_> {
    fn read(&mut self, batch: &RecordBatch) -> Result<()> {
        let count = batch.num_rows();
        self.rows_left = (self.rows_left.checked_sub(count)).ok_or_else(|| {
            err!(
                InvalidRequest,
                "the table says that it has more rows than data"
            )
        })?;
        let schema = batch.schema();
        let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        let mut rows = vec![Vec::with_capacity(names.len()); count];
        for (at, (name, array)) in names.iter().zip(batch.columns()).enumerate() {
            let missing = self.columns.missing(self.columns.dtype(name, at));
            let cells = self.cells(array.as_ref(), &missing);
            let cells = cells.map_err(|e| e.context(format!("column `{name}`")))?;
            for (row, cell) in rows.iter_mut().zip(cells) {
                row.push(cell);
            }
        }
        let rows = rows
            .into_iter()
            .map(|cells| self.columns.row(&names, cells));
        self.rows.extend(rows);
        Ok(())
    }

    fn cells(&mut self, array: &dyn Array, missing: &Json) -> Result<Vec<Json>> {
        fn numbers<T: ArrowPrimitiveType>(
            array: &dyn Array,
            missing: &Json,
            json: impl Fn(T::Native) -> Json,
        ) -> Vec<Json> {
            let cells = array.as_primitive::<T>().iter();
            let cells = cells.map(|cell| cell.map_or_else(|| missing.clone(), &json));
            cells.collect()
        }
        let float = |number: f64| match number.is_nan() {
            true => missing.clone(),
            false => number_to_json(number),
        };
        Ok(match array.data_type() {
            DataType::Null => vec![missing.clone(); array.len()],
            DataType::Boolean => {
                let cells = array.as_boolean().iter();
                let cells = cells.map(|cell| cell.map_or_else(|| missing.clone(), Json::Bool));
                cells.collect()
            }
            DataType::Int8 => numbers::<Int8Type>(array, missing, Json::from),
            DataType::Int16 => numbers::<Int16Type>(array, missing, Json::from),
            DataType::Int32 => numbers::<Int32Type>(array, missing, Json::from),
            DataType::Int64 => numbers::<Int64Type>(array, missing, Json::from),
            DataType::UInt8 => numbers::<UInt8Type>(array, missing, Json::from),
            DataType::UInt16 => numbers::<UInt16Type>(array, missing, Json::from),
            DataType::UInt32 => numbers::<UInt32Type>(array, missing, Json::from),
            DataType::UInt64 => numbers::<UInt64Type>(array, missing, Json::from),
            DataType::Float16 => numbers::<Float16Type>(array, missing, |n| float(n.to_f64())),
            DataType::Float32 => numbers::<Float32Type>(array, missing, |n| float(n.into())),
            DataType::Float64 => numbers::<Float64Type>(array, missing, float),
            DataType::Utf8 => self.texts(array.as_string::<i32>().iter(), missing)?,
            DataType::LargeUtf8 => self.texts(array.as_string::<i64>().iter(), missing)?,
            DataType::Utf8View => self.texts(array.as_string_view().iter(), missing)?,
            DataType::Dictionary(..) => self.dictionary(array, missing)?,
            DataType::List(_) => self.lists(array.as_list::<i32>().iter(), missing)?,
            DataType::LargeList(_) => self.lists(array.as_list::<i64>().iter(), missing)?,
            DataType::FixedSizeList(..) => {
                self.lists(array.as_fixed_size_list().iter(), missing)?
            }
            other => bail!(WrongDtype, "the Arrow type {other} is no input"),
        })
    }

    fn texts<'t>(
        &mut self,
        texts: impl Iterator<Item = Option<&'t str>>,
        missing: &Json,
    ) -> Result<Vec<Json>> {
        let cell = |text: Option<&str>| match text {
            None => Ok(missing.clone()),
            Some(text) => {
                self.take(text.len())?;
                Ok(text.into())
            }
        };
        texts.map(cell).collect()
    }

    fn take(&mut self, length: usize) -> Result<()> {
        self.text_left = self.text_left.checked_sub(length).ok_or_else(|| {
            err!(
                BodyTooLarge,
                "the texts of the table are longer than {MAX_TEXT} bytes: send fewer rows at once"
            )
        })?;
        Ok(())
    }

    /// A column that says each of its texts once, and which row has which: a category of pandas.
    fn dictionary(&mut self, array: &dyn Array, missing: &Json) -> Result<Vec<Json>> {
        let dictionary = array.as_any_dictionary();
        let values = self.cells(dictionary.values().as_ref(), missing)?;
        let keys = self.cells(dictionary.keys(), &Json::Null)?;
        let cell = |key: Json| {
            let at = key.as_u64().and_then(|key| usize::try_from(key).ok());
            let value = match at {
                _ if key.is_null() => missing,
                at => (at.and_then(|at| values.get(at)))
                    .ok_or_else(|| err!(InvalidRequest, "the dictionary has no entry {key}"))?,
            };
            self.take(value.as_str().map_or(0, str::len))?;
            Ok(value.clone())
        };
        keys.into_iter().map(cell).collect()
    }

    fn lists(
        &mut self,
        lists: impl Iterator<Item = Option<arrow_array::ArrayRef>>,
        missing: &Json,
    ) -> Result<Vec<Json>> {
        let cell = |list: Option<arrow_array::ArrayRef>| match list {
            None => Ok(missing.clone()),
            Some(list) => self.cells(list.as_ref(), missing).map(Json::Array),
        };
        lists.map(cell).collect()
    }
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Nothing,
    Truth,
    Number,
    Text,
    /// Of any of these; what is in it is checked with its values.
    List,
}

impl Kind {
    fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Null => Self::Nothing,
            DataType::Boolean => Self::Truth,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Number,
            whole if whole.is_integer() => Self::Number,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Dictionary(_, values) => match Self::of(values)? {
                Self::List => return None,
                kind => kind,
            },
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                Self::of(item.data_type())?;
                Self::List
            }
            _ => return None,
        })
    }

    fn fits(self, dtype: DType) -> bool {
        match (self, dtype) {
            (Self::Nothing | Self::List, _) | (Self::Text, DType::String) => true,
            (Self::Truth, DType::String) | (Self::Number, DType::String | DType::Bool) => false,
            (Self::Text, _) => false,
            (Self::Truth | Self::Number, _) => true,
        }
    }
}

#[cfg(test)]
mod tests;
