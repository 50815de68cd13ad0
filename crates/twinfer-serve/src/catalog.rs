//! The index of the registry, parsed again only when it changed.

use std::sync::{Arc, Mutex, PoisonError};

use twinfer::Result;
use twinfer_package::{Index, Store};

/// An index and the bytes that it was read from.
#[derive(Clone)]
pub(crate) struct Known {
    json: Vec<u8>,
    index: Arc<Index>,
}

impl Known {
    pub(crate) fn new(json: Vec<u8>, index: Arc<Index>) -> Self {
        Self { json, index }
    }

    pub(crate) fn json(&self) -> &[u8] {
        &self.json
    }

    pub(crate) fn index(&self) -> &Arc<Index> {
        &self.index
    }
}

pub(crate) struct Catalog {
    store: Arc<dyn Store>,
    last: Mutex<Option<Known>>,
}

impl Catalog {
    /// `known`: an index that the store may well give.
    pub(crate) fn new(store: Arc<dyn Store>, known: Option<Known>) -> Self {
        Self {
            store,
            last: Mutex::new(known),
        }
    }

    /// The index as it is now. Reading it costs far less than any prediction;
    /// this is what makes a new version or a moved alias count at once.
    pub(crate) fn index(&self) -> Result<Arc<Index>> {
        let json = self.store.index()?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*last
            && known.json == json
        {
            return Ok(known.index.clone());
        }
        let index = Arc::new(Index::from_json(&json)?);
        *last = Some(Known::new(json, index.clone()));
        Ok(index)
    }
}
