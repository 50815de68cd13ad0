//! Where packages live: the seam that folders, browsers, registries and caches implement.

mod folder;
mod gc;
mod memory;

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use twinfer::{Error, Result, err};

pub use folder::FolderStore;
pub use folder::{read_folder, read_regular, regular_length, storage, sync_folder};
pub use gc::Collected;
pub use memory::MemoryStore;

use crate::{Content, Descriptor, Index, Reference, Verifier};

/// Hands content on in pieces, and checks it against its descriptor.
///
/// # Errors
/// `size_mismatch`, `digest_mismatch`; `storage` when reading fails with an error that is not
/// one of ours inside; those of `each`.
pub(crate) fn copy_verified(
    descriptor: &Descriptor,
    content: &mut dyn Read,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut verifier = Verifier::new(descriptor);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = match content.read(&mut buffer) {
            Ok(0) => return verifier.finish(),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(read_error(descriptor, e)),
        };
        verifier.update(&buffer[..read])?;
        each(&buffer[..read])?;
    }
}

/// What a store's own stream failed with keeps its code through `std::io::Error`.
fn read_error(descriptor: &Descriptor, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => err!(Storage, "cannot read {}: {error}", descriptor.label()),
    }
}

/// A registry that can be read. What it gives is not trusted: readers verify it.
pub trait Store: Send + Sync {
    /// The bytes of `index.json`.
    ///
    /// # Errors
    /// `storage` when it cannot be read.
    fn index(&self) -> Result<Vec<u8>>;

    /// As much of the index as has to do with this reference: what it points to, and what is
    /// attached to that. A folder gives the whole; a registry that cannot tell everything it
    /// has asks for this name only.
    ///
    /// # Errors
    /// As [`Store::index`]. A model or version that is not there is not an error here: the
    /// index then lacks it.
    fn index_of(&self, reference: &Reference) -> Result<Vec<u8>> {
        let _ = reference;
        self.index()
    }

    /// The content of a descriptor, as it is: not verified. A store never gives more than
    /// one byte over the size in the descriptor, so that a wrong one cannot fill memory.
    ///
    /// # Errors
    /// `missing_blob` when it is not there, `storage` when it cannot be read.
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>>;

    /// The contents of several descriptors, verified, in their order. A store over a network
    /// fetches them at the same time.
    ///
    /// # Errors
    /// As [`Store::blob`]; `size_mismatch`, `digest_mismatch`.
    fn contents(&self, wanted: &[Descriptor]) -> Result<Vec<Content>> {
        let content = |descriptor| Content::check(descriptor, self.blob(descriptor)?);
        wanted.iter().map(content).collect()
    }

    /// One as a stream, for what is copied rather than used.
    ///
    /// # Errors
    /// As [`Store::blob`]; later ones come from reading.
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(Cursor::new(self.blob(descriptor)?)))
    }

    /// The deployment of a model (`deployments/NAME.json` beside the index), as it is; `None` where
    /// there is none.
    ///
    /// # Errors
    /// `storage` when it cannot be read.
    fn deployment(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let _ = name;
        Ok(None)
    }

    /// Where this content lives, for [`Transaction::mount`]; `None` where that means nothing.
    fn origin(&self, descriptor: &Descriptor) -> Option<String> {
        let _ = descriptor;
        None
    }
}

/// A registry that can be written.
pub trait WritableStore: Store {
    /// Begins a change of the packages of this name. In a folder there is one at a time, over
    /// all processes.
    ///
    /// # Errors
    /// `storage` when the registry cannot be made or locked; `network`, `unauthorized`.
    fn begin(&self, name: &str) -> Result<Box<dyn Transaction + '_>>;
}

/// A change of a registry: blobs first, and then, at once, the index. A change that is
/// dropped or killed leaves the registry as it was, but for blobs that nothing refers to.
pub trait Transaction {
    /// The index as it is now, or the part of it with the name that is changed.
    ///
    /// # Errors
    /// `storage`, `network`, or that the index is malformed.
    fn index(&self) -> Result<Index>;

    /// Whether this content is there, by its size: it need not be sent.
    ///
    /// # Errors
    /// `storage`, `network`.
    fn has(&self, descriptor: &Descriptor) -> Result<bool>;

    /// Stores the content of a descriptor, in whatever pieces it comes, and checks it on the
    /// way: content that is not what the descriptor says is never there afterwards.
    ///
    /// # Errors
    /// `size_mismatch`, `digest_mismatch`; `out_of_space`, `storage`, `network`.
    fn put(&mut self, descriptor: &Descriptor, content: &mut dyn Read) -> Result<()>;

    /// Takes content over from where a [`Store::origin`] says it is, without sending it; false
    /// where that cannot be done, and it must be put.
    ///
    /// # Errors
    /// `network`, `unauthorized`.
    fn mount(&mut self, descriptor: &Descriptor, origin: &str) -> Result<bool> {
        let _ = (descriptor, origin);
        Ok(false)
    }

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

    fn index_of(&self, reference: &Reference) -> Result<Vec<u8>> {
        (**self).index_of(reference)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        (**self).blob(descriptor)
    }

    fn contents(&self, wanted: &[Descriptor]) -> Result<Vec<Content>> {
        (**self).contents(wanted)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        (**self).open(descriptor)
    }

    fn deployment(&self, name: &str) -> Result<Option<Vec<u8>>> {
        (**self).deployment(name)
    }

    fn origin(&self, descriptor: &Descriptor) -> Option<String> {
        (**self).origin(descriptor)
    }
}
