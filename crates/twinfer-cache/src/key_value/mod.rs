//! A cache in a key-value store, such as hosts of components have.

mod document;
mod memory;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use twinfer::{Result, err};
use twinfer_package::Digest;

pub use memory::MemoryKeyValue;
pub use write::KeyValueWriter;

use crate::locks::{LocalLock, LockTable};
use crate::{Backend, LockMode, Space};

/// The largest value that is written: hosted stores take no larger ones.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// A key-value store. Keys have at most 255 bytes, values at most [`MAX_VALUE_BYTES`].
///
/// # Errors
/// All methods: `storage`; `out_of_space` when there is no room.
#[expect(
    async_fn_in_trait,
    reason = "neither pages nor components have threads to send to"
)]
pub trait KeyValue {
    /// What it is and which, for messages: `the key-value store default`.
    fn label(&self) -> String;

    /// A value.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>>;

    /// Writes a value, or exchanges it, at once.
    async fn set(&self, key: &str, value: &[u8]) -> Result<()>;

    /// Removes a value; nothing happens where there is none.
    async fn delete(&self, key: &str) -> Result<()>;

    /// Whether there is a value.
    async fn exists(&self, key: &str) -> Result<bool>;

    /// Every key, in any order.
    async fn keys(&self) -> Result<Vec<String>>;
}

/// Keeps everything in a key-value store.
///
/// A blob is cut into values `b/<hex>/<number>` of one mebibyte, and is there when `h/<hex>`
/// (its size, and the number of values) is, which is written last. Documents are `d/<key>`;
/// those that are too large for one value are cut as well, into `c/<key>/<digest>/<number>`, and
/// exchanged with their head.
///
/// Such stores have no locks over several processes: these exclude within one process only, over
/// all clones of this. Two processes that fetch the same write the same values, and what is read
/// is verified, so a race costs a second download and no more.
#[derive(Debug)]
pub struct KeyValueBackend<K> {
    store: Arc<K>,
    locks: LockTable,
}

impl<K> Clone for KeyValueBackend<K> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            locks: self.locks.clone(),
        }
    }
}

impl<K: KeyValue> KeyValueBackend<K> {
    /// The cache in this store, beside whatever else is in it.
    pub fn new(store: K) -> Self {
        Self {
            store: Arc::new(store),
            locks: LockTable::default(),
        }
    }

    /// The store.
    pub fn store(&self) -> &K {
        &self.store
    }

    async fn head(&self, digest: &Digest) -> Result<Option<Head>> {
        let value = self.store.get(&head_key(digest)).await?;
        Ok(value.and_then(|value| Head::read(&value)))
    }

    /// Removes the values of a blob from this number on, the last one first, so that what is
    /// left by a crash is still a beginning.
    async fn remove_pieces(&self, digest: &Digest, from: u64, known: u64) -> Result<()> {
        let mut end = from.max(known);
        while self.store.exists(&piece_key(digest, end)).await? {
            end += 1;
        }
        for number in (from..end).rev() {
            self.store.delete(&piece_key(digest, number)).await?;
        }
        Ok(())
    }
}

/// What says that a blob is whole.
struct Head {
    size: u64,
    pieces: u64,
}

impl Head {
    fn read(value: &[u8]) -> Option<Self> {
        let (size, pieces) = std::str::from_utf8(value).ok()?.split_once(' ')?;
        let (size, pieces) = (size.parse().ok()?, pieces.parse().ok()?);
        // What somebody else wrote there must not send us through millions of keys.
        (pieces == u64::div_ceil(size, MAX_VALUE_BYTES as u64)).then_some(Self { size, pieces })
    }

    fn write(size: u64, pieces: u64) -> Vec<u8> {
        format!("{size} {pieces}").into_bytes()
    }
}

fn head_key(digest: &Digest) -> String {
    format!("h/{}", digest.hex())
}

fn piece_key(digest: &Digest, number: u64) -> String {
    format!("b/{}/{number}", digest.hex())
}

/// `None` for the keys of others.
fn digest_of(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}

impl<K: KeyValue> Backend for KeyValueBackend<K> {
    type Writer = KeyValueWriter<K>;
    type Lock = LocalLock;

    fn label(&self) -> String {
        self.store.label()
    }

    async fn document(&self, key: &str) -> Result<Option<Vec<u8>>> {
        document::get(&*self.store, key).await
    }

