//! Entries that are not models: what refers to a package, and the signed tags of a name.

use std::collections::BTreeMap;

use twinfer::{Result, bail};

use super::Index;
use crate::Descriptor;
use crate::oci::REF_NAME;

impl Index {
    /// What is under `name:tag`, whatever it is.
    ///
    /// # Errors
    /// `invalid_manifest` for an entry that is there twice; `invalid_digest`.
    pub(crate) fn named(&self, name: &str, tag: &str) -> Result<Option<Descriptor>> {
        let full = format!("{name}:{tag}");
        let mut found = self
            .manifests
            .iter()
            .filter(|entry| entry.annotations.get(REF_NAME) == Some(&full));
        let Some(entry) = found.next() else {
            return Ok(None);
        };
        if found.any(|other| other.digest != entry.digest) {
            bail!(
                InvalidManifest,
                "index.json has `{full}` twice, with different digests"
            );
        }
        Ok(Some(Descriptor {
            media_type: entry.media_type.clone(),
            digest: entry
                .digest
                .parse()
                .map_err(|e: twinfer::Error| e.context("index.json"))?,
            size: entry.size,
            artifact_type: entry.artifact_type.clone(),
            annotations: BTreeMap::new(),
        }))
    }

    /// Puts something under `name:tag`, in the place of what was there.
    pub(crate) fn name(&mut self, name: &str, tag: &str, descriptor: &Descriptor) {
        let full = format!("{name}:{tag}");
        self.manifests
            .retain(|entry| entry.annotations.get(REF_NAME) != Some(&full));
        self.insert(full, descriptor);
    }
}
