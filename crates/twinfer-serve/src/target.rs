//! Which model a request is for.

use twinfer::{Result, bail};
use twinfer_package::{Index, Reference};

/// A model and, perhaps, a version of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// `None`: the protocol names none, so it is [`crate::Options::default_model`].
    name: Option<String>,
    version: Option<String>,
    /// Whether the version is a number, of which the registry tells what it is a tag of.
    is_number: bool,
}

impl Target {
    /// A model that the request names.
    pub(crate) fn named(name: &str, version: Option<&str>) -> Self {
        Self {
            name: Some(name.into()),
            version: version.map(Into::into),
            is_number: false,
        }
    }

    /// A model, and its version as a number (TensorFlow Serving, MLflow): the tag `3` where there
    /// is one, else the version `3.0.0`.
    pub(crate) fn numbered(name: &str, number: &str) -> Self {
        Self {
            name: Some(name.into()),
            version: Some(number.into()),
            is_number: true,
        }
    }

    /// The model of protocols whose servers have one.
    pub(crate) fn default_model() -> Self {
        Self {
            name: None,
            version: None,
            is_number: false,
        }
    }

    /// The name that the request says.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What is asked of the registry, as far as the request alone tells: `None` where the registry
    /// has to be asked.
    ///
    /// # Errors
    /// `invalid_reference`.
    pub(crate) fn reference(&self) -> Option<Result<Reference>> {
        let name = self.name.as_deref()?;
        if self.is_number {
            return None;
        }
        Some(match &self.version {
            None => name.parse(),
            Some(digest) if digest.starts_with("sha256:") => format!("{name}@{digest}").parse(),
            Some(tag) => Reference::new(name, tag),
        })
    }

    /// The same, where the default model is known, and the registry: the default of the options, or
    /// the only model that it has; the tag that a number stands for.
    ///
    /// # Errors
    /// `invalid_reference`; `unknown_model` when several could be meant.
    pub(crate) fn resolve(&self, default: Option<&Reference>, index: &Index) -> Result<Reference> {
        if let Some(reference) = self.reference() {
            return reference;
        }
        if let (Some(name), Some(number)) = (&self.name, &self.version) {
            let tags = index.tags();
            let is_tag = tags
                .iter()
                .any(|tag| tag.name == *name && tag.tag == *number);
            return match is_tag {
                true => Reference::new(name, number),
                false => Reference::new(name, &format!("{number}.0.0")),
            };
        }
        if let Some(default) = default {
            return Ok(default.clone());
        }
        let mut names: Vec<String> = index.tags().into_iter().map(|tag| tag.name).collect();
        names.sort();
        names.dedup();
        match &names[..] {
            [name] => name.parse(),
            [] => bail!(UnknownModel, "the registry is empty"),
            names => bail!(
                UnknownModel,
                "this route names no model, and there are {}: say with `--default-model` (TWINFER_DEFAULT_MODEL) which one answers here",
                names.len()
            ),
        }
    }
}
