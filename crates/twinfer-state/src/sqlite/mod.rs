//! State in one SQLite file, for the processes of one machine.

mod counters;
mod documents;
mod file;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::limits::{check_key, check_value};
use crate::memory::since_1970;
use crate::runtime::block;
use crate::{Changes, Document, Rate, Result, State, StateError, Status, Sum, Taken};

pub(crate) use file::{Durability, connect, failed};

/// State in a SQLite file (WAL), which several processes may have open.
///
/// A document that was written survives a loss of power; of counters and buckets the last second
/// may go with it. An end of the process loses nothing.
pub struct SqliteState {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    /// Of their own, so that a request that takes a token does not wait for a disk.
    documents: Mutex<Connection>,
    counters: Mutex<Connection>,
}

impl SqliteState {
    /// Opens the file, or makes it with its folder.
    ///
    /// # Errors
    /// It cannot be opened or made, is another program's, or of a newer Twinfer.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let documents = file::open(path)?;
        let counters = connect(path, Durability::Process)?;
        let inner = Inner {
            path: path.to_owned(),
            documents: Mutex::new(documents),
            counters: Mutex::new(counters),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Does something with one of the connections, on a thread that may block.
    async fn on<T: Send + 'static>(
        &self,
        which: fn(&Inner) -> &Mutex<Connection>,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        block(move || {
            // A panic in a transaction rolled it back.
            let mut connection = which(&inner).lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection).map_err(|e| failed(&inner.path, &e))
        })
        .await
    }

    async fn on_documents<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.on(|inner| &inner.documents, work).await
    }

    async fn on_counters<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.on(|inner| &inner.counters, move |c| write(c, work))
            .await
    }
}

/// A transaction that writes: it waits for others at its begin, where waiting cannot deadlock.
fn write<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

impl State for SqliteState {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Document>>> {
        let key = key.to_owned();
        self.on_documents(move |c| documents::get(c, &key)).boxed()
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        expected: u64,
    ) -> BoxFuture<'a, Result<Option<u64>>> {
        async move {
            check_key(key)?;
            check_value(value)?;
            let (key, value) = (key.to_owned(), value.to_vec());
            self.on_documents(move |c| write(c, |t| documents::put(t, &key, &value, expected)))
                .await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a str, expected: u64) -> BoxFuture<'a, Result<bool>> {
        let key = key.to_owned();
        self.on_documents(move |c| write(c, |t| documents::delete(t, &key, expected)))
            .boxed()
    }

    fn keys<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        let prefix = prefix.to_owned();
        self.on_documents(move |c| documents::keys(c, &prefix))
            .boxed()
    }

    fn changed<'a>(
        &'a self,
        prefix: &'a str,
        since: Option<u64>,
    ) -> BoxFuture<'a, Result<Changes>> {
        let prefix = prefix.to_owned();
        self.on_documents(move |c| documents::changed(&c.transaction()?, &prefix, since))
            .boxed()
    }

    fn add<'a>(
        &'a self,
        counter: &'a str,
        by: i64,
        expires: Duration,
    ) -> BoxFuture<'a, Result<i64>> {
        async move {
            check_key(counter)?;
            let counter = counter.to_owned();
            self.on_counters(move |t| counters::add(t, &counter, by, expires, since_1970()))
                .await
        }
        .boxed()
    }

    fn merge<'a>(&'a self, id: &'a str, sums: &'a [Sum]) -> BoxFuture<'a, Result<()>> {
        async move {
            for sum in sums {
                check_key(&sum.counter)?;
            }
            let (id, sums) = (id.to_owned(), sums.to_vec());
            self.on_counters(move |t| counters::merge(t, &id, &sums, since_1970()))
                .await
        }
        .boxed()
    }

    fn take<'a>(&'a self, bucket: &'a str, rate: Rate, now: u64) -> BoxFuture<'a, Result<Taken>> {
        async move {
            check_key(bucket)?;
            let bucket = bucket.to_owned();
            self.on_counters(move |t| counters::take(t, &bucket, rate, now))
                .await
        }
        .boxed()
    }

    fn status(&self) -> Status {
        Status::connected("sqlite")
    }
}

/// SQLite has no unsigned numbers, and none of ours is that large.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A file that cannot be opened, with what to do.
pub(crate) fn unusable(path: &Path, why: &str) -> StateError {
    StateError::new(format!("the state file {} {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ANY;

    #[tokio::test]
    async fn a_full_disk_is_said_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let state = SqliteState::open(folder.path().join("state.sqlite")).unwrap();
        state.put("a", b"1", ANY).await.unwrap();
        let limit = |pages: i64| {
            let documents = state.inner.documents.lock().unwrap();
            documents
                .pragma_update(None, "max_page_count", pages)
                .unwrap();
        };
        // As many as there are.
        limit(1);
        let error = state.put("b", &[1; 1 << 20], ANY).await.unwrap_err();
        assert!(error.is_unreachable(), "{error}");
        assert!(error.message().contains("make room"), "{error}");
        assert_eq!(state.get("a").await.unwrap().unwrap().value, b"1");
        assert_eq!(state.get("b").await.unwrap(), None);
        limit(1 << 20);
        assert!(state.put("b", &[1; 1 << 20], ANY).await.unwrap().is_some());
    }
}
