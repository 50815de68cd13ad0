//! Chance and time that are the same in each run, for instances that are only tried out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// Nanoseconds that pass from one question about the time to the next, and each third time.
const STEP: u64 = 1_000_000;
const LONG: u64 = 100 * STEP;
/// When it begins: 2026-01-01, seconds since 1970.
const BEGIN: u64 = 1_767_225_600;
/// Bytes of random numbers before they come again.
const PERIOD: u64 = 4096;

/// Gives an instance the random numbers of this seed, and clocks that go on each time that they
/// are asked.
pub(crate) fn set(wasi: &mut WasiCtxBuilder, seed: u64) {
    let bytes = |of: &str| -> Vec<u8> {
        let block = |at: u64| Sha256::digest(format!("{of} {seed} {at}"));
        (0..PERIOD / 32).flat_map(block).collect()
    };
    wasi.secure_random(Deterministic::new(bytes("secure")))
        .insecure_random(Deterministic::new(bytes("insecure")))
        .insecure_random_seed(
            u128::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        )
        .wall_clock(Clock::default())
        .monotonic_clock(Clock::default());
}

/// How often it was asked.
#[derive(Default)]
struct Clock(AtomicU64);

impl Clock {
    fn next(&self) -> u64 {
        let asked = self.0.fetch_add(1, Ordering::Relaxed);
        asked * STEP + asked / 3 * LONG
    }
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(STEP)
    }

    fn now(&self) -> Duration {
        Duration::from_secs(BEGIN) + Duration::from_nanos(self.next())
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        STEP
    }

    fn now(&self) -> u64 {
        self.next()
    }
}
