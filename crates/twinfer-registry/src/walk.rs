//! What a manifest refers to.

use std::collections::BTreeSet;

use serde::Deserialize;
use twinfer::{Result, bail, err};
use twinfer_package::limits::{MAX_LAYERS, MAX_MANIFEST_BYTES};
use twinfer_package::{Descriptor, Digest, Store, media};

use crate::entries::Raw;
use crate::error::{label, shorten};

/// Manifests that are followed from one list: signatures, statements and the like.
const MAX_ATTACHED: usize = 1_000;

/// Whether this is what registries hold as manifests rather than as blobs.
pub(crate) fn is_manifest(media_type: &str) -> bool {
    matches!(
        media_type,
        media::MANIFEST
            | media::INDEX
            | "application/vnd.docker.distribution.manifest.v2+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json"
            | "application/vnd.oci.artifact.manifest.v1+json"
    )
}

/// Any manifest or list of manifests.
#[derive(Debug, Deserialize)]
struct Any {
    config: Option<Raw>,
    #[serde(default)]
    layers: Vec<Raw>,
    #[serde(default)]
    blobs: Vec<Raw>,
    #[serde(default)]
    manifests: Vec<Raw>,
}

/// What a manifest or list refers to, in its order. Its `subject` is not followed.
///
/// # Errors
/// `invalid_manifest`, `invalid_digest`.
pub(crate) fn children(what: &str, json: &[u8]) -> Result<Vec<Descriptor>> {
    let any: Any =
        serde_json::from_slice(json).map_err(|e| err!(InvalidManifest, "{what}: {e}"))?;
    let all = any
        .config
        .into_iter()
        .chain(any.layers)
        .chain(any.blobs)
        .chain(any.manifests);
    let mut children = Vec::new();
    for raw in all {
        let Some(descriptor) = raw.descriptor() else {
            bail!(
                InvalidDigest,
                "{what} refers to `{}`: only sha256 is read",
                shorten(&raw.digest)
            );
        };
        children.push(descriptor);
    }
    if children.len() > MAX_LAYERS.max(MAX_ATTACHED) {
        bail!(
            InvalidManifest,
            "{what} refers to {} things; at most {} are read",
            children.len(),
            MAX_LAYERS.max(MAX_ATTACHED)
        );
    }
    Ok(children)
}

/// Reads a manifest, verified.
///
/// # Errors
/// Those of the store; `size_mismatch`, `digest_mismatch`; `invalid_manifest` for one that is
/// too large.
pub(crate) fn manifest(store: &dyn Store, descriptor: &Descriptor) -> Result<Vec<u8>> {
    if descriptor.size > MAX_MANIFEST_BYTES {
        bail!(
            InvalidManifest,
            "{} is said to have {} bytes; at most {MAX_MANIFEST_BYTES} are read",
            label(descriptor),
            descriptor.size
        );
    }
    let json = store.blob(descriptor)?;
    descriptor.verify(&json)?;
    Ok(json)
}

/// Reads everything from these manifests on, verified: for a store that keeps what was read.
///
/// # Errors
/// Those of the store; `size_mismatch`, `digest_mismatch`, `invalid_manifest`.
pub fn read_all(store: &dyn Store, roots: &[Descriptor]) -> Result<()> {
    for descriptor in closure(store, roots)? {
        if !is_manifest(&descriptor.media_type) {
            descriptor.verify(&store.blob(&descriptor)?)?;
        }
    }
    Ok(())
}

/// Everything from these manifests on, what is referred to before what refers to it.
pub(crate) fn closure(store: &dyn Store, roots: &[Descriptor]) -> Result<Vec<Descriptor>> {
    let mut walk = Walk {
        store,
        seen: BTreeSet::new(),
        nodes: Vec::new(),
        manifests: 0,
    };
    for root in roots {
        walk.visit(root, 0)?;
    }
    Ok(walk.nodes)
}

struct Walk<'a> {
    store: &'a dyn Store,
    seen: BTreeSet<Digest>,
    nodes: Vec<Descriptor>,
    manifests: usize,
}

impl Walk<'_> {
    fn visit(&mut self, descriptor: &Descriptor, depth: usize) -> Result<()> {
        const DEEPEST: usize = 8;
        const MOST: usize = 100_000;
        if !self.seen.insert(descriptor.digest) {
            return Ok(());
        }
        if is_manifest(&descriptor.media_type) {
            self.manifests += 1;
            if depth > DEEPEST || self.manifests > MOST {
                bail!(
                    InvalidManifest,
                    "{} is in lists of lists, or one of more than {MOST} manifests",
                    label(descriptor)
                );
            }
            let content = manifest(self.store, descriptor)?;
            for child in children(&label(descriptor), &content)? {
                self.visit(&child, depth + 1)?;
            }
        }
        self.nodes.push(descriptor.clone());
        Ok(())
    }
}
