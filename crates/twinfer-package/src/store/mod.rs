//! Where packages live: the seam that folders, browsers, registries and caches implement.

mod folder;
mod memory;

use std::sync::Arc;

use twinfer::Result;

pub use folder::FolderStore;
pub(crate) use folder::storage;
pub use memory::MemoryStore;

use crate::{Descriptor, Digest, Index};

/// A registry that can be read. What it gives is not trusted: readers verify it.
pub trait Store: Send + Sync {
    /// The bytes of `index.json`.
    ///
    /// # Errors
    /// `storage` when it cannot be read.
    fn index(&self) -> Result<Vec<u8>>;

    /// The content of a descriptor, as it is: not verified. A store never gives more than
    /// one byte over the size in the descriptor, so that a wrong one cannot fill memory.
    ///
    /// # Errors
    /// `missing_blob` when it is not there, `storage` when it cannot be read.
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>>;
}

/// A registry that can be written.
pub trait WritableStore: Store {
    /// Begins a change. There is one at a time for a registry, over all processes.
    ///
    /// # Errors
    /// `storage` when the registry cannot be made or locked.
    fn begin(&self) -> Result<Box<dyn Transaction + '_>>;
}

/// A change of a registry: blobs first, and then, at once, the index. A change that is
/// dropped or killed leaves the registry as it was, but for blobs that nothing refers to.
pub trait Transaction {
    /// The index as it is now.
    ///
    /// # Errors
    /// `storage`, or that the index is malformed.
    fn index(&self) -> Result<Index>;

    /// Stores a blob, unless it is there already and whole.
    ///
    /// # Errors
    /// `out_of_space`, `storage`.
    fn put_blob(&mut self, bytes: &[u8]) -> Result<Digest>;

    /// Makes this the index: the last step.
    ///
    /// # Errors
    /// `out_of_space`, `storage`; the old index is then still in place.
    fn commit(self: Box<Self>, index: &Index) -> Result<()>;
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn index(&self) -> Result<Vec<u8>> {
        (**self).index()
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        (**self).blob(descriptor)
    }
}
