//! Counters and buckets as far as this host knows them, for the time in which their place is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bounded::Bounded;
use crate::memory::later;
use crate::{Rate, Sum, Taken};

/// Sums that wait for the place at most: beyond, adding is refused, as nothing that was
/// acknowledged may be lost.
const MAX_PENDING: usize = 100_000;
/// Sums that are handed over at once.
pub(super) const BATCH: usize = 500;

/// What is known, and what was added since.
#[derive(Default)]
pub(super) struct Local {
    sums: Bounded<i64>,
    /// When each bucket is full.
    buckets: Bounded<u64>,
    /// What was added while the place was gone, and how long it is kept from the last time on.
    pending: BTreeMap<String, (i64, Duration)>,
    /// What is being handed over, under this name. It keeps both until it is done.
    batch: Option<Batch>,
    /// Hands out names of batches, with something that no other host has.
    name: String,
    batches: u64,
}

/// Sums on their way to the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) id: String,
    pub(super) sums: Vec<Sum>,
}

impl Local {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// What the place said a counter is.
    pub(super) fn counted(&mut self, counter: &str, sum: i64, expires: Duration, now: u64) {
        self.sums.insert(counter, sum, later(now, expires), now);
    }

    /// What the place said a bucket is.
    pub(super) fn took(&mut self, bucket: &str, taken: Taken, now: u64) {
        let full_at = now.saturating_add(taken.reset_after);
        self.buckets.insert(bucket, full_at, full_at, now);
    }

    /// Adds here. `None`: there is no room for more that waits.
    pub(super) fn add(
        &mut self,
        counter: &str,
        by: i64,
        expires: Duration,
        now: u64,
    ) -> Option<i64> {
        if !self.pending.contains_key(counter) && self.pending.len() >= MAX_PENDING {
            return None;
        }
        let (pending, kept) = self.pending.entry(counter.to_owned()).or_default();
        *pending = pending.saturating_add(by);
        *kept = expires;
        let sum = self.sums.get(counter, now).copied().unwrap_or(0);
        let sum = sum.saturating_add(by);
        self.counted(counter, sum, expires, now);
        Some(sum)
    }

    pub(super) fn take(&mut self, bucket: &str, rate: Rate, now: u64) -> Taken {
        let full_at = self.buckets.get(bucket, now).copied().unwrap_or(0);
        let (taken, next) = rate.take(full_at, now);
        self.buckets.insert(bucket, next, next, now);
        taken
    }

    /// Counters with sums that wait.
    pub(super) fn pending(&self) -> usize {
        let on_the_way = self.batch.as_ref().map_or(0, |batch| batch.sums.len());
        self.pending.len() + on_the_way
    }

    /// What is to be handed over next. It is the same until it is [done](Self::done): whether the
    /// place has it already is for the place to know, by its name.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        if self.batch.is_none() && !self.pending.is_empty() {
            self.batches += 1;
            let mut sums = Vec::new();
            while let Some((counter, (by, expires))) = self.pending.pop_first() {
                sums.push(Sum {
                    counter,
                    by,
                    expires,
                });
                if sums.len() == BATCH {
                    break;
                }
            }
            let id = format!("{}-{}", self.name, self.batches);
            self.batch = Some(Batch { id, sums });
        }
        self.batch.clone()
    }

    pub(super) fn done(&mut self, batch: &Batch) {
        if self.batch.as_ref() == Some(batch) {
            self.batch = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn what_waits_is_handed_over_once() {
        let mut local = Local::new("host".into());
        local.counted("known", 10, HOUR, 1000);
        assert_eq!(local.add("known", 2, HOUR, 1000), Some(12));
        assert_eq!(local.add("new", -1, HOUR, 1000), Some(-1));
        let batch = local.next_batch().unwrap();
        let sums: Vec<_> = batch
            .sums
            .iter()
            .map(|sum| (&*sum.counter, sum.by))
            .collect();
        assert_eq!(sums, [("known", 2), ("new", -1)]);
        // What comes meanwhile waits for the next one; the first is repeated as it was.
        assert_eq!(local.add("known", 1, HOUR, 1000), Some(13));
        assert_eq!(
            (local.next_batch(), local.pending()),
            (Some(batch.clone()), 3)
        );
        local.done(&batch);
        let next = local.next_batch().unwrap();
        assert_eq!((next.sums.len(), next.sums[0].by), (1, 1));
        assert_ne!(next.id, batch.id);
        local.done(&batch);
        assert_eq!(local.pending(), 1);
        local.done(&next);
        assert_eq!((local.next_batch(), local.pending()), (None, 0));
    }

    #[test]
    fn there_is_an_end_to_what_waits() {
        let mut local = Local::default();
        for number in 0..MAX_PENDING {
            assert!(local.add(&number.to_string(), 1, HOUR, 0).is_some());
        }
        assert_eq!(local.add("one more", 1, HOUR, 0), None);
        assert!(local.add("0", 1, HOUR, 0).is_some());
        assert_eq!(local.next_batch().unwrap().sums.len(), BATCH);
    }
}
