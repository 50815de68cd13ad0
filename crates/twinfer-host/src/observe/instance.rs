//! What is counted of an instance, as long as it lives.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use http::HeaderMap;
use twinfer_observe::{Answered, HostMetrics};

use super::Observer;

/// Stands for an instance in the metrics. Whatever ends the instance, this goes with it.
pub(crate) struct InstanceWatch {
    observer: Observer,
    _idle: twinfer_observe::Raised,
    /// The models that it has loaded, by name and version.
    loaded: BTreeMap<(String, String), twinfer_observe::Raised>,
}

impl InstanceWatch {
    pub(crate) fn new(observer: &Observer) -> Self {
        Self {
            _idle: observer.host().idle_instance(),
            observer: observer.clone(),
            loaded: BTreeMap::new(),
        }
    }

    /// Busy as long as what this gives lives.
    pub(crate) fn busy(&self) -> impl Send + Sync + use<> {
        self.observer.host().busy_instance()
    }

    /// It gave this answer, and so has the model loaded that answered.
    pub(crate) fn answered(&mut self, headers: &HeaderMap) {
        let Some(Answered { model, version, .. }) = Answered::of(headers) else {
            return;
        };
        let Observer(inner) = &self.observer;
        let entry = self.loaded.entry((model, version));
        if let Entry::Vacant(entry) = entry {
            let (model, version) = entry.key();
            let raised = HostMetrics::loaded(&inner.host, &inner.metrics, model, version);
            entry.insert(raised);
        }
    }
}

impl Observer {
    pub(super) fn host(&self) -> &HostMetrics {
        &self.0.host
    }

    /// Where the memory of a new instance is counted.
    pub(crate) fn instance_memory(&self) -> twinfer_observe::Memory {
        self.host().instance_memory()
    }
}
