//! An index by the names in it: what moves together.

use std::collections::{BTreeMap, BTreeSet};

use twinfer::Result;

use super::{Entry, Index};
use crate::oci::REF_NAME;
use crate::reference::{check_name, check_tag, is_reserved, referrers_tag};
use crate::{Descriptor, Digest};

impl Entry {
    /// `(name, tag)` of a package, or of what is attached to one.
    pub(super) fn full_tag(&self) -> Option<(&str, &str)> {
        let (name, tag) = self.annotations.get(REF_NAME)?.split_once(':')?;
        (check_name(name).is_ok() && check_tag(tag).is_ok()).then_some((name, tag))
    }
}

impl Index {
    /// The index by names: of each its versions and aliases, its signed tags, and what is
    /// attached to its packages, in one order whatever that of the registry is.
    pub fn by_name(&self) -> BTreeMap<String, Self> {
        let mut parts: BTreeMap<String, Self> = BTreeMap::new();
        for entry in &self.manifests {
            if let Some((name, _)) = entry.full_tag() {
                let part = parts.entry(name.to_owned()).or_default();
                part.manifests.push(entry.clone());
            }
        }
        parts.values_mut().for_each(Self::arrange);
        parts
    }

    /// Puts this part in the place of what has the name, and `others` in the place of what
    /// has none.
    pub fn replace(&mut self, name: &str, part: &Self, others: &Self) {
        self.manifests
            .retain(|entry| entry.full_tag().is_some_and(|(of, _)| of != name));
        for more in [part, others] {
            self.manifests.extend(more.manifests.iter().cloned());
        }
        self.arrange();
    }

    /// The part whose packages have one of these tags, with everything that is attached.
    #[must_use]
    pub fn of_tags(&self, tags: &BTreeSet<String>) -> Self {
        self.part(|entry| {
            let tag = entry.full_tag().map(|(_, tag)| tag);
            tag.is_some_and(|tag| is_reserved(tag) || tags.contains(tag))
        })
    }

    /// The part whose packages have none of these tags, with everything that is attached.
    #[must_use]
    pub fn without_tags(&self, tags: &BTreeSet<String>) -> Self {
        self.part(|entry| {
            let tag = entry.full_tag().map(|(_, tag)| tag);
            tag.is_none_or(|tag| is_reserved(tag) || !tags.contains(tag))
        })
    }

    /// The part that belongs to no name: entries of other tools, and those packages that were
    /// left behind by a tag whose digest is one of these.
    #[must_use]
    pub fn without_names(&self, known: &BTreeSet<String>) -> Self {
        self.part(|entry| {
            entry.full_tag().is_none() && (!entry.may_be_model() || known.contains(&entry.digest))
        })
    }

    /// Adds the entries of another index.
    pub fn merge(&mut self, other: &Self) {
        self.manifests.extend(other.manifests.iter().cloned());
        self.arrange();
    }

    /// These packages without a tag, whether they have one here or not, with what is attached to them:
    /// what can be asked for by digest only. What is attached comes from here, what has it in `other`
    /// already does not.
    #[must_use]
    pub fn untagged(&self, digests: &BTreeSet<Digest>, other: &Self) -> Self {
        let attached: BTreeSet<String> = digests.iter().map(referrers_tag).collect();
        let mut part = self.part(|entry| match entry.full_tag() {
            Some((_, tag)) if is_reserved(tag) => {
                attached.contains(tag)
                    && other
                        .manifests
                        .iter()
                        .all(|known| known.full_tag() != entry.full_tag())
            }
            _ => digests
                .iter()
                .any(|digest| digest.to_string() == entry.digest),
        });
        for entry in &mut part.manifests {
            if entry.full_tag().is_some_and(|(_, tag)| !is_reserved(tag)) {
                entry.annotations.remove(REF_NAME);
            }
        }
        part
    }

    /// What is attached to packages: signed tags, and lists of signatures.
    ///
    /// # Errors
    /// `invalid_digest`.
    pub fn attached(&self) -> Result<Vec<Descriptor>> {
        let mut attached = Vec::new();
        for (name, tag) in self.manifests.iter().filter_map(Entry::full_tag) {
            if is_reserved(tag) {
                attached.extend(self.named(name, tag)?);
            }
        }
        Ok(attached)
    }

    /// The digests of all entries, as text: other tools may use algorithms that are not read
    /// here.
    pub fn digests(&self) -> BTreeSet<String> {
        self.manifests.iter().map(|e| e.digest.clone()).collect()
    }

    fn part(&self, wanted: impl Fn(&Entry) -> bool) -> Self {
        let entries = self.manifests.iter().filter(|entry| wanted(entry));
        let mut part = Self {
            manifests: entries.cloned().collect(),
            ..Self::default()
        };
        part.arrange();
        part
    }

    fn arrange(&mut self) {
        self.manifests.sort_by(|a, b| {
            a.annotations
                .get(REF_NAME)
                .cmp(&b.annotations.get(REF_NAME))
        });
        self.manifests.dedup();
    }
}
