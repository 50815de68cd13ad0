//! What carries signatures in a registry: OCI manifests of artifacts, and the index of what
//! refers to a package (OCI distribution specification v1.1, "Referrers Tag Schema").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twinfer::{Result, bail};

use super::signed_json;
use crate::digest::shorten;
use crate::engine::{ENVELOPE, SIGNED_ENGINE};
use crate::limits::{MAX_MANIFEST_BYTES, MAX_SIGNATURES};
use crate::{DerivedEngine, Descriptor, Digest, ENGINES, TITLE, media};

/// The manifest of an artifact with one file in it.
#[derive(Debug)]
pub(crate) struct Artifact {
    /// The file.
    pub(crate) layer: Descriptor,
    /// Its config.
    pub(crate) config: Option<Descriptor>,
    /// What it is attached to.
    pub(crate) subject: Option<Digest>,
}

/// A descriptor as other tools write it: with more fields, or with digests that we do not read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Link {
    fn of(descriptor: &Descriptor) -> Self {
        Self {
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest.to_string(),
            size: descriptor.size,
            artifact_type: descriptor.artifact_type.clone(),
            annotations: descriptor.annotations.clone(),
        }
    }

    fn descriptor(&self, limit: u64) -> Result<Descriptor> {
        if self.size > limit {
            bail!(
                InvalidSignature,
                "{} says it has {} bytes; at most {limit} are read of a signature",
                shorten(&self.digest),
                self.size
            );
        }
        Ok(Descriptor {
            media_type: self.media_type.clone(),
            digest: self
                .digest
                .parse()
                .map_err(|e: twinfer::Error| twinfer::err!(InvalidSignature, "{e}"))?,
            size: self.size,
            artifact_type: self.artifact_type.clone(),
            annotations: BTreeMap::new(),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestJson {
    schema_version: u32,
    media_type: String,
    #[serde(default)]
    artifact_type: Option<String>,
    config: Link,
    layers: Vec<Link>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Link>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Artifact {
    /// The manifest of an artifact around this file: its descriptor, and what must be stored
    /// beside the file (the empty config, the manifest itself).
    ///
    /// # Errors
    /// `internal`.
    pub(crate) fn write(
        artifact_type: &str,
        layer: &Descriptor,
        subject: Option<&Descriptor>,
    ) -> Result<(Descriptor, Vec<u8>)> {
        let config = Self::empty_config();
        Self::write_with(artifact_type, &config, layer, subject, BTreeMap::new())
    }

    /// The same with a config, and with annotations, which the descriptor has too: lists of
    /// referrers show them.
    ///
    /// # Errors
    /// `internal`.
    pub(crate) fn write_with(
        artifact_type: &str,
        config: &Descriptor,
        layer: &Descriptor,
        subject: Option<&Descriptor>,
        annotations: BTreeMap<String, String>,
    ) -> Result<(Descriptor, Vec<u8>)> {
        let subject = subject.map(|subject| Link {
            artifact_type: None,
            annotations: BTreeMap::new(),
            ..Link::of(subject)
        });
        let json = crate::json::to_json(&ManifestJson {
            schema_version: 2,
            media_type: media::MANIFEST.into(),
            artifact_type: Some(artifact_type.into()),
            config: Link::of(config),
            layers: vec![Link::of(layer)],
            subject,
            annotations: annotations.clone(),
        })?;
        let mut descriptor = Descriptor::new(media::MANIFEST, &json);
        descriptor.artifact_type = Some(artifact_type.into());
        descriptor.annotations = annotations;
        Ok((descriptor, json))
    }

    /// The config of artifacts that have none.
    pub(crate) const EMPTY: &'static [u8] = b"{}";

    pub(crate) fn empty_config() -> Descriptor {
        Descriptor::new(media::EMPTY, Self::EMPTY)
    }

    /// A file of an artifact.
    pub(crate) fn file(media_type: &str, name: &str, bytes: &[u8]) -> Descriptor {
        let mut descriptor = Descriptor::new(media_type, bytes);
        descriptor.annotations.insert(TITLE.into(), name.into());
        descriptor
    }

    /// Reads the manifest of an artifact of this type, whose one file has this media type and
    /// at most so many bytes.
    ///
    /// # Errors
    /// `invalid_signature`.
    pub(crate) fn from_json(
        json: &[u8],
        artifact_type: &str,
        layer_type: &str,
        limit: u64,
    ) -> Result<Self> {
        let manifest: ManifestJson = signed_json("manifest of a signature", json)?;
        let kind = manifest
            .artifact_type
            .as_deref()
            .unwrap_or(&manifest.config.media_type);
        if manifest.schema_version != 2
            || manifest.media_type != media::MANIFEST
            || kind != artifact_type
        {
            bail!(
                InvalidSignature,
                "the manifest of a signature is `{}`, expected {artifact_type}",
                shorten(kind)
            );
        }
        let [layer] = &manifest.layers[..] else {
            bail!(
                InvalidSignature,
                "the manifest of a signature has {} layers, expected 1",
                manifest.layers.len()
            );
        };
        if layer.media_type != layer_type {
            bail!(
                InvalidSignature,
                "the layer of a signature is `{}`, expected {layer_type}",
                shorten(&layer.media_type)
            );
        }
        let subject = manifest.subject.map(|s| s.descriptor(u64::MAX));
        Ok(Self {
            layer: layer.descriptor(limit)?,
            config: manifest.config.descriptor(MAX_MANIFEST_BYTES).ok(),
            subject: subject.transpose()?.map(|subject| subject.digest),
        })
    }
}

/// What refers to a package: signatures, and whatever other tools attached.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Referrers {
    schema_version: u32,
    media_type: String,
    manifests: Vec<Link>,
}

impl Default for Referrers {
    fn default() -> Self {
        Self {
            schema_version: 2,
            media_type: media::INDEX.into(),
            manifests: Vec::new(),
        }
    }
}

impl Referrers {
    /// Reads the index of what refers to a package.
    ///
    /// # Errors
    /// `invalid_signature`.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self> {
        let referrers: Self = signed_json("list of signatures", json)?;
        if referrers.schema_version != 2 || referrers.media_type != media::INDEX {
            bail!(
                InvalidSignature,
                "the list of signatures is `{}`, expected {}",
                shorten(&referrers.media_type),
                media::INDEX
            );
        }
        Ok(referrers)
    }

    /// The index as JSON.
    ///
    /// # Errors
    /// `internal`.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        crate::json::to_json(self)
    }

    /// The manifests of package signatures in it, each once.
    ///
    /// # Errors
    /// `invalid_signature` for more than are looked at, and for malformed descriptors.
    pub(crate) fn signatures(&self) -> Result<Vec<Descriptor>> {
        let mut signatures: Vec<Descriptor> = Vec::new();
        for link in &self.manifests {
            if link.artifact_type.as_deref() != Some(media::BUNDLE) {
                continue;
            }
            let descriptor = link.descriptor(MAX_MANIFEST_BYTES)?;
            if signatures.iter().all(|s| s.digest != descriptor.digest) {
                signatures.push(descriptor);
            }
        }
        if signatures.len() > MAX_SIGNATURES {
            bail!(
                InvalidSignature,
                "the package has {} signatures; at most {MAX_SIGNATURES} are looked at",
                signatures.len()
            );
        }
        Ok(signatures)
    }

    /// The manifests of derived engines in it, each with what it says of itself. Those that say
    /// nothing that this version reads are left out.
    pub(crate) fn engines(&self) -> Vec<(Descriptor, DerivedEngine)> {
        let mut engines = Vec::new();
        for link in &self.manifests {
            if link.artifact_type.as_deref() != Some(media::ENGINE) {
                continue;
            }
            let said = link.annotations.get(ENGINES);
            let said = said.and_then(|text| DerivedEngine::list(text).ok());
            if let (Some([engine]), Ok(descriptor)) =
                (said.as_deref(), link.descriptor(MAX_MANIFEST_BYTES))
            {
                let signatures = self.engine_signatures(engine).into_iter();
                let engine = DerivedEngine {
                    signatures: signatures.map(|(_, envelope)| envelope).collect(),
                    ..engine.clone()
                };
                engines.push((descriptor, engine));
            }
        }
        engines
    }

    /// The manifests of signatures of a derived engine in it, each with the digest of the
    /// envelope that it says is in it, in the order of those.
    pub(crate) fn engine_signatures(&self, engine: &DerivedEngine) -> Vec<(Descriptor, Digest)> {
        let of = |link: &Link| link.artifact_type.as_deref() == Some(media::ENGINE_SIGNATURE);
        let Ok(config) = engine.config() else {
            return Vec::new();
        };
        let named = Digest::of(&config).to_string();
        let mut signatures: Vec<(Descriptor, Digest)> = (self.manifests.iter())
            .filter(|link| of(link) && link.annotations.get(SIGNED_ENGINE) == Some(&named))
            .filter_map(|link| {
                let envelope = link.annotations.get(ENVELOPE)?.parse().ok()?;
                Some((link.descriptor(MAX_MANIFEST_BYTES).ok()?, envelope))
            })
            .collect();
        signatures.sort_by_key(|(_, envelope)| envelope.to_string());
        signatures.dedup_by_key(|(_, envelope)| *envelope);
        signatures.truncate(MAX_SIGNATURES);
        signatures
    }

    /// Takes engines away that this one replaces, made of the same full engine, in the same way,
    /// for the same target, and with them what signed them.
    pub(crate) fn replace_engines(&mut self, newer: &DerivedEngine) {
        let key = |engine: &DerivedEngine| (engine.kind, engine.target, engine.engine);
        let newer = newer.unsigned();
        let mut replaced: Vec<String> = Vec::new();
        for (descriptor, old) in self.engines() {
            if key(&old) != key(&newer) || old.unsigned() == newer {
                continue;
            }
            replaced.push(descriptor.digest.to_string());
            let signatures = self.engine_signatures(&old).into_iter();
            replaced.extend(signatures.map(|(signature, _)| signature.digest.to_string()));
        }
        self.manifests.retain(|m| !replaced.contains(&m.digest));
    }

    /// Adds a manifest; false when it is there already.
    pub(crate) fn add(&mut self, manifest: &Descriptor) -> bool {
        let link = Link::of(manifest);
        if self.manifests.iter().any(|m| m.digest == link.digest) {
            return false;
        }
        self.manifests.push(link);
        // The same signatures give the same bytes, in whatever order they came.
        self.manifests.sort_by(|a, b| a.digest.cmp(&b.digest));
        true
    }
}
