//! From raw rows to what they ask the model, and to what is kept of them.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};
use twinfer::{Error, Result, bail, err};
use twinfer_serve::offline::{Asked, Rows, Table};

use crate::bad::Shown;
use crate::chunk::Raw;
use crate::encode::json_rows;
use crate::files::unreadable;
use crate::job::{Content, Keep};
use crate::read::MAX_ROW;

/// How rows are read.
pub(crate) struct Decoder<'a> {
    pub(crate) rows: Rows<'a>,
    pub(crate) how: How<'a>,
    /// The folder that paths in the input are relative to.
    pub(crate) folder: PathBuf,
    /// What is in a column of text that has content.
    pub(crate) content: Content,
}

/// By the kind of input.
pub(crate) enum How<'a> {
    Lines {
        keep: Keep,
        /// The field that has the content, where it is not in one of the forms of `predict`.
        field: Option<String>,
    },
    Cells {
        taken: Taken<'a>,
        /// Cells of each line.
        width: usize,
        names: Option<Vec<String>>,
        kept: Vec<(usize, String)>,
    },
    Table {
        taken: Taken<'a>,
        kept: Vec<usize>,
    },
    Files,
}

/// What the model takes of a table.
pub(crate) enum Taken<'a> {
    Columns(Table<'a>),
    /// The content in this column.
    Content(usize),
}

/// What is kept of rows.
pub(crate) enum Kept {
    Json(Vec<Map<String, Json>>),
    Table(RecordBatch),
}

/// Rows that were read.
pub(crate) struct Decoded {
    pub(crate) asked: Vec<Result<Asked>>,
    pub(crate) kept: Kept,
}

