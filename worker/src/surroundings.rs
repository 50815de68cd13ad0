//! Clock, timer and randomness of the cache, from WASI.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use twinfer_cache::Env;

/// The clocks of `wasi:clocks`, and what the standard library takes from `wasi:random`.
pub(crate) struct Surroundings;

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

impl Env for Surroundings {
    fn now(&self) -> u64 {
        now()
    }

    async fn sleep(&self, milliseconds: u64) {
        spin_sdk::time::sleep(Duration::from_millis(milliseconds)).await;
    }

    fn random(&self) -> f64 {
        // Each state has keys of its own. 53 bits are what a number holds exactly.
        let bits = RandomState::new().hash_one(0u8) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}
