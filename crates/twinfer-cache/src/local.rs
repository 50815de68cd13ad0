//! What the cache has: verified when it is read, and removed when it is wrong.

use twinfer::{Error, ErrorCode, Result, bail, err};
use twinfer_package::{Content, Digest, Verifier};

use crate::cache::blob_lock;
use crate::{Backend, Cache, Env, Event, Listener, LockMode, Wanted};

/// Bytes that are read at once of a blob that is checked.
const PIECE: usize = 4 << 20;

/// What the cache has of something.
pub(crate) enum Found {
    Good(Content),
    Damaged(Error),
    Nothing,
}

/// How an entry was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    Missing,
    Right,
    Damaged,
}

impl<B: Backend, E: Env> Cache<B, E> {
    /// Reads what is kept under a digest, in pieces; what is damaged is removed, so that it is
    /// fetched again the next time. Whether it is there now, and right.
    ///
    /// # Errors
    /// `storage`.
    pub async fn check(&self, wanted: &Wanted, listen: Listener<'_>) -> Result<bool> {
        Ok(self.recheck(wanted, listen).await? == Checked::Right)
    }

    /// [`Cache::check`], and how it was.
    pub(crate) async fn recheck(&self, wanted: &Wanted, listen: Listener<'_>) -> Result<Checked> {
        let name = blob_lock(&wanted.digest);
        let waiting = || listen(Event::Waiting { wanted });
        let _lock = self.wait_for(&name, LockMode::Exclusive, waiting).await?;
        match self.hash(&wanted.digest).await {
            Ok(None) => Ok(Checked::Missing),
            Ok(Some(_)) => Ok(Checked::Right),
            Err(error) => {
                self.damaged(wanted, &error, true, listen).await;
                Ok(Checked::Damaged)
            }
        }
    }

    pub(crate) async fn is_there(&self, wanted: &Wanted) -> Result<bool> {
        let size = self.backend.size(&wanted.digest).await?;
        let there = size.is_some_and(|size| wanted.size.is_none_or(|wanted| wanted == size));
        if there {
            self.hit(size.unwrap_or_default());
        }
        Ok(there)
    }

    /// Content from the cache, verified. A bad entry is a miss, and is removed.
    pub(crate) async fn local(&self, wanted: &Wanted, listen: Listener<'_>) -> Option<Content> {
        match self.look(wanted, listen).await {
            Found::Good(content) => Some(content),
            Found::Nothing => None,
            Found::Damaged(_) => {
                let lock = self.lock_blob(wanted, listen).await;
                self.mend(wanted, lock.is_some(), listen).await.ok()?
            }
        }
    }

    /// What is in the cache. Nothing is removed: without the lock that could be what somebody
    /// else has just mended.
    pub(crate) async fn look(&self, wanted: &Wanted, listen: Listener<'_>) -> Found {
        if !self.options.keep {
            return Found::Nothing;
        }
        // A back end that cannot be read is as good as an empty one.
        let read = self.backend.read(&wanted.digest, wanted.limit()).await;
        let Ok(Some(bytes)) = read else {
            return Found::Nothing;
        };
        let length = bytes.len() as u64;
        let descriptor = wanted.descriptor(wanted.size.unwrap_or(length));
        match Content::check(&descriptor, bytes) {
            Ok(content) => {
                self.hit(length);
                listen(Event::Progress {
                    wanted,
                    loaded: length,
                    total: wanted.size,
                    cached: true,
                });
                Found::Good(content)
            }
            Err(error) => Found::Damaged(error),
        }
    }

    /// [`Cache::look`], and a damaged entry is reported and removed.
    pub(crate) async fn mend(
        &self,
        wanted: &Wanted,
        locked: bool,
        listen: Listener<'_>,
    ) -> Result<Option<Content>> {
        match self.look(wanted, listen).await {
            Found::Good(content) => Ok(Some(content)),
            Found::Nothing => Ok(None),
            Found::Damaged(error) => {
                if error.code() == ErrorCode::SizeMismatch {
                    self.size_is_right(wanted).await?;
                }
                self.damaged(wanted, &error, locked, listen).await;
                Ok(None)
            }
        }
    }

    async fn damaged(&self, wanted: &Wanted, error: &Error, remove: bool, listen: Listener<'_>) {
        self.count(|statistics| statistics.damaged += 1);
        listen(Event::Damaged { wanted, error });
        if remove && let Err(error) = self.backend.remove(&wanted.digest).await {
            listen(Event::NotKept { error: &error });
        }
    }

    pub(crate) async fn wrong_size(
        &self,
        wanted: &Wanted,
        size: u64,
        listen: Listener<'_>,
    ) -> Result<()> {
        self.size_is_right(wanted).await?;
        let expected = wanted.size.unwrap_or_default();
        let error = err!(
            SizeMismatch,
            "{} must have {expected} bytes, and has {size} in the cache",
            wanted.label()
        );
        self.damaged(wanted, &error, true, listen).await;
        Ok(())
    }

    /// What the cache has may be right, and the size that somebody says wrong: then no registry
    /// can have what is wanted, and the good entry stays.
    async fn size_is_right(&self, wanted: &Wanted) -> Result<()> {
        if let Ok(Some(size)) = self.hash(&wanted.digest).await
            && let Some(expected) = wanted.size
            && expected != size
        {
            bail!(
                SizeMismatch,
                "{} has {size} bytes, not {expected}: what refers to it is wrong",
                wanted.label()
            );
        }
        Ok(())
    }

    /// Reads a blob in pieces: its size when it has its digest.
    ///
    /// # Errors
    /// `size_mismatch`, `digest_mismatch`, `storage`.
    pub(crate) async fn hash(&self, digest: &Digest) -> Result<Option<u64>> {
        let Some(size) = self.backend.size(digest).await? else {
            return Ok(None);
        };
        let mut verifier = Verifier::new(&Wanted::manifest(*digest).descriptor(size));
        while verifier.seen() < size {
            let seen = verifier.seen();
            match self.backend.read_at(digest, seen, PIECE).await? {
                Some(piece) if !piece.is_empty() => verifier.update(&piece)?,
                Some(_) => break,
                None => return Ok(None),
            }
        }
        verifier.finish().map(|()| Some(size))
    }

    fn hit(&self, bytes: u64) {
        self.count(|statistics| {
            statistics.hits += 1;
            statistics.bytes_saved += bytes;
        });
    }
}
