//! The index of a registry: which reference points to which manifest.

mod attached;
mod change;
mod engines;
mod names;

pub(crate) use change::check_free;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use twinfer::{Result, bail, err};

use crate::digest::shorten;
use crate::json::from_json;
use crate::limits::{MAX_INDEX_BYTES, MAX_MANIFEST_BYTES};
use crate::oci::REF_NAME;
use crate::reference::{is_reserved, tag_version};
use crate::{Descriptor, Digest, Reference, media};

/// `index.json` of an OCI image layout.
///
/// A layout may be shared with other tools, so fields and entries that are not ours are
/// kept as they are, and ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    schema_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    manifests: Vec<Entry>,
    #[serde(flatten)]
    extra: Map<String, Json>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: String,
    // Text: a foreign entry may have an algorithm that we do not read.
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    extra: Map<String, Json>,
}

impl Entry {
    /// `(name, tag)`, where the entry has one of ours.
    fn tag(&self) -> Option<(&str, &str)> {
        let (name, tag) = self.annotations.get(REF_NAME)?.split_once(':')?;
        let package = Reference::new(name, tag).is_ok() && !is_reserved(tag);
        package.then_some((name, tag))
    }

    fn may_be_model(&self) -> bool {
        self.media_type == media::MANIFEST
            && self
                .artifact_type
                .as_deref()
                .is_none_or(|t| t == media::ARTIFACT)
    }

    fn descriptor(&self) -> Result<Descriptor> {
        let digest: Digest = self
            .digest
            .parse()
            .map_err(|e: twinfer::Error| e.context("index.json"))?;
        let kind = self.artifact_type.as_deref().unwrap_or(&self.media_type);
        if !self.may_be_model() {
            bail!(
                InvalidManifest,
                "{digest} is `{}`, not a model package",
                shorten(kind)
            );
        }
        if self.size > MAX_MANIFEST_BYTES {
            bail!(
                InvalidManifest,
                "the manifest {digest} is said to have {} bytes; at most {MAX_MANIFEST_BYTES} are read",
                self.size
            );
        }
        Ok(Descriptor {
            media_type: self.media_type.clone(),
            digest,
            size: self.size,
            artifact_type: self.artifact_type.clone(),
            annotations: self.annotations.clone(),
        })
    }
}

impl Default for Index {
    fn default() -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media::INDEX.into()),
            manifests: Vec::new(),
            extra: Map::new(),
        }
    }
}

/// What a tag points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The name of the model.
    pub name: String,
    /// The version or alias.
    pub tag: String,
    /// The manifest.
    pub digest: Digest,
}

