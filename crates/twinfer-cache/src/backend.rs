//! Where cached content is kept: the seam that folders, browsers, key-value stores and memory
//! implement.

use twinfer::Result;
use twinfer_package::Digest;

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// With others that share it.
    Shared,
    /// Alone.
    Exclusive,
}

/// What is known of the room that is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be written; `None` where nobody says.
    pub available: Option<u64>,
    /// Bytes that the surroundings grant at most; `None` where nobody says.
    pub quota: Option<u64>,
}

/// Keeps blobs by digest, and small documents by key.
///
/// A back end is simple: it verifies nothing, and knows neither packages nor registries. What
/// it promises is that a blob or document is there whole or not at all, whatever happens while
/// it is written, and that locks exclude each other over everything that shares the place
/// (threads, processes, tabs) and end with their holder.
///
/// Keys are made of `a-z 0-9 . _ - /`, and at most 200 bytes long.
///
/// # Errors
/// All methods: `storage`; `out_of_space` when there is no room.
#[expect(
    async_fn_in_trait,
    reason = "neither pages nor components have threads to send to"
)]
pub trait Backend {
    /// Writes one blob.
    type Writer: BlobWriter;
    /// A lock that is held; dropping it gives it back.
    type Lock;

    /// What it is and where, for messages: `the folder /home/a/.cache/twinfer`.
    fn label(&self) -> String;

    /// The content of a document.
    async fn document(&self, key: &str) -> Result<Option<Vec<u8>>>;

    /// Writes a document, or exchanges it.
    async fn set_document(&self, key: &str, content: &[u8]) -> Result<()>;

    /// Removes a document; nothing happens where there is none.
    async fn remove_document(&self, key: &str) -> Result<()>;

    /// Every document whose key begins so, with its content, in any order.
    async fn documents(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>>;

    /// The size of a committed blob.
    async fn size(&self, digest: &Digest) -> Result<Option<u64>>;

    /// A committed blob, as it is: not verified. Of one with more than `limit` bytes, the first
    /// `limit + 1`.
    async fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>>;

    /// Some of a committed blob, for checking without having all of it in memory: at most
    /// `length` bytes from `offset` on, at least one unless that is its end.
    async fn read_at(
        &self,
        digest: &Digest,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>> {
        let end = offset.saturating_add(length as u64);
        let Some(mut bytes) = self.read(digest, end).await? else {
            return Ok(None);
        };
        bytes.truncate(usize::try_from(end).unwrap_or(usize::MAX));
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(Some(bytes.split_off(from.min(bytes.len()))))
    }

    /// Begins to write a blob, or goes on with what an earlier writer left behind. Called
    /// under the lock of the digest.
    async fn write(&self, digest: &Digest) -> Result<Self::Writer>;

    /// Removes a blob and what was written of it.
    async fn remove(&self, digest: &Digest) -> Result<()>;

    /// Every committed blob and its size, in any order.
    async fn blobs(&self) -> Result<Vec<(Digest, u64)>>;

    /// Every blob that was begun and not committed, and how many bytes of it there are.
    async fn partials(&self) -> Result<Vec<(Digest, u64)>>;

    /// Removes what was written of a blob that was not committed.
    async fn remove_partial(&self, digest: &Digest) -> Result<()>;

    /// Takes a lock; `None` where it is held by somebody else. A back end that can wait without
    /// standing in the way of others does so with `wait`; of others the cache asks again.
    async fn lock(&self, name: &str, mode: LockMode, wait: bool) -> Result<Option<Self::Lock>>;

    /// The room that is left.
    async fn space(&self) -> Result<Space>;
}

/// Writes one blob. Dropped without a commit, it leaves what was appended for the next writer,
/// where the back end can.
#[expect(
    async_fn_in_trait,
    reason = "neither pages nor components have threads to send to"
)]
pub trait BlobWriter {
    /// Bytes that are there: at first what an earlier writer left behind.
    fn len(&self) -> u64;

    /// Whether nothing is there.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads some of what is there, from this offset: at most `length` bytes, at least one
    /// unless the offset is at the end.
    async fn read_back(&mut self, offset: u64, length: usize) -> Result<Vec<u8>>;

    /// Appends.
    async fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// Begins anew.
    async fn clear(&mut self) -> Result<()>;

    /// Makes what was appended the blob, on the disk and at once. It was verified before.
    async fn commit(self) -> Result<()>;
}

impl<B: Backend> Backend for std::sync::Arc<B> {
    type Writer = B::Writer;
    type Lock = B::Lock;

    fn label(&self) -> String {
        (**self).label()
    }

    async fn document(&self, key: &str) -> Result<Option<Vec<u8>>> {
        (**self).document(key).await
    }

    async fn set_document(&self, key: &str, content: &[u8]) -> Result<()> {
        (**self).set_document(key, content).await
    }

    async fn remove_document(&self, key: &str) -> Result<()> {
        (**self).remove_document(key).await
    }

    async fn documents(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        (**self).documents(prefix).await
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        (**self).size(digest).await
    }

    async fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>> {
        (**self).read(digest, limit).await
    }

    async fn read_at(
        &self,
        digest: &Digest,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>> {
        (**self).read_at(digest, offset, length).await
    }

    async fn write(&self, digest: &Digest) -> Result<Self::Writer> {
        (**self).write(digest).await
    }

    async fn remove(&self, digest: &Digest) -> Result<()> {
        (**self).remove(digest).await
    }

    async fn blobs(&self) -> Result<Vec<(Digest, u64)>> {
        (**self).blobs().await
    }

    async fn partials(&self) -> Result<Vec<(Digest, u64)>> {
        (**self).partials().await
    }

    async fn remove_partial(&self, digest: &Digest) -> Result<()> {
        (**self).remove_partial(digest).await
    }

    async fn lock(&self, name: &str, mode: LockMode, wait: bool) -> Result<Option<Self::Lock>> {
        (**self).lock(name, mode, wait).await
    }

    async fn space(&self) -> Result<Space> {
        (**self).space().await
    }
}
