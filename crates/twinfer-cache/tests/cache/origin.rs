//! A registry that does what a test tells it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use twinfer::{Error, ErrorCode, Result, err};
use twinfer_cache::{Asked, Body, Freshness, Opened, Origin, Wanted};
use twinfer_package::{Descriptor, Digest, MemoryStore, Reference, Store, media};

use crate::world::{sleep, take_turns};

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection breaks after so many bytes of this answer.
    Cut(usize),
    /// It ends after so many, as if that were all.
    Short(usize),
    /// More comes than there should be.
    Long,
    /// The byte at this place of the content is another.
    Flip(usize),
    /// All of it comes, wherever it was asked from.
    IgnoresOffset,
    /// It begins after where it was asked from.
    BeginsLater,
    /// It is not there.
    Missing,
    /// Nobody is there.
    Dead,
    /// It says no.
    Refuses,
    /// Nothing ever comes, not even a beginning.
    Silent,
    /// So many bytes come, and then nothing for ever.
    Hangs(usize),
    /// A piece comes each so many milliseconds.
    Drip(u64),
    /// An index that is none.
    Index(&'static str),
    /// Nothing has changed, whoever asks.
    Unchanged,
}

/// What it was asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    Index {
        validator: Option<String>,
    },
    Open {
        digest: Digest,
        offset: u64,
        anew: bool,
    },
}

pub struct Scripted {
    id: String,
    pub store: Rc<MemoryStore>,
    /// For the next answers, one each.
    pub faults: RefCell<VecDeque<Fault>>,
    /// For all after those.
    pub always: RefCell<Fault>,
    pub freshness: Cell<Freshness>,
    /// Gives ETags, and answers to them.
    pub etags: Cell<bool>,
    pub calls: RefCell<Vec<Call>>,
    /// Bytes of each piece.
    pub piece: Cell<usize>,
    /// Milliseconds before each answer.
    pub latency: Cell<u64>,
}

impl Scripted {
    pub fn new(store: &Rc<MemoryStore>) -> Self {
        Self::named("https://one.example", store)
    }

    pub fn named(id: &str, store: &Rc<MemoryStore>) -> Self {
        Self {
            id: id.into(),
            store: store.clone(),
            faults: RefCell::default(),
            always: RefCell::new(Fault::None),
            freshness: Cell::default(),
            etags: Cell::new(true),
            calls: RefCell::default(),
            piece: Cell::new(10_000),
            latency: Cell::new(1),
        }
    }

    pub fn with(self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults.borrow_mut().extend(faults);
        self
    }

    pub fn always(self, fault: Fault) -> Self {
        self.set_always(fault);
        self
    }

    pub fn set_always(&self, fault: Fault) {
        *self.always.borrow_mut() = fault;
    }

    pub fn set_freshness(&self, cache_control: &'static str) {
        let of = |name: &str| (name == "cache-control").then_some(cache_control);
        self.freshness.set(Freshness::of_headers(of));
    }

    /// What it was asked since the last time.
    pub fn take_calls(&self) -> Vec<Call> {
        self.calls.take()
    }

    /// How often content was asked for since the last time.
    pub fn take_opens(&self) -> usize {
        let calls = self.take_calls();
        calls
            .iter()
            .filter(|c| matches!(c, Call::Open { .. }))
            .count()
    }

    fn fault(&self) -> Fault {
        let next = self.faults.borrow_mut().pop_front();
        next.unwrap_or_else(|| self.always.borrow().clone())
    }

    async fn before(&self, fault: &Fault) -> Result<()> {
        sleep(self.latency.get()).await;
        match fault {
            Fault::Dead => Err(err!(Network, "nobody is there")),
            Fault::Refuses => Err(err!(Unauthorized, "no")),
            Fault::Silent => {
                sleep(u64::MAX / 4).await;
                Err(err!(Network, "the end of days"))
            }
            _ => Ok(()),
        }
    }
}

impl Origin for Scripted {
    type Body = Pieces;

    fn id(&self) -> &str {
        &self.id
    }

    fn index_key(&self, _reference: &Reference) -> String {
        String::new()
    }

    async fn index(&self, _reference: &Reference, validator: Option<&str>) -> Result<Asked> {
        self.calls.borrow_mut().push(Call::Index {
            validator: validator.map(str::to_owned),
        });
        let fault = self.fault();
        self.before(&fault).await?;
        let index = match fault {
            Fault::Missing => return Err(err!(NotFound, "there is no index.json")),
            Fault::Index(text) => text.into(),
            Fault::Unchanged => return Ok(Asked::Unchanged(self.freshness.get())),
            _ => self.store.index()?,
        };
        let etag = self
            .etags
            .get()
            .then(|| format!("\"{}\"", Digest::of(&index)));
        if etag.is_some() && etag.as_deref() == validator {
            return Ok(Asked::Unchanged(self.freshness.get()));
        }
        Ok(Asked::Changed {
            index,
            validator: etag,
            freshness: self.freshness.get(),
        })
    }

    async fn open(&self, wanted: &Wanted, offset: u64, anew: bool) -> Result<Opened<Pieces>> {
        self.calls.borrow_mut().push(Call::Open {
            digest: wanted.digest,
            offset,
            anew,
        });
        let fault = self.fault();
        self.before(&fault).await?;
        if fault == Fault::Missing {
            return Err(err!(MissingBlob, "{} is not here", wanted.label()));
        }
        let mut content = self.store.blob(&any(wanted.digest))?;
        let mut offset = offset as usize;
        match fault {
            Fault::Flip(at) => content[at] ^= 1,
            Fault::Long => content.extend_from_slice(&[7; 100]),
            Fault::IgnoresOffset => offset = 0,
            Fault::BeginsLater => offset += 1,
            _ => {}
        }
        let mut left = content.split_off(offset.min(content.len()));
        let end = match fault {
            Fault::Cut(bytes) => End::Breaks.after(&mut left, bytes),
            Fault::Short(bytes) => End::Whole.after(&mut left, bytes),
            Fault::Hangs(bytes) => End::Hangs.after(&mut left, bytes),
            _ => End::Whole,
        };
        Ok(Opened {
            body: Pieces {
                left,
                piece: self.piece.get(),
                pause: match fault {
                    Fault::Drip(pause) => pause,
                    _ => 0,
                },
                end,
            },
            offset: offset as u64,
        })
    }
}

fn any(digest: Digest) -> Descriptor {
    Descriptor {
        digest,
        size: 1 << 40,
        ..Descriptor::new(media::MANIFEST, b"")
    }
}

#[derive(Debug, Clone, Copy)]
enum End {
    Whole,
    Breaks,
    Hangs,
}

impl End {
    fn after(self, left: &mut Vec<u8>, bytes: usize) -> Self {
        left.truncate(bytes);
        self
    }
}

pub struct Pieces {
    left: Vec<u8>,
    piece: usize,
    pause: u64,
    end: End,
}

impl Body for Pieces {
    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        // Every piece takes its moment: others get their turn.
        take_turns().await;
        sleep(self.pause).await;
        if self.left.is_empty() {
            return match self.end {
                End::Whole => Ok(None),
                End::Breaks => Err(Error::new(ErrorCode::Network, "the connection broke")),
                End::Hangs => {
                    sleep(u64::MAX / 4).await;
                    Ok(None)
                }
            };
        }
        let later = self.left.split_off(self.piece.min(self.left.len()));
        Ok(Some(std::mem::replace(&mut self.left, later)))
    }
}
