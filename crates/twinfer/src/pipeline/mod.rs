//! The declared steps before and after the model.

mod audio;
mod boxes;
mod bytes;
mod check;
mod check_signature;
mod labels;
mod memory;
pub(crate) mod picture;
mod record;
mod spec;
mod suggest;
#[cfg(test)]
mod tests;
mod text;

use serde_json::{Map, Value as Json};

pub use audio::{Audio, spec::*};
pub use spec::*;
pub use text::{TextInput, TextLayout};

use crate::{Limits, ModelConfig, Result, Tensors, Value, bail, err, value_to_json};

/// Parameters of a call, by name.
pub type Parameters = Map<String, Json>;

/// What a caller gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A picture.
    Picture(Picture),
    /// Any bytes.
    Bytes(Vec<u8>),
    /// A sound.
    Audio(Audio),
    /// A text, or several: a run with as many rows.
    Text(Vec<String>),
    /// A record: named columns.
    Record(Map<String, Json>),
    /// The model's own tensors: the steps before the model are left out, those after it run.
    Tensors(Tensors),
    /// The same for models that take more than tensors: maps, sequences, optionals.
    Values(Vec<(String, Value)>),
}

impl Input {
    /// The kind, as in `twinfer.json`.
    pub fn kind(&self) -> &'static str {
        match self {
            Input::Picture(_) => "picture",
            Input::Bytes(_) => "bytes",
            Input::Audio(_) => "audio",
            Input::Text(_) => "text",
            Input::Record(_) => "record",
            Input::Tensors(_) | Input::Values(_) => "tensors",
        }
    }
}

/// A picture: encoded, or as pixels.
#[derive(Debug, Clone, PartialEq)]
pub enum Picture {
    /// The bytes of a PNG, JPEG or WebP file. It is turned upright as its Exif orientation
    /// says; boxes in the answer refer to the upright picture.
    Encoded(Vec<u8>),
    /// Upright pixels of four bytes (red, green, blue, alpha), row by row. Alpha is ignored.
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
    /// The same where they are no tensors only.
    Values(Vec<(String, Value)>),
    /// There is too little to ask the model: the label to answer, with that of the model.
    Short(ShortAnswer),
}

/// An answer without the model.
pub(crate) struct ShortAnswer {
    pub label: String,
    pub model_label: String,
}

impl Pipeline {
    /// The value of every declared parameter: the given or the default one.
    ///
    /// # Errors
    /// `unknown_parameter`, `invalid_parameter`.
    pub(crate) fn parameters(&self, given: &Parameters) -> Result<Map<String, Json>> {
        for name in given.keys() {
            if !self.parameters.iter().any(|known| known.name == *name) {
                let known = self.parameters.iter().map(|known| known.name.as_str());
                let list = if self.parameters.is_empty() {
                    "none".into()
                } else {
                    list(known.clone())
                };
                let did_you_mean = suggest::suggestion(name, known);
                bail!(
                    UnknownParameter,
                    "there is no parameter `{name}`; this model has {list}{did_you_mean}"
                );
            }
        }
        let value = |spec: &ParameterSpec| match given.get(&spec.name) {
            None => Ok((spec.name.clone(), Json::from(spec.default.as_str()))),
            Some(Json::String(value)) if spec.values.contains(value) => {
                Ok((spec.name.clone(), Json::from(value.as_str())))
            }
            Some(other) => bail!(
                InvalidParameter,
                "parameter `{}` must be one of {}, got {other}",
                spec.name,
                list(spec.values.iter().map(String::as_str))
            ),
        };
        self.parameters.iter().map(value).collect()
    }

