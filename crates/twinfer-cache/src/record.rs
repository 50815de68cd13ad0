//! The documents that the cache keeps beside the blobs.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use twinfer::{Result, err};
use twinfer_package::{Digest, Reference};

/// The version of every document. Another one is as if nothing had been kept.
pub(crate) const FORMAT: u32 = 1;

pub(crate) const STATISTICS: &str = "statistics";
pub(crate) const PACKAGES: &str = "packages/";
pub(crate) const INDEXES: &str = "indexes/";
pub(crate) const REFERENCES: &str = "references/";

/// An index that a registry gave: this line of JSON, and after it the index itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IndexHead {
    format_version: u32,
    /// Of the index.
    pub digest: Digest,
    /// The registry (of a list of mirrors) that gave it.
    pub from: String,
    pub validator: Option<String>,
    /// When it was given or confirmed, in milliseconds since 1970.
    pub checked: u64,
    pub fresh_for: u64,
    pub stale_for: Option<u64>,
}

impl IndexHead {
    pub fn new(digest: Digest, from: &str, validator: Option<String>, checked: u64) -> Self {
        Self {
            format_version: FORMAT,
            digest,
            from: from.into(),
            validator,
            checked,
            fresh_for: 0,
            stale_for: None,
        }
    }
}

/// An index with its head.
#[derive(Debug, Clone)]
pub(crate) struct KnownIndex {
    pub head: IndexHead,
    pub json: Vec<u8>,
}

impl KnownIndex {
    /// `None` for what is damaged or of another format: it is asked for again.
    pub fn read(document: &[u8]) -> Option<Self> {
        let line = document.iter().position(|byte| *byte == b'\n')?;
        let head: IndexHead = read(&document[..line])?;
        let json = document[line + 1..].to_vec();
        (Digest::of(&json) == head.digest).then_some(Self { head, json })
    }

    pub fn write(&self) -> Result<Vec<u8>> {
        let mut document = write(&self.head)?;
        document.push(b'\n');
        document.extend_from_slice(&self.json);
        Ok(document)
    }
}

/// A package of which something is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PackageRecord {
    format_version: u32,
    /// Of the manifest.
    pub digest: Digest,
    pub name: String,
    /// Manifest and layers that were wanted so far, with their sizes.
    pub blobs: Vec<(Digest, u64)>,
    /// When it was used last, in milliseconds since 1970.
    pub used: u64,
}

impl PackageRecord {
    pub fn new(digest: Digest, name: &str, used: u64) -> Self {
        Self {
            format_version: FORMAT,
            digest,
            name: name.into(),
            blobs: Vec::new(),
            used,
        }
    }

    pub fn key(digest: &Digest) -> String {
        format!("{PACKAGES}{}", digest.hex())
    }
}

/// What a tag of a registry points to for us, and pointed to before: what rollback needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReferenceRecord {
    format_version: u32,
    pub registry: String,
    /// Without a digest.
    pub reference: String,
    pub active: Digest,
    pub previous: Option<Digest>,
    /// What it points to at the registry, and did not prove itself here.
    #[serde(default)]
    pub refused: Option<Digest>,
    /// When it was used last, in milliseconds since 1970.
    pub used: u64,
}

impl ReferenceRecord {
    pub fn new(registry: &str, reference: &str, active: Digest, used: u64) -> Self {
        Self {
            format_version: FORMAT,
            registry: registry.into(),
            reference: reference.into(),
            active,
            previous: None,
            refused: None,
            used,
        }
    }

    pub fn key(registry: &str, reference: &Reference) -> String {
        key(REFERENCES, registry, &reference.to_string())
    }
}

/// The key of a document about a part of a registry. Addresses and tags have characters and
/// lengths that keys must not have, so it is their digest.
pub(crate) fn key(prefix: &str, registry: &str, part: &str) -> String {
    let text = format!("{registry}\n{part}");
    format!("{prefix}{}", Digest::of(text.as_bytes()).hex())
}

/// Counts of all that used the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Statistics {
    /// Contents that were there, and right.
    pub hits: u64,
    /// Contents that had to be fetched.
    pub misses: u64,
    /// Bytes that need not be fetched.
    pub bytes_saved: u64,
    /// Bytes that were fetched.
    pub bytes_fetched: u64,
    /// Contents that were there, and not what they should be.
    pub damaged: u64,
    /// Contents that were removed to make room.
    pub evicted: u64,
}

impl Statistics {
    pub(crate) fn add(&mut self, other: Self) {
        for (ours, theirs) in [
            (&mut self.hits, other.hits),
            (&mut self.misses, other.misses),
            (&mut self.bytes_saved, other.bytes_saved),
            (&mut self.bytes_fetched, other.bytes_fetched),
            (&mut self.damaged, other.damaged),
            (&mut self.evicted, other.evicted),
        ] {
            *ours = ours.saturating_add(theirs);
        }
    }
}

/// A document, or `None` for one that is damaged or of another format.
pub(crate) fn read<T: DeserializeOwned>(document: &[u8]) -> Option<T> {
    #[derive(Deserialize)]
    struct Format {
        #[serde(default = "ours")]
        format_version: u32,
    }
    fn ours() -> u32 {
        FORMAT
    }
    let format: Format = serde_json::from_slice(document).ok()?;
    (format.format_version == FORMAT)
        .then(|| serde_json::from_slice(document).ok())
        .flatten()
}

pub(crate) fn write(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| err!(Internal, "a document has no JSON form: {e}"))
}
