//! Content by digest: fetched once, verified on the way, verified again when it is read.

use std::pin::pin;

use futures_util::future::{Either, select};
use twinfer::{Error, ErrorCode, Result, err};
use twinfer_package::Content;

use crate::cache::blob_lock;
use crate::incoming::{Broken, Incoming};
use crate::local::Found;
use crate::origin::{Body, no_origin};
use crate::{Backend, Cache, Env, Event, Listener, LockMode, Origin, Wanted};

/// Progress after which failures are counted anew: a bad line may break a long download often.
const PROGRESS: u64 = 64 << 10;
/// Bytes that must arrive within [`crate::Options::stall`].
const SLOWEST: u64 = 1 << 10;
impl<B: Backend, E: Env> Cache<B, E> {
    /// Gets content: from the cache where it is there and right, else from the registry, and
    /// then it is kept.
    ///
    /// What [`Cache::statistics`] counts of this is kept by [`Cache::save_statistics`], and what
    /// it keeps belongs to a package by [`Cache::hold`]: [`Cache::load`] does both by itself.
    ///
    /// # Errors
    /// `network`, `missing_blob`, `size_mismatch`, `digest_mismatch`, `unauthorized`: what the
    /// first of the registries did; `out_of_memory`. Never those of keeping: what cannot be kept
    /// is a [`Event::NotKept`].
    pub async fn get<O: Origin>(
        &self,
        origins: &[O],
        wanted: &Wanted,
        listen: Listener<'_>,
    ) -> Result<Content> {
        self.get_and_keep(origins, wanted, true, listen).await
    }

    /// As [`Cache::get`]; without `keep`, what has to be fetched is not kept.
    pub(crate) async fn get_and_keep<O: Origin>(
        &self,
        origins: &[O],
        wanted: &Wanted,
        keep: bool,
        listen: Listener<'_>,
    ) -> Result<Content> {
        if let Found::Good(content) = self.look(wanted, listen).await {
            return Ok(content);
        }
        let lock = self.lock_blob(wanted, listen).await;
        // Whoever held the lock before may have fetched it.
        if let Some(content) = self.mend(wanted, lock.is_some(), listen).await? {
            return Ok(content);
        }
        // Without the lock, two who write to the same place would mix what they write.
        let writer = match lock.is_some() && keep {
            true => self.writer(wanted, listen).await,
            false => None,
        };
        let mut incoming = Incoming::new(wanted, writer, true);
        let downloaded = self.download(origins, &mut incoming, listen).await;
        if incoming.full {
            // A part that cannot be completed must not take the last room.
            if let Err(error) = self.backend.remove_partial(&wanted.digest).await {
                listen(Event::NotKept { error: &error });
            }
        }
        downloaded?;
        incoming.content()
    }

    /// Makes sure that content is in the cache, without having it in memory. What is there
    /// with the right size is not read: whoever reads it verifies it, and calls [`Cache::check`]
    /// when it is wrong.
    ///
    /// # Errors
    /// As [`Cache::get`], and those of keeping it.
    pub async fn ensure<O: Origin>(
        &self,
        origins: &[O],
        wanted: &Wanted,
        listen: Listener<'_>,
    ) -> Result<()> {
        if self.is_there(wanted).await? {
            return Ok(());
        }
        let name = blob_lock(&wanted.digest);
        let waiting = || listen(Event::Waiting { wanted });
        let _lock = self.wait_for(&name, LockMode::Exclusive, waiting).await?;
        if self.is_there(wanted).await? {
            return Ok(());
        }
        if let Some(size) = self.backend.size(&wanted.digest).await? {
            self.wrong_size(wanted, size, listen).await?;
        }
        let writer = self.backend.write(&wanted.digest).await?;
        let mut incoming = Incoming::new(wanted, Some(writer), false);
        let downloaded = self.download(origins, &mut incoming, listen).await;
        if incoming.full {
            // As in `get`; the first error is the one to tell.
            let _ = self.backend.remove_partial(&wanted.digest).await;
        }
        downloaded
    }

    /// Without the lock it is fetched all the same, and not kept.
    pub(crate) async fn lock_blob(&self, wanted: &Wanted, listen: Listener<'_>) -> Option<B::Lock> {
        if !self.options.keep {
            return None;
        }
        let waiting = || listen(Event::Waiting { wanted });
        let name = blob_lock(&wanted.digest);
        let lock = self.wait_for(&name, LockMode::Exclusive, waiting).await;
        lock.inspect_err(|error| listen(Event::NotKept { error }))
            .ok()
    }

    async fn writer(&self, wanted: &Wanted, listen: Listener<'_>) -> Option<B::Writer> {
        let writer = self.backend.write(&wanted.digest).await;
        writer
            .inspect_err(|error| listen(Event::NotKept { error }))
            .ok()
    }

