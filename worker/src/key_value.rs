//! A key-value store of the host: `wasi:keyvalue/store`.

use bindings::wasi::keyvalue::store::{Bucket, Error as StoreError, open};
use twinfer::{Error, Result, err};
use twinfer_cache::KeyValue;

mod bindings {
    spin_sdk::wit_bindgen::generate!({
        path: "../worker/wit/key-value.wit",
        world: "key-value",
        runtime_path: "spin_sdk::wit_bindgen::rt",
        generate_all,
    });
}

/// A store that is open.
pub(crate) struct HostStore {
    name: String,
    bucket: Bucket,
}

impl HostStore {
    /// # Errors
    /// `storage` when the host has no such store, or keeps it from this component.
    pub(crate) fn open(name: &str) -> Result<Self> {
        let name = if name.is_empty() { "default" } else { name };
        let bucket = open(name).map_err(|error| failed(name, &error))?;
        Ok(Self {
            name: name.to_owned(),
            bucket,
        })
    }

    fn failed(&self, error: &StoreError) -> Error {
        failed(&self.name, error)
    }
}

fn failed(name: &str, error: &StoreError) -> Error {
    match error {
        StoreError::NoSuchStore => err!(
            Storage,
            "the host has no key-value store `{name}`: Twinfer's has those of `HostConfig::key_value`, Spin those of `key_value_stores`"
        ),
        StoreError::AccessDenied => err!(
            Storage,
            "the host does not let this component use the key-value store `{name}`: name it in `key_value_stores`"
        ),
        StoreError::Other(reason) => err!(Storage, "the key-value store `{name}`: {reason}"),
    }
}

/// The host answers each call before it returns: no future of these waits.
impl KeyValue for HostStore {
    fn label(&self) -> String {
        format!("the key-value store {}", self.name)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.bucket.get(key).map_err(|e| self.failed(&e))
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        self.bucket.set(key, value).map_err(|e| self.failed(&e))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.bucket.delete(key).map_err(|e| self.failed(&e))
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.bucket.exists(key).map_err(|e| self.failed(&e))
    }

    async fn keys(&self) -> Result<Vec<String>> {
        let (mut keys, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.bucket.list_keys(cursor.as_deref());
            let page = page.map_err(|e| self.failed(&e))?;
            let empty = page.keys.is_empty();
            keys.extend(page.keys);
            cursor = page.cursor;
            if cursor.is_none() || empty {
                return Ok(keys);
            }
        }
    }
}
