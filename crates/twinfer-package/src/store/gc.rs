//! Removing what nothing in a registry folder refers to.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value as Json;
use twinfer::{Result, bail};

use super::folder::{FolderStore, storage};
use super::{Store, WritableStore};
use crate::limits::{MAX_INDEX_BYTES, MAX_MANIFEST_BYTES};
use crate::{Descriptor, Digest, media};

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Collected {
    /// Blobs that nothing refers to, by the names of their files.
    pub blobs: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Digests of packages without a tag that were taken out of the index.
    pub untagged: Vec<String>,
    /// Tags of lists of signatures and the like whose package is gone.
    pub orphans: Vec<String>,
    /// Blobs that stay.
    pub kept: usize,
}

impl FolderStore {
    /// Removes every blob that nothing refers to. Without `untagged`, packages that lost their
    /// tag stay, since they can still be asked for by their digest.
    ///
    /// With `dry_run` nothing is changed, and the answer says what would be.
    ///
    /// # Errors
    /// `digest_mismatch` and its like when a manifest of the index is damaged: what it refers to
    /// cannot be known, so nothing is removed. `storage`.
    pub fn collect_garbage(&self, untagged: bool, dry_run: bool) -> Result<Collected> {
        // Holding the change keeps all writers out.
        let change = self.begin("")?;
        let mut index = change.index()?;
        let mut collected = Collected::default();
        if untagged {
            collected.untagged = index.remove_untagged();
        }
        collected.orphans = index.remove_orphans();
        let mut live = BTreeSet::new();
        for (media_type, digest, size) in index.roots() {
            self.mark(media_type, digest, size, &mut live)?;
        }
        let mut dead = Vec::new();
        for (name, length) in self.blob_names()? {
            if live.contains(&name) {
                collected.kept += 1;
            } else {
                collected.bytes += length;
                dead.push(name);
            }
        }
        if !dry_run {
            // The index first: it must never name what is gone.
            if !(collected.untagged.is_empty() && collected.orphans.is_empty()) {
                change.commit(&index)?;
            }
            for name in &dead {
                let path = self.blob_folder().join(name);
                fs::remove_file(&path).map_err(|e| storage("remove", &path, &e))?;
            }
        }
        collected.blobs = dead;
        Ok(collected)
    }

    /// Marks a blob and, where it is a manifest or an index, everything that it names.
    fn mark(
        &self,
        media_type: &str,
        digest: &str,
        size: u64,
        live: &mut BTreeSet<String>,
    ) -> Result<()> {
        let mut waiting = vec![(media_type.to_owned(), digest.to_owned(), size)];
        while let Some((media_type, digest, size)) = waiting.pop() {
            // Blobs of other algorithms lie in other folders, which are left alone.
            let Ok(digest) = digest.parse::<Digest>() else {
                continue;
            };
            if !live.insert(digest.hex()) || !names_others(&media_type) {
                continue;
            }
            waiting.extend(self.named_by(&media_type, digest, size)?);
        }
        Ok(())
    }

    fn named_by(
        &self,
        media_type: &str,
        digest: Digest,
        size: u64,
    ) -> Result<Vec<(String, String, u64)>> {
        let descriptor = Descriptor {
            media_type: media_type.into(),
            digest,
            size,
            artifact_type: None,
            annotations: Default::default(),
        };
        if size > MAX_INDEX_BYTES.max(MAX_MANIFEST_BYTES) {
            bail!(
                InvalidManifest,
                "{} says it has {size} bytes: what it refers to cannot be known, so nothing is removed",
                descriptor.label()
            );
        }
        let bytes = match self.blob(&descriptor) {
            Ok(bytes) => bytes,
            // An image layout may lack what its index names.
            Err(error) if error.code() == twinfer::ErrorCode::MissingBlob => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        descriptor
            .verify(&bytes)
            .map_err(|e| e.context("nothing was removed"))?;
        let manifest: Json = crate::json::from_json("manifest", &bytes)
            .map_err(|e| e.context("nothing was removed"))?;
        let lists = ["layers", "manifests", "blobs"].into_iter();
        let listed = lists
            .filter_map(|key| manifest.get(key)?.as_array())
            .flatten();
        let single = ["config", "subject"]
            .into_iter()
            .filter_map(|key| manifest.get(key));
        Ok(listed.chain(single).filter_map(descriptor_of).collect())
    }

    /// File name and length of every blob.
    fn blob_names(&self) -> Result<Vec<(String, u64)>> {
        let folder = self.blob_folder();
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|e| storage("read", &folder, &e))? {
            let entry = entry.map_err(|e| storage("read", &folder, &e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let length = entry.metadata().map(|m| m.len()).unwrap_or_default();
            // Whatever else lies there is not ours to remove.
            if format!("sha256:{name}").parse::<Digest>().is_ok() {
                names.push((name, length));
            }
        }
        names.sort();
        Ok(names)
    }
}

fn names_others(media_type: &str) -> bool {
    const DOCKER: [&str; 2] = [
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ];
    media_type == media::MANIFEST || media_type == media::INDEX || DOCKER.contains(&media_type)
}

fn descriptor_of(json: &Json) -> Option<(String, String, u64)> {
    let text = |key: &str| json.get(key)?.as_str().map(str::to_owned);
    let size = json.get("size")?.as_u64()?;
    Some((text("mediaType")?, text("digest")?, size))
}
