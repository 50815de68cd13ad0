//! A file of text that grows.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use twinfer::Result;

use super::whole;
use crate::files::{shorten, storage};

pub(crate) struct TextFile {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
}

impl TextFile {
    pub(super) fn open(folder: &Path, bytes: u64) -> Result<Self> {
        let path = whole(folder);
        let open = || {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            shorten(&file, bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(|e| storage("write", &path, &e))?;
        Ok(Self {
            path,
            file: BufWriter::with_capacity(256 << 10, file),
            bytes,
        })
    }

    pub(super) fn write(&mut self, text: &[u8]) -> Result<()> {
        self.bytes += text.len() as u64;
        (self.file.write_all(text)).map_err(|e| storage("write", &self.path, &e))
    }

    pub(super) fn sync(&mut self) -> Result<u64> {
        let flushed = self.file.flush();
        let synced = flushed.and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(|e| storage("write", &self.path, &e))?;
        Ok(self.bytes)
    }
}