    /// Fetches from one registry after the other until all is there and right.
    async fn download<O: Origin>(
        &self,
        origins: &[O],
        incoming: &mut Incoming<'_, B::Writer>,
        listen: Listener<'_>,
    ) -> Result<()> {
        self.count(|statistics| statistics.misses += 1);
        incoming.go_on(listen).await?;
        self.count(|statistics| statistics.bytes_saved += incoming.at);
        let mut first: Option<Error> = None;
        for origin in origins {
            match self.download_from(origin, incoming, listen).await {
                Ok(()) => {
                    incoming.commit(listen).await?;
                    return Ok(());
                }
                Err(Broken::Keeping(error)) => return Err(error),
                Err(Broken::Origin(error)) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(no_origin))
    }

    async fn download_from<O: Origin>(
        &self,
        origin: &O,
        incoming: &mut Incoming<'_, B::Writer>,
        listen: Listener<'_>,
    ) -> Result<(), Broken> {
        let (mut failures, mut wrongs) = (0, 0);
        let (mut failed_at, mut anew) = (incoming.at, false);
        // What an earlier process or another registry gave is not the fault of this one.
        let mut inherited = incoming.at > 0;
        loop {
            let error = match self.attempt(origin, incoming, anew, listen).await {
                Ok(()) => return Ok(()),
                Err(Broken::Keeping(error)) => return Err(Broken::Keeping(error)),
                Err(Broken::Origin(error)) => error,
            };
            let attempts = self.options.attempts;
            let given_up = match error.code() {
                ErrorCode::DigestMismatch | ErrorCode::SizeMismatch => {
                    // Nothing of it can be trusted; a cache on the way may be what damaged it.
                    incoming.clear(listen).await.map_err(Broken::Keeping)?;
                    anew = true;
                    wrongs += u32::from(!std::mem::take(&mut inherited));
                    wrongs >= attempts.min(2)
                }
                code => {
                    if incoming.at >= failed_at.saturating_add(PROGRESS) {
                        failures = 0;
                    }
                    failures += 1;
                    failures
                        >= match code {
                            ErrorCode::Network => attempts,
                            ErrorCode::MissingBlob | ErrorCode::UnknownVersion => attempts.min(2),
                            _ => 1,
                        }
                }
            };
            failed_at = incoming.at;
            if given_up {
                return Err(Broken::Origin(error));
            }
            self.pause(failures.max(wrongs), &error, listen).await;
        }
    }

    async fn attempt<O: Origin>(
        &self,
        origin: &O,
        incoming: &mut Incoming<'_, B::Writer>,
        anew: bool,
        listen: Listener<'_>,
    ) -> Result<(), Broken> {
        let wanted = incoming.wanted;
        // All of it can be there already, and only the commit have been missing.
        if wanted.size.is_none_or(|size| incoming.at < size) || incoming.at == 0 {
            let opening = pin!(origin.open(wanted, incoming.at, anew));
            let stalled = pin!(self.env.sleep(self.options.stall));
            let mut opened = match select(opening, stalled).await {
                Either::Left((opened, _)) => opened.map_err(Broken::Origin)?,
                Either::Right(_) => return Err(Broken::Origin(self.too_slow(wanted))),
            };
            let mut skip = incoming.at.checked_sub(opened.offset).ok_or_else(|| {
                Broken::Origin(err!(
                    Network,
                    "{}: the server was asked for the bytes from {} on, and gave those from {} on",
                    wanted.label(),
                    incoming.at,
                    opened.offset
                ))
            })?;
            let before = incoming.at;
            self.receive(&mut opened.body, &mut skip, incoming, listen)
                .await?;
            // Cut off without a word: it goes on from there. What ends without anything new is
            // too short, and `verify` says so.
            if incoming.at > before
                && let Some(size) = wanted.size.filter(|size| incoming.at < *size)
            {
                return Err(Broken::Origin(err!(
                    Network,
                    "{}: the answer ended after {} of {size} bytes",
                    wanted.label(),
                    incoming.at
                )));
            }
        }
        incoming.verify().map_err(Broken::Origin)
    }

    async fn receive(
        &self,
        body: &mut impl Body,
        skip: &mut u64,
        incoming: &mut Incoming<'_, B::Writer>,
        listen: Listener<'_>,
    ) -> Result<(), Broken> {
        let mut stalled = pin!(self.env.sleep(self.options.stall));
        let mut in_window = 0;
        loop {
            let mut next = pin!(body.next());
            let piece = loop {
                // Polled by reference: a piece that came does not begin a new window.
                match select(next.as_mut(), stalled.as_mut()).await {
                    Either::Left((piece, _)) => break piece.map_err(Broken::Origin)?,
                    Either::Right(_) if in_window < SLOWEST => {
                        return Err(Broken::Origin(self.too_slow(incoming.wanted)));
                    }
                    Either::Right(_) => {
                        in_window = 0;
                        stalled.set(self.env.sleep(self.options.stall));
                    }
                }
            };
            let Some(piece) = piece else { return Ok(()) };
            in_window += piece.len() as u64;
            let over = usize::try_from(*skip)
                .unwrap_or(usize::MAX)
                .min(piece.len());
            *skip -= over as u64;
            let piece = &piece[over..];
            if piece.is_empty() {
                continue;
            }
            self.count(|statistics| statistics.bytes_fetched += piece.len() as u64);
            incoming.take(piece, listen).await?;
        }
    }

    fn too_slow(&self, wanted: &Wanted) -> Error {
        err!(
            Network,
            "{}: less than {SLOWEST} bytes came within {} ms",
            wanted.label(),
            self.options.stall
        )
    }

    /// Waits before the next attempt: twice as long after each failure, and of that a random
    /// part, so that not everybody comes back at once ("full jitter").
    pub(crate) async fn pause(&self, failures: u32, error: &Error, listen: Listener<'_>) {
        let longest = self
            .options
            .backoff
            .saturating_mul(1 << failures.saturating_sub(1).min(6));
        // Not less than a tenth: no attempt follows at once.
        let wait = (longest as f64 * (0.1 + 0.9 * self.env.random().clamp(0.0, 1.0))) as u64;
        listen(Event::Retry { error, wait });
        self.env.sleep(wait).await;
    }
}
