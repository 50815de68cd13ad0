//! The connection with the place: lost, looked for, back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use super::Inner;
use super::local::Batch;
use crate::runtime::sleep;
use crate::{Event, Result, State, StateError};

/// How often a place that is there is looked at: health is never older.
const LOOK: Duration = Duration::from_secs(1);
/// How often one that is gone is.
const SEARCH: Duration = Duration::from_millis(250);
/// How long the counter is known that shows whether a place can be written to.
const PROBE_KNOWN: Duration = Duration::from_secs(60);

/// Looks at the place until nobody has it any more.
pub(super) async fn tend<S: State + 'static>(inner: Weak<Inner<S>>) {
    let mut pause = LOOK;
    loop {
        sleep(pause).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.look().await;
        pause = if inner.is_connected() { LOOK } else { SEARCH };
    }
}

impl<S: State + 'static> Inner<S> {
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// Finds out whether the place is there, and tells it what it missed.
    pub(super) async fn look(self: &Arc<Self>) {
        if let Err(error) = self.try_look().await {
            // Whatever is wrong with a look is wrong with the place.
            self.lost(&error);
        }
    }

    async fn try_look(self: &Arc<Self>) -> Result<()> {
        if self.is_connected() && self.known().local.pending() == 0 {
            return self.place.changed("", Some(u64::MAX)).await.map(drop);
        }
        // Reading may work where writing does not, with a full disk for one.
        let probe = format!("probe/{}", self.name);
        self.place.add(&probe, 1, PROBE_KNOWN).await?;
        while let Some(batch) = self.next_batch() {
            self.place.merge(&batch.id, &batch.sums).await?;
            self.handed_over(&batch);
        }
        self.back();
        Ok(())
    }

    /// In a function, as the lock must not be held while the place is asked.
    fn next_batch(&self) -> Option<Batch> {
        self.known().local.next_batch()
    }

    fn handed_over(&self, batch: &Batch) {
        let mut known = self.known();
        known.local.done(batch);
        known.merged += batch.sums.len();
    }

    /// The place is gone, if it was not already.
    pub(super) fn lost(&self, error: &StateError) {
        {
            let mut known = self.known();
            self.connected.store(false, Ordering::Release);
            if known.lost_since.is_some() {
                return;
            }
            known.lost_since = Some(SystemTime::now());
        }
        self.events.tell(&Event::Lost {
            reason: error.message().to_owned(),
        });
    }

    fn back(&self) {
        let (since, merged) = {
            let mut known = self.known();
            // Somebody added another one meanwhile: the next look takes it along.
            if known.local.pending() > 0 {
                return;
            }
            self.connected.store(true, Ordering::Release);
            (known.lost_since.take(), std::mem::take(&mut known.merged))
        };
        if let Some(since) = since {
            let after = since.elapsed().unwrap_or_default();
            self.events.tell(&Event::Back { after, merged });
        }
    }
}