    async fn set_document(&self, key: &str, content: &[u8]) -> Result<()> {
        document::set(&*self.store, key, content).await
    }

    async fn remove_document(&self, key: &str) -> Result<()> {
        document::remove(&*self.store, key).await
    }

    /// A document that is damaged is one without content.
    async fn documents(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let mut found = Vec::new();
        for key in self.store.keys().await? {
            let Some(key) = key.strip_prefix(document::PREFIX) else {
                continue;
            };
            if key.starts_with(prefix) && self.store.exists(&document::head(key)).await? {
                let content = document::get(&*self.store, key).await?;
                found.push((key.to_owned(), content.unwrap_or_default()));
            }
        }
        Ok(found)
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        Ok(self.head(digest).await?.map(|head| head.size))
    }

    async fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(head) = self.head(digest).await? else {
            return Ok(None);
        };
        let longest = usize::try_from(head.size.min(limit.saturating_add(1)));
        let mut bytes = Vec::new();
        let longest = longest
            .ok()
            .filter(|longest| bytes.try_reserve_exact(*longest).is_ok())
            .ok_or_else(|| err!(OutOfMemory, "there is no memory for {} bytes", head.size))?;
        for number in 0..head.pieces {
            if bytes.len() >= longest {
                break;
            }
            // One that is missing makes it too short: the cache sees that.
            let Some(piece) = self.store.get(&piece_key(digest, number)).await? else {
                break;
            };
            let room = longest - bytes.len();
            bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        Ok(Some(bytes))
    }

    async fn read_at(
        &self,
        digest: &Digest,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>> {
        let Some(head) = self.head(digest).await? else {
            return Ok(None);
        };
        if offset >= head.size {
            return Ok(Some(Vec::new()));
        }
        write::piece_at(&*self.store, digest, offset, length)
            .await
            .map(Some)
    }

    async fn write(&self, digest: &Digest) -> Result<KeyValueWriter<K>> {
        if self.store.exists(&head_key(digest)).await? {
            // It is written again because it is damaged: none of it is gone on with.
            self.remove(digest).await?;
        }
        KeyValueWriter::open(self.clone(), *digest).await
    }

    async fn remove(&self, digest: &Digest) -> Result<()> {
        let head = self.head(digest).await?;
        // First the head: without it the rest is what was begun.
        self.store.delete(&head_key(digest)).await?;
        self.remove_pieces(digest, 0, head.map_or(0, |head| head.pieces))
            .await
    }

    async fn blobs(&self) -> Result<Vec<(Digest, u64)>> {
        let mut blobs = Vec::new();
        for key in self.store.keys().await? {
            if let Some(digest) = key.strip_prefix("h/").and_then(digest_of)
                && let Some(head) = self.head(&digest).await?
            {
                blobs.push((digest, head.size));
            }
        }
        Ok(blobs)
    }

    async fn partials(&self) -> Result<Vec<(Digest, u64)>> {
        let (mut whole, mut last) = (BTreeSet::new(), BTreeMap::new());
        for key in self.store.keys().await? {
            if let Some(digest) = key.strip_prefix("h/").and_then(digest_of) {
                whole.insert(digest);
            } else if let Some((hex, number)) =
                key.strip_prefix("b/").and_then(|key| key.split_once('/'))
                && let (Some(digest), Ok(number)) = (digest_of(hex), number.parse::<u64>())
            {
                let last = last.entry(digest).or_insert(number);
                *last = number.max(*last);
            }
        }
        let begun = last
            .into_iter()
            .filter(|(digest, _)| !whole.contains(digest));
        // All values but the last are full, and the last may be.
        let size = |number: u64| {
            number
                .saturating_add(1)
                .saturating_mul(MAX_VALUE_BYTES as u64)
        };
        Ok(begun.map(|(digest, last)| (digest, size(last))).collect())
    }

    async fn remove_partial(&self, digest: &Digest) -> Result<()> {
        match self.store.exists(&head_key(digest)).await? {
            true => Ok(()),
            false => self.remove_pieces(digest, 0, 0).await,
        }
    }

    async fn lock(&self, name: &str, mode: LockMode, _wait: bool) -> Result<Option<LocalLock>> {
        Ok(self.locks.take(name.into(), mode))
    }

    async fn space(&self) -> Result<Space> {
        Ok(Space::default())
    }
}
