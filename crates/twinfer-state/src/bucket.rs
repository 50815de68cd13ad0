//! A token bucket as one number: the generic cell rate algorithm (ITU-T I.371, annex A), virtual
//! scheduling. What is kept is the time at which the bucket is full again.

/// How a bucket fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Milliseconds until one more token is there; not 0.
    pub interval: u64,
    /// Tokens that a full bucket has; not 0.
    pub burst: u32,
}

/// What came of asking for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Whether there was one.
    pub allowed: bool,
    /// Tokens that are left.
    pub remaining: u32,
    /// Milliseconds until there is one again; 0 while there is.
    pub retry_after: u64,
    /// Milliseconds until the bucket is full again.
    pub reset_after: u64,
}

/// The longest time that is reckoned with, in milliseconds: sums of it and of the time of day are
/// exact as double-precision numbers, which scripts of Redis have.
const LONGEST: u64 = 1 << 50;

impl Rate {
    /// Takes a token. `full_at` is the time at which the bucket is full, in milliseconds since 1970, 0 for a
    /// new one; the second value is that time afterwards.
    pub fn take(self, full_at: u64, now: u64) -> (Taken, u64) {
        let (interval, capacity, now) = (self.interval(), self.capacity(), clamped(now));
        // A clock that was set back must not close the bucket for long.
        let full_at = full_at.clamp(now, now + capacity);
        let allowed = full_at + interval <= now + capacity;
        let full_at = full_at + if allowed { interval } else { 0 };
        (self.taken(allowed, full_at - now), full_at)
    }

    /// What is told of a bucket that is full again after `missing` milliseconds.
    pub(crate) fn taken(self, allowed: bool, missing: u64) -> Taken {
        let (interval, capacity) = (self.interval(), self.capacity());
        let remaining = capacity.saturating_sub(missing) / interval;
        Taken {
            allowed,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            retry_after: (missing + interval).saturating_sub(capacity),
            reset_after: missing,
        }
    }

    /// Milliseconds for one token.
    pub(crate) fn interval(self) -> u64 {
        self.interval.clamp(1, LONGEST)
    }

    /// Milliseconds for all tokens.
    pub(crate) fn capacity(self) -> u64 {
        let all = self.interval().saturating_mul(u64::from(self.burst.max(1)));
        // No fewer than one.
        all.min(LONGEST).max(self.interval())
    }
}

/// A time of day that can be reckoned with.
pub(crate) fn clamped(now: u64) -> u64 {
    now.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = Rate {
            interval: 100,
            burst: 3,
        };
        let (mut full_at, mut now, mut allowed) = (0, 1_000, Vec::new());
        for step in [0, 0, 0, 0, 99, 1, 0, 1_000, 0, 0, 0] {
            now += step;
            let (taken, next) = rate.take(full_at, now);
            full_at = next;
            allowed.push((taken.allowed, taken.remaining, taken.retry_after));
        }
        assert_eq!(
            allowed,
            [
                (true, 2, 0),
                (true, 1, 0),
                (true, 0, 100),
                (false, 0, 100),
                (false, 0, 1),
                (true, 0, 100),
                (false, 0, 100),
                (true, 2, 0),
                (true, 1, 0),
                (true, 0, 100),
                (false, 0, 100),
            ]
        );
        // Numbers without sense are reckoned with all the same.
        let rate_of_nonsense = Rate {
            interval: u64::MAX,
            burst: u32::MAX,
        };
        let (taken, full) = rate_of_nonsense.take(u64::MAX, u64::MAX);
        assert!(!taken.allowed && rate_of_nonsense.take(full, 0).1 > 0);
        // A clock that goes back costs a full bucket at most.
        let (taken, _) = rate.take(full_at, 10);
        assert_eq!((taken.allowed, taken.retry_after), (false, 100));
    }
}
