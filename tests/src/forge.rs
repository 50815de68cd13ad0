//! Packages that are broken on purpose, put into a registry beside the whole ones.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use twinfer::ErrorCode;
use twinfer_package::{Digest, REF_NAME, TITLE, media};

/// The version of every forged package.
pub const VERSION: &str = "1.0.0";

/// A broken package and what every place must say to it.
#[derive(Debug, Clone)]
pub struct Forged {
    /// Its name.
    pub name: &'static str,
    /// The code.
    pub code: ErrorCode,
}

/// A package in parts, to be changed and put together again under another name.
pub(crate) struct Parts {
    registry: PathBuf,
    pub(crate) manifest: Value,
    /// The ModelPack configuration.
    pub(crate) config: Value,
    name: String,
}

/// Writes the broken packages into `registry`, made from the whole package `base`
/// (`name:version`), whose model must have an operator `Not`.
///
/// # Errors
/// When the registry cannot be read or written, or does not have the base.
pub fn forge(registry: &Path, base: &str) -> io::Result<Vec<Forged>> {
    let begin = |name| Parts::open(registry, base, name);
    let mut forged = Vec::new();
    let mut done = |name, code| forged.push(Forged { name, code });

    for (name, change) in MODELS {
        let mut parts = begin(name)?;
        let model = parts.layer(media::MODEL_NAME)?;
        parts.replace(media::MODEL_NAME, &change(&model))?;
        parts.finish()?;
        done(
            name,
            if *name == "bad-operator" {
                ErrorCode::UnsupportedOperator
            } else {
                ErrorCode::InvalidModel
            },
        );
    }
    for (name, key, value, code) in [
        ("bad-field", "surprise", json!(1), ErrorCode::UnknownField),
        (
            "bad-format",
            "format_version",
            json!(99),
            ErrorCode::UnsupportedFormatVersion,
        ),
    ] {
        let mut parts = begin(name)?;
        parts.configure(key, value)?;
        parts.finish()?;
        done(name, code);
    }
    {
        let mut parts = begin("bad-manifest-field")?;
        parts.manifest["surprise"] = json!(true);
        parts.finish()?;
        done("bad-manifest-field", ErrorCode::UnknownField);
    }
    {
        let mut parts = begin("bad-schema")?;
        parts.manifest["schemaVersion"] = json!(3);
        parts.finish()?;
        done("bad-schema", ErrorCode::UnsupportedFormatVersion);
    }
    {
        let mut parts = begin("bad-missing")?;
        let digest = parts.replace(media::MODEL_NAME, b"a model that is not there")?;
        std::fs::remove_file(parts.blob(&digest))?;
        parts.finish()?;
        done("bad-missing", ErrorCode::MissingBlob);
    }
    {
        let mut parts = begin("bad-digest")?;
        let digest = parts.replace(media::MODEL_NAME, b"a model that is another")?;
        std::fs::write(parts.blob(&digest), b"a model that is changed")?;
        parts.finish()?;
        done("bad-digest", ErrorCode::DigestMismatch);
    }
    {
        let mut parts = begin("bad-size")?;
        let digest = parts.replace(media::MODEL_NAME, b"a model of some length")?;
        std::fs::write(parts.blob(&digest), b"a model of")?;
        parts.finish()?;
        done("bad-size", ErrorCode::SizeMismatch);
    }
    {
        let mut parts = begin("bad-huge")?;
        let layer = parts.descriptor(media::MODEL_NAME)?;
        layer["size"] = json!(1u64 << 50);
        parts.finish()?;
        done("bad-huge", ErrorCode::InvalidManifest);
    }
    {
        let mut parts = begin("bad-no-model")?;
        parts.remove(media::MODEL_NAME);
        parts.finish()?;
        done("bad-no-model", ErrorCode::InvalidPackage);
    }
    {
        // The reference says one name, the package another.
        let mut parts = begin("bad-name")?;
        parts.configure("name", json!("another"))?;
        parts.finish()?;
        done("bad-name", ErrorCode::InvalidPackage);
    }
    Ok(forged)
}

type Change = fn(&[u8]) -> Vec<u8>;

/// Model files that are none.
const MODELS: &[(&str, Change)] = &[
    ("bad-empty", |_| Vec::new()),
    ("bad-truncated", |model| model[..model.len() / 2].to_vec()),
    ("bad-foreign", |_| crate::pictures::png_of_size(8, 8)),
    ("bad-text", |_| {
        b"<!doctype html><title>404 Not Found</title>".to_vec()
    }),
    ("bad-operator", |model| rename(model, b"Not", b"Nix")),
];

