//! What changed in a place.

use std::collections::BTreeMap;

/// Changed keys that a place remembers; who asks for older ones is told to look at everything.
pub(crate) const MAX_CHANGES: usize = 1_000;

/// What changed in a place after some revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The revision of the place now: what to ask with the next time.
    pub revision: u64,
    /// The keys that were written or deleted since then, each once. `None`: too much, or nobody
    /// knows; any key may have changed.
    pub keys: Option<Vec<String>>,
}

/// The last change of each key, in memory.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    revision: u64,
    by_key: BTreeMap<String, u64>,
    by_revision: BTreeMap<u64, String>,
    /// The highest revision that was forgotten.
    forgotten: u64,
}

impl Journal {
    /// Notes a change, and gives its revision.
    pub(crate) fn note(&mut self, key: &str) -> u64 {
        self.revision += 1;
        if let Some(before) = self.by_key.insert(key.to_owned(), self.revision) {
            self.by_revision.remove(&before);
        }
        self.by_revision.insert(self.revision, key.to_owned());
        if self.by_revision.len() > MAX_CHANGES
            && let Some((revision, key)) = self.by_revision.pop_first()
        {
            self.by_key.remove(&key);
            self.forgotten = revision;
        }
        self.revision
    }

    pub(crate) fn since(&self, prefix: &str, since: Option<u64>) -> Changes {
        let known = since.filter(|since| (self.forgotten..=self.revision).contains(since));
        let keys = known.map(|since| {
            let later = self.by_revision.range(since + 1..);
            let keys = later.map(|(_, key)| key);
            keys.filter(|key| key.starts_with(prefix))
                .cloned()
                .collect()
        });
        Changes {
            revision: self.revision,
            keys,
        }
    }
}
