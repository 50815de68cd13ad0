//! Publishing a registry into a folder that a static host serves.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Serialize;
use twinfer::{Result, bail, err};
use twinfer_package::{
    Descriptor, Digest, FolderStore, Index, Store, WritableStore, listed_engines,
};

use crate::copy::{Progress, Stage};
use crate::entries::List;
use crate::error::shorten;
use crate::walk::{closure, manifest};

/// How to mirror.
#[derive(Debug, Clone, Copy, Default)]
pub struct MirrorOptions {
    /// Remove blobs that neither the new index nor the one before it refers to.
    pub delete: bool,
}

/// What a mirror changed.
#[derive(Debug, Clone, Serialize)]
pub struct Mirrored {
    /// Files that were written, below the folder, in the order in which they have to be
    /// uploaded where the host is elsewhere: the index last.
    pub written: Vec<String>,
    /// Files that were removed.
    pub removed: Vec<String>,
    /// Bytes of blobs that were written.
    pub bytes_sent: u64,
    /// Bytes of blobs that were there.
    pub bytes_skipped: u64,
    /// Nothing was written or removed.
    pub unchanged: bool,
}

/// Makes a folder into the image of a registry, writing only what changed. The index is
/// exchanged last and at once, when everything that it names is there: whoever reads meanwhile
/// sees the old state or the new one.
///
/// # Errors
/// Those of the source and of [`FolderStore`]; `invalid_parameter` when both are the same folder.
pub fn mirror(
    source: &dyn Store,
    folder: &Path,
    options: MirrorOptions,
    progress: &mut dyn FnMut(&Progress<'_>),
) -> Result<Mirrored> {
    let json = source.index()?;
    let mut index = Index::from_json(&json)?;
    index.annotate_engines(&mut |list| Ok(listed_engines(&manifest(source, list)?)))?;
    let blobs = closure(source, &roots(&index)?)?;
    let dest = FolderStore::new(folder);
    let mut change = dest.begin("")?;
    let before = change.index()?;
    let mut mirrored = Mirrored {
        written: Vec::new(),
        removed: Vec::new(),
        bytes_sent: 0,
        bytes_skipped: 0,
        unchanged: false,
    };
    for descriptor in &blobs {
        let mut tell = |stage| {
            progress(&Progress {
                reference: "",
                descriptor,
                stage,
                done: descriptor.size,
            });
        };
        if change.has(descriptor)? {
            mirrored.bytes_skipped += descriptor.size;
            tell(Stage::Skipped);
            continue;
        }
        tell(Stage::Sending);
        change.put(descriptor, &mut source.open(descriptor)?)?;
        mirrored.bytes_sent += descriptor.size;
        mirrored.written.push(path(&descriptor.digest));
    }
    if options.delete {
        // Readers that got the old index a moment ago still find what it names.
        let old = closure(&dest, &roots(&before)?).unwrap_or_default();
        let kept: BTreeSet<Digest> = blobs.iter().chain(&old).map(|d| d.digest).collect();
        mirrored.removed = remove(folder, &kept)?;
    }
    let there = folder.join("index.json").is_file();
    if index != before || !there {
        change.commit(&index)?;
        if !there {
            mirrored.written.push("oci-layout".into());
        }
        mirrored.written.push("index.json".into());
    }
    mirrored.unchanged = mirrored.written.is_empty() && mirrored.removed.is_empty();
    Ok(mirrored)
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Everything that an index names.
fn roots(index: &Index) -> Result<Vec<Descriptor>> {
    let list: List = serde_json::from_slice(&index.to_json()?)
        .map_err(|e| err!(InvalidManifest, "index.json: {e}"))?;
    let mut roots = Vec::new();
    for raw in list.manifests {
        match raw.descriptor() {
            Some(descriptor) => roots.push(descriptor),
            None => bail!(
                InvalidDigest,
                "index.json names `{}`: only sha256 is read",
                shorten(&raw.digest)
            ),
        }
    }
    Ok(roots)
}

/// Removes the blobs that are not kept.
fn remove(folder: &Path, kept: &BTreeSet<Digest>) -> Result<Vec<String>> {
    let blobs = folder.join("blobs/sha256");
    let failed = |e: std::io::Error| err!(Storage, "cannot clear {}: {e}", blobs.display());
    let mut removed = Vec::new();
    for entry in fs::read_dir(&blobs).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // Anything else is not ours.
        let digest = name
            .to_str()
            .and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
        if let Some(digest) = digest.filter(|digest| !kept.contains(digest)) {
            fs::remove_file(blobs.join(&name)).map_err(failed)?;
            removed.push(path(&digest));
        }
    }
    removed.sort();
    Ok(removed)
}
