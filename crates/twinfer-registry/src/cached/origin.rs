//! Registries as the cache asks them: one attempt each.

use std::path::Path;
use std::sync::Arc;

use reqwest::Url;
use twinfer::{Result, err};
use twinfer_cache::{Asked, Freshness, Opened, Origin, Wanted};
use twinfer_package::{Digest, FolderStore, Index, Reference, Store, media};

use super::open::{OriginBody, Place, in_folder};
use crate::net::Net;
use crate::oci::{ACCEPT, Inner, pull};
use crate::static_host::ask_index;
use crate::{Location, NetOptions};

/// A registry that the cache can ask: a folder, a static host or an OCI registry.
///
/// Its futures want a tokio runtime.
pub struct RegistryOrigin {
    id: String,
    kind: Kind,
}

enum Kind {
    Folder(FolderStore),
    Static { net: Arc<Net>, base: Url },
    Oci(Arc<Inner>),
}

impl RegistryOrigin {
    /// The registry at this location.
    ///
    /// # Errors
    /// As [`Location::open`].
    pub fn new(location: &Location, options: &NetOptions) -> Result<Self> {
        Self::with_net(location, single_attempts(options)?)
    }

    pub(super) fn with_net(location: &Location, net: Arc<Net>) -> Result<Self> {
        let kind = match location {
            Location::Folder(path) => Kind::Folder(FolderStore::new(path)),
            Location::Static(base) => {
                net.check_address(base)?;
                Kind::Static {
                    net,
                    base: base.clone(),
                }
            }
            Location::Oci { host, prefix } => Kind::Oci(Arc::new(Inner::new(host, prefix, net)?)),
        };
        let id = match location.folder() {
            // The same folder from wherever the command is run.
            Some(folder) => absolute(folder),
            None => location.to_string(),
        };
        Ok(Self { id, kind })
    }

    /// The same document is the index of all models.
    pub(super) fn has_one_index(&self) -> bool {
        !matches!(self.kind, Kind::Oci(_))
    }

    /// Every model, where that has to be asked for one by one.
    pub(super) async fn whole_index(&self) -> Result<Option<Vec<u8>>> {
        match &self.kind {
            Kind::Oci(inner) => inner.whole_index().await.map(Some),
            _ => Ok(None),
        }
    }

    /// Content that is asked for next belongs to this model, and this is in its index: OCI
    /// registries keep each model apart, and have to be asked in the right place.
    pub(super) fn about(&self, name: &str, index: &Index) {
        if let Kind::Oci(inner) = &self.kind {
            let repository = inner.repository(name);
            let mut seen = inner.seen();
            let of_name = index.tags().into_iter().filter(|tag| tag.name == name);
            for tag in of_name {
                seen.repositories.insert(tag.digest, repository.clone());
            }
        }
    }

    /// A verified manifest of this model: what it refers to is in the same place.
    pub(super) fn learn(&self, name: &str, digest: &Digest, manifest: &[u8]) {
        if let Kind::Oci(inner) = &self.kind {
            let repository = inner.repository(name);
            inner.learn(&repository, digest, &manifest.to_vec().into());
        }
    }
}

/// A client that leaves trying again to the cache.
pub(super) fn single_attempts(options: &NetOptions) -> Result<Arc<Net>> {
    Net::new(&NetOptions {
        attempts: 1,
        ..options.clone()
    })
}

fn absolute(folder: &Path) -> String {
    let path = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
    path.display().to_string()
}

impl Origin for RegistryOrigin {
    type Body = OriginBody;

    fn id(&self) -> &str {
        &self.id
    }

    fn index_key(&self, reference: &Reference) -> String {
        match (&self.kind, reference.digest()) {
            (Kind::Oci(_), None) => reference.to_string(),
            // What a tag points to and what a digest is are answers to two questions.
            (Kind::Oci(_), Some(digest)) => format!("{}@{digest}", reference.name()),
            _ => String::new(),
        }
    }

    async fn index(&self, reference: &Reference, validator: Option<&str>) -> Result<Asked> {
        match &self.kind {
            Kind::Folder(folder) => Ok(Asked::Changed {
                index: folder.index()?,
                validator: None,
                freshness: Freshness::default(),
            }),
            Kind::Static { net, base } => ask_index(net, base, validator).await,
            Kind::Oci(inner) => {
                // One of another version is none.
                let before = validator.and_then(|text| serde_json::from_str(text).ok());
                let Some(made) = inner.index_of(reference, before.as_ref()).await? else {
                    return Ok(Asked::Unchanged(Freshness::default()));
                };
                let validator = made.parts.map(|parts| serde_json::to_string(&parts));
                Ok(Asked::Changed {
                    index: made.index,
                    validator: validator
                        .transpose()
                        .map_err(|e| err!(Internal, "a validator has no JSON form: {e}"))?,
                    // Tags move at any time, whatever a registry says of its manifests.
                    freshness: Freshness::default(),
                })
            }
        }
    }

    async fn open(&self, wanted: &Wanted, offset: u64, anew: bool) -> Result<Opened<OriginBody>> {
        match &self.kind {
            Kind::Folder(folder) => in_folder(folder, wanted, offset),
            Kind::Static { net, base } => {
                let path = format!("blobs/sha256/{}", wanted.digest.hex());
                let place = Place {
                    net,
                    url: base
                        .join(&path)
                        .map_err(|e| err!(Internal, "the address of {path}: {e}"))?,
                    access: None,
                    accept: None,
                };
                place.open(wanted, offset, anew).await
            }
            Kind::Oci(inner) => in_registry(inner, wanted, offset, anew).await,
        }
    }
}

async fn in_registry(
    inner: &Inner,
    wanted: &Wanted,
    offset: u64,
    anew: bool,
) -> Result<Opened<OriginBody>> {
    // What was just resolved is here.
    let kept = inner.seen().manifests.get(&wanted.digest).cloned();
    if let Some(kept) = kept.filter(|_| !anew) {
        return Ok(Opened {
            body: OriginBody::of_bytes(kept.to_vec()),
            offset: 0,
        });
    }
    let mut descriptor = wanted.descriptor(wanted.limit());
    if wanted.manifest {
        descriptor.media_type = media::MANIFEST.into();
    }
    let repository = inner.repository_of(&wanted.digest)?;
    let scope = pull(&repository);
    let place = Place {
        net: &inner.net,
        url: inner.content_url(&repository, &descriptor)?,
        access: inner.access(&scope),
        accept: wanted.manifest.then_some(ACCEPT),
    };
    place.open(wanted, offset, anew).await
}
