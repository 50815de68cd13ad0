//! Answers that were used at once, and may be old.

use std::time::Duration;

use futures_util::stream::{StreamExt, iter};
use twinfer::Result;
use twinfer_cache::{Event, Source};
use twinfer_package::{Digest, Reference};

use super::CachedStore;
use super::used::Answer;

/// How long a process that has its result waits for newer answers.
const PATIENCE: Duration = Duration::from_secs(2);

/// A tag that points to something else than it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The tag.
    pub reference: Reference,
    /// What this process used.
    pub from: Option<Digest>,
    /// What it points to now; `None` where it is gone.
    pub to: Option<Digest>,
}

impl CachedStore {
    /// Asks anew for what was answered from the cache, where the registry is there to answer;
    /// whether any answer changed. What failed may succeed then.
    pub fn refresh(&self) -> bool {
        let answers = self.used().answers.clone();
        let mut changed = false;
        for answer in answers.iter().filter(|answer| answer.may_be_old()) {
            changed |= matches!(self.net.run(self.ask_again(answer)), Ok(true));
        }
        changed
    }

    /// Asks whether the answers that were used at once, and may be old, still hold, and keeps
    /// what the registry says for the next time; the tags that have moved. This takes two
    /// seconds at most, and a registry that does not answer is no error.
    pub fn revalidate_pending(&self) -> Vec<Moved> {
        let answers = self.used().answers.clone();
        let pending: Vec<&Answer> = answers
            .iter()
            .filter(|a| a.source == Source::Stale && a.reference.digest().is_none())
            .collect();
        if pending.is_empty() {
            return Vec::new();
        }
        let ask = iter(pending)
            .map(async |answer: &Answer| {
                let asked = self.ask_again(answer).await;
                asked.is_ok_and(|changed| changed).then_some(answer)
            })
            .buffer_unordered(self.cache.options().parallel)
            .filter_map(async |answer| answer);
        let changed: Vec<&Answer> = self.net.run(async {
            let all = tokio::time::timeout(PATIENCE, ask.collect());
            all.await.unwrap_or_default()
        });
        let used = self.used();
        let moved = changed.into_iter().filter_map(|before| {
            let target = |answer: &Answer| answer.target().map(|descriptor| descriptor.digest);
            let now = used
                .answers
                .iter()
                .find(|a| a.reference == before.reference)?;
            let (from, to) = (target(before), target(now));
            let reference = before.reference.clone();
            (from != to).then_some(Moved {
                reference,
                from,
                to,
            })
        });
        moved.collect()
    }

    /// Asks the registry; whether its answer is another one.
    async fn ask_again(&self, before: &Answer) -> Result<bool> {
        let listen: &dyn Fn(Event<'_>) = &|event| match event {
            // Nobody waits for this answer.
            Event::Unreachable { .. } | Event::Retry { .. } => {}
            event => (self.listen)(event),
        };
        let resolved = self
            .cache
            .revalidate(&self.origins, &before.reference, listen)
            .await?;
        if resolved.source != Source::Registry {
            return Ok(false);
        }
        let changed = resolved.index != before.index;
        self.remember(&before.reference, resolved);
        Ok(changed)
    }
}
