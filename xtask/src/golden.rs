//! One real request for each package of a registry: its largest golden example.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::base64;
use crate::failure::{Context, Failure, Result};

/// A request that every place can be given.
#[derive(Debug)]
pub struct Sample {
    /// Name of the model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Name of the golden example.
    pub case: String,
    /// The name of the pipeline's input.
    pub input_name: String,
    /// The input as the golden example has it.
    pub input: Value,
    /// The call's parameters.
    pub parameters: Value,
    /// What goes over the wire.
    pub body: Vec<u8>,
    /// What kind of thing that is.
    pub content_type: String,
}

impl Sample {
    /// `name:version`.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.model, self.version)
    }

    /// Writes the input to a file, so that it can be given to a command or dropped on a page.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let ending = match self.content_type.as_str() {
            "image/jpeg" => "jpg",
            "image/png" => "png",
            "image/webp" => "webp",
            "application/json" => "json",
            "audio/wav" => "wav",
            "text/plain" => "txt",
            _ => "bin",
        };
        std::fs::create_dir_all(folder).context(|| folder.display().to_string())?;
        let path = folder.join(format!("{}.{ending}", self.model));
        std::fs::write(&path, &self.body).context(|| path.display().to_string())?;
        Ok(path)
    }
}

/// The golden example with the most bytes of every package in an OCI image layout: the small
/// ones are often those that need no model.
pub fn samples(registry: &Path) -> Result<Vec<Sample>> {
    let index = read_json(&registry.join("index.json"))?;
    let manifests = index["manifests"].as_array().cloned().unwrap_or_default();
    let mut samples = manifests
        .iter()
        .map(|entry| sample(registry, entry))
        .collect::<Result<Vec<_>>>()?;
    samples.sort_by(|a, b| a.model.cmp(&b.model));
    Ok(samples)
}

/// The golden examples of a package.
#[derive(Debug)]
pub struct Package {
    /// Name of the model.
    pub model: String,
    /// Its version, or an alias.
    pub version: String,
    /// The layer `golden.json`.
    pub golden: Value,
}

/// The golden examples of everything that the index of a registry folder lists.
pub fn packages(registry: &Path) -> Result<Vec<Package>> {
    let index = read_json(&registry.join("index.json"))?;
    let manifests = index["manifests"].as_array().cloned().unwrap_or_default();
    manifests
        .iter()
        .map(|entry| {
            let (model, version) = reference(entry)?;
            let layers = layers(registry, entry)?;
            Ok(Package {
                model: model.into(),
                version: version.into(),
                golden: layers("golden.json")?,
            })
        })
        .collect()
}

/// Name and tag of an entry of the index.
fn reference(entry: &Value) -> Result<(&str, &str)> {
    let reference = entry["annotations"]["org.opencontainers.image.ref.name"]
        .as_str()
        .unwrap_or_default();
    reference
        .split_once(':')
        .ok_or_else(|| Failure::new(format!("index.json: `{reference}` is not name:version")))
}

/// Reads layers of a package that are JSON, by their titles.
fn layers<'a>(registry: &'a Path, entry: &'a Value) -> Result<impl Fn(&str) -> Result<Value> + 'a> {
    let (model, version) = reference(entry)?;
    let manifest = read_json(&blob(registry, entry)?)?;
    Ok(move |title: &str| {
        let layers = manifest["layers"].as_array().map(Vec::as_slice);
        let found = layers
            .unwrap_or_default()
            .iter()
            .find(|l| l["annotations"]["org.opencontainers.image.title"] == title);
        let missing = || Failure::new(format!("{model}:{version} has no layer {title}"));
        read_json(&blob(registry, found.ok_or_else(missing)?)?)
    })
}

fn sample(registry: &Path, entry: &Value) -> Result<Sample> {
    let (model, version) = reference(entry)?;
    let layer = layers(registry, entry)?;
    let input_name = layer("twinfer.json")?["pipeline"]["input"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    let golden = layer("golden.json")?;
    let cases = golden["cases"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let requests = cases
        .iter()
        .filter_map(|case| Some((case, wire(&case["input"])?)));
    // The first of the largest: `max_by_key` alone would take the last.
    let (case, (body, content_type)) = requests
        .rev()
        .max_by_key(|(_, (body, _))| body.len())
        .ok_or_else(|| {
            Failure::new(format!(
                "{model}:{version} has no golden example with an input that a request can carry"
            ))
        })?;
    Ok(Sample {
        model: model.into(),
        version: version.into(),
        case: case["name"].as_str().unwrap_or_default().into(),
        input_name,
        input: case["input"].clone(),
        parameters: case["parameters"].clone(),
        body,
        content_type,
    })
}

/// The body and content type of an input.
pub fn wire(input: &Value) -> Option<(Vec<u8>, String)> {
    if let Some(text) = input["picture"]["base64"].as_str() {
        let kind = input["picture"]["media_type"]
            .as_str()
            .unwrap_or("application/octet-stream");
        return Some((base64::decode(text)?, kind.into()));
    }
    if let Some(text) = input["bytes"]["base64"].as_str() {
        return Some((base64::decode(text)?, "application/octet-stream".into()));
    }
    if let Some(text) = input["audio"]["base64"].as_str() {
        return Some((base64::decode(text)?, "audio/wav".into()));
    }
    if let Some(text) = input["text"].as_str() {
        return Some((text.as_bytes().to_vec(), "text/plain".into()));
    }
    input["record"].as_object().map(|record| {
        (
            Value::from(record.clone()).to_string().into_bytes(),
            "application/json".into(),
        )
    })
}

/// Parameters as a query string. Their values are words and numbers.
pub fn query(parameters: &Value) -> String {
    let pairs: Vec<String> = parameters
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            format!(
                "{key}={}",
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_string)
            )
        })
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

fn blob(registry: &Path, descriptor: &Value) -> Result<PathBuf> {
    let digest = descriptor["digest"].as_str().unwrap_or_default();
    let hex = digest
        .strip_prefix("sha256:")
        .ok_or_else(|| Failure::new(format!("`{digest}` is not a sha256 digest")))?;
    Ok(registry.join("blobs/sha256").join(hex))
}

fn read_json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).context(|| path.display().to_string())?;
    serde_json::from_slice(&bytes).context(|| path.display().to_string())
}
