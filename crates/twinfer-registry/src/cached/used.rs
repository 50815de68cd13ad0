//! What one process uses: which references it looked up, and which packages its content is of.

use std::collections::BTreeMap;

use twinfer_cache::Source;
use twinfer_package::{Descriptor, Digest, Index, Reference};

use crate::walk::{children, is_manifest};

/// A reference that was looked up.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub reference: Reference,
    pub index: Vec<u8>,
    pub source: Source,
}

impl Answer {
    /// What the reference points to.
    pub fn target(&self) -> Option<Descriptor> {
        let index = Index::from_json(&self.index).ok()?;
        index.resolve(&self.reference).ok()
    }

    /// It may have changed at the registry.
    pub fn may_be_old(&self) -> bool {
        matches!(self.source, Source::Fresh | Source::Stale)
    }
}

/// A package that content belongs to.
#[derive(Debug, Clone)]
pub(super) struct Package {
    pub reference: Reference,
    pub manifest: Descriptor,
}

#[derive(Debug)]
pub(super) struct Used<L> {
    pub answers: Vec<Answer>,
    /// By the digest of what belongs to it.
    owners: BTreeMap<Digest, Package>,
    /// The one that was looked up last: also signatures are asked for after the look-up.
    last: Option<Package>,
    /// Kept as long as the process: nobody evicts what is in use.
    pub leases: Vec<L>,
}

impl<L> Default for Used<L> {
    fn default() -> Self {
        Self {
            answers: Vec::new(),
            owners: BTreeMap::new(),
            last: None,
            leases: Vec::new(),
        }
    }
}

impl<L> Used<L> {
    /// Remembers an answer, in the place of the one before it.
    pub fn answer(&mut self, answer: Answer) {
        self.last = answer.target().map(|manifest| Package {
            reference: answer.reference.clone(),
            manifest,
        });
        if let Some(package) = &self.last {
            self.owners.insert(package.manifest.digest, package.clone());
        }
        self.answers
            .retain(|known| known.reference != answer.reference);
        self.answers.push(answer);
    }

    /// An answer of this process that has a digest: what was decided on is what is read.
    pub fn with_digest(&self, reference: &Reference) -> Option<Answer> {
        reference.digest()?;
        let found = self.answers.iter().find(|answer| {
            Index::from_json(&answer.index).is_ok_and(|index| index.resolve(reference).is_ok())
        })?;
        Some(Answer {
            reference: reference.clone(),
            ..found.clone()
        })
    }

    pub fn owner(&self, digest: &Digest) -> Option<Package> {
        self.owners.get(digest).or(self.last.as_ref()).cloned()
    }

    /// What a verified manifest refers to belongs to the same package as it does.
    pub fn learn(&mut self, descriptor: &Descriptor, content: &[u8]) -> Option<Package> {
        if !is_manifest(&descriptor.media_type) {
            return None;
        }
        let package = self.owner(&descriptor.digest)?;
        for child in children("", content).unwrap_or_default() {
            self.owners.insert(child.digest, package.clone());
        }
        Some(package)
    }
}
