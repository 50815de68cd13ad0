//! State that outlives a request, and that several hosts can share: documents with a version,
//! counters, token buckets.
//!
//! The seam is [`State`]; who needs state is written against it, once. [`MemoryState`] is one
//! process, and what tests use.
#![deny(missing_docs)]

mod bucket;
mod error;
mod memory;

use std::time::Duration;

use futures_util::future::BoxFuture;

pub use bucket::{Rate, Taken};
pub use error::{Result, StateError};
pub use memory::MemoryState;

/// A document, and how often it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its bytes.
    pub value: Vec<u8>,
    /// 1 after it was made, one more after each change.
    pub version: u64,
}

/// Where state is kept. All methods are atomic, among hosts too where the place is shared.
///
/// # Errors
/// [`StateError`] when the place cannot be reached or does not do what it should.
pub trait State: Send + Sync {
    /// A document; `None` when there is none.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Document>>>;

    /// Writes a document when its version is still `expected` (0: when there is none), and gives
    /// the new version; `None` when somebody else was faster, and then nothing changed.
    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        expected: u64,
    ) -> BoxFuture<'a, Result<Option<u64>>>;

    /// Takes a document away when its version is still `expected`; whether it did.
    fn delete<'a>(&'a self, key: &'a str, expected: u64) -> BoxFuture<'a, Result<bool>>;

    /// The keys that begin with `prefix`, in their order.
    fn keys<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>>>;

    /// Adds to a counter, which begins at 0 and is forgotten when nobody adds for `expires`; gives
    /// the sum.
    fn add<'a>(
        &'a self,
        counter: &'a str,
        by: i64,
        expires: Duration,
    ) -> BoxFuture<'a, Result<i64>>;

    /// Takes a token out of a bucket that fills at `rate`. `now` is in milliseconds since 1970.
    fn take<'a>(&'a self, bucket: &'a str, rate: Rate, now: u64) -> BoxFuture<'a, Result<Taken>>;
}
