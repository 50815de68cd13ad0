//! The trust policy of the application: what is refused before it is loaded.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use twinfer::{Error, Result};
use twinfer_package::{
    Admission, Admitted, Descriptor, Index, Reference, Seen, Store, TrustPolicy, Verdict,
};

/// Decisions that are kept. There are no more references than the registry has; this is
/// against one that has too many.
const MAX_DECISIONS: usize = 1024;

/// Which packages the application loads.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// All that are whole.
    #[default]
    Everything,
    /// Those that a policy admits.
    Policy(Guard),
    /// None: there should be a policy, and it is malformed. Never taken for no policy.
    Broken(Error),
}

/// A policy, and what it needs of its surroundings.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The policy.
    pub policy: TrustPolicy,
    /// Seconds since 1970.
    pub now: fn() -> u64,
    /// The counters of signed tags that were seen before, by the name of the model.
    pub counters: BTreeMap<String, u64>,
    /// Takes the warnings of the policy.
    pub warn: fn(&str),
}

/// A package that may be loaded.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) descriptor: Descriptor,
    /// Where there is a policy.
    pub(crate) admitted: Option<Arc<Admitted>>,
}

/// Applies the policy. Good decisions are kept while the index is the same and signed tags
/// hold; bad ones are made again, since the registry may have been repaired.
pub(crate) struct Gate {
    trust: Trust,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    index: Option<Arc<Index>>,
    admitted: HashMap<Reference, Arc<Admitted>>,
    counters: BTreeMap<String, u64>,
}

impl Gate {
    pub(crate) fn new(trust: Trust) -> Self {
        let counters = match &trust {
            Trust::Policy(guard) => guard.counters.clone(),
            _ => BTreeMap::new(),
        };
        Self {
            trust,
            state: Mutex::new(State {
                counters,
                ..State::default()
            }),
        }
    }

    /// Whether anything can be loaded at all.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.trust {
            Trust::Broken(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// What a reference points to, when it may be loaded.
    pub(crate) fn admit(
        &self,
        store: &dyn Store,
        index: &Arc<Index>,
        reference: &Reference,
    ) -> Result<Entry> {
        let guard = match &self.trust {
            Trust::Broken(error) => return Err(error.clone()),
            Trust::Everything => {
                return Ok(Entry {
                    descriptor: index.resolve(reference)?,
                    admitted: None,
                });
            }
            Trust::Policy(guard) => guard,
        };
        let now = (guard.now)();
        if let Some(admitted) = self.known(index, reference, now) {
            return Ok(entry(admitted));
        }
        let seen = Seen {
            now,
            last_counter: self.lock().counters.get(reference.name()).copied(),
        };
        let admitted = Admission::with_index(index.clone(), reference, &guard.policy, seen)
            .and_then(|admission| admission.run(store))
            .map_err(|e| e.context(reference))?;
        let decision = &admitted.decision;
        if let Verdict::Warned { reason } = &decision.verdict {
            (guard.warn)(&format!("{reference} is loaded, but {reason}"));
        }
        let mut state = self.lock();
        if let Some(counter) = decision.counter {
            let last = state
                .counters
                .entry(reference.name().to_owned())
                .or_default();
            *last = counter.max(*last);
        }
        if state.admitted.len() >= MAX_DECISIONS {
            state.admitted.clear();
        }
        let admitted = Arc::new(admitted);
        state.admitted.insert(reference.clone(), admitted.clone());
        Ok(entry(admitted))
    }

    /// The highest counter of signed tags of a name that was accepted so far.
    pub(crate) fn counter(&self, name: &str) -> Option<u64> {
        self.lock().counters.get(name).copied()
    }

    fn known(&self, index: &Arc<Index>, reference: &Reference, now: u64) -> Option<Arc<Admitted>> {
        let mut state = self.lock();
        // The catalog gives the same index as long as its bytes are the same.
        if !state
            .index
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, index))
        {
            state.admitted.clear();
            state.index = Some(index.clone());
        }
        let admitted = state.admitted.get(reference)?;
        let holds = admitted.decision.until.is_none_or(|until| now < until);
        holds.then(|| admitted.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry(admitted: Arc<Admitted>) -> Entry {
    Entry {
        descriptor: admitted.descriptor.clone(),
        admitted: Some(admitted),
    }
}