impl Tagged {
    /// The tag as a version; `None` for an alias.
    pub fn version(&self) -> Option<Version> {
        tag_version(&self.tag)
    }
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// `invalid_manifest` for anything but an index; `unsupported_format_version` for a newer
    /// schema.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        if json.len() as u64 > MAX_INDEX_BYTES {
            bail!(
                InvalidManifest,
                "index.json has {} bytes; at most {MAX_INDEX_BYTES} are read",
                json.len()
            );
        }
        let index: Self = from_json("index.json", json)?;
        if index.schema_version != 2 {
            bail!(
                UnsupportedFormatVersion,
                "index.json has schemaVersion {}, this version of Twinfer reads 2: update Twinfer",
                index.schema_version
            );
        }
        if let Some(other) = index.media_type.as_deref().filter(|m| *m != media::INDEX) {
            bail!(
                InvalidManifest,
                "index.json is `{}`, expected {}",
                shorten(other),
                media::INDEX
            );
        }
        Ok(index)
    }

    /// The index as JSON.
    ///
    /// # Errors
    /// `internal`.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        crate::json::to_json(self)
    }

    /// Every tag of a model package, by name, the highest version first and aliases last.
    /// Entries of other tools are left out.
    pub fn tags(&self) -> Vec<Tagged> {
        let mut tags: Vec<Tagged> = self
            .manifests
            .iter()
            .filter(|entry| entry.may_be_model())
            .filter_map(|entry| {
                let (name, tag) = entry.tag()?;
                Some(Tagged {
                    name: name.into(),
                    tag: tag.into(),
                    digest: entry.digest.parse().ok()?,
                })
            })
            .collect();
        tags.sort_by_cached_key(|t| (t.name.clone(), Reverse(t.version()), t.tag.clone()));
        tags
    }

    /// Finds what a reference points to.
    ///
    /// # Errors
    /// `unknown_model`, `unknown_version`; `invalid_manifest` for an entry that is no model
    /// package, or a tag that is there twice.
    pub fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        let tags = self.tags();
        let of_name: Vec<&Tagged> = tags.iter().filter(|t| t.name == reference.name()).collect();
        if let Some(digest) = reference.digest() {
            return self.find_digest(reference, digest);
        }
        if of_name.is_empty() && !self.mentions(reference.name()) {
            bail!(
                UnknownModel,
                "there is no model `{}` in the registry; it has {}",
                reference.name(),
                show_names(&tags)
            );
        }
        let tag = match reference.tag() {
            Some(tag) => tag,
            None => {
                &highest(&of_name)
                    .ok_or_else(|| {
                        err!(
                            UnknownVersion,
                            "`{}` has no version, only aliases: {}; ask for one of them",
                            reference.name(),
                            show_tags(&of_name)
                        )
                    })?
                    .tag
            }
        };
        let full = format!("{}:{tag}", reference.name());
        let mut found = self
            .manifests
            .iter()
            .filter(|entry| entry.annotations.get(REF_NAME) == Some(&full));
        let Some(entry) = found.next() else {
            bail!(
                UnknownVersion,
                "there is no `{full}` in the registry; `{}` has {}",
                reference.name(),
                show_tags(&of_name)
            );
        };
        if found.any(|other| other.digest != entry.digest) {
            bail!(
                InvalidManifest,
                "index.json has `{full}` twice, with different digests"
            );
        }
        entry.descriptor()
    }

    fn find_digest(&self, reference: &Reference, digest: &Digest) -> Result<Descriptor> {
        let text = digest.to_string();
        let mut found = self
            .manifests
            .iter()
            .filter(|entry| entry.digest == text)
            .peekable();
        if found.peek().is_none() {
            bail!(
                UnknownVersion,
                "there is no package {digest} in the registry"
            );
        }
        // Without a tag the manifest itself says what its name is; the reader checks that.
        found
            .find(|entry| entry.tag().is_none_or(|(name, _)| name == reference.name()))
            .ok_or_else(|| {
                err!(
                    UnknownVersion,
                    "{digest} is in the registry, but not as `{}`",
                    reference.name()
                )
            })?
            .descriptor()
    }

    /// Whether any entry, readable or not, has this name.
    fn mentions(&self, name: &str) -> bool {
        self.manifests
            .iter()
            .any(|e| e.tag().is_some_and(|(n, _)| n == name))
    }
}

/// Finds what a reference points to in an `index.json`.
///
/// # Errors
/// Those of [`Index::from_json`] and [`Index::resolve`].
pub fn resolve(index_json: &[u8], reference: &Reference) -> Result<Descriptor> {
    Index::from_json(index_json)?.resolve(reference)
}

/// The highest release, or the highest pre-release where there is no release.
fn highest<'a>(tags: &[&'a Tagged]) -> Option<&'a Tagged> {
    let versions = || tags.iter().filter_map(|t| Some((t.version()?, *t)));
    let release = versions()
        .filter(|(v, _)| v.pre.is_empty())
        .max_by(|a, b| a.0.cmp(&b.0));
    release
        .or_else(|| versions().max_by(|a, b| a.0.cmp(&b.0)))
        .map(|(_, tag)| tag)
}

/// How many names a message lists before it ends with "…".
const LISTED: usize = 20;

fn show_names(tags: &[Tagged]) -> String {
    let mut names: Vec<&str> = tags.iter().map(|t| t.name.as_str()).collect();
    names.dedup();
    show(&names, "no models")
}

fn show_tags(tags: &[&Tagged]) -> String {
    show(
        &tags.iter().map(|t| t.tag.as_str()).collect::<Vec<_>>(),
        "no versions",
    )
}

fn show(names: &[&str], none: &str) -> String {
    if names.is_empty() {
        return none.into();
    }
    let more = if names.len() > LISTED { ", …" } else { "" };
    names
        .iter()
        .take(LISTED)
        .copied()
        .collect::<Vec<_>>()
        .join(", ")
        + more
}

#[cfg(test)]
mod tests;
