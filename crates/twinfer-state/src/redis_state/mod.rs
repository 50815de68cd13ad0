//! State in Redis, for hosts on several machines.

mod connection;
mod options;
mod scripts;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::{Cmd, FromRedisValue, ScriptInvocation};

use self::connection::Connection;
pub use self::options::{Clock, RedisOptions};
use self::scripts::SCRIPTS;
use crate::bucket::clamped;
use crate::change::MAX_CHANGES;
use crate::limits::{check_key, check_value};
use crate::memory::millis;
use crate::{ANY, Changes, Document, Rate, Result, State, StateError, Status, Sum, Taken};

/// State in a Redis server (6.2 or later, or what speaks its protocol and Lua).
///
/// What several hosts do at once is decided by scripts, each of which Redis runs as a whole. It
/// connects at the first call, and again by itself when the connection ends.
pub struct RedisState {
    connection: Connection,
    prefix: String,
    clock: Clock,
}

impl RedisState {
    /// Does not connect yet: that a server cannot be reached is said by the first call.
    ///
    /// # Errors
    /// An address that is none, certificates that cannot be read.
    pub fn new(address: &str, options: RedisOptions) -> Result<Self> {
        let (prefix, clock) = (options.prefix.clone(), options.clock);
        Ok(Self {
            connection: Connection::new(address, options)?,
            prefix,
            clock,
        })
    }

    /// The server, without user and password.
    pub fn server(&self) -> &str {
        self.connection.server()
    }

    /// The name in Redis of something of ours.
    fn name(&self, kind: &str, name: &str) -> String {
        format!("{}{kind}:{name}", self.prefix)
    }

    /// The names of a document, of the list of all, and of the two that changes are kept under.
    fn names(&self, key: &str) -> [String; 4] {
        [
            self.name("document", key),
            format!("{}keys", self.prefix),
            format!("{}changes", self.prefix),
            format!("{}revision", self.prefix),
        ]
    }

    async fn script<T: FromRedisValue + Send + 'static>(
        &self,
        invocation: ScriptInvocation<'static>,
    ) -> Result<T> {
        self.connection
            .run(move |mut c| async move { invocation.invoke_async(&mut c).await })
            .await
    }

    async fn command<T: FromRedisValue + Send + 'static>(&self, command: Cmd) -> Result<T> {
        self.connection
            .run(move |mut c| async move { command.query_async(&mut c).await })
            .await
    }

    async fn read(&self, key: &str) -> Result<Option<Document>> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.name("document", key));
        command.arg(&["value", "version"]);
        let (value, version): (Option<Vec<u8>>, Option<u64>) = self.command(command).await?;
        let both = value.zip(version);
        Ok(both.map(|(value, version)| Document { value, version }))
    }

    async fn write(&self, key: &str, value: &[u8], expected: u64) -> Result<Option<u64>> {
        check_key(key)?;
        check_value(value)?;
        let mut put = SCRIPTS.put.prepare_invoke();
        for name in self.names(key) {
            put.key(name);
        }
        put.arg(key).arg(value);
        put.arg(version(expected)).arg(MAX_CHANGES);
        let version: u64 = self.script(put).await?;
        Ok((version > 0).then_some(version))
    }

    async fn remove(&self, key: &str, expected: u64) -> Result<bool> {
        let mut delete = SCRIPTS.delete.prepare_invoke();
        for name in self.names(key) {
            delete.key(name);
        }
        delete.arg(key).arg(version(expected)).arg(MAX_CHANGES);
        self.script(delete).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let mut command = redis::cmd("ZRANGEBYLEX");
        // No key has the byte 255, which UTF-8 lacks.
        command
            .arg(format!("{}keys", self.prefix))
            .arg([b"[", prefix.as_bytes()].concat())
            .arg([b"(", prefix.as_bytes(), &[255]].concat());
        self.command(command).await
    }

    async fn changes(&self, prefix: &str, since: Option<u64>) -> Result<Changes> {
        let mut changed = SCRIPTS.changed.prepare_invoke();
        let [_, _, changes, revision] = self.names("");
        changed.key(changes).key(revision);
        changed.arg(since.map_or(-1, signed));
        let (revision, known, mut keys): (u64, bool, Vec<String>) = self.script(changed).await?;
        keys.retain(|key| key.starts_with(prefix));
        Ok(Changes {
            revision,
            keys: known.then_some(keys),
        })
    }

    async fn sum_up(&self, id: Option<&str>, sums: &[Sum]) -> Result<i64> {
        let mut add = SCRIPTS.add.prepare_invoke();
        add.arg(u8::from(id.is_some()));
        for sum in sums {
            check_key(&sum.counter)?;
            add.key(self.name("counter", &sum.counter));
            add.arg(sum.by).arg(millis(sum.expires));
        }
        if let Some(id) = id {
            add.key(self.name("merge", id));
        }
        let sum: String = self.script(add).await?;
        let strange = |_| StateError::new(format!("Redis counts `{sum}`, which is no number"));
        sum.parse().map_err(strange)
    }

    async fn token(&self, bucket: &str, rate: Rate, now: u64) -> Result<Taken> {
        check_key(bucket)?;
        let mut take = SCRIPTS.take.prepare_invoke();
        take.key(self.name("bucket", bucket));
        take.arg(rate.interval()).arg(rate.capacity());
        take.arg(match self.clock {
            Clock::Server => -1,
            Clock::Caller => signed(clamped(now)),
        });
        let (allowed, missing): (bool, u64) = self.script(take).await?;
        Ok(rate.taken(allowed, missing))
    }
}

/// As scripts have it.
fn version(expected: u64) -> i64 {
    match expected {
        ANY => -1,
        _ => signed(expected),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl State for RedisState {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Document>>> {
        self.read(key).boxed()
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        expected: u64,
    ) -> BoxFuture<'a, Result<Option<u64>>> {
        self.write(key, value, expected).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str, expected: u64) -> BoxFuture<'a, Result<bool>> {
        self.remove(key, expected).boxed()
    }

    fn keys<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        self.list(prefix).boxed()
    }

    fn changed<'a>(
        &'a self,
        prefix: &'a str,
        since: Option<u64>,
    ) -> BoxFuture<'a, Result<Changes>> {
        self.changes(prefix, since).boxed()
    }

    fn add<'a>(
        &'a self,
        counter: &'a str,
        by: i64,
        expires: Duration,
    ) -> BoxFuture<'a, Result<i64>> {
        let counter = counter.to_owned();
        async move {
            let sum = Sum {
                counter,
                by,
                expires,
            };
            self.sum_up(None, &[sum]).await
        }
        .boxed()
    }

    fn merge<'a>(&'a self, id: &'a str, sums: &'a [Sum]) -> BoxFuture<'a, Result<()>> {
        async move { self.sum_up(Some(id), sums).await.map(drop) }.boxed()
    }

    fn take<'a>(&'a self, bucket: &'a str, rate: Rate, now: u64) -> BoxFuture<'a, Result<Taken>> {
        self.token(bucket, rate, now).boxed()
    }

    fn status(&self) -> Status {
        Status::connected("redis")
    }
}
