//! The input, chunk by chunk, from any place on.

mod cells;
mod folder;
mod lines;
mod pages;
mod parts;
mod single;
mod table;
mod text;

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

use arrow_schema::DataType;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use twinfer::{Result, bail, err};

use crate::chunk::{Chunk, Place};
use crate::files::unreadable;
use crate::job::{Input, InputFormat};
use crate::progress::Length;

use parts::Parts;
use single::Single;
use text::Text;

pub(crate) use parts::format as format_of_parts;
pub(crate) use table::TableFile;

/// Longest row of text, in bytes: as much as the server takes in a body of a few pictures. What is
/// longer is an accident (a quote that is never closed), and must not fill the memory.
pub(crate) const MAX_ROW: usize = 64 << 20;
/// A chunk of text ends when it has so many bytes, even if it has few rows.
const CHUNK_BYTES: usize = 4 << 20;

/// Gives chunks in their order.
pub(crate) trait Chunks: Send {
    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// What ends the job: `storage`, and `invalid_input` or `body_too_large` for what no further row
    /// can be found in.
    fn next(&mut self) -> Result<Option<Chunk>>;
}

/// An input that was looked at.
pub(crate) struct Source {
    what: What,
    length: Length,
    identity: Json,
}

enum What {
    Single(Single),
    /// A folder of tables.
    Parts(Box<Parts>),
    /// A folder whose files are a row each.
    Files(Vec<String>),
}

/// The columns of an input.
#[derive(Debug, PartialEq)]
pub(crate) enum Shape {
    /// It has none.
    Rows,
    /// So many, with these names, and in Parquet types.
    Columns {
        names: Option<Vec<String>>,
        width: usize,
        types: Vec<DataType>,
    },
}

impl Source {
    /// Looks at the input: what columns it has, and how long it is.
    ///
    /// # Errors
    /// `invalid_input` where it is not there or not what it should be; `storage`.
    pub(crate) fn open(input: &Input, format: InputFormat) -> Result<(Self, Shape)> {
        match input {
            Input::Stdin => {
                let stdin = Box::new(BufReader::new(std::io::stdin()));
                let opened = Single::text(Text::stream("standard input", stdin)?, format)?;
                let identity = |_: bool| Ok(json!("standard input"));
                Self::single(opened, "standard input", Length::Unknown, identity)
            }
            Input::Path(path) => {
                let metadata = fs::metadata(path).map_err(|e| unreadable(path, &e))?;
                if metadata.is_dir() {
                    return Self::folder(path, format);
                }
                let length = match metadata.is_file() {
                    true => Length::Bytes(metadata.len()),
                    false => Length::Unknown,
                };
                let opened = match format {
                    InputFormat::Folder => bail!(InvalidInput, "{} is no folder", path.display()),
                    _ => Single::open(path, format)?,
                };
                let identity = |is_stream: bool| match is_stream {
                    // The rest is told by its text, when that is read.
                    true => Ok(json!("compressed with gzip, or a pipe")),
                    false => fingerprint(path, &metadata),
                };
                Self::single(opened, &path.display().to_string(), length, identity)
            }
        }
    }

    fn single(
        opened: Option<(Single, Shape)>,
        name: &str,
        length: Length,
        identity: impl FnOnce(bool) -> Result<Json>,
    ) -> Result<(Self, Shape)> {
        let (single, shape) = opened.ok_or_else(|| err!(InvalidInput, "{name} has no lines"))?;
        let source = Self {
            length: single.rows().map_or(length, Length::Rows),
            identity: identity(single.is_stream())?,
            what: What::Single(single),
        };
        Ok((source, shape))
    }

    fn folder(path: &Path, format: InputFormat) -> Result<(Self, Shape)> {
        if format == InputFormat::Folder {
            let files = folder::list(path)?;
            let source = Self {
                length: Length::Rows(files.len() as u64),
                identity: fingerprint_of_files(path, &files)?,
                what: What::Files(files),
            };
            return Ok((source, Shape::Rows));
        }
        let files = parts::list(path)?;
        let (parts, length, shape) = Parts::open(path, &files, format)?;
        let source = Self {
            length,
            identity: fingerprint_of_files(path, &files)?,
            what: What::Parts(Box::new(parts)),
        };
        Ok((source, shape))
    }

    pub(crate) fn length(&self) -> Length {
        self.length
    }

    /// What tells the input from another one, as far as it is known before it is read.
    pub(crate) fn identity(&self) -> &Json {
        &self.identity
    }

    /// Whether it can be read from its beginning only, and so is known when it was read.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(&self.what, What::Single(single) if single.is_stream())
    }

    /// The table of Parquet that it is, or the first one in its folder.
    pub(crate) fn table(&mut self) -> Option<&mut TableFile> {
        let single = match &mut self.what {
            What::Single(single) => single,
            What::Parts(parts) => &mut parts.first,
            What::Files(_) => return None,
        };
        match single {
            Single::Table(table) => Some(table),
            Single::Lines(_) | Single::Cells(_) => None,
        }
    }

    /// The rows from a place on, in chunks of at most `rows`.
    ///
    /// # Errors
    /// `checkpoint_mismatch` where it is not what was read up to there; `storage`, `invalid_input`.
    pub(crate) fn chunks(self, from: &Place, rows: usize) -> Result<Box<dyn Chunks>> {
        Ok(match self.what {
            What::Single(single) => single.chunks(from, rows)?,
            What::Parts(parts) => Box::new(parts.chunks(from.clone(), rows)),
            What::Files(files) => Box::new(folder::Files::new(files, from.clone(), rows)),
        })
    }
}

/// What tells a file from another one, or from itself after a change: size, time of the last change,
/// and the SHA-256 of its first and last bytes.
fn fingerprint(path: &Path, metadata: &fs::Metadata) -> Result<Json> {
    const ENDS: u64 = 1 << 20;
    let read = || {
        let mut digest = Sha256::new();
        let mut file = File::open(path)?;
        let mut part = Vec::new();
        file.by_ref().take(ENDS).read_to_end(&mut part)?;
        file.seek(SeekFrom::Start(metadata.len().saturating_sub(ENDS)))?;
        file.take(ENDS).read_to_end(&mut part)?;
        digest.update(part);
        Ok(digest)
    };
    let digest = read().map_err(|e| unreadable(path, &e))?;
    Ok(json!({"size": metadata.len(), "changed": changed(metadata), "sha256_of_ends": hex(digest)}))
}

/// The same for the files of a folder: the SHA-256 of the list of them with sizes and times.
fn fingerprint_of_files(root: &Path, files: &[String]) -> Result<Json> {
    let mut digest = Sha256::new();
    for file in files {
        let path = root.join(file);
        let metadata = fs::metadata(&path).map_err(|e| unreadable(&path, &e))?;
        digest.update(json!([file, metadata.len(), changed(&metadata)]).to_string());
    }
    Ok(json!({"files": files.len(), "sha256": hex(digest)}))
}

/// Nanoseconds since 1970; 0 where the system does not tell.
fn changed(metadata: &fs::Metadata) -> u64 {
    let since = metadata.modified().ok();
    let since = since.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos() as u64)
}

fn hex(digest: Sha256) -> String {
    let digest = digest.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
