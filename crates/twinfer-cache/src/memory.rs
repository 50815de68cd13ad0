//! A cache in memory: for tests, and where there is nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twinfer::{Result, bail};
use twinfer_package::Digest;

use crate::locks::{LocalLock, LockTable};
use crate::{Backend, BlobWriter, LockMode, Space};

/// Keeps everything in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryBackend {
    content: Arc<Mutex<Contents>>,
    locks: LockTable,
}

#[derive(Debug, Default)]
struct Contents {
    documents: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    partials: BTreeMap<Digest, Vec<u8>>,
    limit: Option<u64>,
}

impl Contents {
    fn held(&self) -> u64 {
        let blobs = self.blobs.values().chain(self.partials.values());
        blobs.map(|bytes| bytes.len() as u64).sum()
    }
}

impl MemoryBackend {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one with room for this many bytes of blobs.
    pub fn with_limit(bytes: u64) -> Self {
        let backend = Self::default();
        backend.contents().limit = Some(bytes);
        backend
    }

    /// Puts any bytes in the place of a blob: for tests of what happens with wrong ones.
    pub fn corrupt(&self, digest: Digest, bytes: Vec<u8>) {
        self.contents().blobs.insert(digest, bytes);
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Nothing that holds the lock leaves the content half changed.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for MemoryBackend {
    type Writer = MemoryWriter;
    type Lock = LocalLock;

    fn label(&self) -> String {
        "memory".into()
    }

    async fn document(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.contents().documents.get(key).cloned())
    }

    async fn set_document(&self, key: &str, content: &[u8]) -> Result<()> {
        self.contents().documents.insert(key.into(), content.into());
        Ok(())
    }

    async fn remove_document(&self, key: &str) -> Result<()> {
        self.contents().documents.remove(key);
        Ok(())
    }

    async fn documents(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let contents = self.contents();
        let all = contents.documents.iter();
        Ok(all
            .filter(|(key, _)| key.starts_with(prefix))
            .map(|(key, document)| (key.clone(), document.clone()))
            .collect())
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        Ok(self
            .contents()
            .blobs
            .get(digest)
            .map(|bytes| bytes.len() as u64))
    }

    async fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>> {
        let longest = usize::try_from(limit.saturating_add(1)).unwrap_or(usize::MAX);
        let contents = self.contents();
        Ok(contents
            .blobs
            .get(digest)
            .map(|bytes| bytes[..bytes.len().min(longest)].to_vec()))
    }

    async fn read_at(
        &self,
        digest: &Digest,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>> {
        let contents = self.contents();
        let blob = contents.blobs.get(digest);
        Ok(blob.map(|bytes| part(bytes, offset, length).to_vec()))
    }

    async fn write(&self, digest: &Digest) -> Result<MemoryWriter> {
        let length = self.contents().partials.entry(*digest).or_default().len();
        Ok(MemoryWriter {
            backend: self.clone(),
            digest: *digest,
            length: length as u64,
        })
    }

    async fn remove(&self, digest: &Digest) -> Result<()> {
        let mut contents = self.contents();
        contents.blobs.remove(digest);
        contents.partials.remove(digest);
        Ok(())
    }

    async fn blobs(&self) -> Result<Vec<(Digest, u64)>> {
        Ok(sizes(&self.contents().blobs))
    }

    async fn partials(&self) -> Result<Vec<(Digest, u64)>> {
        Ok(sizes(&self.contents().partials))
    }

    async fn remove_partial(&self, digest: &Digest) -> Result<()> {
        self.contents().partials.remove(digest);
        Ok(())
    }

    async fn lock(&self, name: &str, mode: LockMode, _wait: bool) -> Result<Option<LocalLock>> {
        Ok(self.locks.take(name.into(), mode))
    }

    async fn space(&self) -> Result<Space> {
        let contents = self.contents();
        Ok(Space {
            available: contents
                .limit
                .map(|limit| limit.saturating_sub(contents.held())),
            quota: contents.limit,
        })
    }
}

fn sizes(blobs: &BTreeMap<Digest, Vec<u8>>) -> Vec<(Digest, u64)> {
    blobs
        .iter()
        .map(|(digest, bytes)| (*digest, bytes.len() as u64))
        .collect()
}

fn part(bytes: &[u8], offset: u64, length: usize) -> &[u8] {
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let from = from.min(bytes.len());
    let to = from.saturating_add(length).min(bytes.len());
    &bytes[from..to]
}

/// Writes a blob of a [`MemoryBackend`].
#[derive(Debug)]
pub struct MemoryWriter {
    backend: MemoryBackend,
    digest: Digest,
    length: u64,
}

impl BlobWriter for MemoryWriter {
    fn len(&self) -> u64 {
        self.length
    }

    async fn read_back(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let contents = self.backend.contents();
        let bytes = contents
            .partials
            .get(&self.digest)
            .map(Vec::as_slice)
            .unwrap_or_default();
        Ok(part(bytes, offset, length).to_vec())
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let mut contents = self.backend.contents();
        if let Some(limit) = contents.limit
            && contents.held() + bytes.len() as u64 > limit
        {
            bail!(OutOfSpace, "the cache in memory has room for {limit} bytes");
        }
        contents
            .partials
            .entry(self.digest)
            .or_default()
            .extend_from_slice(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    async fn clear(&mut self) -> Result<()> {
        self.backend
            .contents()
            .partials
            .insert(self.digest, Vec::new());
        self.length = 0;
        Ok(())
    }

    async fn commit(self) -> Result<()> {
        let mut contents = self.backend.contents();
        if let Some(bytes) = contents.partials.remove(&self.digest) {
            contents.blobs.insert(self.digest, bytes);
        }
        Ok(())
    }
}
