//! Making packages that are signed in all the right and wrong ways.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use twinfer::Result;
use twinfer_package::{
    Bundle, Curve, Descriptor, Digest, FolderStore, Index, Manifest, PrivateKey, REF_NAME,
    Reference, SignedTags, Signer, Store, TITLE, attach_signature, media, publish_tags,
};

use crate::forge::{Parts, VERSION};

/// 2099-12-31T00:00:00Z, and a day in 2020.
const FUTURE: u64 = 4_102_358_400;
const PAST: u64 = 1_600_000_000;

pub(super) struct Maker {
    root: PathBuf,
    base: String,
    pub(super) store: FolderStore,
}

/// The same key for the same name, everywhere and always. Not a secret.
pub(super) fn key(name: &str, curve: Curve) -> PrivateKey {
    let mut block = 0u8;
    PrivateKey::generate(curve, |bytes| {
        for chunk in bytes.chunks_mut(32) {
            block += 1;
            let digest = Sha256::digest([name.as_bytes(), &[block]].concat());
            chunk.copy_from_slice(&digest[..chunk.len()]);
        }
        Ok(())
    })
    .unwrap_or_else(|e| unreachable!("a digest makes a key: {e}"))
}

pub(super) fn fail(error: twinfer::Error) -> io::Error {
    io::Error::other(error.to_string())
}

impl Maker {
    pub(super) fn new(root: &Path, base: &str) -> Self {
        Self {
            root: root.into(),
            base: base.into(),
            store: FolderStore::new(root),
        }
    }

    /// A package `name:1.0.0`, changed before it is put together, in the place of any before.
    pub(super) fn package(
        &self,
        name: &str,
        change: impl FnOnce(&mut Parts) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut parts = Parts::open(&self.root, &self.base, name)?;
        change(&mut parts)?;
        parts.finish()
    }

    pub(super) fn reference(name: &str) -> Result<Reference> {
        Reference::new(name, VERSION)
    }

    pub(super) fn digest(&self, name: &str) -> Result<Digest> {
        Ok(self.descriptor(name)?.digest)
    }

    fn descriptor(&self, name: &str) -> Result<Descriptor> {
        Index::from_json(&self.store.index()?)?.resolve(&Self::reference(name)?)
    }

    pub(super) fn manifest(&self, name: &str) -> Result<Manifest> {
        Manifest::from_json(&self.store.blob(&self.descriptor(name)?)?)
    }

    pub(super) fn sign(&self, name: &str, key: &PrivateKey) -> Result<()> {
        attach_signature(&self.store, &Self::reference(name)?, Signer::Key(key)).map(drop)
    }

    /// The bundle that signing would attach.
    pub(super) fn bundle(&self, name: &str, key: &PrivateKey) -> Result<Vec<u8>> {
        Bundle::sign(name, &self.manifest(name)?, key)
    }

    /// Attaches anything as a signature, with a manifest that is changed at the end.
    pub(super) fn attach(
        &self,
        name: &str,
        bundle: &[u8],
        change: impl FnOnce(&mut Value),
    ) -> io::Result<()> {
        let subject = self.descriptor(name).map_err(fail)?;
        let empty = self.put(b"{}")?;
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::MANIFEST,
            "artifactType": media::BUNDLE,
            "config": {"mediaType": media::EMPTY, "digest": empty, "size": 2},
            "layers": [{
                "mediaType": media::BUNDLE,
                "digest": self.put(bundle)?,
                "size": bundle.len(),
                "annotations": {TITLE: "model.sig"},
            }],
            "subject": {"mediaType": media::MANIFEST, "digest": subject.digest, "size": subject.size},
        });
        change(&mut manifest);
        let manifest = manifest.to_string();
        let tag = format!("{name}:sha256-{}", subject.digest.hex());
        let mut referrers = match self.entry(&tag)? {
            Some(entry) => self.read(&entry)?,
            None => json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": []}),
        };
        let link = json!({
            "mediaType": media::MANIFEST,
            "artifactType": media::BUNDLE,
            "digest": self.put(manifest.as_bytes())?,
            "size": manifest.len(),
        });
        if let Some(list) = referrers["manifests"].as_array_mut() {
            list.push(link);
        }
        let referrers = referrers.to_string();
        self.enter(&json!({
            "mediaType": media::INDEX,
            "digest": self.put(referrers.as_bytes())?,
            "size": referrers.len(),
            "annotations": {REF_NAME: tag},
        }))
    }

    /// Signs a list of the tags of a name, with these changes to what is true.
    pub(super) fn tags(
        &self,
        name: &str,
        key: &PrivateKey,
        counter: u64,
        change: impl FnOnce(&mut SignedTags),
    ) -> Result<()> {
        let index = Index::from_json(&self.store.index()?)?;
        let tags = index.tags().into_iter().filter(|tag| tag.name == name);
        let tags = tags.map(|tag| (tag.tag, tag.digest)).collect();
        let mut list = SignedTags::new(name, counter, PAST, FUTURE - PAST, tags)?;
        change(&mut list);
        let entered = list.name.clone();
        publish_tags(&self.store, &list, key)?;
        if entered != name {
            // It was published under its own name; here it is to be under another.
            self.rename(
                &format!("{entered}:twinfer-tags"),
                &format!("{name}:twinfer-tags"),
            )
            .map_err(|e| twinfer::err!(Storage, "{e}"))?;
        }
        Ok(())
    }

    /// Lets an alias point to what `name:1.0.0` of another or the same model is.
    pub(super) fn alias(&self, alias: &str, name: &str) -> io::Result<()> {
        let descriptor = self.descriptor(name).map_err(fail)?;
        self.enter(&json!({
            "mediaType": descriptor.media_type,
            "artifactType": media::ARTIFACT,
            "digest": descriptor.digest,
            "size": descriptor.size,
            "annotations": {REF_NAME: alias},
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut entry = self.entry(from)?.unwrap_or_default();
        self.change(|entries| entries.retain(|entry| entry["annotations"][REF_NAME] != from))?;
        entry["annotations"][REF_NAME] = to.into();
        self.enter(&entry)
    }

    /// Puts an entry into the index, in the place of one of the same name.
    fn enter(&self, entry: &Value) -> io::Result<()> {
        let name = &entry["annotations"][REF_NAME];
        self.change(|entries| {
            entries.retain(|other| other["annotations"][REF_NAME] != *name);
            entries.push(entry.clone());
        })
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Value>)) -> io::Result<()> {
        let path = self.root.join("index.json");
        let mut index: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        if let Some(entries) = index["manifests"].as_array_mut() {
            change(entries);
        }
        std::fs::write(path, serde_json::to_vec(&index)?)
    }

    pub(super) fn entry(&self, name: &str) -> io::Result<Option<Value>> {
        let index: Value = serde_json::from_slice(&std::fs::read(self.root.join("index.json"))?)?;
        let entries = index["manifests"].as_array().cloned().unwrap_or_default();
        Ok(entries
            .into_iter()
            .find(|entry| entry["annotations"][REF_NAME] == name))
    }

    fn read(&self, entry: &Value) -> io::Result<Value> {
        let path = self.blob(entry["digest"].as_str().unwrap_or_default());
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    pub(super) fn blob(&self, digest: &str) -> PathBuf {
        self.root
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    }

    fn put(&self, bytes: &[u8]) -> io::Result<String> {
        let digest = Digest::of(bytes).to_string();
        std::fs::write(self.blob(&digest), bytes)?;
        Ok(digest)
    }
}
