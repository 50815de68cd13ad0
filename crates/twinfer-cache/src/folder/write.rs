//! Files that become whole or are not there.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use twinfer::Result;
use twinfer_package::files::{regular_length, storage, sync_folder};

use crate::BlobWriter;

/// Bytes that are written at once: networks give far smaller pieces.
const PIECE: usize = 256 << 10;

/// Exchanges a small file. It is not flushed to the disk: after a crash of the machine it may
/// be the old one, or damaged, and then is as if it had never been.
pub(super) fn replace(temporary: &Path, path: &Path, content: &[u8]) -> Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (mut file, partial) = loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let partial = temporary.join(format!("{}-{number}", process()));
        match File::create_new(&partial) {
            Ok(file) => break (file, partial),
            // Left behind by an earlier process of this number.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(storage("write", path, &e)),
        }
    };
    let written = file
        .write_all(content)
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|e| {
        // Best effort: it is swept later.
        let _ = fs::remove_file(&partial);
        storage("write", path, &e)
    })
}

/// WASI has no process ids; there, numbers that are taken are left out.
fn process() -> u32 {
    match cfg!(target_family = "wasm") {
        true => 0,
        false => std::process::id(),
    }
}

/// At most `length` bytes from `offset` on.
pub(super) fn read_piece(path: &Path, offset: u64, length: usize) -> Result<Vec<u8>> {
    File::open(path)
        .and_then(|mut file| read_some(&mut file, offset, length))
        .map_err(|e| storage("read", path, &e))
}

fn read_some(file: &mut File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(length);
    file.seek(SeekFrom::Start(offset))?;
    file.take(length as u64).read_to_end(&mut piece)?;
    Ok(piece)
}

/// Writes a blob of a [`super::FolderBackend`].
#[derive(Debug)]
pub struct FolderWriter {
    file: File,
    partial: PathBuf,
    folder: PathBuf,
    target: PathBuf,
    /// Bytes in the file.
    written: u64,
    /// Bytes that come after them.
    waiting: Vec<u8>,
}

impl FolderWriter {
    pub(super) fn open(partial: PathBuf, folder: PathBuf, name: &str) -> Result<Self> {
        // Also that it is no link and no pipe.
        let written = regular_length(&partial)?.unwrap_or_default();
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&partial)
            .map_err(|e| storage("write", &partial, &e))?;
        Ok(Self {
            file,
            partial,
            target: folder.join(name),
            folder,
            written,
            waiting: Vec::new(),
        })
    }

    fn flush(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.put(&waiting)
    }

    /// Not at the end of the file but after what we wrote: where locks cannot keep others out,
    /// they write the same to the same place.
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let written = self
            .file
            .seek(SeekFrom::Start(self.written))
            .and_then(|_| self.file.write_all(bytes));
        if let Err(e) = written {
            // What a full disk took of a piece is not counted.
            let _ = self.file.set_len(self.written);
            return Err(storage("write", &self.target, &e));
        }
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl BlobWriter for FolderWriter {
    fn len(&self) -> u64 {
        self.written + self.waiting.len() as u64
    }

    async fn read_back(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.flush()?;
        read_some(&mut self.file, offset, length).map_err(|e| storage("read", &self.partial, &e))
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.waiting.is_empty() && bytes.len() >= PIECE {
            return self.put(bytes);
        }
        self.waiting.extend_from_slice(bytes);
        match self.waiting.len() >= PIECE {
            true => self.flush(),
            false => Ok(()),
        }
    }

    async fn clear(&mut self) -> Result<()> {
        self.waiting.clear();
        self.file
            .set_len(0)
            .map_err(|e| storage("write", &self.target, &e))?;
        self.written = 0;
        Ok(())
    }

    async fn commit(mut self) -> Result<()> {
        self.flush()?;
        let renamed = self
            .file
            // What an unlocked other wrote beyond our end.
            .set_len(self.written)
            .and_then(|()| self.file.sync_all())
            .and_then(|()| fs::rename(&self.partial, &self.target));
        match renamed {
            // An unlocked other was quicker.
            Err(e)
                if e.kind() == ErrorKind::NotFound
                    && regular_length(&self.target)? == Some(self.written) => {}
            renamed => renamed.map_err(|e| storage("write", &self.target, &e))?,
        }
        sync_folder(&self.folder)
    }
}

impl Drop for FolderWriter {
    fn drop(&mut self) {
        // For who goes on from here; without it, a little more is fetched again.
        let _ = self.flush();
    }
}