    /// The steps before the model.
    ///
    /// # Errors
    /// `invalid_input` for another kind of input, and those of the kind.
    pub(crate) fn before(&self, input: Input, limits: &Limits) -> Result<Before> {
        let one = |tensor: &str, value| vec![(tensor.to_string(), value)];
        match (&self.input, input) {
            (_, Input::Tensors(tensors)) => Ok(Before::Tensors {
                tensors,
                picture: None,
            }),
            (InputStep::Bytes(step), Input::Bytes(content)) => {
                bytes::before(step, &content, limits)
            }
            (_, Input::Values(values)) => Ok(Before::Values(values)),
            (InputStep::Record(step), Input::Record(record)) if step.columns.is_empty() => {
                Ok(Before::Values(step.map(&record)?))
            }
            (InputStep::Record(step), Input::Record(record)) => {
                let tensors = step.tensors(&record)?;
                Ok(Before::Tensors {
                    tensors,
                    picture: None,
                })
            }
            (InputStep::Picture(step), Input::Picture(given)) => {
                let (tensor, size) = picture::before(step, given, limits)?;
                Ok(Before::Tensors {
                    tensors: one(&step.tensor, tensor),
                    picture: Some(size),
                })
            }
            (InputStep::Audio(step), Input::Audio(given)) => Ok(Before::Tensors {
                tensors: one(&step.tensor, step.tensor(given, limits)?),
                picture: None,
            }),
            (InputStep::Text(step), Input::Text(texts)) => Ok(Before::Tensors {
                tensors: one(&step.tensor, text::before(step, texts, limits)?),
                picture: None,
            }),
            (step, input) => bail!(
                InvalidInput,
                "this model takes {} (input `{}`), got {}",
                step.kind(),
                step.name(),
                input.kind()
            ),
        }
    }

    /// An answer of which a part is of the first row only is none to several texts.
    ///
    /// # Errors
    /// `invalid_input`.
    pub(crate) fn check_several(&self, input: &Input) -> Result<()> {
        let Input::Text(texts) = input else {
            return Ok(());
        };
        let is_of_all = |step: &&OutputStep| matches!(step, OutputStep::Tensor(_));
        match self.outputs.iter().find(|step| !is_of_all(step)) {
            Some(step) if texts.len() > 1 => bail!(
                InvalidInput,
                "{} texts were given, and `{}` answers one: send them one by one, or as lines",
                texts.len(),
                step.name()
            ),
            _ => Ok(()),
        }
    }

    /// The answer for input that is too short for the model. Only a `decision` can tell; other
    /// outputs are `null`.
    pub(crate) fn answer_short(&self, answer: &ShortAnswer) -> Map<String, Json> {
        let part = |step: &OutputStep| match step {
            OutputStep::Decision(_) => labels::short(answer),
            _ => Json::Null,
        };
        self.outputs
            .iter()
            .map(|step| (step.name().to_string(), part(step)))
            .collect()
    }

    /// The steps after the model. `picture` is absent when tensors were given.
    ///
    /// # Errors
    /// `wrong_shape` when the model ran on more than one input, `invalid_package` when it gives
    /// what the pipeline cannot read.
    pub(crate) fn after(
        &self,
        values: &[(String, Value)],
        picture: Option<PictureSize>,
        parameters: &Map<String, Json>,
        config: &ModelConfig,
    ) -> Result<Map<String, Json>> {
        let value = |name: &str| {
            let found = values
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value);
            found.ok_or_else(|| err!(InvalidPackage, "the model has no output `{name}`"))
        };
        let part = |step: &OutputStep| match step {
            OutputStep::Tensor(step) => value_to_json(value(&step.tensor)?),
            OutputStep::Label(step) => labels::label(value(&step.tensor)?),
            OutputStep::Probabilities(step) => labels::probabilities(value(&step.tensor)?),
            OutputStep::Classes(step) => labels::classes(step, value(&step.tensor)?, config),
            OutputStep::Decision(step) => {
                let mode = parameters.get(&step.parameter).and_then(Json::as_str);
                let mode = mode.unwrap_or(labels::HIGH_CONFIDENCE);
                labels::decision(step, value(&step.tensor)?, mode, config)
            }
            OutputStep::Boxes(step) => {
                let (found, scores) = (value(&step.boxes)?, value(&step.scores)?);
                boxes::boxes(step, found, scores, self.picture_steps(), picture)
            }
        };
        let named = |step: &OutputStep| {
            let json = part(step).map_err(|e| e.context(format!("output `{}`", step.name())))?;
            Ok((step.name().to_string(), json))
        };
        self.outputs.iter().map(named).collect()
    }

    fn picture_steps(&self) -> &[PictureStep] {
        match &self.input {
            InputStep::Picture(step) => &step.steps,
            _ => &[],
        }
    }
}

/// Names for people: `a`, `b`, `c`.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
