//! State of one process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::{Document, Rate, Result, State, Taken};

/// Counters and buckets that are kept; the oldest are forgotten beyond that, since their names
/// may come from clients.
const MAX_ENTRIES: usize = 100_000;

/// State that ends with the process.
#[derive(Default)]
pub struct MemoryState {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    documents: BTreeMap<String, Document>,
    counters: BTreeMap<String, (i64, Instant)>,
    /// The time at which each bucket is full, in milliseconds since 1970.
    buckets: BTreeMap<String, u64>,
}

impl MemoryState {
    /// Nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Each change is one assignment.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, key: &str, value: &[u8], expected: u64) -> Option<u64> {
        let mut kept = self.kept();
        let version = kept.documents.get(key).map_or(0, |known| known.version);
        if version != expected {
            return None;
        }
        let document = Document {
            value: value.to_vec(),
            version: version + 1,
        };
        kept.documents.insert(key.to_owned(), document);
        Some(version + 1)
    }

    fn remove(&self, key: &str, expected: u64) -> bool {
        let documents = &mut self.kept().documents;
        let is_it = documents
            .get(key)
            .is_some_and(|known| known.version == expected);
        is_it && documents.remove(key).is_some()
    }

    fn count(&self, counter: &str, by: i64, expires: Duration) -> i64 {
        let now = Instant::now();
        let counters = &mut self.kept().counters;
        if counters.len() >= MAX_ENTRIES {
            counters.retain(|_, (_, until)| *until > now);
        }
        let (sum, until) = counters.entry(counter.to_owned()).or_insert((0, now));
        if *until < now {
            *sum = 0;
        }
        *sum = sum.saturating_add(by);
        *until = now.checked_add(expires).unwrap_or(now);
        *sum
    }

    fn take_token(&self, bucket: &str, rate: Rate, now: u64) -> Taken {
        let buckets = &mut self.kept().buckets;
        if buckets.len() >= MAX_ENTRIES {
            // A full bucket is as good as a new one.
            buckets.retain(|_, full_at| *full_at > now);
        }
        let full_at = buckets.entry(bucket.to_owned()).or_insert(0);
        let (taken, next) = rate.take(*full_at, now);
        *full_at = next;
        taken
    }
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
        ready(Ok(self.write(key, value, expected))).boxed()
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

    fn add<'a>(
        &'a self,
        counter: &'a str,
        by: i64,
        expires: Duration,
    ) -> BoxFuture<'a, Result<i64>> {
        ready(Ok(self.count(counter, by, expires))).boxed()
    }

    fn take<'a>(&'a self, bucket: &'a str, rate: Rate, now: u64) -> BoxFuture<'a, Result<Taken>> {
        ready(Ok(self.take_token(bucket, rate, now))).boxed()
    }
}
