//! Texts to the strings of a model.

use serde::{Deserialize, Serialize};

use super::Input;
use crate::{Limits, Result, Tensor, bail, err};

/// Texts of one call at the most: each costs more memory than an empty one has bytes.
const MAX_TEXTS: usize = 1 << 16;

/// Texts become one tensor of strings (`BYTES`), as they are: lower case, tokens and the like are up
/// to the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct TextInput {
    /// The caller's name for it.
    pub name: String,
    /// The model input that it becomes.
    pub tensor: String,
    /// The axes of the tensor.
    #[serde(default)]
    pub layout: TextLayout,
    /// Characters (Unicode scalar values) of one text at the most; a longer one is an error. Absent
    /// where only `limits.max_bytes` counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub max_characters: Option<u32>,
}

/// The axes of a tensor of texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum TextLayout {
    /// `[texts, 1]`: a column, as skl2onnx exports a `TfidfVectorizer`.
    #[default]
    Column,
    /// `[texts]`.
    Vector,
}

impl TextLayout {
    /// The shape for so many texts.
    pub(crate) fn shape<T>(self, texts: T, one: T) -> Vec<T> {
        match self {
            Self::Column => vec![texts, one],
            Self::Vector => vec![texts],
        }
    }
}

impl Input {
    /// A text from its bytes: UTF-8, without the byte order mark that some editors put in front.
    ///
    /// # Errors
    /// `invalid_text` for what is not UTF-8.
    pub fn text_from_utf8(bytes: Vec<u8>) -> Result<Self> {
        const MARK: char = '\u{feff}';
        let text = String::from_utf8(bytes).map_err(|e| {
            err!(
                InvalidText,
                "the text is not UTF-8: byte {} does not fit in; convert it first",
                e.utf8_error().valid_up_to()
            )
        })?;
        Ok(Self::Text(vec![match text.strip_prefix(MARK) {
            Some(rest) => rest.to_owned(),
            None => text,
        }]))
    }
}

/// The tensor of the texts.
///
/// # Errors
/// `invalid_text` where there is none, `body_too_large`.
pub(crate) fn before(step: &TextInput, texts: Vec<String>, limits: &Limits) -> Result<Tensor> {
    let name = &step.name;
    if texts.is_empty() {
        bail!(InvalidText, "input `{name}` has no text; give one at least");
    }
    if texts.len() > MAX_TEXTS {
        bail!(
            BodyTooLarge,
            "input `{name}` has {} texts, at most {MAX_TEXTS} are taken at once",
            texts.len()
        );
    }
    let bytes: u64 = texts.iter().map(|text| text.len() as u64).sum();
    if bytes > limits.max_bytes {
        bail!(
            BodyTooLarge,
            "input `{name}` has {bytes} bytes of text, this model takes at most {}",
            limits.max_bytes
        );
    }
    if let Some(most) = step.max_characters {
        // Bytes are quick to count, and never fewer than characters.
        let is_long = |text: &&String| {
            text.len() > most as usize && text.chars().nth(most as usize).is_some()
        };
        if let Some(long) = texts.iter().find(is_long) {
            bail!(
                BodyTooLarge,
                "input `{name}` has {} characters, this model takes at most {most}",
                long.chars().count()
            );
        }
    }
    Tensor::from_strings(&step.layout.shape(texts.len(), 1), texts)
}
