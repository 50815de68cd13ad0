//! Clock, timer and randomness of this machine.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use twinfer_cache::Env;

/// Waits on tokio's timer.
#[derive(Debug, Clone, Copy)]
pub struct SystemEnv;

impl Env for SystemEnv {
    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    async fn sleep(&self, milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }

    fn random(&self) -> f64 {
        // The keys of every hasher are others: good enough for spreading retries.
        RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
    }
}
