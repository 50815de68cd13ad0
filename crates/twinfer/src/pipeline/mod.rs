//! The declared steps before and after the model.

mod spec;

use serde_json::{Map, Value as Json};

pub use spec::*;

use crate::{Limits, ModelConfig, Result, Signature, Tensors, Value};

/// Parameters of a call, by name.
pub type Parameters = Map<String, Json>;

/// What a caller gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A picture.
    Picture(Picture),
    /// Any bytes.
    Bytes(Vec<u8>),
    /// A record: named columns.
    Record(Map<String, Json>),
    /// The model's own tensors: the steps before the model are left out, those after it run.
    Tensors(Tensors),
}

impl Input {
    /// The kind, as in `twinfer.json`.
    pub fn kind(&self) -> &'static str {
        match self {
            Input::Picture(_) => "picture",
            Input::Bytes(_) => "bytes",
            Input::Record(_) => "record",
            Input::Tensors(_) => "tensors",
        }
    }
}

/// A picture: encoded, or as pixels.
#[derive(Debug, Clone, PartialEq)]
pub enum Picture {
    /// The bytes of a PNG, JPEG or WebP file.
    Encoded(Vec<u8>),
    /// Pixels of four bytes, row by row. Alpha is ignored.
    Rgba {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// `4 * width * height` bytes.
        pixels: Vec<u8>,
    },
}

/// Width and height of the caller's picture, in pixels.
pub(crate) type PictureSize = (u32, u32);

/// What the steps before the model give.
pub(crate) enum Before {
    /// Inputs of the model.
    Tensors {
        tensors: Tensors,
        picture: Option<PictureSize>,
    },
    /// There is too little to ask the model: the label to answer, with that of the model.
    Short(ShortAnswer),
}

/// An answer without the model.
pub(crate) struct ShortAnswer {
    pub label: String,
    pub model_label: String,
}

impl Pipeline {
    /// Checks what the types cannot say: sizes that are 0, names that are missing.
    pub(crate) fn check(&self, _config: &ModelConfig) -> Result<()> {
        Ok(())
    }

    /// Checks the names, types and shapes that it uses against those of the model.
    pub(crate) fn check_signature(&self, _signature: &Signature) -> Result<()> {
        Ok(())
    }

    /// The value of every declared parameter: the given or the default one.
    pub(crate) fn parameters(&self, _given: &Parameters) -> Result<Map<String, Json>> {
        Ok(Map::new())
    }

    /// The steps before the model.
    pub(crate) fn before(&self, _input: Input, _limits: &Limits) -> Result<Before> {
        crate::bail!(Internal, "not written yet")
    }

    /// The answer for input that is too short for the model.
    pub(crate) fn answer_short(&self, _answer: &ShortAnswer) -> Map<String, Json> {
        Map::new()
    }

    /// The steps after the model. `picture` is absent when tensors were given.
    pub(crate) fn after(
        &self,
        _values: &[(String, Value)],
        _picture: Option<PictureSize>,
        _parameters: &Map<String, Json>,
        _config: &ModelConfig,
    ) -> Result<Map<String, Json>> {
        crate::bail!(Internal, "not written yet")
    }
}
