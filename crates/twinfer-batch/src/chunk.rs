//! Rows as the input has them, before anything is made of them.

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
use twinfer::Result;

/// A place between two rows of the input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// Rows before it.
    pub(crate) row: u64,
    /// Bytes before it, in text.
    pub(crate) byte: u64,
    /// Line ends before it, in text.
    pub(crate) line: u64,
}

/// Neighbouring rows: what is worked on as a whole.
pub(crate) struct Chunk {
    /// The number of the first row, counted from 0.
    pub(crate) first: u64,
    pub(crate) rows: Raw,
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
