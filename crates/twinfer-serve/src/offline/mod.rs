//! Rows answered without HTTP: what `predict` reads of them and gives, for those who have them in
//! files.

mod table;
mod together;

use serde_json::{Map, Value as Json};
use twinfer::{
    Input, InputStep, Model, NamedValues, Parameters, Picture, Prepared, Result, ValueKind, bail,
};

use crate::formats::table as tables;
use crate::{predict, rows};

pub use table::Table;

/// An answer: its parts by their names.
pub type Item = Map<String, Json>;

/// What one row asks the model.
#[derive(Debug, Clone)]
pub struct Asked(What);

#[derive(Debug, Clone)]
enum What {
    /// An input of the pipeline or, in an envelope, the tensors of the model; and parameters.
    Input(Box<Input>, Parameters),
    /// The inputs of a model without a pipeline, with an axis of one row in front.
    Row(NamedValues),
}

/// How many rows a model takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchAxis {
    /// One: nothing says that its first axis is one of rows, or it is 1.
    One,
    /// Exactly as many.
    Fixed(usize),
    /// Any number.
    Free,
}

/// The rows of a model.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    model: &'a Model,
}

impl<'a> Rows<'a> {
    /// Rows for this model.
    pub fn of(model: &'a Model) -> Self {
        Self { model }
    }

    /// A line of JSON Lines as `predict` takes it: a row, or the envelope with `inputs` and
    /// `parameters`.
    ///
    /// # Errors
    /// Those of the input: `invalid_request`, `invalid_record`, `missing_input` and others.
    pub fn line(&self, line: Json) -> Result<Asked> {
        if let Json::Object(fields) = &line
            && predict::json::is_envelope(self.model, |name| fields.contains_key(name))
        {
            let text = line.to_string();
            let (input, parameters) = predict::json::from_json(self.model, text.as_bytes())?;
            return Ok(Asked(What::Input(Box::new(input), parameters)));
        }
        self.row(line)
    }

    /// A row: an object of columns or inputs, a list of them, or one tensor without its first axis.
    ///
    /// # Errors
    /// As for [`Rows::line`].
    pub fn row(&self, row: Json) -> Result<Asked> {
        let signature = self.model.signature();
        match &self.model.config().pipeline {
            Some(pipeline) => {
                let input = rows::input(&pipeline.input, row)?;
                Ok(Asked(What::Input(Box::new(input), Parameters::new())))
            }
            None => rows::together(signature, std::slice::from_ref(&row))
                .map(|values| Asked(What::Row(values))),
        }
    }

    /// The content of a file.
    ///
    /// # Errors
    /// `unsupported_media_type` where the model takes neither pictures nor bytes.
    pub fn content(&self, content: Vec<u8>) -> Result<Asked> {
        let input = match self.model.config().pipeline.as_ref().map(|p| &p.input) {
            Some(InputStep::Picture(_)) => Input::Picture(Picture::Encoded(content)),
            Some(InputStep::Bytes(_)) => Input::Bytes(content),
            Some(step) => bail!(
                UnsupportedMediaType,
                "this model takes {}, not the content of files",
                tables::article(step)
            ),
            None => bail!(
                UnsupportedMediaType,
                "this model has no pipeline: it takes tensors, not the content of files"
            ),
        };
        Ok(Asked(What::Input(Box::new(input), Parameters::new())))
    }

    /// The name of the picture or the bytes that the model takes, where it takes one of them.
    pub fn content_name(&self) -> Option<&'a str> {
        match self.model.config().pipeline.as_ref().map(|p| &p.input) {
            Some(step @ (InputStep::Picture(_) | InputStep::Bytes(_))) => Some(step.name()),
            _ => None,
        }
    }

    /// Whether the model has these parameters.
    ///
    /// # Errors
    /// `unknown_parameter`, `invalid_parameter`.
    pub fn check(&self, parameters: &Parameters) -> Result<()> {
        let nothing = Input::Values(Vec::new());
        self.model.prepare(nothing, parameters).map(drop)
    }

    /// Whether a field of a row has a meaning to the model; what a row has besides can be kept aside.
    pub fn takes(&self, name: &str) -> bool {
        match self.model.config().pipeline.as_ref().map(|p| &p.input) {
            Some(InputStep::Record(step)) if step.columns.iter().any(|c| c.name == name) => true,
            _ if ["inputs", "parameters"].contains(&name) => true,
            Some(InputStep::Record(step)) => name == step.name,
            Some(step) => name == step.name() || ["b64", "base64"].contains(&name),
            None => self.model.signature().input(name).is_some(),
        }
    }

    /// How many rows the model takes at once, by its signature.
    pub fn batch_axis(&self) -> BatchAxis {
        let inputs = &self.model.signature().inputs;
        let first = inputs.first().and_then(|spec| spec.shape.as_deref());
        let fixed = match first.and_then(|shape| shape.first()) {
            Some(twinfer::Dim::Fixed(length)) if *length > 1 => *length,
            _ if crate::run::batch::allows(self.model) => return BatchAxis::Free,
            _ => return BatchAxis::One,
        };
        let same = inputs.iter().all(|spec| {
            let first = spec.shape.as_deref().and_then(<[_]>::first);
            spec.kind == ValueKind::Tensor && first == Some(&twinfer::Dim::Fixed(fixed))
        });
        // A pipeline makes one row of an input; past it rows can be put together.
        match same && self.model.config().pipeline.is_none() {
            true => BatchAxis::Fixed(fixed),
            false => BatchAxis::One,
        }
    }

    /// What is to be run, and what is to be done with what comes out.
    fn stage(&self, asked: Asked, beside: &Parameters) -> Result<(Option<NamedValues>, Then)> {
        match asked.0 {
            What::Row(values) => {
                if let Some((name, _)) = beside.iter().next() {
                    bail!(
                        UnknownParameter,
                        "there is no parameter `{name}`; this model has no pipeline"
                    );
                }
                Ok((Some(values), Then::Split))
            }
            What::Input(input, parameters) => {
                let parameters = predict::joined(parameters, beside)?;
                let mut prepared = self.model.prepare(*input, &parameters)?;
                Ok((prepared.take_values(), Then::Finish(Box::new(prepared))))
            }
        }
    }

    fn finish(&self, then: Then, outputs: NamedValues) -> Result<Item> {
        match then {
            Then::Finish(prepared) => Ok(self.model.finish(*prepared, outputs)?.outputs),
            Then::Split => {
                let answer = rows::split(outputs, 1)?.pop().unwrap_or(Json::Null);
                Ok(predict::named(self.model, answer))
            }
        }
    }
}

/// What makes an answer of what the model gave.
enum Then {
    Finish(Box<Prepared>),
    Split,
}

/// What is in an answer, flat: the names of nested objects are joined by dots, as in tables of
/// `predict`.
pub fn flatten(item: &Item, mut found: impl FnMut(&str, &Json)) {
    tables::flatten("", item, &mut found);
}
