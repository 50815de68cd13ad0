//! The entries of an index: more than `Index` tells, which knows only models.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use twinfer::{Result, err};
use twinfer_package::{Descriptor, Index, REF_NAME, Reference, media, tag_version};

/// An entry of ours.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub name: String,
    pub tag: String,
    pub descriptor: Descriptor,
}

/// The entries of an index that have a name and a tag of ours, and a digest that is read here.
pub(crate) fn entries(index: &Index) -> Result<Vec<Entry>> {
    let list: List = serde_json::from_slice(&index.to_json()?)
        .map_err(|e| err!(InvalidManifest, "index.json: {e}"))?;
    let ours = list.manifests.into_iter().filter_map(|raw| {
        let descriptor = raw.descriptor()?;
        let (name, tag) = descriptor.annotations.get(REF_NAME)?.split_once(':')?;
        Reference::new(name, tag).ok()?;
        Some(Entry {
            name: name.into(),
            tag: tag.into(),
            descriptor: descriptor.clone(),
        })
    });
    Ok(ours.collect())
}

/// The entry of this tag.
pub(crate) fn find<'a>(entries: &'a [Entry], name: &str, tag: &str) -> Option<&'a Descriptor> {
    entries
        .iter()
        .find(|e| e.name == name && e.tag == tag)
        .map(|e| &e.descriptor)
}

/// The highest release, or pre-release where there is no release: as `Index::resolve`.
pub(crate) fn highest(tags: &[String]) -> Option<&String> {
    let version = |tag: &&String| tag_version(tag).map(|v| (v.pre.is_empty(), v));
    tags.iter()
        .filter(|tag| version(tag).is_some())
        .max_by_key(version)
}

/// An index of these descriptors, each with its `name:tag`, or with none.
pub(crate) fn index_json(entries: &[(Option<String>, Descriptor)]) -> Result<Vec<u8>> {
    let manifests = entries.iter().map(|(reference, descriptor)| {
        let mut descriptor = descriptor.clone();
        descriptor.annotations.remove(REF_NAME);
        if let Some(reference) = reference {
            descriptor
                .annotations
                .insert(REF_NAME.into(), reference.clone());
        }
        descriptor
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media::INDEX,
        "manifests": manifests.collect::<Vec<_>>(),
    });
    serde_json::to_vec(&index).map_err(|e| err!(Internal, "JSON: {e}"))
}

/// A descriptor with whatever fields it has.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Raw {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    annotations: Map<String, Json>,
    #[serde(flatten)]
    extra: Map<String, Json>,
}

impl Raw {
    /// As ours; `None` for an algorithm that is not read here.
    pub fn descriptor(&self) -> Option<Descriptor> {
        let texts = self.annotations.iter();
        Some(Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.parse().ok()?,
            size: self.size,
            artifact_type: self.artifact_type.clone(),
            annotations: texts
                .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
                .collect(),
        })
    }
}

/// A list of manifests.
#[derive(Debug, Deserialize)]
pub(crate) struct List {
    #[serde(default)]
    pub manifests: Vec<Raw>,
}

/// A list of what is attached to a manifest, as the union of two: what one of them has must
/// not be lost for what the other has.
///
/// # Errors
/// `invalid_manifest` for what is no list.
pub(crate) fn merge(ours: &[u8], theirs: &[u8]) -> Result<Vec<u8>> {
    let list = |json: &[u8]| -> Result<Vec<Raw>> {
        let list: List = serde_json::from_slice(json)
            .map_err(|e| err!(InvalidManifest, "a list of attached manifests: {e}"))?;
        Ok(list.manifests)
    };
    let mut all = list(theirs)?;
    for raw in list(ours)? {
        if all.iter().all(|known| known.digest != raw.digest) {
            all.push(raw);
        }
    }
    // The same set gives the same bytes.
    all.sort_by(|a, b| a.digest.cmp(&b.digest));
    serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": all}))
        .map_err(|e| err!(Internal, "JSON: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_release_wins_and_aliases_never() {
        let tags = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        for (list, wanted) in [
            (
                &["1.9.0", "1.10.0", "2.0.0-rc.1", "stable"][..],
                Some("1.10.0"),
            ),
            (&["2.0.0-rc.1", "2.0.0-rc.2"], Some("2.0.0-rc.2")),
            (&["stable"], None),
            (&[], None),
        ] {
            assert_eq!(highest(&tags(list)).map(String::as_str), wanted);
        }
    }

    #[test]
    fn lists_of_attached_manifests_are_united() {
        let descriptor = |text: &str| Descriptor::new(media::MANIFEST, text.as_bytes());
        let list = |texts: &[&str]| {
            let entries: Vec<_> = texts.iter().map(|t| (None, descriptor(t))).collect();
            index_json(&entries).unwrap()
        };
        let united = merge(&list(&["a", "b"]), &list(&["b", "c"])).unwrap();
        assert_eq!(united, merge(&list(&["c", "b"]), &list(&["a"])).unwrap());
        let read: List = serde_json::from_slice(&united).unwrap();
        assert_eq!(read.manifests.len(), 3);
        assert!(merge(b"<html>", &list(&[])).is_err());
    }
}
