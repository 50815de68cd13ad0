//! The index of the registry, parsed again only when it changed.

use std::sync::{Arc, Mutex, PoisonError};

use twinfer::Result;
use twinfer_package::{Index, Store};

pub(crate) struct Catalog {
    store: Arc<dyn Store>,
    last: Mutex<Option<(Vec<u8>, Arc<Index>)>>,
}

impl Catalog {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            last: Mutex::default(),
        }
    }

    /// The index as it is now. Reading it costs far less than any prediction;
    /// this is what makes a new version or a moved alias count at once.
    pub(crate) fn index(&self) -> Result<Arc<Index>> {
        let json = self.store.index()?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, index)) = &*last
            && *known == json
        {
            return Ok(index.clone());
        }
        let index = Arc::new(Index::from_json(&json)?);
        *last = Some((json, index.clone()));
        Ok(index)
    }
}
