//! Blobs in values.

use twinfer::Result;
use twinfer_package::Digest;

use super::{Head, KeyValue, KeyValueBackend, MAX_VALUE_BYTES, head_key, piece_key};
use crate::BlobWriter;

const PIECE: u64 = MAX_VALUE_BYTES as u64;

/// Writes a blob of a [`KeyValueBackend`]. A value is written when it is full, so of a download
/// that breaks off up to a mebibyte is fetched again.
#[derive(Debug)]
pub struct KeyValueWriter<K> {
    backend: KeyValueBackend<K>,
    digest: Digest,
    /// Values that are written, all of them full.
    full: u64,
    /// Bytes that come after them.
    waiting: Vec<u8>,
}

impl<K: KeyValue> KeyValueWriter<K> {
    pub(super) async fn open(backend: KeyValueBackend<K>, digest: Digest) -> Result<Self> {
        let mut there = 0;
        while backend.store.exists(&piece_key(&digest, there)).await? {
            there += 1;
        }
        let mut writer = Self {
            backend,
            digest,
            full: there,
            waiting: Vec::new(),
        };
        // A crash between the last value and the head leaves one that is not full.
        if let Some(number) = there.checked_sub(1) {
            let last = writer
                .backend
                .store
                .get(&piece_key(&digest, number))
                .await?;
            let last = last.unwrap_or_default();
            if last.len() != MAX_VALUE_BYTES {
                writer.full = number;
                writer.waiting = last;
            }
        }
        Ok(writer)
    }

    async fn flush(&mut self) -> Result<()> {
        let key = piece_key(&self.digest, self.full);
        self.backend.store.set(&key, &self.waiting).await?;
        self.full += 1;
        self.waiting.clear();
        Ok(())
    }
}

impl<K: KeyValue> BlobWriter for KeyValueWriter<K> {
    fn len(&self) -> u64 {
        self.full * PIECE + self.waiting.len() as u64
    }

    async fn read_back(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let Some(waiting) = offset.checked_sub(self.full * PIECE) else {
            return piece_at(&*self.backend.store, &self.digest, offset, length).await;
        };
        let from = usize::try_from(waiting).unwrap_or(usize::MAX);
        let from = from.min(self.waiting.len());
        let to = from.saturating_add(length).min(self.waiting.len());
        Ok(self.waiting[from..to].to_vec())
    }

    async fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = MAX_VALUE_BYTES.saturating_sub(self.waiting.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.waiting.extend_from_slice(now);
            bytes = later;
            if self.waiting.len() >= MAX_VALUE_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn clear(&mut self) -> Result<()> {
        self.waiting.clear();
        let known = std::mem::take(&mut self.full);
        self.backend.remove_pieces(&self.digest, 0, known).await
    }

    async fn commit(mut self) -> Result<()> {
        let size = self.len();
        if !self.waiting.is_empty() {
            self.flush().await?;
        }
        // What is left over of longer content that was cut off.
        self.backend
            .remove_pieces(&self.digest, self.full, 0)
            .await?;
        let head = Head::write(size, self.full);
        self.backend.store.set(&head_key(&self.digest), &head).await
    }
}

/// Some of a value: at most `length` bytes from this offset of the blob on.
pub(super) async fn piece_at(
    store: &impl KeyValue,
    digest: &Digest,
    offset: u64,
    length: usize,
) -> Result<Vec<u8>> {
    let value = store.get(&piece_key(digest, offset / PIECE)).await?;
    let mut value = value.unwrap_or_default();
    // Less than a mebibyte.
    let from = ((offset % PIECE) as usize).min(value.len());
    let to = from.saturating_add(length).min(value.len());
    value.truncate(to);
    Ok(value.split_off(from))
}
