//! Which model a request is for.

use twinfer::{Result, bail};
use twinfer_package::{Index, Reference};

/// A model and, perhaps, a version of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// `None`: the protocol names none, so it is [`crate::Options::default_model`].
    name: Option<String>,
    version: Option<String>,
}

impl Target {
    /// A model that the request names.
    pub(crate) fn named(name: &str, version: Option<&str>) -> Self {
        Self {
            name: Some(name.into()),
            version: version.map(Into::into),
        }
    }

    /// The model of protocols whose servers have one.
    pub(crate) fn default_model() -> Self {
        Self {
            name: None,
            version: None,
        }
    }

    /// The name that the request says.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What is asked of the registry, as far as the request alone tells.
    ///
    /// # Errors
    /// `invalid_reference`.
    pub(crate) fn reference(&self) -> Option<Result<Reference>> {
        let name = self.name.as_deref()?;
        Some(match &self.version {
            None => name.parse(),
            Some(digest) if digest.starts_with("sha256:") => format!("{name}@{digest}").parse(),
            Some(tag) => Reference::new(name, tag),
        })
    }

    /// The same, where the default model is known: the one of the options, or the only one that
    /// the registry has.
    ///
    /// # Errors
    /// `invalid_reference`; `unknown_model` when several could be meant.
    pub(crate) fn resolve(&self, default: Option<&Reference>, index: &Index) -> Result<Reference> {
        if let Some(reference) = self.reference() {
            return reference;
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
