//! Where the page keeps content: what `web/src/storage/` makes of IndexedDB, the private file
//! system or the Cache API, and Web Locks.

use js_sys::{Array, Uint8Array};
use twinfer::{Error, ErrorCode, Result, bail, err};
use twinfer_cache::{Backend, BlobWriter, LockMode, Space};
use twinfer_package::Digest;
use wasm_bindgen::prelude::*;

use super::error::from_js;

#[wasm_bindgen]
extern "C" {
    /// `Storage` of `web/src/storage/storage.ts`. Blobs are named by the digits of their digest.
    pub type Storage;

    #[wasm_bindgen(method, structural, getter)]
    fn label(this: &Storage) -> String;
    #[wasm_bindgen(method, structural, catch)]
    async fn document(this: &Storage, key: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch, js_name = setDocument)]
    async fn set_document(this: &Storage, key: &str, content: &[u8]) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch, js_name = removeDocument)]
    async fn remove_document(this: &Storage, key: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    async fn documents(this: &Storage, prefix: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    async fn size(this: &Storage, hex: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    async fn read(this: &Storage, hex: &str, limit: f64) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    async fn write(this: &Storage, hex: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    async fn remove(this: &Storage, hex: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    async fn blobs(this: &Storage) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    async fn partials(this: &Storage) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch, js_name = removePartial)]
    async fn remove_partial(this: &Storage, hex: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    async fn lock(this: &Storage, name: &str, shared: bool, wait: bool)
    -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    async fn space(this: &Storage) -> Result<JsValue, JsValue>;

    /// `Writer` there.
    type Writer;

    #[wasm_bindgen(method, structural, getter)]
    fn length(this: &Writer) -> f64;
    #[wasm_bindgen(method, structural, catch, js_name = readBack)]
    async fn read_back(this: &Writer, offset: f64, length: f64) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    async fn append(this: &Writer, bytes: &[u8]) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    async fn clear(this: &Writer) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    async fn commit(this: &Writer) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural)]
    fn close(this: &Writer);

    /// `Lock` there.
    type Lock;

    #[wasm_bindgen(method, structural)]
    fn release(this: &Lock);

    /// `Space` there.
    type Room;

    #[wasm_bindgen(method, structural, getter)]
    fn available(this: &Room) -> Option<f64>;
    #[wasm_bindgen(method, structural, getter)]
    fn quota(this: &Room) -> Option<f64>;
}

/// A storage, or none: then nothing is kept.
pub(super) struct JsBackend {
    pub storage: Option<Storage>,
}

fn failed(thrown: JsValue) -> Error {
    from_js(&thrown, ErrorCode::Storage)
}

/// Bytes in the memory of the engine. Unlike `to_vec` it does not end the engine where there is
/// no memory for them.
pub(super) fn to_bytes(value: JsValue) -> Result<Vec<u8>> {
    let array: Uint8Array = value
        .dyn_into()
        .map_err(|_| err!(Internal, "bytes are a Uint8Array"))?;
    let length = array.length() as usize;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(length)
        .map_err(|_| err!(OutOfMemory, "there is no memory for {length} bytes"))?;
    bytes.resize(length, 0);
    array.copy_to(&mut bytes);
    Ok(bytes)
}

fn optional<T>(value: JsValue, read: impl FnOnce(JsValue) -> Result<T>) -> Result<Option<T>> {
    match value.is_undefined() {
        true => Ok(None),
        false => read(value).map(Some),
    }
}

/// A number of bytes: whole, and below 2^53.
fn to_size(value: JsValue) -> Result<u64> {
    match value.as_f64() {
        Some(number) if number >= 0.0 => Ok(number as u64),
        _ => bail!(Internal, "a size is a number"),
    }
}

fn pairs<A, B>(
    list: JsValue,
    first: impl Fn(String) -> Result<A>,
    second: impl Fn(JsValue) -> Result<B>,
) -> Result<Vec<(A, B)>> {
    let pair = |pair: JsValue| {
        let pair = Array::from(&pair);
        let name = pair.get(0).as_string().unwrap_or_default();
        Ok((first(name)?, second(pair.get(1))?))
    };
    Array::from(&list).iter().map(pair).collect()
}

fn sizes(list: JsValue) -> Result<Vec<(Digest, u64)>> {
    pairs(list, |hex| format!("sha256:{hex}").parse(), to_size)
}

impl Backend for JsBackend {
    type Writer = JsWriter;
    type Lock = JsLock;

    fn label(&self) -> String {
        match &self.storage {
            Some(storage) => storage.label(),
            None => "nothing".into(),
        }
    }

    async fn document(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match &self.storage {
            Some(storage) => optional(storage.document(key).await.map_err(failed)?, to_bytes),
            None => Ok(None),
        }
    }

    async fn set_document(&self, key: &str, content: &[u8]) -> Result<()> {
        let storage = self.storage()?;
        storage.set_document(key, content).await.map_err(failed)?;
        Ok(())
    }

    async fn remove_document(&self, key: &str) -> Result<()> {
        if let Some(storage) = &self.storage {
            storage.remove_document(key).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn documents(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        match &self.storage {
            Some(storage) => {
                let list = storage.documents(prefix).await.map_err(failed)?;
                pairs(list, Ok, to_bytes)
            }
            None => Ok(Vec::new()),
        }
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        match &self.storage {
            Some(storage) => {
                let size = storage.size(&digest.hex()).await.map_err(failed)?;
                optional(size, to_size)
            }
            None => Ok(None),
        }
    }

    async fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>> {
        match &self.storage {
            Some(storage) => {
                // Limits are far below 2^53.
                let read = storage.read(&digest.hex(), limit as f64).await;
                optional(read.map_err(failed)?, to_bytes)
            }
            None => Ok(None),
        }
    }

    async fn write(&self, digest: &Digest) -> Result<JsWriter> {
        let made = self.storage()?.write(&digest.hex()).await.map_err(failed)?;
        let writer: Writer = made.unchecked_into();
        let length = writer.length() as u64;
        Ok(JsWriter { writer, length })
    }

    async fn remove(&self, digest: &Digest) -> Result<()> {
        if let Some(storage) = &self.storage {
            storage.remove(&digest.hex()).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn blobs(&self) -> Result<Vec<(Digest, u64)>> {
        match &self.storage {
            Some(storage) => sizes(storage.blobs().await.map_err(failed)?),
            None => Ok(Vec::new()),
        }
    }

    async fn partials(&self) -> Result<Vec<(Digest, u64)>> {
        match &self.storage {
            Some(storage) => sizes(storage.partials().await.map_err(failed)?),
            None => Ok(Vec::new()),
        }
    }

    async fn remove_partial(&self, digest: &Digest) -> Result<()> {
        if let Some(storage) = &self.storage {
            let removed = storage.remove_partial(&digest.hex()).await;
            removed.map_err(failed)?;
        }
        Ok(())
    }

    async fn lock(&self, name: &str, mode: LockMode, wait: bool) -> Result<Option<JsLock>> {
        let Some(storage) = &self.storage else {
            return Ok(Some(JsLock { lock: None }));
        };
        let lock = storage.lock(name, mode == LockMode::Shared, wait).await;
        optional(lock.map_err(failed)?, |lock| {
            let lock = Some(lock.unchecked_into());
            Ok(JsLock { lock })
        })
    }

    async fn space(&self) -> Result<Space> {
        let Some(storage) = &self.storage else {
            return Ok(Space::default());
        };
        let room: Room = storage.space().await.map_err(failed)?.unchecked_into();
        Ok(Space {
            available: room.available().map(|bytes| bytes as u64),
            quota: room.quota().map(|bytes| bytes as u64),
        })
    }
}

impl JsBackend {
    fn storage(&self) -> Result<&Storage> {
        self.storage
            .as_ref()
            .ok_or_else(|| err!(Storage, "there is no storage to keep content in"))
    }
}

pub(super) struct JsWriter {
    writer: Writer,
    length: u64,
}

impl BlobWriter for JsWriter {
    fn len(&self) -> u64 {
        self.length
    }

    async fn read_back(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        // Offsets are below 2^53.
        let read = self.writer.read_back(offset as f64, length as f64).await;
        to_bytes(read.map_err(failed)?)
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.append(bytes).await.map_err(failed)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    async fn clear(&mut self) -> Result<()> {
        self.writer.clear().await.map_err(failed)?;
        self.length = 0;
        Ok(())
    }

    async fn commit(self) -> Result<()> {
        self.writer.commit().await.map_err(failed)?;
        Ok(())
    }
}

impl Drop for JsWriter {
    fn drop(&mut self) {
        self.writer.close();
    }
}

/// A lock; none where nothing is kept, and so nothing is shared.
pub(super) struct JsLock {
    lock: Option<Lock>,
}

impl Drop for JsLock {
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            lock.release();
        }
    }
}
