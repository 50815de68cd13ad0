//! How long requests take, and so how long one more would wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a client is told to wait at most: who comes back later may as well try again.
const LONGEST: Duration = Duration::from_secs(60);
/// One request counts for an eighth: a dozen requests after a change, the mean has followed it.
const WEIGHT: u64 = 8;

/// The mean time that an instance needs for a request, in microseconds; 0 before the first.
#[derive(Default)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    /// A request took so long.
    pub(super) fn took(&self, time: Duration) {
        let new = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        let mean = |old: u64| match old {
            0 => new,
            old => (old - old / WEIGHT).saturating_add(new / WEIGHT).max(1),
        };
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(mean(old)));
    }

    /// When all these requests are done, so that it is worth while to try again: from one second
    /// to a minute.
    pub(super) fn until_done(&self, requests: usize, instances: usize) -> Duration {
        let mean = Duration::from_micros(self.0.load(Ordering::Relaxed));
        let rounds = requests.div_ceil(instances.max(1));
        let all = mean.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
        // The header has whole seconds. Rounded up: too early is refused once more.
        let seconds = all.as_secs() + u64::from(all.subsec_nanos() > 0);
        Duration::from_secs(seconds.max(1)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_requests_and_slower_ones_take_longer() {
        let pace = Pace::default();
        let seconds = |requests, instances| pace.until_done(requests, instances).as_secs();
        assert_eq!(seconds(1000, 2), 1, "nothing is known yet");
        pace.took(Duration::from_millis(500));
        assert_eq!((seconds(1, 2), seconds(8, 2), seconds(9, 2)), (1, 2, 3));
        assert_eq!(seconds(100_000, 2), 60);
        for _ in 0..50 {
            pace.took(Duration::from_millis(100));
        }
        assert_eq!(seconds(100, 2), 6);
        pace.took(Duration::ZERO);
        pace.took(Duration::MAX);
        assert_eq!(seconds(1, 1), 60);
    }
}
