//! How a server is reached, and what ours is called in it.

use std::fmt;
use std::time::Duration;

/// How a server is reached, and what ours is called in it.
#[derive(Clone)]
pub struct RedisOptions {
    /// What all names in Redis begin with.
    pub prefix: String,
    /// The user, where the address does not name one.
    pub user: Option<String>,
    /// The password, where the address has none. It is never shown.
    pub password: Option<String>,
    /// Certificates of authorities in PEM, that the server's is to be signed by. `None`: those of
    /// the system.
    pub authorities: Option<Vec<u8>>,
    /// Time for a connection, with TLS and login, and again for an answer.
    pub timeout: Duration,
    /// The clock of token buckets.
    pub clock: Clock,
}

/// The clock of token buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The server's: hosts whose clocks differ share a bucket all the same.
    Server,
    /// What [`crate::State::take`] is told; for tests.
    Caller,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            prefix: "twinfer:".into(),
            user: None,
            password: None,
            authorities: None,
            // A server beside us answers within a millisecond; a request that waits longer than
            // this for its rate limit is better answered without.
            timeout: Duration::from_secs(1),
            clock: Clock::Server,
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
