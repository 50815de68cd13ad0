//! Golden examples: inputs with the answers that a package must give wherever it is loaded.

mod compare;
mod run;
mod tensor;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use twinfer::{Audio, Input, Parameters, Picture, Result, bail, err};

pub use compare::{Difference, compare_outputs, compare_tensors};
pub use run::{CaseReport, SelfTestReport};
pub use tensor::{GoldenData, GoldenTensor};

use crate::json::from_json;

/// `golden.json`: examples and where they come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Golden {
    /// The examples.
    pub cases: Vec<GoldenCase>,
    /// Which program gave the expected values.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
}

/// One example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct GoldenCase {
    /// Its name, unique in the file.
    pub name: String,
    /// What goes in.
    pub input: GoldenInput,
    /// The parameters of the call.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[cfg_attr(feature = "schema", ts(type = "Record<string, unknown>"))]
    pub parameters: Parameters,
    /// What must come out.
    pub expect: Expectation,
    /// How far numbers may be off.
    #[serde(default)]
    pub tolerance: Tolerance,
    /// Why the tolerance is wider than the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What goes in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum GoldenInput {
    /// An encoded picture.
    Picture(Blob),
    /// Any bytes.
    Bytes(Blob),
    /// A sound.
    Audio(Blob),
    /// A text, or several.
    Text(Texts),
    /// A record.
    Record(#[cfg_attr(feature = "schema", ts(type = "Record<string, unknown>"))] Map<String, Json>),
    /// The tensors of the model itself.
    Tensors(Vec<GoldenTensor>),
}

/// A text, or a list of texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Texts {
    /// One.
    One(String),
    /// Several: a run with as many rows.
    Several(Vec<String>),
}

impl From<Texts> for Input {
    fn from(texts: Texts) -> Self {
        Input::Text(match texts {
            Texts::One(text) => vec![text],
            Texts::Several(texts) => texts,
        })
    }
}

impl From<Vec<String>> for Texts {
    fn from(mut texts: Vec<String>) -> Self {
        match (texts.pop(), texts.is_empty()) {
            (Some(only), true) => Self::One(only),
            (last, _) => {
                texts.extend(last);
                Self::Several(texts)
            }
        }
    }
}

/// Bytes in a golden example.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Blob {
    /// The bytes in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Only in a recipe: a file beside it, that packing puts here as base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What they are, as `image/jpeg` or `audio/wav`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

/// What must come out: the answer of the pipeline, the model's own outputs, or both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Expectation {
    /// The answer, as in a prediction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(type = "Record<string, unknown> | undefined"))]
    pub outputs: Option<Map<String, Json>>,
    /// Outputs of the model, before the steps that follow it; not necessarily all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tensors: Vec<GoldenTensor>,
}

/// How far a number may be from the expected one: `absolute + relative * |expected|`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Tolerance {
    /// In parts of the expected number.
    #[serde(default)]
    pub relative: f64,
    /// In the unit of the number.
    #[serde(default)]
    pub absolute: f64,
}

impl Tolerance {
    /// Equal, but for the bits that a NaN carries.
    pub const EXACT: Self = Self {
        relative: 0.0,
        absolute: 0.0,
    };

    /// Whether it needs a reason: wider than the default one.
    fn is_wide(self) -> bool {
        let default = Self::default();
        self.relative > default.relative || self.absolute > default.absolute
    }
}

impl Default for Tolerance {
    /// What another order of additions does to numbers of 24 bits in a network of some
    /// depth: one part in 100,000.
    fn default() -> Self {
        Self {
            relative: 1e-5,
            absolute: 0.0,
        }
    }
}

impl Blob {
    /// The bytes.
    ///
    /// # Errors
    /// `invalid_package` when there are none, or what there is is not base64.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        match (&self.base64, &self.file) {
            (Some(text), None) => decode_base64(text),
            (None, Some(file)) => bail!(
                InvalidPackage,
                "the file `{file}` is named, but a package carries its bytes as base64"
            ),
            _ => bail!(InvalidPackage, "exactly one of base64 and file is needed"),
        }
    }
}

pub(crate) fn decode_base64(text: &str) -> Result<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|e| err!(InvalidPackage, "base64: {e}"))
}

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

impl GoldenInput {
    /// The input for [`twinfer::Model::predict`].
    ///
    /// # Errors
    /// `invalid_package` when its bytes cannot be read.
    pub fn to_input(&self) -> Result<Input> {
        Ok(match self {
            GoldenInput::Picture(blob) => Input::Picture(Picture::Encoded(blob.bytes()?)),
            GoldenInput::Bytes(blob) => Input::Bytes(blob.bytes()?),
            GoldenInput::Audio(blob) => Input::Audio(Audio::Encoded(blob.bytes()?)),
            GoldenInput::Text(texts) => texts.clone().into(),
            GoldenInput::Record(record) => Input::Record(record.clone()),
            GoldenInput::Tensors(tensors) => {
                let named = tensors.iter().map(|t| Ok((t.name.clone(), t.to_tensor()?)));
                Input::Tensors(named.collect::<Result<_>>()?)
            }
        })
    }
}

impl Golden {
    /// Reads `golden.json`.
    ///
    /// # Errors
    /// `invalid_manifest` for what is not this format, `unknown_field`; `invalid_package`
    /// for examples that expect nothing, or have the same name.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let golden: Self = from_json("golden.json", json)?;
        let mut names = std::collections::BTreeSet::new();
        for case in &golden.cases {
            let place = |e: twinfer::Error| e.context(format!("golden.json: case `{}`", case.name));
            if !names.insert(&case.name) {
                return Err(place(err!(InvalidPackage, "the name is there twice")));
            }
            case.check().map_err(place)?;
        }
        Ok(golden)
    }
}

impl GoldenCase {
    fn check(&self) -> Result<()> {
        if self.expect.outputs.is_none() && self.expect.tensors.is_empty() {
            bail!(InvalidPackage, "it expects neither outputs nor tensors");
        }
        let Tolerance { relative, absolute } = self.tolerance;
        if !(relative >= 0.0 && absolute >= 0.0 && relative.is_finite() && absolute.is_finite()) {
            bail!(
                InvalidPackage,
                "a tolerance must be a number that is not negative"
            );
        }
        if self.tolerance.is_wide() && self.reason.as_deref().is_none_or(str::is_empty) {
            bail!(
                InvalidPackage,
                "its tolerance is wider than relative {}, absolute {}: say why in `reason`",
                Tolerance::default().relative,
                Tolerance::default().absolute
            );
        }
        Ok(())
    }
}
