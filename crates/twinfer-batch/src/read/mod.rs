//! The input, chunk by chunk, from any place on.

mod cells;
mod folder;
mod lines;
mod table;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use twinfer::{Result, bail};

use crate::chunk::{Chunk, Place};
use crate::files::unreadable;
use crate::job::{Input, InputFormat};
use crate::progress::Length;

pub(crate) use table::TableFile;

/// Longest row of text, in bytes: as much as the server takes in a body of a few pictures. What is
/// longer is an accident (a quote that is never closed), and must not fill the memory.
pub(crate) const MAX_ROW: usize = 64 << 20;
/// A chunk of text ends when it has so many bytes, even if it has few rows.
const CHUNK_BYTES: usize = 4 << 20;

/// A stream of text.
type Text = Box<dyn BufRead + Send>;

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
}

enum What {
    Lines(Origin),
    Cells {
        origin: Origin,
        delimiter: u8,
        /// Where the first row is.
        start: Place,
        /// What was read of a stream to find that out.
        begun: Option<Box<cells::Records>>,
    },
    Table(TableFile),
    Folder {
        files: Vec<String>,
    },
}

/// Where text comes from.
enum Origin {
    File(PathBuf),
    /// Standard input: it can be read once.
    Stream(Option<Text>),
}

/// The columns of an input.
pub(crate) enum Shape {
    /// It has none.
    Rows,
    /// So many, with these names.
    Columns {
        names: Option<Vec<String>>,
        width: usize,
    },
}

impl Source {
    /// Looks at the input: what columns it has, and how long it is.
    ///
    /// # Errors
    /// `invalid_input` where it is not there or not what it should be; `storage`.
    pub(crate) fn open(input: &Input, format: InputFormat) -> Result<(Self, Shape)> {
        let (mut origin, length) = match input {
            Input::Stdin => {
                let text: Text = Box::new(BufReader::new(std::io::stdin()));
                (Origin::Stream(Some(text)), Length::Unknown)
            }
            Input::Path(path) => {
                let size = fs::metadata(path).map_err(|e| unreadable(path, &e))?.len();
                (Origin::File(path.clone()), Length::Bytes(size))
            }
        };
        let (what, length, shape) = match format {
            InputFormat::JsonLines => (What::Lines(origin), length, Shape::Rows),
            InputFormat::Csv(form) => {
                let mut records = cells::Records::new(
                    origin.text(&Place::default())?,
                    form.delimiter,
                    Place::default(),
                )?;
                let (names, width) = records.first_line(form.header)?;
                let start = records.place();
                let begun = matches!(origin, Origin::Stream(_)).then(|| Box::new(records));
                let what = What::Cells {
                    origin,
                    delimiter: form.delimiter,
                    start,
                    begun,
                };
                (what, length, Shape::Columns { names, width })
            }
            InputFormat::Parquet | InputFormat::Folder => {
                let Origin::File(path) = origin else {
                    bail!(
                        InvalidInput,
                        "{} cannot come from standard input: name it",
                        format.name()
                    );
                };
                if format == InputFormat::Folder {
                    let files = folder::list(&path)?;
                    let length = Length::Rows(files.len() as u64);
                    (What::Folder { files }, length, Shape::Rows)
                } else {
                    let table = TableFile::open(&path)?;
                    let names = table.names();
                    let length = Length::Rows(table.rows());
                    let shape = Shape::Columns {
                        width: names.len(),
                        names: Some(names),
                    };
                    (What::Table(table), length, shape)
                }
            }
        };
        Ok((Self { what, length }, shape))
    }

    pub(crate) fn length(&self) -> Length {
        self.length
    }

    /// The table of Parquet that it is.
    pub(crate) fn table(&mut self) -> Option<&mut TableFile> {
        match &mut self.what {
            What::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The place of the first row.
    pub(crate) fn start(&self) -> Place {
        match &self.what {
            What::Cells { start, .. } => *start,
            _ => Place::default(),
        }
    }

    /// The rows from a place on, in chunks of at most `rows`. Of a stream only from its start, once.
    ///
    /// # Errors
    /// `storage`, `invalid_input`.
    pub(crate) fn chunks(&mut self, from: Place, rows: usize) -> Result<Box<dyn Chunks>> {
        Ok(match &mut self.what {
            What::Lines(origin) => Box::new(lines::Lines::new(origin.text(&from)?, from, rows)),
            What::Cells {
                origin,
                delimiter,
                begun,
                ..
            } => {
                let records = match begun.take() {
                    Some(records) => *records,
                    None => cells::Records::new(origin.text(&from)?, *delimiter, from)?,
                };
                Box::new(cells::Cells::new(records, rows))
            }
            What::Table(table) => Box::new(table.chunks(from, rows)?),
            What::Folder { files } => {
                Box::new(folder::Files::new(std::mem::take(files), from, rows))
            }
        })
    }
}

impl Origin {
    fn text(&mut self, from: &Place) -> Result<Text> {
        match self {
            Self::Stream(stream) => match stream.take() {
                Some(stream) => Ok(stream),
                None => bail!(Internal, "standard input is read twice"),
            },
            Self::File(path) => {
                let open = || {
                    let mut file = File::open(&*path)?;
                    file.seek(SeekFrom::Start(from.byte))?;
                    Ok(file)
                };
                let file = open().map_err(|e| unreadable(path, &e))?;
                Ok(Box::new(BufReader::with_capacity(256 << 10, file)))
            }
        }
    }
}

/// What tells an input from another one, or from itself after a change: size, time of the last
/// change, and the SHA-256 of its first and last bytes; of a folder, of the list of its files with
/// their sizes and times.
///
/// # Errors
/// As for [`Source::open`].
pub(crate) fn fingerprint(path: &Path, format: InputFormat) -> Result<Json> {
    const ENDS: u64 = 1 << 20;
    let metadata = fs::metadata(path).map_err(|e| unreadable(path, &e))?;
    if format == InputFormat::Folder {
        let mut digest = Sha256::new();
        let files = folder::list(path)?;
        for file in &files {
            let metadata = fs::metadata(path.join(file)).map_err(|e| unreadable(path, &e))?;
            digest.update(json!([file, metadata.len(), changed(&metadata)]).to_string());
        }
        return Ok(json!({"files": files.len(), "sha256": hex(digest)}));
    }
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
    Ok(
        json!({"size": metadata.len(), "changed": changed(&metadata), "sha256_of_ends": hex(digest)}),
    )
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
