//! One table: a file or a stream.

use std::path::Path;

use arrow_schema::DataType;
use twinfer::{Result, bail};

use super::cells::{Cells, Records};
use super::lines::Lines;
use super::table::TableFile;
use super::text::Text;
use super::{Chunks, Shape};
use crate::chunk::Place;
use crate::job::InputFormat;

/// A table that was looked at.
pub(super) enum Single {
    Lines(Text),
    Cells(Box<Records>),
    Table(TableFile),
}

impl Single {
    /// Looks at a file; `None` where it has no columns because it has no lines.
    ///
    /// # Errors
    /// `invalid_input` where it is not there or not what it should be; `storage`.
    pub(super) fn open(path: &Path, format: InputFormat) -> Result<Option<(Self, Shape)>> {
        if format != InputFormat::Parquet {
            return Self::text(Text::open(path)?, format);
        }
        let table = TableFile::open(path)?;
        let shape = table.shape();
        Ok(Some((Self::Table(table), shape)))
    }

    /// The same of text.
    ///
    /// # Errors
    /// `invalid_input`; `storage`.
    pub(super) fn text(text: Text, format: InputFormat) -> Result<Option<(Self, Shape)>> {
        match format {
            InputFormat::JsonLines => Ok(Some((Self::Lines(text), Shape::Rows))),
            InputFormat::Csv(form) => {
                let mut records = Records::new(text, form.delimiter)?;
                let Some((names, width)) = records.first_line(form.header)? else {
                    return Ok(None);
                };
                let shape = Shape::Columns {
                    names,
                    width,
                    types: Vec::new(),
                };
                Ok(Some((Self::Cells(Box::new(records)), shape)))
            }
            InputFormat::Parquet | InputFormat::Folder => bail!(
                InvalidInput,
                "{} cannot come from {}: name a file",
                format.name(),
                text.name()
            ),
        }
    }

    /// Rows, where they are counted before they are read.
    pub(super) fn rows(&self) -> Option<u64> {
        match self {
            Self::Table(table) => Some(table.rows()),
            Self::Lines(_) | Self::Cells(_) => None,
        }
    }

    /// Whether it can be read from its beginning only.
    pub(super) fn is_stream(&self) -> bool {
        match self {
            Self::Lines(text) => text.is_stream(),
            Self::Cells(records) => records.is_stream(),
            Self::Table(_) => false,
        }
    }

    /// The rows from a place on, in chunks of at most `rows`.
    ///
    /// # Errors
    /// `checkpoint_mismatch` where it is not what was read up to there; `storage`, `invalid_input`.
    pub(super) fn chunks(self, from: &Place, rows: usize) -> Result<Box<dyn Chunks>> {
        Ok(match self {
            Self::Lines(mut text) => {
                if from.byte > 0 {
                    text.go_to(from)?;
                }
                Box::new(Lines::new(text, from, rows))
            }
            Self::Cells(mut records) => {
                records.go_to(from)?;
                Box::new(Cells::new(*records, rows))
            }
            Self::Table(table) => Box::new(table.chunks(from.clone(), rows)?),
        })
    }
}

impl Shape {
    /// What is different about the columns of another file.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let (
            Self::Columns {
                names,
                width,
                types,
            },
            Self::Columns {
                names: other_names,
                width: other_width,
                types: other_types,
            },
        ) = (self, other)
        else {
            return None;
        };
        if width != other_width {
            return Some(format!("{other_width} columns, not {width}"));
        }
        let name = |names: &Option<Vec<String>>, at: usize| match names {
            Some(names) => names.get(at).cloned().unwrap_or_default(),
            None => (at + 1).to_string(),
        };
        let data_type = |types: &[DataType], at: usize| types.get(at).map(DataType::to_string);
        (0..*width).find_map(|at| {
            let (wanted, found) = (name(names, at), name(other_names, at));
            if wanted != found {
                return Some(format!("column {} `{found}`, not `{wanted}`", at + 1));
            }
            let (wanted, other) = (data_type(types, at)?, data_type(other_types, at)?);
            (wanted != other).then(|| format!("the type {other} in column `{found}`, not {wanted}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_different_is_named() {
        let shape = |names: Option<&[&str]>, types: &[DataType]| Shape::Columns {
            names: names.map(|names| names.iter().map(|name| (*name).into()).collect()),
            width: 2,
            types: types.to_vec(),
        };
        let first = shape(Some(&["a", "b"]), &[DataType::Int64, DataType::Float64]);
        assert_eq!(first.difference(&first), None);
        let difference = |other: &Shape| first.difference(other).unwrap();
        let other = shape(Some(&["a", "b"]), &[DataType::Int64, DataType::Int64]);
        assert_eq!(
            difference(&other),
            "the type Int64 in column `b`, not Float64"
        );
        let other = shape(Some(&["a", "c"]), &[DataType::Int64, DataType::Float64]);
        assert_eq!(difference(&other), "column 2 `c`, not `b`");
        let other = Shape::Columns {
            names: None,
            width: 3,
            types: Vec::new(),
        };
        assert_eq!(difference(&other), "3 columns, not 2");
        assert_eq!(Shape::Rows.difference(&Shape::Rows), None);
    }
}