impl Decoder<'_> {
    /// Reads rows. What is wrong with one of them stands in its place.
    ///
    /// # Errors
    /// What is wrong with all of them: a column of a type that the model does not take.
    pub(crate) fn decode(&self, raw: &Raw) -> Result<Decoded> {
        let mut asked = Vec::with_capacity(raw.len());
        let kept = match (raw, &self.how) {
            (Raw::Lines(lines), How::Lines { keep, field }) => {
                let mut kept = Vec::with_capacity(lines.len());
                for (_, text) in lines {
                    let mut aside = Map::new();
                    let line = text.as_ref().map_err(Error::clone);
                    asked.push(line.and_then(|text| self.line(text, keep, field, &mut aside)));
                    kept.push(aside);
                }
                Kept::Json(kept)
            }
            (Raw::Cells(records), How::Cells { kept: aside, .. }) => {
                let mut kept = Vec::with_capacity(records.len());
                for (_, cells) in records {
                    asked.push(self.record(cells));
                    let cell = |(at, name): &(usize, String)| {
                        let cell = cells.get(*at).map(|cell| String::from_utf8_lossy(cell));
                        (name.clone(), cell.map_or(Json::Null, |cell| cell.into()))
                    };
                    kept.push(aside.iter().map(cell).collect());
                }
                Kept::Json(kept)
            }
            (Raw::Table(batch), How::Table { taken, kept }) => {
                asked = match taken {
                    Taken::Columns(table) => {
                        let rows = table.rows(batch)?.into_iter();
                        rows.map(|row| self.rows.row(row)).collect()
                    }
                    Taken::Content(at) => self.contents(batch.column(*at).as_ref())?,
                };
                let kept = (batch.project(kept))
                    .map_err(|e| err!(Internal, "columns of the table are gone: {e}"))?;
                Kept::Table(kept)
            }
            (Raw::Files(files), How::Files) => {
                let read = |file: &String| self.file(Path::new(file));
                asked.extend(files.iter().map(read));
                let name = |file: &String| Map::from_iter([("file".into(), file.as_str().into())]);
                Kept::Json(files.iter().map(name).collect())
            }
            _ => bail!(Internal, "rows of another kind than their input"),
        };
        Ok(Decoded { asked, kept })
    }

    fn line(
        &self,
        text: &[u8],
        keep: &Keep,
        field: &Option<String>,
        aside: &mut Map<String, Json>,
    ) -> Result<Asked> {
        let mut line: Json =
            serde_json::from_slice(text).map_err(|e| err!(InvalidJson, "it is not JSON: {e}"))?;
        if let Json::Object(fields) = &mut line {
            let names: Vec<String> = match keep {
                Keep::Named(names) => names.clone(),
                Keep::All => fields.keys().cloned().collect(),
            };
            for name in names {
                // What the model takes as well stays; the rest it would refuse.
                let value = match self.rows.takes(&name) || field.as_ref() == Some(&name) {
                    true => fields.get(&name).cloned(),
                    false => fields.shift_remove(&name),
                };
                aside.insert(name, value.unwrap_or(Json::Null));
            }
            if let Some(field) = field {
                return match fields.get(field) {
                    Some(Json::String(text)) => self.content(text),
                    _ => bail!(MissingInput, "`{field}` is missing, or no text"),
                };
            }
        }
        self.rows.line(line)
    }

    fn record(&self, cells: &[Vec<u8>]) -> Result<Asked> {
        let How::Cells { taken, width, .. } = &self.how else {
            bail!(Internal, "cells of an input that has none");
        };
        if cells.len() != *width {
            bail!(
                InvalidRecord,
                "the line has {} cells, the first one has {width}",
                cells.len()
            );
        }
        let text = |(at, cell): (usize, &'_ Vec<u8>)| match std::str::from_utf8(cell) {
            Ok(_) => Ok(()),
            Err(e) => Err(err!(InvalidRecord, "cell {} is not UTF-8: {e}", at + 1)),
        };
        cells.iter().enumerate().try_for_each(text)?;
        let texts: Vec<Cow<'_, str>> = (cells.iter())
            .map(|cell| String::from_utf8_lossy(cell))
            .collect();
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        match taken {
            Taken::Columns(table) => self.rows.row(table.texts(&texts)?),
            Taken::Content(at) => self.content(texts.get(*at).copied().unwrap_or_default()),
        }
    }

    /// The contents of a column.
    fn contents(&self, column: &dyn Array) -> Result<Vec<Result<Asked>>> {
        let bytes = |content: Option<&[u8]>| match content {
            Some(content) => self.rows.content(content.to_vec()),
            None => Err(missing()),
        };
        let text = |text: Option<&str>| match text {
            Some(text) => self.content(text),
            None => Err(missing()),
        };
        Ok(match column.data_type() {
            DataType::Binary => column.as_binary::<i32>().iter().map(bytes).collect(),
            DataType::LargeBinary => column.as_binary::<i64>().iter().map(bytes).collect(),
            DataType::BinaryView => column.as_binary_view().iter().map(bytes).collect(),
            DataType::Utf8 => column.as_string::<i32>().iter().map(text).collect(),
            DataType::LargeUtf8 => column.as_string::<i64>().iter().map(text).collect(),
            DataType::Utf8View => column.as_string_view().iter().map(text).collect(),
            // As the library `datasets` writes pictures: bytes and path.
            DataType::Struct(_) => match column.as_struct().column_by_name("bytes") {
                Some(bytes) if !bytes.data_type().is_nested() => self.contents(bytes)?,
                _ => bail!(
                    WrongDtype,
                    "the column with the content has no field `bytes`"
                ),
            },
            other => bail!(
                WrongDtype,
                "the column with the content is of the Arrow type {other}, neither binary nor text"
            ),
        })
    }

    fn content(&self, text: &str) -> Result<Asked> {
        match self.content {
            Content::Path => self.file(Path::new(text)),
            Content::Base64 => {
                let content = (STANDARD.decode(text.trim()))
                    .map_err(|e| err!(InvalidInput, "the content is not base64: {e}"))?;
                self.rows.content(content)
            }
        }
    }

    fn file(&self, path: &Path) -> Result<Asked> {
        let path = self.folder.join(path);
        let size = fs::metadata(&path)
            .map_err(|e| unreadable(&path, &e))?
            .len();
        if size > MAX_ROW as u64 {
            bail!(
                BodyTooLarge,
                "{} has {size} bytes, more than {MAX_ROW}",
                path.display()
            );
        }
        self.rows
            .content(fs::read(&path).map_err(|e| unreadable(&path, &e))?)
    }

    /// What a row was, for those who look for it.
    pub(crate) fn shown(&self, raw: &Raw, at: usize) -> Shown {
        let mut shown = Shown {
            line: None,
            file: None,
            input: None,
        };
        match (raw, &self.how) {
            (Raw::Lines(lines), _) => {
                if let Some((line, text)) = lines.get(at) {
                    shown.line = Some(*line);
                    shown.input = text.as_ref().ok().map(|text| {
                        let json = serde_json::from_slice(text).ok();
                        json.unwrap_or_else(|| String::from_utf8_lossy(text).into())
                    });
                }
            }
            (Raw::Cells(records), How::Cells { names, .. }) => {
                if let Some((line, cells)) = records.get(at) {
                    shown.line = Some(*line);
                    let cells = cells.iter().map(|cell| String::from_utf8_lossy(cell));
                    let cells: Vec<Json> = cells.map(Json::from).collect();
                    shown.input = Some(match names {
                        Some(names) if names.len() == cells.len() => {
                            Json::Object(names.iter().cloned().zip(cells).collect())
                        }
                        _ => Json::Array(cells),
                    });
                }
            }
            (Raw::Table(batch), _) => {
                let row = json_rows(&batch.slice(at, 1)).ok();
                shown.input = row.and_then(|mut rows| rows.pop()).map(Json::Object);
            }
            (Raw::Files(files), _) => shown.file = files.get(at).cloned(),
            _ => {}
        }
        shown
    }
}

fn missing() -> Error {
    err!(MissingInput, "the content is missing")
}
