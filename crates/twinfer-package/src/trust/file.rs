//! The file of a trust policy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twinfer::Result;

use super::invalid;
use crate::Digest;

pub(super) const FORMAT: u32 = 1;

/// A trust policy as it is written (`docs/security.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(rename = "TrustPolicy"))]
pub struct PolicyFile {
    /// Always 1.
    pub format_version: u32,
    /// The keys that the rules speak of, by any name.
    #[serde(default)]
    #[cfg_attr(
        feature = "schema",
        ts(as = "Option<BTreeMap<String, KeySpec>>", optional)
    )]
    pub keys: BTreeMap<String, KeySpec>,
    /// The first rule whose pattern fits the name of a model counts.
    #[serde(default)]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<Rule>>", optional))]
    pub rules: Vec<Rule>,
    /// What happens to models without a rule.
    #[serde(default)]
    #[cfg_attr(feature = "schema", ts(as = "Option<Unsigned>", optional))]
    pub default: Unsigned,
    /// Packages that are refused, whoever signed them: the digest of the manifest, or of any
    /// layer. The digest of its `twinfer.json` revokes a version in whatever manifest it is.
    #[serde(default)]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<String>>", optional))]
    pub revoked: Vec<Digest>,
}

/// A key of a trust policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct KeySpec {
    /// The public key in PEM, on P-256 or P-384.
    pub public_key: String,
}

/// What is demanded of the packages of some names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Rule {
    /// A name, or a pattern in which `*` stands for any characters.
    pub names: String,
    /// The keys that may sign these names; one signature by one of them is enough.
    #[serde(default)]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<String>>", optional))]
    pub keys: Vec<String>,
    /// The keys that may sign engines that were made for packages of these names: code that runs
    /// in the page. Without any, no engine of a registry runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<String>>", optional))]
    pub engine_keys: Vec<String>,
    /// What happens to a package that none of the keys signed.
    #[serde(default)]
    #[cfg_attr(feature = "schema", ts(as = "Option<Unsigned>", optional))]
    pub unsigned: Unsigned,
    /// Versions below this one are refused (semver).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub minimum_version: Option<String>,
    /// Whether there must be a signed list of tags.
    #[serde(default)]
    #[cfg_attr(feature = "schema", ts(as = "Option<SignedTagsMode>", optional))]
    pub signed_tags: SignedTagsMode,
    /// A signed list of tags with a lower counter is refused.
    #[serde(default)]
    #[cfg_attr(feature = "schema", ts(as = "Option<u64>", optional))]
    pub minimum_counter: u64,
}

impl Rule {
    /// A rule for these names that accepts nothing: no keys, and unsigned packages refused.
    pub fn new(names: &str) -> Self {
        Self {
            names: names.into(),
            keys: Vec::new(),
            engine_keys: Vec::new(),
            unsigned: Unsigned::default(),
            minimum_version: None,
            signed_tags: SignedTagsMode::default(),
            minimum_counter: 0,
        }
    }
}

/// What happens to a package that no accepted key signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Unsigned {
    /// It is not loaded.
    #[default]
    Refuse,
    /// It is loaded, and a warning says so.
    Warn,
    /// It is loaded.
    Allow,
}

/// Whether a name must have a signed list of its tags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum SignedTagsMode {
    /// It is checked where there is one.
    #[default]
    Optional,
    /// A reference by tag or bare name is refused without one.
    Required,
}

impl Default for PolicyFile {
    /// A policy that refuses everything.
    fn default() -> Self {
        Self {
            format_version: FORMAT,
            keys: BTreeMap::new(),
            rules: Vec::new(),
            default: Unsigned::Refuse,
            revoked: Vec::new(),
        }
    }
}

impl PolicyFile {
    /// Reads the file.
    ///
    /// # Errors
    /// `invalid_policy`: not JSON, another `format_version`, unknown fields, wrong values.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format_version: u32,
        }
        // The version first: another format may have other fields.
        let head: Head = serde_json::from_slice(json).map_err(|e| invalid(&e))?;
        if head.format_version != FORMAT {
            return Err(invalid(format!(
                "it has format_version {}, this version of Twinfer reads {FORMAT}: update Twinfer",
                head.format_version
            )));
        }
        serde_json::from_slice(json).map_err(|e| invalid(&e))
    }
}
