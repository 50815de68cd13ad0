//! Changes of an index. Entries of other tools stay as they are.

use std::collections::BTreeSet;

use serde_json::Map;
use twinfer::{Result, bail};

use super::{Entry, Index};
use crate::oci::REF_NAME;
use crate::reference::{is_reserved, referrers_subject};
use crate::{Descriptor, ENGINES, Reference};

impl Index {
    /// What a tag points to at present, as text; `None` when it is free.
    pub fn digest_of(&self, reference: &Reference) -> Option<&str> {
        reference.tag()?;
        let full = Some(full(reference));
        self.manifests
            .iter()
            .find(|e| e.annotations.get(REF_NAME) == full.as_ref())
            .map(|e| e.digest.as_str())
    }

    /// Lets a tag point to this manifest. What it pointed to before stays reachable by its
    /// digest.
    pub fn point(&mut self, reference: &Reference, manifest: &Descriptor) {
        let full = full(reference);
        let digest = manifest.digest.to_string();
        let engines = self.said_of_engines(&digest);
        for entry in &mut self.manifests {
            if entry.annotations.get(REF_NAME) == Some(&full) {
                entry.annotations.remove(REF_NAME);
            }
        }
        // The untagged entry of this digest, if there is one, would now say nothing more.
        self.manifests
            .retain(|e| e.digest != digest || e.annotations.contains_key(REF_NAME));
        self.insert(full, manifest);
        if let Some(engines) = engines {
            let entries = self.manifests.iter_mut().filter(|e| e.digest == digest);
            for entry in entries {
                entry.annotations.insert(ENGINES.into(), engines.clone());
            }
        }
    }

    /// Adds an entry under `name:tag`, which is free.
    pub(super) fn insert(&mut self, full: String, manifest: &Descriptor) {
        self.manifests.push(Entry {
            media_type: manifest.media_type.clone(),
            digest: manifest.digest.to_string(),
            size: manifest.size,
            artifact_type: manifest.artifact_type.clone(),
            annotations: [(REF_NAME.to_owned(), full)].into(),
            extra: Map::new(),
        });
        // By name: the same packages give the same index, whatever the order of packing.
        self.manifests.sort_by(|a, b| {
            a.annotations
                .get(REF_NAME)
                .cmp(&b.annotations.get(REF_NAME))
        });
    }

    /// Takes a tag away. Its package stays reachable by its digest only as long as something
    /// else points to it. True when it was there.
    pub fn remove(&mut self, reference: &Reference) -> bool {
        let full = full(reference);
        let before = self.manifests.len();
        self.manifests
            .retain(|entry| entry.annotations.get(REF_NAME) != Some(&full));
        self.manifests.len() != before
    }

    /// Takes away entries without a tag whose kind is ours: what moved tags pointed to before.
    /// Gives their digests.
    pub(crate) fn remove_untagged(&mut self) -> Vec<String> {
        let of_no_use = |entry: &Entry| {
            entry.may_be_model()
                && entry.artifact_type.is_some()
                && !entry.annotations.contains_key(REF_NAME)
        };
        let gone = self.manifests.iter().filter(|entry| of_no_use(entry));
        let gone = gone.map(|entry| entry.digest.clone()).collect();
        self.manifests.retain(|entry| !of_no_use(entry));
        gone
    }

    /// Takes away what is attached to packages that are no longer there: lists of referrers
    /// whose subject no entry has. Gives their tags.
    pub(crate) fn remove_orphans(&mut self) -> Vec<String> {
        let there: BTreeSet<String> = self.manifests.iter().map(|e| e.digest.clone()).collect();
        let orphan = |entry: &Entry| {
            let tag = entry.annotations.get(REF_NAME)?.split_once(':')?.1;
            let subject = referrers_subject(tag)?.to_string();
            (!there.contains(&subject)).then(|| tag.to_owned())
        };
        let gone: Vec<String> = self.manifests.iter().filter_map(orphan).collect();
        self.manifests.retain(|entry| orphan(entry).is_none());
        gone
    }

    /// Every entry, as `(media type, digest, size)`: digests as text, since other tools may use
    /// algorithms that are not read here.
    pub(crate) fn roots(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.manifests
            .iter()
            .map(|entry| (entry.media_type.as_str(), entry.digest.as_str(), entry.size))
    }

    /// The tags of a name that point to this digest.
    pub(crate) fn tags_of(&self, name: &str, digest: &str) -> Vec<String> {
        let tags = self.manifests.iter().filter(|entry| entry.digest == digest);
        let tags = tags.filter_map(|entry| entry.tag());
        tags.filter(|(of, _)| *of == name)
            .map(|(_, tag)| tag.to_owned())
            .collect()
    }
}

fn full(reference: &Reference) -> String {
    format!(
        "{}:{}",
        reference.name(),
        reference.tag().unwrap_or_default()
    )
}

/// Checks that a tag is one that people may give.
///
/// # Errors
/// `invalid_reference` for those that hold signatures and the like.
pub(crate) fn check_free(tag: &str) -> Result<()> {
    if is_reserved(tag) {
        bail!(
            InvalidReference,
            "`{tag}` is reserved for what is attached to packages: choose another tag"
        );
    }
    Ok(())
}
