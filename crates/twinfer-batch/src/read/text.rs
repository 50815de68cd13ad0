//! Text from its beginning to its end: a file, one that is compressed with gzip, or a stream.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use twinfer::{Error, Result, bail, err};

use super::hex;
use crate::chunk::Place;
use crate::files::unreadable;

/// What is read at once.
const BUFFER: usize = 256 << 10;
/// How gzip begins (RFC 1952, 2.3.1); text in UTF-8 never does.
const GZIP: &[u8] = b"\x1f\x8b";
/// The byte order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

type Stream = Box<dyn BufRead + Send>;

/// Text, and how much of it was read.
pub(super) struct Text {
    from: Origin,
    /// What it is called in errors.
    name: String,
    /// Bytes before what comes next.
    byte: u64,
    /// Bytes that were read of what is compressed.
    packed: Option<Arc<AtomicU64>>,
    /// Of all before what comes next, where it can be read from its beginning only.
    digest: Option<Sha256>,
}

enum Origin {
    /// A file, which can be read from anywhere.
    File(BufReader<File>),
    Stream(Stream),
}

impl Text {
    /// A file, or what has the name of one, such as a pipe. What is compressed with gzip is seen by its
    /// beginning; what says so by its name must be.
    ///
    /// # Errors
    /// `invalid_input` where it is not there; `storage`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let gzip = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("gz"));
        let open = || {
            let file = File::open(path)?;
            let is_file = file.metadata()?.is_file();
            let mut file = BufReader::with_capacity(BUFFER, file);
            if !is_file {
                return Self::new(name, Box::new(file), gzip);
            }
            if gzip || file.fill_buf()?.starts_with(GZIP) {
                return Ok(Self::unpacked(name, Box::new(file)));
            }
            Ok(Self {
                from: Origin::File(file),
                name,
                byte: 0,
                packed: None,
                digest: None,
            })
        };
        open().map_err(|e| unreadable(path, &e))
    }

    /// A stream, compressed or not.
    ///
    /// # Errors
    /// `storage`.
    pub(super) fn stream(name: &str, stream: Stream) -> Result<Self> {
        Self::new(name.into(), stream, false).map_err(|e| err!(Storage, "cannot read {name}: {e}"))
    }

    fn new(name: String, stream: Stream, gzip: bool) -> io::Result<Self> {
        let (begin, stream) = peek(stream, GZIP.len())?;
        if gzip || begin == GZIP {
            return Ok(Self::unpacked(name, stream));
        }
        Ok(Self {
            from: Origin::Stream(stream),
            name,
            byte: 0,
            packed: None,
            digest: Some(Sha256::new()),
        })
    }

    /// What is in gzip, of any number of members.
    fn unpacked(name: String, stream: Stream) -> Self {
        let packed = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            stream,
            count: packed.clone(),
        };
        let unpacked = BufReader::with_capacity(BUFFER, MultiGzDecoder::new(counted));
        Self {
            from: Origin::Stream(Box::new(unpacked)),
            name,
            byte: 0,
            packed: Some(packed),
            digest: Some(Sha256::new()),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it can be read from its beginning only. Whether it is the same one is then told by the
    /// digest of what was read.
    pub(super) fn is_stream(&self) -> bool {
        self.digest.is_some()
    }

    /// Bytes before what comes next.
    pub(super) fn byte(&self) -> u64 {
        self.byte
    }

    /// This place, behind so many rows and line ends.
    pub(super) fn place(&self, row: u64, line: u64) -> Place {
        let packed = self.packed.as_ref();
        Place {
            row,
            byte: self.byte,
            line,
            stored: packed.map_or(self.byte, |read| read.load(Ordering::Relaxed)),
            sha256: self.digest.clone().map(hex),
            ..Place::default()
        }
    }

    /// What comes next; nothing at the end.
    ///
    /// # Errors
    /// `invalid_input` for gzip that is cut off or damaged; `storage`.
    pub(super) fn fill_buf(&mut self) -> Result<&[u8]> {
        let packed = self.packed.is_some();
        let (name, byte) = (&self.name, self.byte);
        (self.from.fill_buf()).map_err(|e| unreadable_text(name, byte, packed, &e))
    }

    /// Goes behind so many of the bytes that [`Text::fill_buf`] gave.
    pub(super) fn consume(&mut self, count: usize) {
        // They are in the buffer, so that nothing is read here.
        if let Some(digest) = &mut self.digest
            && let Ok(buffer) = self.from.fill_buf()
        {
            digest.update(buffer.get(..count).unwrap_or(buffer));
        }
        self.from.consume(count);
        self.byte += count as u64;
    }

    /// Leaves out the byte order mark at the beginning.
    ///
    /// # Errors
    /// As for [`Text::fill_buf`].
    pub(super) fn skip_mark(&mut self) -> Result<()> {
        if let Origin::Stream(stream) = &mut self.from {
            // A pipe may give one byte after the other.
            let begun = peek(mem::replace(stream, Box::new(io::empty())), MARK.len());
            let packed = self.packed.is_some();
            let begun = begun.map_err(|e| unreadable_text(&self.name, self.byte, packed, &e));
            *stream = begun?.1;
        }
        if self.fill_buf()?.starts_with(MARK) {
            self.consume(MARK.len());
        }
        Ok(())
    }

    /// Goes on to a place where a job was before.
    ///
    /// # Errors
    /// `checkpoint_mismatch` when it is not the text that was read then; those of [`Text::fill_buf`].
    pub(super) fn go_to(&mut self, place: &Place) -> Result<()> {
        if let Origin::File(file) = &mut self.from {
            (file.seek(SeekFrom::Start(place.byte)))
                .map_err(|e| err!(Storage, "cannot read {}: {e}", self.name))?;
            self.byte = place.byte;
            return Ok(());
        }
        while self.byte < place.byte {
            let left = usize::try_from(place.byte - self.byte).unwrap_or(usize::MAX);
            let count = self.fill_buf()?.len().min(left);
            if count == 0 {
                break;
            }
            self.consume(count);
        }
        if self.place(0, 0).sha256 != place.sha256 {
            bail!(
                CheckpointMismatch,
                "the output was begun with another input: the first {} bytes of text, with {} rows, are not those of {}; go on with that one, or begin anew",
                place.byte,
                place.row,
                self.name
            );
        }
        Ok(())
    }
}

impl Origin {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::File(file) => file.fill_buf(),
            Self::Stream(stream) => stream.fill_buf(),
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Self::File(file) => file.consume(count),
            Self::Stream(stream) => stream.consume(count),
        }
    }
}

fn unreadable_text(name: &str, byte: u64, packed: bool, error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof if packed => err!(
            InvalidInput,
            "{name} is cut off: its gzip ends in the middle, after {byte} bytes of text"
        ),
        ErrorKind::InvalidInput | ErrorKind::InvalidData if packed => err!(
            InvalidInput,
            "{name} is not gzip that can be read, after {byte} bytes of text: {error}"
        ),
        _ => err!(Storage, "cannot read {name}: {error}"),
    }
}

/// The first bytes, and a stream that still has them.
fn peek(mut stream: Stream, count: usize) -> io::Result<(Vec<u8>, Stream)> {
    let mut begin = Vec::new();
    (&mut stream).take(count as u64).read_to_end(&mut begin)?;
    Ok((begin.clone(), Box::new(Cursor::new(begin).chain(stream))))
}

/// Counts what is read.
struct Counted {
    stream: Stream,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(into)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.stream.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.stream.consume(count);
        self.count.fetch_add(count as u64, Ordering::Relaxed);
    }
}
