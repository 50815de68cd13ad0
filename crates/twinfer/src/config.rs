//! `twinfer.json`: what a package says of its model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::mlflow::Mlflow;
use crate::pipeline::Pipeline;
use crate::{Error, ErrorCode, Result, Signature, bail};

/// The format of `twinfer.json` that this version reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// The configuration of a model in its package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ModelConfig {
    /// The version of this format: 1.
    pub format_version: u32,
    /// The name of the model.
    pub name: String,
    /// The version of the model (semantic versioning).
    pub version: String,
    /// One sentence on what it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Inputs and outputs of the model file; filled in when it is packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// The declared steps before and after the model; without it only tensors go in and out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Pipeline>,
    /// Lists of labels, by the name that the pipeline uses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Vec<Label>>,
    /// Limits on what the caller may give.
    #[serde(default)]
    pub limits: Limits,
    /// What the package asks of the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineRequirement>,
    /// What MLflow knew of the model, where it saved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<Mlflow>,
}

/// A class of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Whether it is a kind of text (used by `decision`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub text: bool,
}

/// Limits on what the caller may give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Limits {
    /// Pixels of a picture (width times height).
    #[cfg_attr(feature = "schema", ts(type = "number"))]
    pub max_pixels: u64,
    /// Bytes of an encoded picture or sound, of bytes, or of texts.
    #[cfg_attr(feature = "schema", ts(type = "number"))]
    pub max_bytes: u64,
    /// Samples of a sound, of each channel: as it is, and at the rate of the model. 40,000,000 where
    /// nothing is said.
    #[serde(
        default = "default_samples",
        skip_serializing_if = "is_default_samples"
    )]
    #[cfg_attr(feature = "schema", ts(type = "number"))]
    pub max_samples: u64,
}

/// 41 minutes at 16 kHz, and 160 MB as numbers.
const DEFAULT_SAMPLES: u64 = 40_000_000;

fn default_samples() -> u64 {
    DEFAULT_SAMPLES
}

/// Packages from before there were sounds keep their digest.
fn is_default_samples(samples: &u64) -> bool {
    *samples == DEFAULT_SAMPLES
}

impl Default for Limits {
    fn default() -> Self {
        // 40 megapixels is more than most cameras make and decodes to 160 MB at most, which
        // fits beside a model into the memory of a phone's page or a small function.
        Self {
            max_pixels: 40_000_000,
            max_bytes: 64 << 20,
            max_samples: DEFAULT_SAMPLES,
        }
    }
}

/// What the package asks of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct EngineRequirement {
    /// The operator sets of the model file, as `domain:version` (`ai.onnx:15`).
    pub opsets: Vec<String>,
}

impl ModelConfig {
    /// Reads `twinfer.json`.
    ///
    /// # Errors
    /// `invalid_manifest` for what is not this format, `unknown_field` for a field that it
    /// does not have, `unsupported_format_version` for a newer format.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let value: serde_json::Value = serde_json::from_slice(json)
            .map_err(|e| crate::err!(InvalidManifest, "twinfer.json is not JSON: {e}"))?;
        // The version first: a newer format may have other fields.
        match value
            .get("format_version")
            .and_then(serde_json::Value::as_u64)
        {
            Some(version) if version == u64::from(FORMAT_VERSION) => {}
            Some(version) => bail!(
                UnsupportedFormatVersion,
                "twinfer.json has format_version {version}, this version of Twinfer reads {FORMAT_VERSION}: update Twinfer, or pack the model again with this version"
            ),
            None => bail!(
                InvalidManifest,
                "twinfer.json has no format_version; expected {FORMAT_VERSION}"
            ),
        }
        let config: Self =
            serde_json::from_value(value).map_err(|e| serde_error("twinfer.json", &e))?;
        config.check()?;
        Ok(config)
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// `invalid_package`, naming the part that contradicts another.
    pub fn check(&self) -> Result<()> {
        match &self.pipeline {
            Some(pipeline) => pipeline.check(self).map_err(|e| e.context("pipeline")),
            None => Ok(()),
        }
    }

    /// Checks that the pipeline fits the inputs and outputs of a model file.
    ///
    /// # Errors
    /// `invalid_package`.
    pub fn check_signature(&self, signature: &Signature) -> Result<()> {
        match &self.pipeline {
            Some(pipeline) => pipeline
                .check_signature(signature, self)
                .map_err(|e| e.context("pipeline")),
            None => Ok(()),
        }
    }
}

/// An error of serde as ours: unknown fields have a code of their own.
pub fn serde_error(what: &str, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let code = if text.starts_with("unknown field") {
        ErrorCode::UnknownField
    } else {
        ErrorCode::InvalidManifest
    };
    Error::new(code, format!("{what}: {text}"))
}
