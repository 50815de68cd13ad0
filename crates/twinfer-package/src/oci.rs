//! The manifest of a package: an OCI image manifest under the rules of CNCF ModelPack.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use twinfer::{Result, bail};

use crate::digest::shorten;
use crate::json::from_json;
use crate::limits::{
    MAX_CONFIG_BYTES, MAX_FILE_BYTES, MAX_GOLDEN_BYTES, MAX_LAYERS, MAX_MANIFEST_BYTES,
    MAX_MODEL_BYTES, MAX_WEIGHTS_BYTES,
};
use crate::{Digest, media};

/// Annotation with the file name of a layer, as `oras` writes it.
pub const TITLE: &str = "org.opencontainers.image.title";
/// Annotation with the file name of a layer, as ModelPack has it.
pub const FILEPATH: &str = "org.cncf.model.filepath";
/// Annotation in the index with the reference: `name:tag`.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Names some content: what it is, its digest and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    #[cfg_attr(feature = "schema", ts(type = "number"))]
    pub size: u64,
    /// The kind of artifact that a manifest describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Notes, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// The descriptor of these bytes.
    pub fn new(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.into(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The descriptor of a file in a package.
    pub(crate) fn of_file(media_type: &str, name: &str, digest: Digest, size: u64) -> Self {
        let mut descriptor = Self {
            media_type: media_type.into(),
            digest,
            size,
            artifact_type: None,
            annotations: BTreeMap::new(),
        };
        for key in [TITLE, FILEPATH] {
            descriptor.annotations.insert(key.into(), name.into());
        }
        descriptor
    }

    /// The file name of a layer.
    pub fn file_name(&self) -> Option<&str> {
        self.annotations
            .get(TITLE)
            .or_else(|| self.annotations.get(FILEPATH))
            .map(String::as_str)
    }

    /// How messages call it.
    pub(crate) fn label(&self) -> String {
        match self.file_name() {
            Some(name) => format!("layer `{}` ({})", shorten(name), self.digest),
            None => format!("{} ({})", shorten(&self.media_type), self.digest),
        }
    }

    /// Checks content against it.
    ///
    /// # Errors
    /// `size_mismatch`, `digest_mismatch`.
    pub fn verify(&self, bytes: &[u8]) -> Result<()> {
        let mut verifier = crate::Verifier::new(self);
        if bytes.len() as u64 == self.size {
            verifier.update(bytes)?;
        } else {
            bail!(
                SizeMismatch,
                "{} must have {} bytes, got {}",
                self.label(),
                self.size,
                bytes.len()
            );
        }
        verifier.finish()
    }

    fn check_size(&self, limit: u64) -> Result<()> {
        if self.size > limit {
            bail!(
                InvalidManifest,
                "{} says it has {} bytes; at most {limit} are read",
                self.label(),
                self.size
            );
        }
        Ok(())
    }
}

/// An OCI image manifest with a model in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// `application/vnd.oci.image.manifest.v1+json`.
    pub media_type: String,
    /// `application/vnd.cncf.model.manifest.v1+json`.
    pub artifact_type: String,
    /// The ModelPack configuration.
    pub config: Descriptor,
    /// The files.
    pub layers: Vec<Descriptor>,
    /// What this manifest is about, where it is not a package of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Notes, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a layer is for. Its file name decides, and its media type must be the one that
/// belongs to it: a package signature covers names and digests, not media types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The model file, `model.onnx`.
    Model,
    /// Weights that the model file has outside of itself, `weights/…`.
    Shard,
    /// `twinfer.json`.
    Config,
    /// `golden.json`.
    Golden,
    /// `baseline.json`.
    Baseline,
    /// `metrics.json`.
    Metrics,
    /// `provenance.json`.
    Provenance,
    /// A document or another file that is not needed to predict.
    File,
}

/// The role of a layer.
pub fn role(layer: &Descriptor) -> Role {
    match layer.file_name() {
        Some(media::MODEL_NAME) => Role::Model,
        Some(name) if name.starts_with(media::SHARDS) => Role::Shard,
        Some(media::CONFIG_NAME) => Role::Config,
        Some(media::GOLDEN_NAME) => Role::Golden,
        Some(media::BASELINE_NAME) => Role::Baseline,
        Some(media::METRICS_NAME) => Role::Metrics,
        Some(media::PROVENANCE_NAME) => Role::Provenance,
        _ => Role::File,
    }
}

