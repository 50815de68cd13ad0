//! What was seen of a version in some time.

/// Buckets of [`Latencies`].
pub const LATENCY_BUCKETS: usize = 36;

/// How long answers took, in buckets whose upper bounds grow by the square root of 2, from half a
/// millisecond to a minute and a half; the last has no upper bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latencies {
    counts: [u64; LATENCY_BUCKETS],
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: [0; LATENCY_BUCKETS],
        }
    }
}

impl Latencies {
    /// Counts in the order of the buckets.
    pub fn from_counts(counts: [u64; LATENCY_BUCKETS]) -> Self {
        Self { counts }
    }

    /// The counts in the order of the buckets.
    pub fn counts(&self) -> &[u64; LATENCY_BUCKETS] {
        &self.counts
    }

    /// The bucket of a time in milliseconds.
    pub fn bucket(milliseconds: f64) -> usize {
        let bounds = 0..LATENCY_BUCKETS - 1;
        bounds
            .into_iter()
            .find(|at| milliseconds <= bound(*at))
            .unwrap_or(LATENCY_BUCKETS - 1)
    }

    /// Counts one.
    pub fn add(&mut self, milliseconds: f64) {
        let count = &mut self.counts[Self::bucket(milliseconds)];
        *count = count.saturating_add(1);
    }

    /// Adds those of another time or place.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
    }

    /// A quantile in milliseconds, interpolated in its bucket as Prometheus' `histogram_quantile`
    /// does; in the last bucket its lower bound. `None` without any.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let total: u64 = self.counts.iter().sum();
        if total == 0 {
            return None;
        }
        let rank = quantile.clamp(0.0, 1.0) * total as f64;
        let mut below = 0.0;
        for (at, count) in self.counts.iter().enumerate() {
            let count = *count as f64;
            if count > 0.0 && below + count >= rank {
                let low = at.checked_sub(1).map_or(0.0, bound);
                if at == LATENCY_BUCKETS - 1 {
                    return Some(low);
                }
                return Some(low + (bound(at) - low) * ((rank - below) / count).clamp(0.0, 1.0));
            }
            below += count;
        }
        Some(bound(LATENCY_BUCKETS - 2))
    }
}

/// The upper bound of a bucket in milliseconds.
fn bound(at: usize) -> f64 {
    // Two buckets for each doubling; no power function, whose last bit differs between platforms.
    let half = if at.is_multiple_of(2) {
        1.0
    } else {
        std::f64::consts::SQRT_2
    };
    0.5 * (1u64 << (at / 2).min(62)) as f64 * half
}

/// The requests that a version answered in some time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// All of them.
    pub requests: u64,
    /// Those that failed in the server.
    pub errors: u64,
    /// How long they took.
    pub latencies: Latencies,
    /// How far the data is from the baseline, where that is measured.
    pub drift: Option<f64>,
}

impl Observed {
    /// Counts one.
    pub fn add(&mut self, milliseconds: f64, failed: bool) {
        self.requests = self.requests.saturating_add(1);
        self.errors = self.errors.saturating_add(u64::from(failed));
        self.latencies.add(milliseconds);
    }

    /// Adds those of another time or place. The higher drift counts.
    pub fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        self.latencies.merge(&other.latencies);
        self.drift = match (self.drift, other.drift) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_as_close_as_the_buckets() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), None);
        for ms in 1..=1000 {
            latencies.add(f64::from(ms));
        }
        for (quantile, exact) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0)] {
            let found = latencies.quantile(quantile).unwrap();
            assert!((found / exact - 1.0).abs() < 0.1, "{quantile}: {found}");
        }
        let mut slow = Latencies::default();
        slow.add(1e9);
        slow.add(f64::NAN);
        assert!(slow.quantile(0.5).unwrap() > 60_000.0);
        let mut both = latencies.clone();
        both.merge(&slow);
        assert_eq!(both.counts().iter().sum::<u64>(), 1002);
    }
}
