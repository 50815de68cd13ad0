//! A folder of tables, such as Spark and pandas write: its files, one after the other.

use std::fs;
use std::path::{Path, PathBuf};

use twinfer::{Result, bail};

use super::single::Single;
use super::{Chunks, Shape, folder};
use crate::chunk::{Chunk, Place};
use crate::files::unreadable;
use crate::job::InputFormat;
use crate::progress::Length;

/// The files of a folder that are tables, by path as in [`folder::list`]. What begins with `_` is what
/// writers of such folders have for themselves: `_SUCCESS`, `_delta_log/`.
///
/// # Errors
/// As for [`folder::list`]; `invalid_input` where there is none.
pub(super) fn list(root: &Path) -> Result<Vec<String>> {
    let mut files = folder::list(root)?;
    files.retain(|file| !file.split('/').any(|name| name.starts_with('_')));
    if files.is_empty() {
        bail!(InvalidInput, "there is no file in {}", root.display());
    }
    Ok(files)
}

/// The format of all files in a folder, by their names.
///
/// # Errors
/// `invalid_input` where their names do not say it, or not one; `storage`.
pub(crate) fn format(root: &Path) -> Result<InputFormat> {
    const HINT: &str = "say what the files are: csv, tsv, jsonl or parquet. A folder whose files are a row each is for models of pictures and bytes";
    let files = list(root)?;
    let mut formats = files.iter().map(|file| InputFormat::of(&root.join(file)));
    let Some(Ok(first)) = formats.next() else {
        bail!(InvalidInput, "{} in {}: {HINT}", files[0], root.display());
    };
    let other = formats.position(|format| format.ok() != Some(first));
    match other.and_then(|at| files.get(at + 1)) {
        None => Ok(first),
        Some(other) => bail!(
            InvalidInput,
            "{} and {other} in {} are not of one format: {HINT}",
            files[0],
            root.display()
        ),
    }
}

/// A file that has rows, as it was found.
struct Part {
    name: String,
    /// Bytes in the files before.
    stored_before: u64,
}

/// The files of a folder that have one shape.
pub(super) struct Parts {
    root: PathBuf,
    format: InputFormat,
    files: Vec<Part>,
    /// The first one, by which columns are chosen.
    pub(super) first: Single,
}

impl Parts {
    /// Looks at each file.
    ///
    /// # Errors
    /// `invalid_input` where one is not what it should be, or has other columns than the first one;
    /// `storage`.
    pub(super) fn open(
        root: &Path,
        names: &[String],
        format: InputFormat,
    ) -> Result<(Self, Length, Shape)> {
        let mut files: Vec<Part> = Vec::new();
        let mut first: Option<(Single, Shape)> = None;
        let (mut stored, mut rows) = (0, Some(0));
        for name in names {
            let path = root.join(name);
            let size = fs::metadata(&path)
                .map_err(|e| unreadable(&path, &e))?
                .len();
            let stored_before = stored;
            stored += size;
            // Writers leave files without any byte where they had no row.
            let opened = match size {
                0 => None,
                _ => Single::open(&path, format)?,
            };
            let Some((single, shape)) = opened else {
                continue;
            };
            if let Some((_, wanted)) = &first
                && let Some(difference) = wanted.difference(&shape)
            {
                bail!(
                    InvalidInput,
                    "{} has other columns than {}: {difference}",
                    path.display(),
                    root.join(&files[0].name).display()
                );
            }
            rows = rows.zip(single.rows()).map(|(all, rows)| all + rows);
            first.get_or_insert((single, shape));
            files.push(Part {
                name: name.clone(),
                stored_before,
            });
        }
        let Some((first, shape)) = first else {
            bail!(InvalidInput, "the files in {} are empty", root.display());
        };
        let parts = Self {
            root: root.into(),
            format,
            files,
            first,
        };
        Ok((
            parts,
            rows.map_or(Length::Bytes(stored), Length::Rows),
            shape,
        ))
    }

    pub(super) fn chunks(self, from: Place, rows: usize) -> PartChunks {
        PartChunks {
            parts: self,
            open: None,
            at: from,
            rows,
        }
    }
}

pub(super) struct PartChunks {
    parts: Parts,
    /// The rows of the file that is read.
    open: Option<Box<dyn Chunks>>,
    /// Where that one is read from, or the next one.
    at: Place,
    rows: usize,
}

impl PartChunks {
    fn chunks_of(&self, part: &Part) -> Result<Option<Box<dyn Chunks>>> {
        let path = self.parts.root.join(&part.name);
        let Some((mut single, _)) = Single::open(&path, self.parts.format)? else {
            return Ok(None);
        };
        if let (Single::Table(table), Single::Table(first)) = (&mut single, &self.parts.first) {
            table.read_as(first);
        }
        single.chunks(&self.at, self.rows).map(Some)
    }
}

impl Chunks for PartChunks {
    fn next(&mut self) -> Result<Option<Chunk>> {
        while let Some(part) = self.parts.files.get(self.at.part) {
            if self.open.is_none() {
                self.open = self.chunks_of(part)?;
            }
            let next = match &mut self.open {
                Some(open) => open.next()?,
                None => None,
            };
            if let Some(mut chunk) = next {
                chunk.file = Some(part.name.clone());
                chunk.next.part = self.at.part;
                chunk.next.rows_before_part = self.at.rows_before_part;
                chunk.next.stored += part.stored_before;
                self.at.row = chunk.next.row;
                return Ok(Some(chunk));
            }
            self.open = None;
            self.at = Place {
                row: self.at.row,
                part: self.at.part + 1,
                rows_before_part: self.at.row,
                ..Place::default()
            };
        }
        Ok(None)
    }
}