impl Role {
    /// The media type of its layers; `None` where there are several.
    pub fn media_type(self) -> Option<&'static str> {
        match self {
            Self::Model | Self::Shard => Some(media::WEIGHT),
            Self::Config => Some(media::WEIGHT_CONFIG),
            Self::Golden | Self::Baseline => Some(media::DATASET),
            Self::Metrics | Self::Provenance => Some(media::DOC),
            Self::File => None,
        }
    }

    /// How many bytes are read of it.
    fn limit(self) -> u64 {
        match self {
            Self::Model | Self::Shard => MAX_MODEL_BYTES,
            Self::Config | Self::Metrics | Self::Provenance => MAX_CONFIG_BYTES,
            Self::Golden | Self::Baseline => MAX_GOLDEN_BYTES,
            Self::File => MAX_FILE_BYTES,
        }
    }
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// `invalid_manifest`, `unknown_field`, `invalid_digest`; `unsupported_format_version`
    /// for a newer schema.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        if json.len() as u64 > MAX_MANIFEST_BYTES {
            bail!(
                InvalidManifest,
                "the manifest has {} bytes; at most {MAX_MANIFEST_BYTES} are read",
                json.len()
            );
        }
        // The version first: another schema may have other fields.
        let head: Head = from_json("manifest", json)?;
        match head.schema_version {
            Some(2) => {}
            Some(other) => bail!(
                UnsupportedFormatVersion,
                "the manifest has schemaVersion {other}, this version of Twinfer reads 2: update Twinfer, or pack the model again"
            ),
            None => bail!(
                InvalidManifest,
                "the manifest has no schemaVersion; expected 2"
            ),
        }
        if let Some(other) = head.media_type.as_deref().filter(|m| *m != media::MANIFEST) {
            bail!(
                InvalidManifest,
                "the manifest is `{}`, expected {}: lists of manifests are not packages",
                shorten(other),
                media::MANIFEST
            );
        }
        match head.artifact_type.as_deref() {
            Some(media::ARTIFACT) => {}
            other => bail!(
                InvalidManifest,
                "the manifest has artifactType `{}`, expected {}: it is not a model package",
                shorten(other.unwrap_or("none")),
                media::ARTIFACT
            ),
        }
        let manifest: Self = from_json("manifest", json)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<()> {
        if self.config.media_type != media::MODEL_CONFIG {
            bail!(
                InvalidManifest,
                "the config is `{}`, expected {}",
                shorten(&self.config.media_type),
                media::MODEL_CONFIG
            );
        }
        self.config.check_size(MAX_CONFIG_BYTES)?;
        if self.subject.is_some() {
            bail!(
                InvalidManifest,
                "the manifest has a subject: it belongs to another one and is no package"
            );
        }
        if self.layers.len() > MAX_LAYERS {
            bail!(
                InvalidManifest,
                "the manifest has {} layers; at most {MAX_LAYERS} are read",
                self.layers.len()
            );
        }
        let mut names = BTreeSet::new();
        for layer in &self.layers {
            let name = check_layer(layer)?;
            // Some file systems do not tell upper from lower case.
            if !names.insert(name.to_lowercase()) {
                bail!(
                    InvalidManifest,
                    "two layers have the file name `{}`",
                    shorten(name)
                );
            }
        }
        let weights = |layer: &&Descriptor| matches!(role(layer), Role::Model | Role::Shard);
        let weights: u64 = self.layers.iter().filter(weights).map(|l| l.size).sum();
        if weights > MAX_WEIGHTS_BYTES {
            bail!(
                InvalidManifest,
                "the weights have {weights} bytes together; at most {MAX_WEIGHTS_BYTES} are read"
            );
        }
        Ok(())
    }

    /// The layers of this role.
    pub fn layers_of(&self, wanted: Role) -> impl Iterator<Item = &Descriptor> {
        self.layers
            .iter()
            .filter(move |layer| role(layer) == wanted)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
}

/// Checks a layer by itself and gives its file name.
fn check_layer(layer: &Descriptor) -> Result<&str> {
    let known = layer
        .media_type
        .strip_prefix(media::LAYER_PREFIX)
        .and_then(|rest| rest.split_once(".v1."));
    match known {
        Some(("weight" | "weight.config" | "doc" | "code" | "dataset", "raw")) => {}
        Some((
            "weight" | "weight.config" | "doc" | "code" | "dataset",
            "tar" | "tar+gzip" | "tar+zstd",
        )) => bail!(
            InvalidManifest,
            "{} is an archive ({}); only single files are read (media types that end in .raw)",
            layer.label(),
            layer.media_type
        ),
        _ => bail!(
            InvalidManifest,
            "{} has the unknown media type `{}`",
            layer.label(),
            shorten(&layer.media_type)
        ),
    }
    let (title, path) = (
        layer.annotations.get(TITLE),
        layer.annotations.get(FILEPATH),
    );
    let Some(name) = title.or(path) else {
        bail!(
            InvalidManifest,
            "{} has no file name: annotation {TITLE} or {FILEPATH}",
            layer.label()
        );
    };
    if path.is_some_and(|path| path != name) {
        bail!(
            InvalidManifest,
            "{} has two different file names in {TITLE} and {FILEPATH}",
            layer.label()
        );
    }
    check_file_name(name)?;
    let documents = [media::CARD_NAME, media::LICENSE_NAME];
    let wanted = match role(layer).media_type() {
        None if documents.contains(&name.as_str()) => Some(media::DOC),
        wanted => wanted,
    };
    if let Some(wanted) = wanted.filter(|wanted| *wanted != layer.media_type) {
        bail!(
            InvalidManifest,
            "{} has the media type {}, a file of this name has {wanted}",
            layer.label(),
            layer.media_type
        );
    }
    layer.check_size(role(layer).limit())?;
    Ok(name)
}

/// Checks that a file name of a layer stays inside the folder into which it is unpacked, on
/// every operating system.
///
/// # Errors
/// `invalid_manifest`.
pub fn check_file_name(name: &str) -> Result<()> {
    const LONGEST: usize = 255;
    let good = !name.is_empty()
        && name.len() <= LONGEST
        && !name.contains(|c: char| c.is_control() || "\\:*?\"<>|".contains(c))
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with(' ') && !part.ends_with(['.', ' ']));
    if !good {
        bail!(
            InvalidManifest,
            "a layer has the file name `{}`: only relative paths without `..` are accepted, of at most {LONGEST} bytes",
            shorten(name)
        );
    }
    Ok(())
}