/// Renames an operator of the model (a string of a protobuf message, with its length in the
/// byte before) to one of the same length.
fn rename<const N: usize>(model: &[u8], from: &[u8; N], to: &[u8; N]) -> Vec<u8> {
    let mut model = model.to_vec();
    for at in 1..model.len().saturating_sub(N) {
        if usize::from(model[at - 1]) == N && model[at..].starts_with(from) {
            model[at..at + N].copy_from_slice(to);
        }
    }
    model
}

impl Parts {
    pub(crate) fn open(registry: &Path, base: &str, name: &str) -> io::Result<Self> {
        let index = read(&registry.join("index.json"))?;
        let entries = index["manifests"].as_array().cloned().unwrap_or_default();
        let entry = entries
            .iter()
            .find(|entry| entry["annotations"][REF_NAME] == base);
        let entry = entry.ok_or_else(|| missing(format!("the registry has no {base}")))?;
        let mut parts = Self {
            registry: registry.to_owned(),
            manifest: Value::Null,
            config: Value::Null,
            name: name.into(),
        };
        parts.manifest = read(&parts.blob(text(&entry["digest"])))?;
        parts.config = read(&parts.blob(text(&parts.manifest["config"]["digest"])))?;
        parts.config["descriptor"]["name"] = json!(name);
        parts.config["descriptor"]["version"] = json!(VERSION);
        parts.configure("name", json!(name))?;
        parts.configure("version", json!(VERSION))?;
        Ok(parts)
    }

    /// Where a blob lies.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.registry
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    }

    pub(crate) fn put(&self, bytes: &[u8]) -> io::Result<String> {
        let digest = Digest::of(bytes).to_string();
        std::fs::write(self.blob(&digest), bytes)?;
        Ok(digest)
    }

    fn position(&self, file: &str) -> io::Result<usize> {
        let layers = self.manifest["layers"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let at = layers
            .iter()
            .position(|layer| layer["annotations"][TITLE] == file);
        at.ok_or_else(|| missing(format!("there is no layer {file}")))
    }

    pub(crate) fn descriptor(&mut self, file: &str) -> io::Result<&mut Value> {
        let at = self.position(file)?;
        Ok(&mut self.manifest["layers"][at])
    }

    fn layer(&mut self, file: &str) -> io::Result<Vec<u8>> {
        let digest = text(&self.descriptor(file)?["digest"]).to_owned();
        std::fs::read(self.blob(&digest))
    }

    /// Puts other content in the place of a layer; gives its digest.
    fn replace(&mut self, file: &str, bytes: &[u8]) -> io::Result<String> {
        let digest = self.put(bytes)?;
        let at = self.position(file)?;
        let layer = self.descriptor(file)?;
        layer["digest"] = json!(digest);
        layer["size"] = json!(bytes.len());
        self.config["modelfs"]["diffIds"][at] = json!(digest);
        Ok(digest)
    }

    pub(crate) fn remove(&mut self, file: &str) {
        if let (Ok(at), Some(layers)) =
            (self.position(file), self.manifest["layers"].as_array_mut())
        {
            layers.remove(at);
            if let Some(ids) = self.config["modelfs"]["diffIds"].as_array_mut() {
                ids.remove(at);
            }
        }
    }

    /// Sets a field of `twinfer.json`.
    pub(crate) fn configure(&mut self, key: &str, value: Value) -> io::Result<()> {
        let mut config: Value = serde_json::from_slice(&self.layer(media::CONFIG_NAME)?)?;
        config[key] = value;
        self.replace(media::CONFIG_NAME, &serde_json::to_vec(&config)?)
            .map(drop)
    }

    /// Stores what is left to store and enters it into the index.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let config = serde_json::to_vec(&self.config)?;
        self.manifest["config"]["digest"] = json!(self.put(&config)?);
        self.manifest["config"]["size"] = json!(config.len());
        let manifest = serde_json::to_vec(&self.manifest)?;
        let full = format!("{}:{VERSION}", self.name);
        let entry = json!({
            "mediaType": media::MANIFEST,
            "artifactType": media::ARTIFACT,
            "digest": self.put(&manifest)?,
            "size": manifest.len(),
            "annotations": { REF_NAME: full },
        });
        let path = self.registry.join("index.json");
        let mut index = read(&path)?;
        if let Some(entries) = index["manifests"].as_array_mut() {
            entries.retain(|entry| entry["annotations"][REF_NAME] != full);
            entries.push(entry);
        }
        std::fs::write(path, serde_json::to_vec(&index)?)
    }
}

fn read(path: &Path) -> io::Result<Value> {
    let bytes = std::fs::read(path)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn missing(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what)
}
