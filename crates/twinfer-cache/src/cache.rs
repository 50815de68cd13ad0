//! The cache, and what all its parts share.

use std::sync::{Mutex, PoisonError};

use twinfer::{Error, Result, bail};
use twinfer_package::Digest;

use crate::origin::Wanted;
use crate::record::{self, STATISTICS, Statistics};
use crate::{Backend, Env, LockMode};

/// How a reference is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Ask the registry first. Where nobody answers, the last good answer is used.
    Online,
    /// Use the last answer at once, and ask for a newer one afterwards.
    #[default]
    StaleWhileRevalidate,
    /// Never ask.
    Offline,
}

/// Settings of a cache.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes that the cache holds at most; `None` for as much as there is.
    pub quota: Option<u64>,
    /// How often something is tried at one registry.
    pub attempts: u32,
    /// Milliseconds before the second attempt; they double for each further one, and of each
    /// wait a random part is taken.
    pub backoff: u64,
    /// Milliseconds in which at least a kilobyte must arrive.
    pub stall: u64,
    /// Milliseconds that a registry is asked for an index, where the last answer would do.
    pub patience: u64,
    /// Contents that are fetched at the same time.
    pub parallel: usize,
    /// Milliseconds after its last use for which the active and the previous version of a tag
    /// are kept whatever the quota is.
    pub pin: u64,
    /// Keep content and take it from the cache. Without, everything is fetched every time.
    pub keep: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quota: None,
            attempts: 4,
            backoff: 250,
            stall: 30_000,
            patience: 5_000,
            parallel: 6,
            pin: 30 * 86_400_000,
            keep: true,
        }
    }
}

/// What happens while something is fetched.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Bytes are there.
    Progress {
        /// Of what.
        wanted: &'a Wanted,
        /// Bytes so far: of this content, or of all that a load wants.
        loaded: u64,
        /// Of how many, where that is known.
        total: Option<u64>,
        /// They come from the cache.
        cached: bool,
    },
    /// Somebody else (a tab, a process) is fetching it; we wait for that.
    Waiting {
        /// For what.
        wanted: &'a Wanted,
    },
    /// Something failed and is tried again.
    Retry {
        /// What failed.
        error: &'a Error,
        /// Milliseconds until then.
        wait: u64,
    },
    /// What the cache held is not what it should be; it was removed and is fetched again.
    Damaged {
        /// What.
        wanted: &'a Wanted,
        /// How that was seen.
        error: &'a Error,
    },
    /// Something was fetched and could not be kept; the load goes on without.
    NotKept {
        /// Why.
        error: &'a Error,
    },
    /// What the tag points to was refused here before; what it was used with until then is used.
    HeldBack {
        /// What the registry says.
        refused: &'a Digest,
        /// What is used.
        active: &'a Digest,
    },
    /// No registry answered; the last good answer is used.
    Unreachable {
        /// Why.
        error: &'a Error,
    },
}

/// Is told what happens.
pub type Listener<'a> = &'a dyn Fn(Event<'_>);

/// Verified content by digest, and references that are revalidated: see the documentation of
/// the crate.
pub struct Cache<B, E> {
    pub(crate) backend: B,
    pub(crate) env: E,
    pub(crate) options: Options,
    counted: Mutex<Statistics>,
}

impl<B: Backend, E: Env> Cache<B, E> {
    /// A cache in this place. Nothing is read or written yet.
    pub fn new(backend: B, env: E, options: Options) -> Self {
        Self {
            backend,
            env,
            options,
            counted: Mutex::default(),
        }
    }

    /// Where it is kept.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Clock, timer and randomness.
    pub fn env(&self) -> &E {
        &self.env
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Waits for a lock.
    ///
    /// # Errors
    /// Those of the back end.
    pub(crate) async fn wait_for(
        &self,
        name: &str,
        mode: LockMode,
        waiting: impl FnOnce(),
    ) -> Result<B::Lock> {
        let mut waiting = Some(waiting);
        let mut pause = 5;
        if let Some(lock) = self.backend.lock(name, mode, false).await? {
            return Ok(lock);
        }
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        loop {
            if let Some(lock) = self.backend.lock(name, mode, true).await? {
                return Ok(lock);
            }
            self.env.sleep(pause).await;
            pause = (pause * 2).min(100);
        }
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Statistics)) {
        // Numbers are whole after a panic as well.
        change(&mut self.counted.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds what was counted since the last time to what the cache keeps. Counts are not worth
    /// a failure: what cannot be written now is added the next time.
    pub async fn save_statistics(&self) {
        let take =
            || std::mem::take(&mut *self.counted.lock().unwrap_or_else(PoisonError::into_inner));
        let counted = take();
        if !self.options.keep || counted == Statistics::default() {
            return;
        }
        if self.add_statistics(counted).await.is_err() {
            self.count(|statistics| statistics.add(counted));
        }
    }

    async fn add_statistics(&self, counted: Statistics) -> Result<()> {
        let Some(_lock) = self.statistics_lock().await? else {
            bail!(Storage, "somebody else writes the counts");
        };
        let mut statistics = self.kept_statistics().await?;
        statistics.add(counted);
        self.backend
            .set_document(STATISTICS, &record::write(&statistics)?)
            .await
    }

    /// Nobody waits long for counts.
    async fn statistics_lock(&self) -> Result<Option<B::Lock>> {
        for _ in 0..50 {
            let lock = self
                .backend
                .lock(STATISTICS, LockMode::Exclusive, false)
                .await?;
            if lock.is_some() {
                return Ok(lock);
            }
            self.env.sleep(5).await;
        }
        Ok(None)
    }

    async fn kept_statistics(&self) -> Result<Statistics> {
        let document = self.backend.document(STATISTICS).await?;
        Ok(document.and_then(|d| record::read(&d)).unwrap_or_default())
    }

    /// What was counted so far, by everybody who shares this cache.
    ///
    /// # Errors
    /// `storage`.
    pub async fn statistics(&self) -> Result<Statistics> {
        let mut statistics = self.kept_statistics().await?;
        statistics.add(*self.counted.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(statistics)
    }
}

/// Held while a blob is written.
pub(crate) fn blob_lock(digest: &Digest) -> String {
    format!("blob-{}", digest.hex())
}

/// Shared by those who use a package; whoever would remove it needs it alone.
pub(crate) fn use_lock(digest: &Digest) -> String {
    format!("use-{}", digest.hex())
}
