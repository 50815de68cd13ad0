//! Rows that could not be answered.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};
use twinfer::{Error, Result};

use crate::files::{remove, rename, shorten, storage, sync_folder_of};
use crate::job::beside;

/// Longest row that is written beside its reason, in bytes of JSON.
const MAX_SHOWN: usize = 64 << 10;

/// Where a row was, and what it is.
pub(crate) struct Shown {
    pub(crate) line: Option<u64>,
    pub(crate) file: Option<String>,
    pub(crate) input: Option<Json>,
}

/// The line of a bad row: its number, where it is, code and message of the error, and the row itself
/// where it is not too long.
pub(crate) fn line(row: u64, shown: Shown, error: &Error) -> Vec<u8> {
    let mut said = Map::new();
    said.insert("row".into(), json!(row));
    if let Some(line) = shown.line {
        said.insert("line".into(), json!(line));
    }
    if let Some(file) = shown.file {
        said.insert("file".into(), json!(file));
    }
    said.insert("code".into(), error.code().as_str().into());
    said.insert("error".into(), error.message().into());
    if let Some(input) = shown.input
        && input.to_string().len() <= MAX_SHOWN
    {
        said.insert("input".into(), input);
    }
    let mut text = Json::Object(said).to_string().into_bytes();
    text.push(b'\n');
    text
}

/// The file of bad rows while it grows; under its own name it is there when the job is done.
pub(crate) struct BadFile {
    partial: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
}

impl BadFile {
    /// Opens it with the first `bytes` bytes that it has.
    ///
    /// # Errors
    /// `storage`.
    pub(crate) fn open(path: &Path, bytes: u64) -> Result<Self> {
        let partial = beside(path, ".partial");
        let open = || {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&partial)?;
            shorten(&file, bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(|e| storage("write", &partial, &e))?;
        // Checkpoints count on its name.
        sync_folder_of(&partial)?;
        Ok(Self {
            file: BufWriter::new(file),
            bytes,
            partial,
        })
    }

    pub(crate) fn write(&mut self, lines: &[u8]) -> Result<()> {
        self.bytes += lines.len() as u64;
        self.file
            .write_all(lines)
            .map_err(|e| storage("write", &self.partial, &e))
    }

    /// Where it grows.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Makes it durable, and gives its length.
    ///
    /// # Errors
    /// `storage`.
    pub(crate) fn sync(&mut self) -> Result<u64> {
        let synced = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(|e| storage("write", &self.partial, &e))?;
        Ok(self.bytes)
    }

    /// Puts a whole file in its place; without any bad row there is none, and none of a job before.
    ///
    /// # Errors
    /// `storage`.
    pub(crate) fn put(path: &Path, bytes: u64) -> Result<()> {
        let partial = beside(path, ".partial");
        if bytes == 0 {
            remove(&partial)?;
            return remove(path);
        }
        match partial.exists() {
            true => rename(&partial, path),
            // It was put there before.
            false => Ok(()),
        }
    }
}
