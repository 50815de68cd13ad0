//! Content that is packed: in memory, or parts of files, so that a package can be larger than
//! the memory of the machine that makes it.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use twinfer::{Result, err};

use crate::Digest;
use crate::store::storage;

/// Some bytes, wherever they are.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Part of something in memory.
    Bytes {
        data: Arc<Vec<u8>>,
        start: usize,
        length: usize,
    },
    /// Part of a file.
    File {
        path: Arc<Path>,
        start: u64,
        length: u64,
    },
    /// One after the other.
    Joined(Vec<Content>),
}

/// What can be read from any place.
pub(crate) trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

impl From<Vec<u8>> for Content {
    fn from(data: Vec<u8>) -> Self {
        Self::Bytes {
            start: 0,
            length: data.len(),
            data: Arc::new(data),
        }
    }
}

impl Content {
    /// A whole file, as long as it is now.
    pub(crate) fn of_file(path: &Path, length: u64) -> Self {
        Self::File {
            path: path.into(),
            start: 0,
            length,
        }
    }

    /// How many bytes it has.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Bytes { length, .. } => *length as u64,
            Self::File { length, .. } => *length,
            Self::Joined(parts) => parts.iter().map(Self::length).sum(),
        }
    }

    /// The same bytes in one place, so that parts of them can be named.
    ///
    /// # Errors
    /// Those of [`Content::to_vec`].
    pub(crate) fn in_one_place(&self) -> Result<Self> {
        match self {
            Self::Joined(_) => Ok(self.to_vec()?.into()),
            one => Ok(one.clone()),
        }
    }

    /// A part of it; cut off at its end. Only of what is in one place: `Joined` has no parts.
    pub(crate) fn slice(&self, from: u64, to: u64) -> Self {
        let to = to.min(self.length());
        let from = from.min(to);
        match self {
            Self::Bytes { data, start, .. } => Self::Bytes {
                data: data.clone(),
                // Not beyond the length of something in memory.
                start: start + from as usize,
                length: (to - from) as usize,
            },
            Self::File { path, start, .. } => Self::File {
                path: path.clone(),
                start: start + from,
                length: to - from,
            },
            Self::Joined(_) => Self::Joined(Vec::new()),
        }
    }

    /// The bytes as a stream.
    ///
    /// # Errors
    /// `storage` when a file cannot be opened; later ones come from reading.
    pub(crate) fn reader(&self) -> Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Bytes {
                data,
                start,
                length,
            } => {
                let data = Shared(data.clone());
                let mut cursor = Cursor::new(data);
                cursor.set_position(*start as u64);
                Box::new(cursor.take(*length as u64))
            }
            Self::File {
                path,
                start,
                length,
            } => {
                let mut file = File::open(path).map_err(|e| storage("read", path, &e))?;
                file.seek(SeekFrom::Start(*start))
                    .map_err(|e| storage("read", path, &e))?;
                Box::new(file.take(*length))
            }
            Self::Joined(parts) => Box::new(Parts {
                waiting: parts.clone().into_iter(),
                current: None,
            }),
        })
    }

    /// The bytes for reading here and there; the position is that in the file or memory, so
    /// it must be whole. `Joined` is read into memory.
    ///
    /// # Errors
    /// `storage`.
    pub(crate) fn seeker(&self) -> Result<Box<dyn ReadSeek>> {
        Ok(match self {
            Self::Bytes { data, start: 0, .. } => Box::new(Cursor::new(Shared(data.clone()))),
            Self::File { path, start: 0, .. } => {
                Box::new(File::open(path).map_err(|e| storage("read", path, &e))?)
            }
            _ => Box::new(Cursor::new(self.to_vec()?)),
        })
    }

    /// All of it in memory.
    ///
    /// # Errors
    /// `out_of_memory`, `storage`; `size_mismatch` for a file that became shorter meanwhile.
    pub(crate) fn to_vec(&self) -> Result<Vec<u8>> {
        let length = self.length();
        let mut bytes = Vec::new();
        usize::try_from(length)
            .ok()
            .and_then(|length| bytes.try_reserve_exact(length).ok())
            .ok_or_else(|| err!(OutOfMemory, "there is no memory for {length} bytes"))?;
        self.reader()?.read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 != length {
            return Err(err!(
                SizeMismatch,
                "a file that is packed became shorter meanwhile"
            ));
        }
        Ok(bytes)
    }

    /// The digest of its bytes.
    ///
    /// # Errors
    /// `storage`.
    pub(crate) fn digest(&self) -> Result<Digest> {
        Digest::of_stream(&mut self.reader()?).map_err(failed)
    }

    /// Whether two contents have the same bytes.
    ///
    /// # Errors
    /// `storage`.
    pub(crate) fn equals(&self, other: &Content) -> Result<bool> {
        if self.length() != other.length() {
            return Ok(false);
        }
        let (mut a, mut b) = (self.reader()?, other.reader()?);
        let mut buffers = (vec![0; CHUNK], vec![0; CHUNK]);
        let mut left = self.length();
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            a.read_exact(&mut buffers.0[..now]).map_err(failed)?;
            b.read_exact(&mut buffers.1[..now]).map_err(failed)?;
            if buffers.0[..now] != buffers.1[..now] {
                return Ok(false);
            }
            left -= now as u64;
        }
        Ok(true)
    }
}

/// How much is read at once.
const CHUNK: usize = 256 << 10;

fn failed(error: io::Error) -> twinfer::Error {
    match error.downcast::<twinfer::Error>() {
        Ok(ours) => ours,
        Err(error) => err!(Storage, "cannot read a file that is packed: {error}"),
    }
}

/// Bytes that several readers share.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Contents one after the other; each file is opened when its turn comes.
struct Parts {
    waiting: std::vec::IntoIter<Content>,
    current: Option<Box<dyn Read + Send>>,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(current) = &mut self.current {
                let read = current.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
            }
            match self.waiting.next() {
                Some(next) => self.current = Some(next.reader().map_err(io::Error::other)?),
                None => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_memory_and_files_are_read_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, b"0123456789").unwrap();
        let file = Content::of_file(&path, 10);
        let memory = Content::from(b"abcdef".to_vec());
        let joined = Content::Joined(vec![
            file.slice(2, 4),
            Content::Joined(vec![]),
            memory.slice(1, 3),
            file.slice(8, 99),
        ]);
        assert_eq!(joined.length(), 6);
        assert_eq!(joined.to_vec().unwrap(), b"23bc89");
        assert_eq!(joined.digest().unwrap(), Digest::of(b"23bc89"));
        assert!(joined.equals(&Content::from(b"23bc89".to_vec())).unwrap());
        assert!(!joined.equals(&Content::from(b"23bc88".to_vec())).unwrap());
        assert!(!joined.equals(&Content::from(b"23bc8".to_vec())).unwrap());
        assert_eq!(memory.slice(2, 5).slice(1, 2).to_vec().unwrap(), b"d");
        std::fs::write(&path, b"0").unwrap();
        assert_eq!(
            file.to_vec().unwrap_err().code(),
            twinfer::ErrorCode::SizeMismatch
        );
    }
}
