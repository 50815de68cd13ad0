//! Apache Parquet.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader};
use twinfer::{Error, Result, err};

use super::pages::reader;
use super::{Chunks, Shape};
use crate::chunk::{Chunk, Place, Raw};
use crate::files::unreadable;

/// A file of Parquet whose footer was read.
pub(crate) struct TableFile {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// The columns that are read, by their places in the file.
    columns: Vec<usize>,
}

impl TableFile {
    /// # Errors
    /// `invalid_input` for what is no Parquet; `storage`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| unreadable(path, &e))?;
        let metadata = ArrowReaderMetadata::load(&file, Default::default())
            .map_err(|e| malformed(path, &e))?;
        let columns = (0..metadata.schema().fields().len()).collect();
        Ok(Self {
            path: path.into(),
            metadata,
            columns,
        })
    }

    pub(super) fn shape(&self) -> Shape {
        let fields = self.metadata.schema().fields();
        Shape::Columns {
            names: Some(fields.iter().map(|field| field.name().clone()).collect()),
            width: fields.len(),
            types: fields.iter().map(|f| f.data_type().clone()).collect(),
        }
    }

    pub(super) fn rows(&self) -> u64 {
        let rows = self.metadata.metadata().file_metadata().num_rows();
        u64::try_from(rows).unwrap_or(0)
    }

    /// Reads these columns only, and gives their schema. Places are those in the file, in its order.
    pub(crate) fn read_only(&mut self, columns: Vec<usize>) -> SchemaRef {
        let fields = self.metadata.schema().fields();
        let fields: Vec<_> = (columns.iter())
            .filter_map(|at| fields.get(*at).cloned())
            .collect();
        self.columns = columns;
        Schema::new(fields).into()
    }

    /// Reads the columns that are read of another file.
    pub(super) fn read_as(&mut self, other: &Self) {
        self.columns.clone_from(&other.columns);
    }

    pub(super) fn chunks(self, from: Place, rows: usize) -> Result<Tables> {
        let file = File::open(&self.path).map_err(|e| unreadable(&self.path, &e))?;
        let schema = self.metadata.parquet_schema();
        let mask = ProjectionMask::roots(schema, self.columns.iter().copied());
        let done = from.row.saturating_sub(from.rows_before_part);
        let done = usize::try_from(done).unwrap_or(usize::MAX);
        let reader = reader(file, &self.metadata, mask, done, rows)
            .map_err(|e| malformed(&self.path, &e))?;
        Ok(Tables {
            path: self.path,
            reader,
            place: from,
        })
    }
}

fn malformed(path: &Path, error: &impl std::fmt::Display) -> Error {
    let error = error.to_string();
    let hint = match error.contains("compile time") || error.contains("Disabled feature") {
        true => {
            "; this program reads Snappy, gzip, LZ4, Zstandard and what is not compressed: write it again"
        }
        false => "",
    };
    err!(
        InvalidInput,
        "{} is not a file of Parquet that can be read: {error}{hint}",
        path.display()
    )
}

pub(super) struct Tables {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    place: Place,
}

impl Chunks for Tables {
    fn next(&mut self) -> Result<Option<Chunk>> {
        let Some(batch) = self.reader.next() else {
            return Ok(None);
        };
        let batch = batch.map_err(|e| {
            malformed(&self.path, &e).context(format!("after row {}", self.place.row))
        })?;
        let first = self.place.row;
        self.place.row += batch.num_rows() as u64;
        Ok(Some(Chunk {
            first,
            rows: Raw::Table(batch),
            file: None,
            next: self.place.clone(),
        }))
    }
}
