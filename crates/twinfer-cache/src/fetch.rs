//! Content by digest: fetched once, verified on the way, verified again when it is read.

use std::pin::pin;

use futures_util::future::{Either, select};
use twinfer::{Error, ErrorCode, Result, bail, err};
use twinfer_package::{Collector, Content, Verifier};

use crate::backend::BlobWriter;
use crate::cache::blob_lock;
use crate::origin::{Body, no_origin};
use crate::{Backend, Cache, Env, Event, Listener, LockMode, Origin, Wanted};

/// Progress after which failures are counted anew: a bad line may break a long download often.
const PROGRESS: u64 = 64 << 10;
/// Bytes that must arrive within [`crate::Options::stall`].
const SLOWEST: u64 = 1 << 10;
/// Bytes that are read back at once of what was fetched before.
const PIECE: usize = 1 << 20;

impl<B: Backend, E: Env> Cache<B, E> {
    /// Gets content: from the cache where it is there and right, else from the registry, and
    /// then it is kept.
    ///
    /// # Errors
    /// `network`, `missing_blob`, `size_mismatch`, `digest_mismatch`, `unauthorized`: what the
    /// last of the registries did; `out_of_memory`. Never those of keeping: what cannot be kept
    /// is a [`Event::NotKept`].
    pub async fn get<O: Origin>(
        &self,
        origins: &[O],
        wanted: &Wanted,
        listen: Listener<'_>,
    ) -> Result<Content> {
        self.get_and_keep(origins, wanted, true, listen).await
    }

