//! Going on when the place of the state is gone.

mod copy;
mod event;
mod link;
mod local;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use self::copy::Copy;
pub use self::event::{Event, EventSink};
use self::local::Local;
use crate::memory::since_1970;
use crate::runtime::{block, runtime};
use crate::{Changes, Document, Rate, Result, State, StateError, Status, Sum, Taken};

/// A place that may go away, and what goes on meanwhile:
///
/// | | while the place is gone | when it is back |
/// |---|---|---|
/// | documents | those that this host has read or written before; of others it says that it does not know | are read again |
/// | changing documents | is refused | |
/// | counters | count on from the last sum known here | what was added here is added there, once |
/// | buckets | go on from what is known here | those of the place count |
/// | what changed | is not known | [`crate::Watch`] says that everything may have |
///
/// It looks for the place by itself. An answer that does not arrive may have been given all the
/// same: a count that was under way when the place went is then counted here too.
pub struct Resilient<S> {
    inner: Arc<Inner<S>>,
}

/// What is told to [`Resilient::start`].
#[derive(Debug, Clone, Default)]
pub struct ResilientOptions {
    /// File for the copy of documents, so that they are known after a restart too. `None`: in
    /// memory.
    pub copy: Option<PathBuf>,
    /// Who is told that the place is gone, or back.
    pub events: EventSink,
}

struct Inner<S> {
    place: S,
    copy: Arc<Mutex<Copy>>,
    known: Mutex<Known>,
    /// Changed only under the lock of `known`.
    connected: AtomicBool,
    copy_failed: AtomicBool,
    events: EventSink,
    /// Something that no other host has.
    name: String,
}

/// What counts while the place is gone.
struct Known {
    local: Local,
    lost_since: Option<SystemTime>,
    /// Counters that the place was told since it was found.
    merged: usize,
}

impl<S: State + 'static> Resilient<S> {
    /// Begins with a first look at the place, which it waits for: a second or two where it is
    /// gone.
    ///
    /// # Errors
    /// The file of the copy cannot be used; threads cannot be started.
    pub fn start(place: S, options: ResilientOptions) -> Result<Self> {
        let name = random_name()?;
        let inner = Arc::new(Inner {
            place,
            copy: Arc::new(Mutex::new(Copy::open(options.copy.as_deref())?)),
            known: Mutex::new(Known {
                local: Local::new(name.clone()),
                lost_since: None,
                merged: 0,
            }),
            connected: AtomicBool::new(true),
            copy_failed: AtomicBool::new(false),
            events: options.events,
            name,
        });
        let (looked, done) = mpsc::channel();
        let first = inner.clone();
        runtime()?.spawn(async move {
            first.look().await;
            let _ = looked.send(());
            let weak = Arc::downgrade(&first);
            drop(first);
            link::tend(weak).await;
        });
        let _ = done.recv();
        Ok(Self { inner })
    }
}

fn random_name() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| StateError::new(format!("there are no random numbers: {e}")))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

