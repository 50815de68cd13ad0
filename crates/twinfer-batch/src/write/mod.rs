//! The output while it grows.

mod parts;
mod text;

use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use twinfer::{Result, bail, err};

use crate::encode::{Encoded, Encoder};
use crate::job::OutputFormat;

use parts::Parts;
use text::TextFile;

/// What of the output is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// Bytes of text.
    bytes: u64,
    /// Parts of Parquet, a row group each.
    parts: u64,
}

/// Where answers go.
pub(crate) enum Sink {
    /// Standard output, as they come.
    Stream(io::Stdout),
    /// A file of text.
    Text(TextFile),
    /// Files of Parquet, which are joined at the end.
    Parts(Box<Parts>),
}

impl Sink {
    /// Goes on with what is durable; what comes after it is cut off.
    ///
    /// # Errors
    /// `storage`.
    pub(crate) fn open(
        folder: &Path,
        encoder: &Encoder,
        row_group: usize,
        written: Written,
    ) -> Result<Self> {
        match encoder.format {
            OutputFormat::Parquet => {
                Parts::open(folder, encoder.schema(), row_group, written.parts)
                    .map(|parts| Self::Parts(Box::new(parts)))
            }
            OutputFormat::Csv | OutputFormat::JsonLines => {
                let mut file = TextFile::open(folder, written.bytes)?;
                if written == Written::default() {
                    file.write(&encoder.header())?;
                }
                Ok(Self::Text(file))
            }
        }
    }

    /// Standard output.
    ///
    /// # Errors
    /// `invalid_input` for Parquet, which is written from its end.
    pub(crate) fn stream(encoder: &Encoder) -> Result<Self> {
        if encoder.format == OutputFormat::Parquet {
            bail!(
                InvalidInput,
                "parquet cannot go to standard output: name a file"
            );
        }
        let mut sink = Self::Stream(io::stdout());
        sink.write(Encoded::Text(encoder.header()))?;
        Ok(sink)
    }

    /// Writes answers. Says whether everything so far can be made durable now.
    ///
    /// # Errors
    /// `storage`, `out_of_space`; `aborted` when the reader of standard output has gone.
    pub(crate) fn write(&mut self, output: Encoded) -> Result<bool> {
        match (self, output) {
            (Self::Stream(stream), Encoded::Text(text)) => {
                let mut stream = stream.lock();
                match stream.write_all(&text).and_then(|()| stream.flush()) {
                    Ok(()) => Ok(false),
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                        bail!(Aborted, "the reader of standard output has gone")
                    }
                    Err(e) => Err(err!(Storage, "standard output: {e}")),
                }
            }
            (Self::Text(file), Encoded::Text(text)) => file.write(&text).map(|()| true),
            (Self::Parts(parts), Encoded::Table(batch)) => parts.write(&batch),
            _ => bail!(Internal, "answers of another form than the output"),
        }
    }

    /// Makes everything durable. Between two parts only.
    ///
    /// # Errors
    /// `storage`, `out_of_space`.
    pub(crate) fn sync(&mut self) -> Result<Written> {
        match self {
            Self::Stream(_) => Ok(Written::default()),
            Self::Text(file) => Ok(Written {
                bytes: file.sync()?,
                parts: 0,
            }),
            Self::Parts(parts) => Ok(Written {
                bytes: 0,
                parts: parts.sync()?,
            }),
        }
    }

    /// Ends what was begun, so that [`Sink::sync`] has all of it.
    ///
    /// # Errors
    /// `storage`, `out_of_space`.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self {
            Self::Parts(parts) => parts.end(),
            Self::Stream(_) | Self::Text(_) => Ok(()),
        }
    }

    /// Makes one durable file of it, which is [`whole`].
    ///
    /// # Errors
    /// `storage`, `out_of_space`.
    pub(crate) fn join(self, folder: &Path) -> Result<()> {
        match self {
            Self::Parts(parts) => parts.join(&whole(folder)),
            Self::Stream(_) | Self::Text(_) => Ok(()),
        }
    }
}

/// The whole output, before it is put in its place.
pub(crate) fn whole(folder: &Path) -> std::path::PathBuf {
    folder.join("output")
}
