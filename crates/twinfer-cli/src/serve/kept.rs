//! The content of a remote registry, in a folder of this machine.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinfer::Result;
use twinfer_package::{Descriptor, FolderStore, Index, Reference, Store, WritableStore};

/// Content that was asked for once is read from the folder. Only what is verified gets there,
/// so the host and its guest can read it too, and nothing of other registries is in it.
pub struct Kept {
    remote: Arc<dyn Store>,
    folder: FolderStore,
}

impl Kept {
    /// The remote registry, and the folder for its content.
    pub fn new(remote: Arc<dyn Store>, folder: PathBuf) -> Self {
        Self {
            remote,
            folder: FolderStore::new(folder),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.root()
    }

    /// Removes all content but that of this index: for the start, before anything is read.
    ///
    /// # Errors
    /// `storage`.
    pub fn keep_only(&self, index: &Index) -> Result<()> {
        self.folder.begin("")?.commit(index)?;
        self.folder.collect_garbage(false, false).map(drop)
    }
}

impl Store for Kept {
    fn index(&self) -> Result<Vec<u8>> {
        self.remote.index()
    }

    fn index_of(&self, reference: &Reference) -> Result<Vec<u8>> {
        self.remote.index_of(reference)
    }

    /// Verified, unlike that of other stores.
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        if let Ok(bytes) = self.folder.blob(descriptor)
            && descriptor.verify(&bytes).is_ok()
        {
            return Ok(bytes);
        }
        let bytes = self.remote.blob(descriptor)?;
        descriptor.verify(&bytes)?;
        let mut change = self.folder.begin("")?;
        change.put(descriptor, &mut Cursor::new(&bytes))?;
        Ok(bytes)
    }
}
