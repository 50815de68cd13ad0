//! Rows as the input has them, before anything is made of them.

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
use twinfer::Result;

/// A place between two rows of the input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// Rows before it.
    pub(crate) row: u64,
    /// The file that it is in, of a folder of tables, counted from 0.
    pub(crate) part: usize,
    /// Rows in the files before that one.
    pub(crate) rows_before_part: u64,
    /// Bytes before it, in the text of its file.
    pub(crate) byte: u64,
    /// Line ends before it, in the text of its file.
    pub(crate) line: u64,
    /// Bytes before it as they are stored, perhaps compressed: what progress is measured by.
    pub(crate) stored: u64,
    /// SHA-256 of the bytes before it, where text can be read from its beginning only.
    pub(crate) sha256: Option<String>,
}

/// Neighbouring rows: what is worked on as a whole.
pub(crate) struct Chunk {
    /// The number of the first row, counted from 0.
    pub(crate) first: u64,
    pub(crate) rows: Raw,
    /// The file that they are in, of a folder of tables, with `/` between.
    pub(crate) file: Option<String>,
    /// The place behind the last one.
    pub(crate) next: Place,
}

/// Rows of one kind of input.
pub(crate) enum Raw {
    /// Lines of JSON; what is too long is not read, and an error instead.
    Lines(Vec<(u64, Result<Vec<u8>>)>),
    /// Cells of text, with the line where they begin, counted from 1.
    Cells(Vec<(u64, Vec<Vec<u8>>)>),
    /// Columns of Parquet.
    Table(RecordBatch),
    /// Paths of files inside the folder, with `/` between.
    Files(Vec<String>),
}

impl Raw {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Lines(lines) => lines.len(),
            Self::Cells(records) => records.len(),
            Self::Table(batch) => batch.num_rows(),
            Self::Files(files) => files.len(),
        }
    }
}