impl<S: State + 'static> Inner<S> {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Numbers that were not updated are old, and nothing else.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the place says; `None` when it is gone.
    async fn ask<'a, T>(
        &'a self,
        question: impl FnOnce(&'a S) -> BoxFuture<'a, Result<T>>,
    ) -> Result<Option<T>> {
        if !self.is_connected() {
            return Ok(None);
        }
        match question(&self.place).await {
            Err(error) if error.is_unreachable() => {
                self.lost(&error);
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }

    fn gone(&self, what: &str) -> StateError {
        let kind = self.place.status().kind;
        StateError::unreachable(format!(
            "the state ({kind}) does not answer now, {what}; try again when it is back"
        ))
    }

    fn copy(&self) -> MutexGuard<'_, Copy> {
        // SQLite rolled back what was begun.
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the copy on a thread that may block.
    async fn with_copy<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Copy) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let copy = self.copy.clone();
        block(move || work(&mut copy.lock().unwrap_or_else(PoisonError::into_inner))).await
    }

    /// Notes in the copy what the place said of a document.
    async fn note(&self, key: &str, before: Option<Option<u64>>, document: Option<(&[u8], u64)>) {
        // Mostly it is known already.
        let version = document.map(|(_, version)| version);
        if before == Some(version) && self.copy().version(key) == before {
            return;
        }
        let (key, document) = (
            key.to_owned(),
            document.map(|(value, v)| (value.to_vec(), v)),
        );
        let noted = self.with_copy(move |copy| {
            let document = document.as_ref().map(|(value, v)| (&**value, *v));
            copy.note(&key, before, document)
        });
        let noted = noted.await;
        let failed = noted.is_err();
        // Said once, and again when it had worked in between.
        if self.copy_failed.swap(failed, Ordering::Relaxed) != failed
            && let Err(error) = noted
        {
            let reason = error.message().to_owned();
            self.events.tell(&Event::CopyFailed { reason });
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Document>> {
        let before = self.copy().version(key);
        if let Some(document) = self.ask(|place| place.get(key)).await? {
            let known = document.as_ref().map(|d| (&*d.value, d.version));
            self.note(key, before, known).await;
            return Ok(document);
        }
        let wanted = key.to_owned();
        let known = self.with_copy(move |copy| copy.get(&wanted)).await?;
        known.ok_or_else(|| self.gone(&format!("and this host has not read `{key}` before")))
    }

    async fn put(&self, key: &str, value: &[u8], expected: u64) -> Result<Option<u64>> {
        let before = self.copy().version(key);
        let version = self.ask(|place| place.put(key, value, expected)).await?;
        let version =
            version.ok_or_else(|| self.gone("and documents are not changed without it"))?;
        if let Some(version) = version {
            self.note(key, before, Some((value, version))).await;
        }
        Ok(version)
    }

    async fn delete(&self, key: &str, expected: u64) -> Result<bool> {
        let before = self.copy().version(key);
        let deleted = self.ask(|place| place.delete(key, expected)).await?;
        let deleted =
            deleted.ok_or_else(|| self.gone("and documents are not changed without it"))?;
        if deleted {
            self.note(key, before, None).await;
        }
        Ok(deleted)
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        if let Some(keys) = self.ask(|place| place.keys(prefix)).await? {
            return Ok(keys);
        }
        let prefix = prefix.to_owned();
        self.with_copy(move |copy| copy.keys(&prefix)).await
    }

    async fn add(&self, counter: &str, by: i64, expires: Duration) -> Result<i64> {
        if let Some(sum) = self.ask(|place| place.add(counter, by, expires)).await? {
            let now = since_1970();
            self.known().local.counted(counter, sum, expires, now);
            return Ok(sum);
        }
        crate::limits::check_key(counter)?;
        let sum = self.known().local.add(counter, by, expires, since_1970());
        sum.ok_or_else(|| self.gone("and too many sums wait for it"))
    }

    async fn merge(&self, id: &str, sums: &[Sum]) -> Result<()> {
        let merged = self.ask(|place| place.merge(id, sums)).await?;
        merged.ok_or_else(|| self.gone("and sums with a name are not added without it"))
    }

    async fn take(&self, bucket: &str, rate: Rate, now: u64) -> Result<Taken> {
        if let Some(taken) = self.ask(|place| place.take(bucket, rate, now)).await? {
            self.known().local.took(bucket, taken, now);
            return Ok(taken);
        }
        crate::limits::check_key(bucket)?;
        Ok(self.known().local.take(bucket, rate, now))
    }
}

impl<S: State + 'static> State for Resilient<S> {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Document>>> {
        self.inner.get(key).boxed()
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        expected: u64,
    ) -> BoxFuture<'a, Result<Option<u64>>> {
        self.inner.put(key, value, expected).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str, expected: u64) -> BoxFuture<'a, Result<bool>> {
        self.inner.delete(key, expected).boxed()
    }

    fn keys<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        self.inner.keys(prefix).boxed()
    }

    fn changed<'a>(
        &'a self,
        prefix: &'a str,
        since: Option<u64>,
    ) -> BoxFuture<'a, Result<Changes>> {
        let inner = &self.inner;
        async move {
            let changes = inner.ask(|place| place.changed(prefix, since)).await?;
            changes.ok_or_else(|| inner.gone("and what others changed is not known"))
        }
        .boxed()
    }

    fn add<'a>(
        &'a self,
        counter: &'a str,
        by: i64,
        expires: Duration,
    ) -> BoxFuture<'a, Result<i64>> {
        self.inner.add(counter, by, expires).boxed()
    }

    fn merge<'a>(&'a self, id: &'a str, sums: &'a [Sum]) -> BoxFuture<'a, Result<()>> {
        self.inner.merge(id, sums).boxed()
    }

    fn take<'a>(&'a self, bucket: &'a str, rate: Rate, now: u64) -> BoxFuture<'a, Result<Taken>> {
        self.inner.take(bucket, rate, now).boxed()
    }

    fn status(&self) -> Status {
        let known = self.inner.known();
        let kind = self.inner.place.status().kind;
        match known.lost_since {
            Some(since) => Status::lost(kind, since, known.local.pending()),
            None => Status::connected(kind),
        }
    }
}
