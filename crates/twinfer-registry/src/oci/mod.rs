//! An OCI registry (OCI distribution specification 1.1).
//!
//! `oci-client` does the authentication; requests for content are our own, because they have
//! limits of size, go on where they broke off, and are tried again, which it does not offer.

mod change;
mod index;
pub(crate) mod read;
mod tags;
mod upload;

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use reqwest::Url;
use twinfer::{Result, err};
use twinfer_package::{
    Descriptor, Digest, Reference, Store, Transaction, WritableStore, check_name,
};

use crate::NetOptions;
use crate::auth::{Auth, Scope};
use crate::download::{Download, Source};
use crate::net::{Access, Net, is_loopback};
use crate::walk::is_manifest;

/// What is accepted as a manifest. Without the old types a registry would convert.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// Manifests that are kept, so that what was just resolved is not fetched again.
const KEPT: usize = 256;

/// An OCI registry. The packages of a model are in the repository `prefix/name`.
///
/// Hosts that are this machine are reached without TLS, unless there is a CA file; all others
/// with TLS, unless plain HTTP is allowed.
pub struct OciStore {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) net: Arc<Net>,
    auth: Arc<Auth>,
    /// `scheme://host:port/`
    base: Url,
    host: String,
    prefix: String,
    seen: Mutex<Seen>,
}

/// What was learned on the way. Blobs live in repositories, but descriptors do not say in which.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) repositories: HashMap<Digest, String>,
    pub(crate) manifests: HashMap<Digest, Bytes>,
    /// The repository that was asked last.
    last: Option<String>,
}

impl OciStore {
    /// The registry at `host` or `host:port`, with the models under this prefix, which may be
    /// empty.
    ///
    /// # Errors
    /// `invalid_parameter` for a malformed host or prefix, or a CA file that is none.
    pub fn new(host: &str, prefix: &str, options: &NetOptions) -> Result<Self> {
        let inner = Inner::new(host, prefix, Net::new(options)?)?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Every tag of a model, as an index.
    ///
    /// # Errors
    /// `network`, `unauthorized`, `storage`.
    pub fn index_of_name(&self, name: &str) -> Result<Vec<u8>> {
        check_name(name)?;
        let inner = &self.inner;
        crate::entries::index_json(&inner.net.run(inner.index_of_name(name))?)
    }
}

impl Inner {
    /// The registry at this host, reached by this client.
    pub(crate) fn new(host: &str, prefix: &str, net: Arc<Net>) -> Result<Self> {
        let options = &net.options;
        for part in prefix.split('/').filter(|_| !prefix.is_empty()) {
            check_name(part)?;
        }
        let address = |scheme: &str| {
            Url::parse(&format!("{scheme}://{host}/"))
                .map_err(|e| err!(InvalidParameter, "`{host}` is not a host: {e}"))
        };
        let secure = address("https")?;
        let loopback = is_loopback(&secure) && options.ca_file.is_none();
        let base = match loopback || options.plain_http {
            true => address("http")?,
            false => secure,
        };
        Ok(Self {
            auth: Arc::new(Auth::new(&base, host, options)),
            base,
            host: host.into(),
            prefix: prefix.into(),
            seen: Mutex::default(),
            net,
        })
    }

    /// The repository of a model.
    pub(crate) fn repository(&self, name: &str) -> String {
        let repository = match self.prefix.is_empty() {
            true => name.to_owned(),
            false => format!("{}/{name}", self.prefix),
        };
        self.seen().last = Some(repository.clone());
        repository
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing that holds the lock leaves it half changed.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The repository with this content, as far as is known.
    pub(crate) fn repository_of(&self, digest: &Digest) -> Result<String> {
        let seen = self.seen();
        let known = seen.repositories.get(digest).or(seen.last.as_ref());
        known.cloned().ok_or_else(|| {
            err!(
                InvalidRequest,
                "{digest}: a registry is first asked for a model, then for its content"
            )
        })
    }

    fn url(&self, path: &str) -> Result<Url> {
        self.base
            .join(path)
            .map_err(|e| err!(Internal, "the address of {path}: {e}"))
    }

    pub(crate) fn content_url(&self, repository: &str, descriptor: &Descriptor) -> Result<Url> {
        let kind = match is_manifest(&descriptor.media_type) {
            true => "manifests",
            false => "blobs",
        };
        self.url(&format!("v2/{repository}/{kind}/{}", descriptor.digest))
    }

    pub(crate) fn access<'a>(&'a self, scope: &'a Scope) -> Access<'a> {
        Some((&self.auth, scope))
    }

    fn download(&self, descriptor: &Descriptor) -> Result<Download> {
        let repository = self.repository_of(&descriptor.digest)?;
        let source = Source {
            net: self.net.clone(),
            url: self.content_url(&repository, descriptor)?,
            auth: Some((self.auth.clone(), pull(&repository))),
            accept: is_manifest(&descriptor.media_type).then_some(ACCEPT),
        };
        Download::begin(source, descriptor)
    }
}

pub(crate) fn pull(repository: &str) -> Scope {
    Scope {
        repository: repository.into(),
        push: false,
    }
}

impl Store for OciStore {
    /// Every model under the prefix, where the registry tells which there are.
    fn index(&self) -> Result<Vec<u8>> {
        self.inner.net.run(self.inner.whole_index())
    }

    fn index_of(&self, reference: &Reference) -> Result<Vec<u8>> {
        let made = self.inner.net.run(self.inner.index_of(reference, None))?;
        // Without anything before it there is always one.
        made.map(|made| made.index)
            .ok_or_else(|| err!(Internal, "{reference}: no index was made"))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let kept = self.inner.seen().manifests.get(&descriptor.digest).cloned();
        if let Some(kept) = kept {
            return Ok(kept.to_vec());
        }
        let bytes = self.inner.download(descriptor)?.into_vec(descriptor.size)?;
        if is_manifest(&descriptor.media_type) && Digest::of(&bytes) == descriptor.digest {
            let repository = self.inner.repository_of(&descriptor.digest)?;
            self.inner
                .learn(&repository, &descriptor.digest, &bytes.clone().into());
        }
        Ok(bytes)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        if is_manifest(&descriptor.media_type) {
            return Ok(Box::new(std::io::Cursor::new(self.blob(descriptor)?)));
        }
        Ok(Box::new(self.inner.download(descriptor)?))
    }

    fn origin(&self, descriptor: &Descriptor) -> Option<String> {
        let repository = self.inner.repository_of(&descriptor.digest).ok()?;
        Some(format!("{}{repository}", origin(&self.inner.base)))
    }
}

/// What the origins of one registry begin with.
fn origin(base: &Url) -> String {
    format!("oci {base}")
}

impl WritableStore for OciStore {
    fn begin(&self, name: &str) -> Result<Box<dyn Transaction + '_>> {
        check_name(name)?;
        Ok(Box::new(change::Change::new(self.inner.clone(), name)))
    }
}
