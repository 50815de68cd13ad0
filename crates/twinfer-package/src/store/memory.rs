//! A registry in memory, for tests and for packages that were fetched by other means.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use twinfer::{Result, err};

use super::{Store, Transaction, WritableStore};
use crate::{Descriptor, Digest, Index};

/// A registry in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    index: Index,
    blobs: BTreeMap<Digest, Vec<u8>>,
}

impl MemoryStore {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts any bytes in the place of a blob: for tests of what happens with wrong ones.
    pub fn corrupt(&self, digest: Digest, bytes: Option<Vec<u8>>) {
        let mut content = self.lock();
        match bytes {
            Some(bytes) => content.blobs.insert(digest, bytes),
            None => content.blobs.remove(&digest),
        };
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        // Nothing that holds the lock leaves the content half changed.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn index(&self) -> Result<Vec<u8>> {
        self.lock().index.to_json()
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let content = self.lock();
        let blob = content
            .blobs
            .get(&descriptor.digest)
            .ok_or_else(|| err!(MissingBlob, "{} is not in the registry", descriptor.label()))?;
        let length = usize::try_from(descriptor.size.saturating_add(1)).unwrap_or(usize::MAX);
        Ok(blob[..blob.len().min(length)].to_vec())
    }
}

impl WritableStore for MemoryStore {
    fn begin(&self, _name: &str) -> Result<Box<dyn Transaction + '_>> {
        Ok(Box::new(Change {
            content: self.lock(),
        }))
    }
}

struct Change<'a> {
    content: MutexGuard<'a, Content>,
}

impl Transaction for Change<'_> {
    fn index(&self) -> Result<Index> {
        Ok(self.content.index.clone())
    }

    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        let there = self.content.blobs.get(&descriptor.digest);
        Ok(there.is_some_and(|blob| blob.len() as u64 == descriptor.size))
    }

    fn put(&mut self, descriptor: &Descriptor, content: &mut dyn Read) -> Result<()> {
        let mut bytes = Vec::new();
        super::copy_verified(descriptor, content, |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        self.content.blobs.insert(descriptor.digest, bytes);
        Ok(())
    }

    fn commit(mut self: Box<Self>, index: &Index) -> Result<()> {
        self.content.index = index.clone();
        Ok(())
    }
}
