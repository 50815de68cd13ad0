//! What is there at once: the approved index, and the content that the cache has.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use twinfer::{Result, bail, err};
use twinfer_cache::Backend;
use twinfer_package::{Descriptor, Digest, Store};

use super::approved::Approved;

/// Contents that are held because the cache has no room for them. They are signatures and
/// manifests; more than this are held by nobody who is honest.
const MAX_ASIDE: usize = 256;

/// A store over what the cache has.
pub(super) struct View<B> {
    backend: Arc<B>,
    approved: Mutex<Option<Arc<Approved>>>,
    aside: Mutex<BTreeMap<Digest, Vec<u8>>>,
}

impl<B: Backend> View<B> {
    pub(super) fn new(backend: Arc<B>) -> Self {
        Self {
            backend,
            approved: Mutex::default(),
            aside: Mutex::default(),
        }
    }

    pub(super) fn approved(&self) -> Option<Arc<Approved>> {
        self.approved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn approve(&self, approved: Arc<Approved>) {
        *self.approved.lock().unwrap_or_else(PoisonError::into_inner) = Some(approved);
    }

    /// Holds something that the cache could not keep.
    pub(super) fn put_aside(&self, digest: Digest, bytes: Vec<u8>) {
        let mut aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        if aside.len() >= MAX_ASIDE {
            aside.clear();
        }
        aside.insert(digest, bytes);
    }
}

impl<B: Backend + Send + Sync> Store for View<B> {
    fn index(&self) -> Result<Vec<u8>> {
        let approved = self.approved();
        let approved = approved.ok_or_else(|| err!(Network, "the registry was not read yet"))?;
        Ok(approved.json.clone())
    }

    fn deployment(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let approved = self.approved();
        let document = approved.as_ref().and_then(|a| a.deployments.get(name));
        Ok(document.cloned().flatten().map(String::into_bytes))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = aside.get(&descriptor.digest) {
            return Ok(bytes.clone());
        }
        drop(aside);
        match at_once(self.backend.read(&descriptor.digest, descriptor.size))?? {
            Some(bytes) => Ok(bytes),
            None => bail!(MissingBlob, "{} is not in the cache", descriptor.digest),
        }
    }
}

/// The result of a future that waits for nothing: those of back ends in memory, over files, and
/// over key-value stores do not.
fn at_once<T>(future: impl Future<Output = T>) -> Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => bail!(Internal, "the cache does not answer at once"),
    }
}
