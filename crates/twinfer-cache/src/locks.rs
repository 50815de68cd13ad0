//! Locks within one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::LockMode;

/// How often each name is held; `None` for alone. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LockTable(Arc<Mutex<BTreeMap<String, Option<usize>>>>);

impl LockTable {
    /// The lock, unless somebody holds it in a way that excludes this.
    pub fn take(&self, name: String, mode: LockMode) -> Option<LocalLock> {
        let mut table = self.table();
        let held = match (table.get(&name), mode) {
            (None, LockMode::Exclusive) => None,
            (None, LockMode::Shared) => Some(1),
            (Some(Some(count)), LockMode::Shared) => Some(count + 1),
            _ => return None,
        };
        table.insert(name.clone(), held);
        drop(table);
        Some(LocalLock {
            table: self.clone(),
            name,
        })
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Option<usize>>> {
        // No change of it can be left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lock that excludes others of this process; dropping it gives it back.
#[derive(Debug)]
pub struct LocalLock {
    table: LockTable,
    name: String,
}

impl Drop for LocalLock {
    fn drop(&mut self) {
        let mut table = self.table.table();
        match table.get_mut(&self.name) {
            Some(Some(count)) if *count > 1 => *count -= 1,
            _ => drop(table.remove(&self.name)),
        }
    }
}
