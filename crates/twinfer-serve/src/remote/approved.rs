//! The index that requests are answered by: a name in it moves only after its new packages
//! have proved themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use twinfer::{Result, err};
use twinfer_cache::{Asked, Freshness, Opened, Origin, Wanted};
use twinfer_deploy::Deployment;
use twinfer_package::{Digest, Index, Reference};

const FORMAT: u32 = 1;

/// An index, the names in it that somebody uses, and which version of those is in use.
#[derive(Debug, Clone)]
pub(super) struct Approved {
    pub(super) json: Vec<u8>,
    pub(super) index: Index,
    /// By anybody who shares the cache.
    pub(super) used: BTreeSet<String>,
    /// The deployments of names, as the registry gave them: `None` where it has none. Of a name
    /// that is not in here nobody has asked.
    pub(super) deployments: BTreeMap<String, Option<String>>,
}

/// The first line of the document; the index follows.
#[derive(Serialize, Deserialize)]
struct Head {
    format_version: u32,
    /// Of the index.
    digest: Digest,
    used: BTreeSet<String>,
    /// Caches from before there were deployments have none.
    #[serde(default)]
    deployments: BTreeMap<String, Option<String>>,
}

impl Approved {
    /// An index as a registry gave it, of which nothing is used yet.
    pub(super) fn new(json: Vec<u8>) -> Result<Self> {
        Ok(Self {
            index: Index::from_json(&json)?,
            json,
            used: BTreeSet::new(),
            deployments: BTreeMap::new(),
        })
    }

    /// The key of the document: beside the indexes, so that whoever clears those clears it too.
    pub(super) fn key(registry: &str) -> String {
        let text = format!("{registry}\napproved names");
        format!("indexes/{}", Digest::of(text.as_bytes()).hex())
    }

    /// `None` for what is damaged or of another format: the registry is asked then.
    pub(super) fn read(document: &[u8]) -> Option<Self> {
        let line = document.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&document[..line]).ok()?;
        let json = document[line + 1..].to_vec();
        if head.format_version != FORMAT || Digest::of(&json) != head.digest {
            return None;
        }
        let approved = Self::new(json).ok()?;
        Some(Self {
            used: head.used,
            deployments: head.deployments,
            ..approved
        })
    }

    pub(super) fn write(&self) -> Result<Vec<u8>> {
        let head = Head {
            format_version: FORMAT,
            digest: Digest::of(&self.json),
            used: self.used.clone(),
            deployments: self.deployments.clone(),
        };
        let mut document = serde_json::to_vec(&head)
            .map_err(|e| err!(Internal, "the approved index has no JSON form: {e}"))?;
        document.push(b'\n');
        document.extend_from_slice(&self.json);
        Ok(document)
    }

    /// With what a registry no longer has of that which a deployment has in force: nobody's request
    /// fails because a tag was taken away. It has no tag, for it is asked for by digest only.
    pub(super) fn with_what_is_in_force(mut self, former: &Self) -> Result<Self> {
        let there = self.index.digests();
        let deployments = former.deployments.iter();
        let in_force = deployments.flat_map(|(name, document)| digests(name, document.as_deref()));
        let gone: BTreeSet<Digest> = in_force
            .filter(|digest| !there.contains(&digest.to_string()))
            .collect();
        if !gone.is_empty() {
            self.index.merge(&former.index.untagged(&gone, &self.index));
            self.json = self.index.to_json()?;
        }
        Ok(self)
    }

    /// The names of which both do not say the same.
    pub(super) fn changed_names(&self, other: &Self) -> BTreeSet<String> {
        let (ours, theirs) = (self.index.by_name(), other.index.by_name());
        let names = ours.keys().chain(theirs.keys());
        names
            .filter(|name| ours.get(*name) != theirs.get(*name))
            .cloned()
            .collect()
    }

    /// The same, with these names as a newer index has them.
    pub(super) fn with(&self, names: &BTreeSet<String>, newer: &Self) -> Result<Self> {
        let mut next = Self {
            used: self.used.clone(),
            deployments: self.deployments.clone(),
            ..newer.clone()
        };
        let kept: Vec<String> = self
            .changed_names(newer)
            .difference(names)
            .cloned()
            .collect();
        if kept.is_empty() {
            return Ok(next);
        }
        let ours = self.index.by_name();
        // What moved tags pointed to before stays reachable by its digest.
        let nameless = newer.index.without_names(&newer.index.digests());
        let nothing = Index::default();
        for name in kept {
            let part = ours.get(&name).unwrap_or(&nothing);
            next.index.replace(&name, part, &nameless);
        }
        next.json = next.index.to_json()?;
        Ok(next)
    }
}

/// The deployment of a model.
///
/// # Errors
/// Those of [`Deployment::of`].
pub(super) fn read(name: &str, document: &str) -> Result<Deployment> {
    Deployment::of(name, document.as_bytes())
}

/// What is in force by a document: nothing where there is none.
pub(super) fn digests(name: &str, document: Option<&str>) -> BTreeSet<Digest> {
    let deployment = document.and_then(|document| read(name, document).ok());
    let variants = deployment.into_iter().flat_map(|d| d.variants);
    variants.map(|variant| variant.digest).collect()
}

/// A registry whose index is this one, whatever it says itself: content comes from it.
pub(super) struct Held<'a, O> {
    pub(super) origin: &'a O,
    pub(super) index: &'a [u8],
    /// It must not be asked for anything.
    pub(super) offline: bool,
}

impl<O: Origin> Origin for Held<'_, O> {
    type Body = O::Body;

    fn id(&self) -> &str {
        self.origin.id()
    }

    fn index_key(&self, _reference: &Reference) -> String {
        "held".into()
    }

    async fn index(&self, _reference: &Reference, _validator: Option<&str>) -> Result<Asked> {
        Ok(Asked::Changed {
            index: self.index.to_vec(),
            validator: None,
            freshness: Freshness {
                keep: false,
                ..Freshness::default()
            },
        })
    }

    async fn open(&self, wanted: &Wanted, offset: u64, anew: bool) -> Result<Opened<O::Body>> {
        if self.offline {
            return Err(err!(
                Network,
                "{} is not in the cache, and the registry must not be asked",
                wanted.label()
            ));
        }
        self.origin.open(wanted, offset, anew).await
    }

    async fn deployment(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.origin.deployment(name).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_whole_or_not_there() {
        let json = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec();
        let mut approved = Approved::new(json.clone()).unwrap();
        approved.used.insert("m".into());
        let deployments = [("m", Some("{}")), ("n", None)];
        approved.deployments = deployments
            .map(|(name, document)| (name.to_owned(), document.map(str::to_owned)))
            .into();
        let document = approved.write().unwrap();
        let read = Approved::read(&document).unwrap();
        assert_eq!((read.json, read.used), (json, approved.used));
        assert_eq!(read.deployments, approved.deployments);
        for at in 0..document.len() {
            assert!(Approved::read(&document[..at]).is_none(), "{at}");
        }
        let other = String::from_utf8(document).unwrap();
        let other = other.replace("\"format_version\":1", "\"format_version\":2");
        assert!(Approved::read(other.as_bytes()).is_none());
    }
}
