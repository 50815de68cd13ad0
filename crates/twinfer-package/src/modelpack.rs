//! The configuration of CNCF ModelPack: what every tool of that world reads of a model.

use serde::{Deserialize, Serialize};
use twinfer::{Result, bail};

use crate::Digest;
use crate::json::from_json;

/// `application/vnd.cncf.model.config.v1+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ModelPackConfig {
    /// Who made what.
    pub descriptor: ModelDescriptor,
    /// Technical properties.
    pub config: Technical,
    /// The digests of the layers before compression.
    pub modelfs: ModelFs,
}

/// General information about a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ModelDescriptor {
    /// When it was made (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// People or organisations who are responsible.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<String>,
    /// Who distributes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The family of models that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A title for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A description for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where to read more.
    #[serde(rename = "docURL", skip_serializing_if = "Option::is_none")]
    pub doc_url: Option<String>,
    /// Where the source is.
    #[serde(rename = "sourceURL", skip_serializing_if = "Option::is_none")]
    pub source_url: Option<String>,
    /// Where the training data is.
    #[serde(rename = "datasetsURL", skip_serializing_if = "Vec::is_empty")]
    pub datasets_url: Vec<String>,
    /// The commit of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Licences (SPDX).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<String>,
}

/// Technical properties of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Technical {
    /// The kind of network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The file format: `onnx`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The number of parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param_size: Option<String>,
    /// The data type of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// How weights were quantised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// What it can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
}

/// What a model can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Capabilities {
    /// What goes in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub input_types: Vec<Modality>,
    /// What comes out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output_types: Vec<Modality>,
    /// The date of the newest training data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knowledge_cutoff: Option<String>,
    /// Whether it reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<bool>,
    /// Whether it uses tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_usage: Option<bool>,
    /// Whether it is a reward model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<bool>,
    /// Languages (ISO 639).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
}

/// Kinds of input and output in the words of ModelPack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Modality {
    /// Text.
    Text,
    /// Pictures.
    Image,
    /// Sound.
    Audio,
    /// Moving pictures.
    Video,
    /// Vectors.
    Embedding,
    /// Anything else.
    Other,
}

/// The digests of the layers before compression: ours are not compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ModelFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// In the order of the manifest.
    pub diff_ids: Vec<Digest>,
}

impl ModelPackConfig {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `invalid_manifest`, `unknown_field`, `invalid_digest`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let config: Self = from_json("ModelPack config", json)?;
        if config.modelfs.kind != "layers" {
            bail!(
                InvalidManifest,
                "ModelPack config: modelfs.type must be `layers`"
            );
        }
        Ok(config)
    }
}
