//! `provenance.json`, `metrics.json` and `baseline.json`: where a model comes from, how good
//! it is, and what its data looked like.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use twinfer::{Result, bail};

use crate::Digest;
use crate::json::from_json;
use crate::media::{BASELINE_NAME, METRICS_NAME, PROVENANCE_NAME};

/// The format of `provenance.json` and `baseline.json` that this version reads and writes.
const FORMAT_VERSION: u32 = 1;

/// `provenance.json`: what a package was made of. Written by `twinfer pack`; says nothing of
/// the time and the machine, so that the same inputs give the same package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Provenance {
    /// The version of this format: 1.
    pub format_version: u32,
    /// The files that the package was made of, by name.
    pub inputs: Vec<InputFile>,
    /// The state of the repository that the recipe is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitState>,
    /// Where a model comes from that was trained elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ModelSource>,
    /// How the model was trained, as the recipe says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// The `dvc.lock` beside the recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dvc_lock: Option<DvcLock>,
    /// Versions of the programs that had a part in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
}

/// A file that a package was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct InputFile {
    /// Its path in the folder of the recipe.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    #[cfg_attr(feature = "schema", ts(type = "number"))]
    pub size: u64,
}

/// The state of a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct GitState {
    /// The last commit that changed something in the folder of the recipe.
    pub commit: String,
    /// Whether a file that was packed is not as it is in that commit.
    pub dirty: bool,
}

/// Where a model comes from that was trained elsewhere: `[source]` of the recipe.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ModelSource {
    /// Where it was got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The commit there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The SHA-256 of the model file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// How a model was trained: `[training]` of the recipe.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Training {
    /// The script, in the folder of the recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// The data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<TrainingData>,
    /// Versions of the programs that trained it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
}

/// Data that a model was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct TrainingData {
    /// What it is.
    pub name: String,
    /// Where it can be got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its digest.
    pub digest: Digest,
}

/// A `dvc.lock`: the state of a DVC pipeline (dvc.org, "dvc.lock").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct DvcLock {
    /// The digest of the file.
    pub digest: Digest,
    /// Its text.
    pub content: String,
}

impl Provenance {
    /// An empty one, in the format of this version.
    pub(crate) fn new() -> Self {
        Self {
            format_version: FORMAT_VERSION,
            inputs: Vec::new(),
            git: None,
            source: None,
            training: None,
            dvc_lock: None,
            tools: BTreeMap::new(),
        }
    }

    /// Reads `provenance.json`.
    ///
    /// # Errors
    /// `invalid_manifest`, `unknown_field`, `invalid_digest`; `unsupported_format_version`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        check_version(PROVENANCE_NAME, json)?;
        from_json(PROVENANCE_NAME, json)
    }
}

/// `baseline.json`: what the data of the training looked like. Monitoring, which fills it, does
/// not exist yet: until then it is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Baseline {
    /// The version of this format: 1.
    pub format_version: u32,
}

impl Baseline {
    /// Reads `baseline.json`.
    ///
    /// # Errors
    /// `invalid_manifest`, `unknown_field`; `unsupported_format_version`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        check_version(BASELINE_NAME, json)?;
        from_json(BASELINE_NAME, json)
    }
}

/// The version first: a newer format may have other fields.
fn check_version(what: &str, json: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Head {
        format_version: Option<u64>,
    }
    let head: Head = from_json(what, json)?;
    match head.format_version {
        Some(version) if version == u64::from(FORMAT_VERSION) => Ok(()),
        Some(version) => bail!(
            UnsupportedFormatVersion,
            "{what} has format_version {version}, this version of Twinfer reads {FORMAT_VERSION}: update Twinfer, or pack the model again with this version"
        ),
        None => bail!(
            InvalidManifest,
            "{what} has no format_version; expected {FORMAT_VERSION}"
        ),
    }
}

/// Reads `metrics.json`: any object; numbers in it are compared by their path.
///
/// # Errors
/// `invalid_manifest`.
pub(crate) fn metrics(json: &[u8]) -> Result<Map<String, Json>> {
    from_json(METRICS_NAME, json)
}
