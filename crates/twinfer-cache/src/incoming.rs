//! Content that comes in: checked on the way, and kept where it can be.

use twinfer::{Error, ErrorCode, Result, bail, err};
use twinfer_package::{Collector, Content, Verifier};

use crate::backend::BlobWriter;
use crate::{Event, Listener, Wanted};

/// Bytes that are read back at once of what was fetched before.
const PIECE: usize = 1 << 20;

/// Whose fault it is.
pub(crate) enum Broken {
    /// The registry's: another attempt or another registry may do better.
    Origin(Error),
    /// The back end's.
    Keeping(Error),
}

/// Content that comes in.
pub(crate) struct Incoming<'a, W> {
    pub wanted: &'a Wanted,
    writer: Option<W>,
    /// Bytes that are there.
    pub at: u64,
    check: Option<Check>,
    /// It is wanted in memory.
    collect: bool,
    content: Option<Content>,
    /// There was no room to keep it.
    pub full: bool,
}

enum Check {
    Stream(Verifier),
    Memory(Collector),
    /// Its size is not known: it is checked at the end.
    Unsized(Vec<u8>),
}

impl<'a, W: BlobWriter> Incoming<'a, W> {
    pub fn new(wanted: &'a Wanted, writer: Option<W>, collect: bool) -> Self {
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
    pub async fn go_on(&mut self, listen: Listener<'_>) -> Result<()> {
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
        if self.at > 0 {
            listen(Event::Progress {
                wanted: self.wanted,
                loaded: self.at,
                total: self.wanted.size,
                cached: true,
            });
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

    pub async fn take(&mut self, piece: &[u8], listen: Listener<'_>) -> Result<(), Broken> {
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

    pub async fn clear(&mut self, listen: Listener<'_>) -> Result<()> {
        self.begin();
        if let Some(writer) = &mut self.writer
            && let Err(error) = writer.clear().await
        {
            self.not_kept(error, listen)?;
        }
        Ok(())
    }

    /// The verdict, when all has come.
    pub fn verify(&mut self) -> Result<()> {
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

    pub async fn commit(&mut self, listen: Listener<'_>) -> Result<()> {
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        match writer.commit().await {
            Ok(()) => Ok(()),
            Err(error) => self.not_kept(error, listen),
        }
    }

    pub fn content(self) -> Result<Content> {
        self.content
            .ok_or_else(|| err!(Internal, "content ended without a verdict"))
    }
}
