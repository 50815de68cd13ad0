//! What was seen of versions, second by second, here and on other servers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use twinfer_deploy::{LATENCY_BUCKETS, Latencies, Observed};
use twinfer_package::Digest;

/// Seconds that are kept: the longest window of a guardrail.
const KEPT: u64 = 3_600;
/// Versions that are kept; more are hardly served at once.
const VERSIONS: usize = 64;
const FORMAT: u32 = 1;

/// A second, and what was in it.
type Slots = VecDeque<(u64, Observed)>;

/// What this server saw.
#[derive(Default)]
pub struct Observations {
    slots: Mutex<BTreeMap<Digest, Slots>>,
}

impl Observations {
    /// Counts a request of this second.
    pub fn add(&self, version: Digest, second: u64, milliseconds: f64, failed: bool) {
        let mut all = self.lock();
        if all.len() >= VERSIONS && !all.contains_key(&version) {
            // What was not asked for the longest time.
            let last = |slots: &Slots| slots.back().map_or(0, |(second, _)| *second);
            let oldest = all.iter().min_by_key(|(_, slots)| last(slots));
            if let Some(oldest) = oldest.map(|(version, _)| *version) {
                all.remove(&oldest);
            }
        }
        let slots = all.entry(version).or_default();
        while slots.front().is_some_and(|(old, _)| old + KEPT < second) {
            slots.pop_front();
        }
        // A clock that was set back adds to the newest.
        match slots.back_mut() {
            Some((last, observed)) if *last >= second => observed.add(milliseconds, failed),
            _ => {
                let mut observed = Observed::default();
                observed.add(milliseconds, failed);
                slots.push_back((second, observed));
            }
        }
    }

    /// The last `seconds`, with the one that `now` is.
    pub fn window(&self, version: &Digest, now: u64, seconds: u32) -> Observed {
        let mut sum = Observed::default();
        if let Some(slots) = self.lock().get(version) {
            let later = slots.iter().rev();
            let within = later.take_while(|(second, _)| second + u64::from(seconds) > now);
            within.for_each(|(_, observed)| sum.merge(observed));
        }
        sum
    }

    /// The same of several versions, for other servers.
    pub fn share(&self, versions: &[Digest], now: u64, seconds: u32) -> Shared {
        let all = self.lock();
        let slots = |version: &Digest| -> Vec<Slot> {
            let slots = all.get(version).into_iter().flatten();
            let within = slots.filter(|(second, _)| second + u64::from(seconds) > now);
            within
                .map(|(second, observed)| Slot::new(*second, observed))
                .collect()
        };
        Shared {
            format_version: FORMAT,
            at: now,
            versions: versions
                .iter()
                .map(|version| (*version, slots(version)))
                .collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Slots>> {
        // Nothing is half counted that matters.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server saw, as it tells the others.
#[derive(Serialize, Deserialize)]
pub struct Shared {
    format_version: u32,
    /// The second in which it was told.
    at: u64,
    versions: BTreeMap<Digest, Vec<Slot>>,
}

/// A second: requests, errors, and the counts of the buckets that are not empty.
#[derive(Serialize, Deserialize)]
struct Slot(u64, u64, u64, Vec<(usize, u64)>);

impl Slot {
    fn new(second: u64, observed: &Observed) -> Self {
        let counts = observed.latencies.counts().iter().copied().enumerate();
        let counts = counts.filter(|(_, count)| *count > 0).collect();
        Self(second, observed.requests, observed.errors, counts)
    }

    fn observed(&self) -> Observed {
        let mut counts = [0; LATENCY_BUCKETS];
        for (at, count) in &self.3 {
            if let Some(there) = counts.get_mut(*at) {
                *there = *count;
            }
        }
        Observed {
            requests: self.1,
            errors: self.2,
            latencies: Latencies::from_counts(counts),
            drift: None,
        }
    }
}

impl Shared {
    /// `None` for what is of another format: that server is left out.
    pub fn read(json: &[u8]) -> Option<Self> {
        let shared: Self = serde_json::from_slice(json).ok()?;
        (shared.format_version == FORMAT).then_some(shared)
    }

    /// Whether that server said nothing for so long that nobody needs this any more.
    pub fn is_old(&self, now: u64) -> bool {
        self.at.saturating_add(KEPT) < now
    }

    /// As [`Observations::window`].
    pub fn window(&self, version: &Digest, now: u64, seconds: u32) -> Observed {
        let mut sum = Observed::default();
        for slot in self.versions.get(version).into_iter().flatten() {
            if slot.0.saturating_add(u64::from(seconds)) > now {
                sum.merge(&slot.observed());
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_the_same_here_and_elsewhere() {
        let observations = Observations::default();
        let version = Digest::of(b"1");
        for second in 100..110 {
            observations.add(version, second, 5.0, second == 109);
            observations.add(version, second, 50.0, false);
        }
        let shared = observations.share(&[version], 109, 60);
        let json = serde_json::to_vec(&shared).unwrap();
        let shared = Shared::read(&json).unwrap();
        for (seconds, requests) in [(1, 2), (3, 6), (10, 20), (60, 20)] {
            let here = observations.window(&version, 109, seconds);
            assert_eq!((here.requests, here.errors), (requests, 1), "{seconds}");
            assert_eq!(shared.window(&version, 109, seconds), here);
        }
        assert_eq!(observations.window(&version, 200, 60).requests, 0);
        assert_eq!(shared.window(&Digest::of(b"2"), 109, 60).requests, 0);
        assert!(!shared.is_old(109) && shared.is_old(109 + KEPT + 1));
        assert!(Shared::read(b"{}").is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let observations = Observations::default();
        for number in 0..200u64 {
            let version = Digest::of(&number.to_be_bytes());
            observations.add(version, number, 1.0, false);
        }
        assert_eq!(observations.lock().len(), VERSIONS);
        let version = Digest::of(b"x");
        for second in 0..10_000 {
            observations.add(version, second, 1.0, false);
        }
        assert!(observations.lock()[&version].len() <= KEPT as usize + 1);
    }
}
