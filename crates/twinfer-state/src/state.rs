//! The seam.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::{Changes, Rate, Result, Status, Taken};

/// A document, and how new it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its bytes.
    pub value: Vec<u8>,
    /// The revision of the place at which it was written: it grows with each change, and no other
    /// document ever has it, not even a later one under the same key.
    pub version: u64,
}

/// What [`State::put`] and [`State::delete`] are given when the version does not matter.
pub const ANY: u64 = u64::MAX;

/// What is added to a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// The counter.
    pub counter: String,
    /// What is added.
    pub by: i64,
    /// When it is forgotten, from now, if nobody adds more.
    pub expires: Duration,
}

/// Where state is kept. All methods are atomic, among hosts too where the place is shared.
///
/// Keys, and names of counters and buckets, have 1 to [`crate::MAX_KEY_BYTES`] bytes, values at
/// most [`crate::MAX_VALUE_BYTES`].
///
/// # Errors
/// [`crate::StateError`] when the place cannot be reached ([`crate::StateError::is_unreachable`]),
/// refuses, or a key or value is outside of these limits. After an error of the first kind the
/// change may have been made or not: the answer did not arrive.
pub trait State: Send + Sync {
    /// A document; `None` when there is none.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Document>>>;

    /// Writes a document when its version is still `expected` (0: when there is none; [`ANY`]:
    /// whatever is there), and gives the new version; `None` when somebody else was faster, and
    /// then nothing changed.
    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        expected: u64,
    ) -> BoxFuture<'a, Result<Option<u64>>>;

    /// Takes a document away when its version is still `expected` ([`ANY`]: whatever it is);
    /// whether it did.
    fn delete<'a>(&'a self, key: &'a str, expected: u64) -> BoxFuture<'a, Result<bool>>;

    /// The keys that begin with `prefix`, in the order of their bytes.
    fn keys<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>>>;

    /// What changed among the keys that begin with `prefix` after the revision `since`, by
    /// whomever; without `since`, that everything may have. `Watch` asks again and again.
    fn changed<'a>(&'a self, prefix: &'a str, since: Option<u64>)
    -> BoxFuture<'a, Result<Changes>>;

    /// Adds to a counter, which begins at 0 and is forgotten when nobody adds for `expires`; gives
    /// the sum. It stays at the largest or smallest number when it would go beyond.
    fn add<'a>(
        &'a self,
        counter: &'a str,
        by: i64,
        expires: Duration,
    ) -> BoxFuture<'a, Result<i64>>;

    /// Adds to many counters, at once and only once: when a call with this `id` succeeded within
    /// the last day, nothing is added. So it can be repeated after an error.
    fn merge<'a>(&'a self, id: &'a str, sums: &'a [Sum]) -> BoxFuture<'a, Result<()>>;

    /// Takes a token out of a bucket that fills at `rate`. `now` is in milliseconds since 1970; a
    /// place with a clock that all hosts share may go by that one.
    fn take<'a>(&'a self, bucket: &'a str, rate: Rate, now: u64) -> BoxFuture<'a, Result<Taken>>;

    /// Whether the place answers, for health and metrics. It does not ask: it says what is known.
    fn status(&self) -> Status;
}

impl fmt::Debug for dyn State + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("State").field(&self.status()).finish()
    }
}