    /// As [`Cache::get`]; where there is no room for it, it is not kept.
    pub(crate) async fn get_and_keep<O: Origin>(
        &self,
        origins: &[O],
        wanted: &Wanted,
        room: bool,
        listen: Listener<'_>,
    ) -> Result<Content> {
        if let Some(content) = self.local(wanted, listen).await {
            return Ok(content);
        }
        let _lock = self.lock_blob(wanted, listen).await;
        // Whoever held the lock before may have fetched it.
        if let Some(content) = self.local(wanted, listen).await {
            return Ok(content);
        }
        let writer = match self.options.keep && room {
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
    /// with the right size is not read.
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
        let writer = self.backend.write(&wanted.digest).await?;
        let mut incoming = Incoming::new(wanted, Some(writer), false);
        self.download(origins, &mut incoming, listen).await
    }

    async fn is_there(&self, wanted: &Wanted) -> Result<bool> {
        let size = self.backend.size(&wanted.digest).await?;
        let there = size.is_some_and(|size| wanted.size.is_none_or(|wanted| wanted == size));
        if there {
            self.count(|statistics| {
                statistics.hits += 1;
                statistics.bytes_saved += size.unwrap_or_default();
            });
        }
        Ok(there)
    }

    /// Content from the cache, verified. A bad entry is a miss, and is removed.
    pub(crate) async fn local(&self, wanted: &Wanted, listen: Listener<'_>) -> Option<Content> {
        if !self.options.keep {
            return None;
        }
        // A back end that cannot be read is as good as an empty one.
        let bytes = self
            .backend
            .read(&wanted.digest, wanted.limit())
            .await
            .ok()??;
        let length = bytes.len() as u64;
        let descriptor = wanted.descriptor(wanted.size.unwrap_or(length));
        match Content::check(&descriptor, bytes) {
            Ok(content) => {
                self.count(|statistics| {
                    statistics.hits += 1;
                    statistics.bytes_saved += length;
                });
                listen(Event::Progress {
                    wanted,
                    loaded: length,
                    total: wanted.size,
                    cached: true,
                });
                Some(content)
            }
            Err(error) => {
                self.count(|statistics| statistics.damaged += 1);
                listen(Event::Damaged {
                    wanted,
                    error: &error,
                });
                if let Err(error) = self.backend.remove(&wanted.digest).await {
                    listen(Event::NotKept { error: &error });
                }
                None
            }
        }
    }

    /// Without the lock it is fetched all the same, perhaps twice.
    async fn lock_blob(&self, wanted: &Wanted, listen: Listener<'_>) -> Option<B::Lock> {
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
        let (mut failures, mut failed_at) = (0, incoming.at);
        // Counted by itself: content that is wrong made progress, too.
        let mut times_wrong = 0;
        loop {
            let anew = times_wrong > 0;
            let error = match self.attempt(origin, incoming, anew, listen).await {
                Ok(()) => return Ok(()),
                Err(Broken::Keeping(error)) => return Err(Broken::Keeping(error)),
                Err(Broken::Origin(error)) => error,
            };
            if incoming.at >= failed_at.saturating_add(PROGRESS) {
                failures = 0;
            }
            failures += 1;
            let wrong = matches!(
                error.code(),
                ErrorCode::DigestMismatch | ErrorCode::SizeMismatch
            );
            if wrong {
                // Nothing of it can be trusted; a cache on the way may be what damaged it.
                incoming.clear(listen).await.map_err(Broken::Keeping)?;
                times_wrong += 1;
            }
            failed_at = incoming.at;
            let attempts = match error.code() {
                ErrorCode::Network => self.options.attempts,
                ErrorCode::MissingBlob | ErrorCode::UnknownVersion => self.options.attempts.min(2),
                _ if wrong => self.options.attempts,
                _ => 1,
            };
            if failures >= attempts || times_wrong >= self.options.attempts.min(2) {
                return Err(Broken::Origin(error));
            }
            self.pause(failures, &error, listen).await;
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
            self.receive(&mut opened.body, &mut skip, incoming, listen)
                .await?;
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

/// Whose fault it is.
enum Broken {
    /// The registry's: another attempt or another registry may do better.
    Origin(Error),
    /// The back end's.
    Keeping(Error),
}

/// Content that comes in.
struct Incoming<'a, W> {
    wanted: &'a Wanted,
    writer: Option<W>,
    /// Bytes that are there.
    at: u64,
    check: Option<Check>,
    /// It is wanted in memory.
    collect: bool,
    content: Option<Content>,
    /// There was no room to keep it.
    full: bool,
}

enum Check {
    Stream(Verifier),
    Memory(Collector),
    /// Its size is not known: it is checked at the end.
    Unsized(Vec<u8>),
}

impl<'a, W: BlobWriter> Incoming<'a, W> {
    fn new(wanted: &'a Wanted, writer: Option<W>, collect: bool) -> Self {
        let mut incoming = Self {
            wanted,
            writer,
            at: 0,
            check: None,
            collect,
            content: None,
            full: false,
        };
        incoming.begin();
        incoming
    }

    fn begin(&mut self) {
        self.at = 0;
        self.content = None;
        self.check = Some(match self.wanted.size {
            None => Check::Unsized(Vec::new()),
            Some(size) if self.collect => {
                Check::Memory(Collector::new(&self.wanted.labelled(size)))
            }
            Some(size) => Check::Stream(Verifier::new(&self.wanted.labelled(size))),
        });
    }

    /// Takes over what an earlier attempt left in the cache.
    async fn go_on(&mut self, listen: Listener<'_>) -> Result<()> {
        loop {
            let Some(writer) = &mut self.writer else {
                return Ok(());
            };
            let there = writer.len();
            if there == self.at {
                break;
            }
            let usable = self.wanted.size.is_some_and(|size| there <= size);
            let piece = match usable {
                true => writer.read_back(self.at, PIECE).await,
                false => Ok(Vec::new()),
            };
            match piece {
                Ok(piece) if !piece.is_empty() => self.check(&piece)?,
                _ => return self.clear(listen).await,
            }
        }
        Ok(())
    }

    fn check(&mut self, piece: &[u8]) -> Result<()> {
        match &mut self.check {
            Some(Check::Stream(verifier)) => verifier.update(piece)?,
            Some(Check::Memory(collector)) => collector.update(piece)?,
            Some(Check::Unsized(bytes)) => {
                if (bytes.len() + piece.len()) as u64 > self.wanted.limit() {
                    bail!(
                        SizeMismatch,
                        "{} has more than {} bytes",
                        self.wanted.label(),
                        self.wanted.limit()
                    );
                }
                bytes.extend_from_slice(piece);
            }
            None => bail!(Internal, "content came after its end"),
        }
        self.at += piece.len() as u64;
        Ok(())
    }

    async fn take(&mut self, piece: &[u8], listen: Listener<'_>) -> Result<(), Broken> {
        self.check(piece).map_err(|error| match error.code() {
            ErrorCode::OutOfMemory => Broken::Keeping(error),
            _ => Broken::Origin(error),
        })?;
        if let Some(writer) = &mut self.writer
            && let Err(error) = writer.append(piece).await
        {
            self.not_kept(error, listen).map_err(Broken::Keeping)?;
        }
        listen(Event::Progress {
            wanted: self.wanted,
            loaded: self.at,
            total: self.wanted.size,
            cached: false,
        });
        Ok(())
    }

    /// Goes on in memory only, where that is where it is wanted.
    fn not_kept(&mut self, error: Error, listen: Listener<'_>) -> Result<()> {
        self.writer = None;
        self.full |= error.code() == ErrorCode::OutOfSpace;
        if !self.collect {
            return Err(error);
        }
        listen(Event::NotKept { error: &error });
        Ok(())
    }

    async fn clear(&mut self, listen: Listener<'_>) -> Result<()> {
        self.begin();
        if let Some(writer) = &mut self.writer
            && let Err(error) = writer.clear().await
        {
            self.not_kept(error, listen)?;
        }
        Ok(())
    }

    /// The verdict, when all has come.
    fn verify(&mut self) -> Result<()> {
        match self.check.take() {
            Some(Check::Stream(verifier)) => verifier.finish(),
            Some(Check::Memory(collector)) => {
                self.content = Some(collector.finish()?);
                Ok(())
            }
            Some(Check::Unsized(bytes)) => {
                let descriptor = self.wanted.labelled(bytes.len() as u64);
                self.content = Some(Content::check(&descriptor, bytes)?);
                Ok(())
            }
            None => bail!(Internal, "content was verified twice"),
        }
    }

    async fn commit(&mut self, listen: Listener<'_>) -> Result<()> {
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        match writer.commit().await {
            Ok(()) => Ok(()),
            Err(error) => self.not_kept(error, listen),
        }
    }

    fn content(self) -> Result<Content> {
        self.content
            .ok_or_else(|| err!(Internal, "content ended without a verdict"))
    }
}
