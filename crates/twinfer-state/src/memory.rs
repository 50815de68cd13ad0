//! State of one process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::bounded::Bounded;
use crate::change::Journal;
use crate::limits::{check_key, check_value};
use crate::{ANY, Changes, Document, Rate, Result, State, Status, Sum, Taken};

/// How long the name of a merge is known.
const MERGE_KNOWN: Duration = Duration::from_secs(86_400);

/// State that ends with the process.
#[derive(Default)]
pub struct MemoryState {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    documents: BTreeMap<String, Document>,
    journal: Journal,
    counters: Bounded<i64>,
    /// The time at which each bucket is full, in milliseconds since 1970.
    buckets: Bounded<u64>,
    merges: Bounded<()>,
}

impl MemoryState {
    /// Nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing below panics between two parts of one change.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, key: &str, value: &[u8], expected: u64) -> Result<Option<u64>> {
        check_key(key)?;
        check_value(value)?;
        let kept = &mut *self.kept();
        let version = kept.documents.get(key).map_or(0, |known| known.version);
        if expected != ANY && version != expected {
            return Ok(None);
        }
        let version = kept.journal.note(key);
        let document = Document {
            value: value.to_vec(),
            version,
        };
        kept.documents.insert(key.to_owned(), document);
        Ok(Some(version))
    }

    fn remove(&self, key: &str, expected: u64) -> bool {
        let kept = &mut *self.kept();
        let version = kept.documents.get(key).map(|known| known.version);
        if version.is_none_or(|version| expected != ANY && version != expected) {
            return false;
        }
        kept.documents.remove(key);
        kept.journal.note(key);
        true
    }

    fn sum_up(&self, id: &str, sums: &[Sum]) -> Result<()> {
        for sum in sums {
            check_key(&sum.counter)?;
        }
        let (now, kept) = (since_1970(), &mut *self.kept());
        if kept.merges.get(id, now).is_none() {
            kept.merges.insert(id, (), later(now, MERGE_KNOWN), now);
            for sum in sums {
                kept.count(&sum.counter, sum.by, sum.expires, now);
            }
        }
        Ok(())
    }
}

impl Kept {
    fn count(&mut self, counter: &str, by: i64, expires: Duration, now: u64) -> i64 {
        let sum = self.counters.get(counter, now).copied().unwrap_or(0);
        let sum = sum.saturating_add(by);
        let until = later(now, expires);
        self.counters.insert(counter, sum, until, now);
        sum
    }

    fn take(&mut self, bucket: &str, rate: Rate, now: u64) -> Taken {
        // A full bucket is as good as a new one.
        let full_at = self.buckets.get(bucket, now).copied().unwrap_or(0);
        let (taken, next) = rate.take(full_at, now);
        self.buckets.insert(bucket, next, next, now);
        taken
    }
}

/// Milliseconds.
pub(crate) fn since_1970() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(time.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// A time in milliseconds, this long after another.
pub(crate) fn later(now: u64, after: Duration) -> u64 {
    now.saturating_add(millis(after))
}

/// At least 1: nothing is forgotten at once.
pub(crate) fn millis(time: Duration) -> u64 {
    // A hundred years are for ever, and the numbers of all places go so far.
    const LONGEST: u128 = 100 * 365 * 86_400_000;
    u64::try_from(time.as_millis().clamp(1, LONGEST)).unwrap_or(1)
}

impl State for MemoryState {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Document>>> {
        ready(Ok(self.kept().documents.get(key).cloned())).boxed()
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        expected: u64,
    ) -> BoxFuture<'a, Result<Option<u64>>> {
        ready(self.write(key, value, expected)).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str, expected: u64) -> BoxFuture<'a, Result<bool>> {
        ready(Ok(self.remove(key, expected))).boxed()
    }

    fn keys<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        let kept = self.kept();
        let from = kept.documents.range(prefix.to_owned()..);
        let keys = from.map(|(key, _)| key);
        let keys = keys.take_while(|key| key.starts_with(prefix)).cloned();
        ready(Ok(keys.collect())).boxed()
    }

    fn changed<'a>(
        &'a self,
        prefix: &'a str,
        since: Option<u64>,
    ) -> BoxFuture<'a, Result<Changes>> {
        ready(Ok(self.kept().journal.since(prefix, since))).boxed()
    }

    fn add<'a>(
        &'a self,
        counter: &'a str,
        by: i64,
        expires: Duration,
    ) -> BoxFuture<'a, Result<i64>> {
        let sum =
            check_key(counter).map(|()| self.kept().count(counter, by, expires, since_1970()));
        ready(sum).boxed()
    }

    fn merge<'a>(&'a self, id: &'a str, sums: &'a [Sum]) -> BoxFuture<'a, Result<()>> {
        ready(self.sum_up(id, sums)).boxed()
    }

    fn take<'a>(&'a self, bucket: &'a str, rate: Rate, now: u64) -> BoxFuture<'a, Result<Taken>> {
        let taken = check_key(bucket).map(|()| self.kept().take(bucket, rate, now));
        ready(taken).boxed()
    }

    fn status(&self) -> Status {
        Status::connected("memory")
    }
}
