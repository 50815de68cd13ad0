//! Stores in the state that hosts share: a value is the document `key-value/STORE/KEY`.

use std::sync::Arc;

use twinfer_state::{ANY, State, StateError};

use super::{Error, KeyResponse, PAGE};

/// A store.
pub(super) struct SharedStore {
    state: Arc<dyn State>,
    prefix: String,
}

impl SharedStore {
    /// A name of a store has no `/`, so no store is in another one.
    pub(super) fn new(state: Arc<dyn State>, name: &str) -> Self {
        let prefix = format!("key-value/{name}/");
        Self { state, prefix }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let found = self.state.get(&self.key(key)).await.map_err(failed)?;
        Ok(found.map(|document| document.value))
    }

    pub(super) async fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let key = self.key(key);
        // Whatever is there: the interface knows no versions.
        let put = self.state.put(&key, value, ANY).await;
        put.map(drop).map_err(failed)
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), Error> {
        let deleted = self.state.delete(&self.key(key), ANY).await;
        deleted.map(drop).map_err(failed)
    }

    pub(super) async fn exists(&self, key: &str) -> Result<bool, Error> {
        Ok(self.get(key).await?.is_some())
    }

    /// A page of keys, in their order; the cursor is the last key.
    pub(super) async fn list(&self, after: Option<&str>) -> Result<KeyResponse, Error> {
        let keys = self.state.keys(&self.prefix).await.map_err(failed)?;
        let keys = keys
            .iter()
            .filter_map(|key| key.strip_prefix(&self.prefix))
            .filter(|key| after.is_none_or(|after| *key > after));
        let mut keys: Vec<String> = keys.take(PAGE + 1).map(str::to_owned).collect();
        let more = keys.len() > PAGE;
        keys.truncate(PAGE);
        let cursor = keys.last().filter(|_| more).cloned();
        Ok(KeyResponse { keys, cursor })
    }
}

/// Not what the state says: its address and files are not the guest's.
fn failed(error: StateError) -> Error {
    Error::Other(match error.is_unreachable() {
        true => "the state of the host does not answer now".into(),
        false => "the state of the host refuses it".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_value::MAX_VALUE;
    use twinfer_state::MemoryState;

    #[tokio::test]
    async fn stores_are_apart_and_shared() {
        let state: Arc<dyn State> = Arc::new(MemoryState::new());
        let open = |name| SharedStore::new(state.clone(), name);
        let (one, again, other) = (open("a"), open("a"), open("b"));
        let large = vec![7; MAX_VALUE];
        one.set("k", b"1").await.unwrap();
        one.set("k", &large).await.unwrap();
        assert!(again.get("k").await.unwrap().unwrap() == large);
        assert_eq!(other.get("k").await.unwrap(), None);
        assert!(again.exists("k").await.unwrap() && !other.exists("k").await.unwrap());
        again.delete("k").await.unwrap();
        again.delete("k").await.unwrap();
        assert_eq!(one.get("k").await.unwrap(), None);
    }

    #[tokio::test]
    async fn many_keys_come_in_pages() {
        let state: Arc<dyn State> = Arc::new(MemoryState::new());
        let store = SharedStore::new(state.clone(), "a");
        SharedStore::new(state, "a-b").set("x", b"").await.unwrap();
        for number in 0..PAGE + 5 {
            store.set(&format!("{number:05}"), b"").await.unwrap();
        }
        let first = store.list(None).await.unwrap();
        assert_eq!(
            (first.keys.len(), first.cursor.as_deref()),
            (PAGE, Some("00999"))
        );
        let second = store.list(first.cursor.as_deref()).await.unwrap();
        assert_eq!((second.keys.len(), second.cursor), (5, None));
        assert_eq!(second.keys[0], "01000");
    }
}
