//! Tables that are read piece by piece.

#[cfg(feature = "arrow")]
use arrow_array::RecordBatch;
#[cfg(feature = "arrow")]
use arrow_schema::Schema;
use serde_json::Value as Json;
use twinfer::{DType, Model, Result, bail, err};

use crate::formats::csv;
use crate::formats::table::Columns;

/// The columns of a table that a model takes.
pub struct Table<'a> {
    columns: Columns<'a>,
    /// The places of those columns, and their names; no names where the table has none.
    used: Vec<usize>,
    names: Vec<String>,
    dtypes: Vec<Option<DType>>,
}

impl<'a> Table<'a> {
    /// A table whose columns have these names. Columns of a record and of inputs are found by their
    /// names, others are left out; where the model takes the elements of one tensor, or any columns,
    /// it gets all of them but those `aside`.
    ///
    /// # Errors
    /// `unsupported_media_type` for models that take no table; `invalid_request` for a name that is
    /// there twice; `missing_input` where it has none of the columns.
    pub fn named(model: &'a Model, names: &[String], aside: &[String]) -> Result<Self> {
        Columns::check(names)?;
        let inputs = &model.signature().inputs;
        let by_name = |columns: &Columns<'_>| names.iter().any(|name| columns.has(name));
        let columns = match Columns::of(model)? {
            Columns::Elements(_) if inputs.iter().any(|i| names.contains(&i.name)) => {
                Columns::Inputs(inputs)
            }
            columns => columns,
        };
        let all = matches!(columns, Columns::Map(_) | Columns::Elements(_));
        if !all && !by_name(&columns) {
            let found: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            bail!(
                MissingInput,
                "the table has none of the columns of the model; it has {}",
                found.join(", ")
            );
        }
        let is_used = |name: &String| match all {
            true => !aside.contains(name),
            false => columns.has(name),
        };
        let (used, names): (Vec<usize>, Vec<String>) = (names.iter().enumerate())
            .filter(|(_, name)| is_used(name))
            .map(|(at, name)| (at, name.clone()))
            .unzip();
        Ok(Self::new(columns, used, names))
    }

    /// A table of so many columns that have no names: all of them, in the order of the model.
    ///
    /// # Errors
    /// `unsupported_media_type`.
    pub fn unnamed(model: &'a Model, width: usize) -> Result<Self> {
        Ok(Self::new(
            Columns::of(model)?,
            (0..width).collect(),
            Vec::new(),
        ))
    }

    fn new(columns: Columns<'a>, used: Vec<usize>, names: Vec<String>) -> Self {
        let name = |at: usize| names.get(at).map_or("", String::as_str);
        let dtypes = (0..used.len())
            .map(|at| columns.dtype(name(at), at))
            .collect();
        Self {
            columns,
            used,
            names,
            dtypes,
        }
    }

    /// The places of the columns that the model takes, in the order of the table.
    pub fn used(&self) -> &[usize] {
        &self.used
    }

    /// The row that these cells of a line of text are.
    ///
    /// # Errors
    /// `invalid_record` for a line that is too short.
    pub fn texts(&self, cells: &[&str]) -> Result<Json> {
        let cell = |(at, dtype): (&usize, &Option<DType>)| {
            let cell = cells
                .get(*at)
                .ok_or_else(|| err!(InvalidRecord, "column {at} is missing"))?;
            Ok(match csv::value(cell, *dtype) {
                Json::Null => self.columns.missing(*dtype),
                value => value,
            })
        };
        let cells = self.used.iter().zip(&self.dtypes).map(cell);
        Ok(self.columns.row(&self.names, cells.collect::<Result<_>>()?))
    }

    /// Whether the columns of this schema that the model takes are of its types.
    ///
    /// # Errors
    /// `wrong_dtype`.
    #[cfg(feature = "arrow")]
    pub fn check(&self, schema: &Schema) -> Result<()> {
        let schema = (schema.project(&self.used))
            .map_err(|e| err!(Internal, "columns of the table are gone: {e}"))?;
        crate::formats::arrow::check_columns(&self.columns, &schema)
    }

    /// The rows that a batch has; its schema was [checked](Table::check).
    ///
    /// # Errors
    /// `wrong_dtype`, `invalid_request`.
    #[cfg(feature = "arrow")]
    pub fn rows(&self, batch: &RecordBatch) -> Result<Vec<Json>> {
        let batch = (batch.project(&self.used))
            .map_err(|e| err!(Internal, "columns of the table are gone: {e}"))?;
        let mut rows = crate::formats::arrow::rows_of(&self.columns, &batch)?;
        if let (Columns::Elements(_), [_]) = (&self.columns, &self.used[..]) {
            // One column of lists has all the elements of a row.
            for row in &mut rows {
                if let Json::Array(cells) = row
                    && let [Json::Array(elements)] = &mut cells[..]
                {
                    *row = Json::Array(std::mem::take(elements));
                }
            }
        }
        Ok(rows)
    }
}
