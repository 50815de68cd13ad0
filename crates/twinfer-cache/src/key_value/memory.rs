//! A key-value store in memory, for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twinfer::{Result, bail};

use super::{KeyValue, MAX_VALUE_BYTES};

/// A key-value store in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryKeyValue {
    values: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    limit: Option<u64>,
}

impl MemoryKeyValue {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one with room for this many bytes of values.
    pub fn with_limit(bytes: u64) -> Self {
        Self {
            limit: Some(bytes),
            ..Self::default()
        }
    }

    fn values(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        // Nothing that holds the lock leaves the content half changed.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyValue for MemoryKeyValue {
    fn label(&self) -> String {
        "the key-value store in memory".into()
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.values().get(key).cloned())
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        if value.len() > MAX_VALUE_BYTES || key.len() > 255 {
            bail!(
                Storage,
                "`{key}` with {} bytes is too large for a key-value store",
                value.len()
            );
        }
        let mut values = self.values();
        if let Some(limit) = self.limit {
            let others = values.iter().filter(|(other, _)| *other != key);
            let held: usize = others.map(|(_, value)| value.len()).sum();
            if (held + value.len()) as u64 > limit {
                bail!(OutOfSpace, "the store in memory has room for {limit} bytes");
            }
        }
        values.insert(key.into(), value.into());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.values().remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        Ok(self.values().contains_key(key))
    }

    async fn keys(&self) -> Result<Vec<String>> {
        Ok(self.values().keys().cloned().collect())
    }
}
