//! For shells that fetch packages themselves: what a request wants, and how it is handed in.
//!
//! The application does no I/O but through its [`twinfer_package::Store`], at once. A shell
//! whose packages come over a network asks [`App::wants`] before it calls [`App::handle`],
//! fetches what is missing, and hands the model in.

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use twinfer::{Error, Model, Result};
use twinfer_package::{Digest, Reference};

use crate::protocol::{self, Need};
use crate::{App, reply};

/// What must be there before a request can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wants {
    /// The index of the registry.
    Index,
    /// The index, and the model of this reference.
    Model(Reference),
}

impl App {
    /// What a request needs. `None` for one that needs nothing, such as one that is wrong. A route
    /// that names no model wants the index first, and afterwards perhaps a model: ask again then.
    pub fn wants(&self, parts: &Parts) -> Option<Wants> {
        let route = protocol::find(parts, self.options())?;
        if !route.allows(&parts.method) {
            return None;
        }
        match route.needs() {
            Need::Nothing => None,
            Need::Index => Some(Wants::Index),
            Need::Model(target) => {
                let default = self.options().default_model.as_ref();
                // A deployment that cannot be read is an error of the answer.
                let chosen = |reference: Reference| {
                    let chosen = self.choose(reference.clone(), parts);
                    Wants::Model(chosen.map_or(reference, |chosen| chosen.reference))
                };
                if let Some(reference) = target.reference() {
                    return reference.ok().map(chosen);
                }
                if let (None, Some(default)) = (target.name(), default) {
                    return Some(chosen(default.clone()));
                }
                let index = self.index().ok();
                let reference = index.and_then(|index| target.resolve(default, &index).ok());
                Some(reference.map_or(Wants::Index, chosen))
            }
        }
    }

    /// The package that answers for a reference, when the trust policy admits it.
    ///
    /// # Errors
    /// Those of the store, of the index, and of the trust policy.
    pub fn admitted(&self, reference: &Reference) -> Result<Digest> {
        let index = self.catalog.index()?;
        Ok(self.admit(&index, reference)?.descriptor.digest)
    }

    /// Whether the model of a package is loaded.
    pub fn holds(&self, package: &Digest) -> bool {
        self.models.holds(package)
    }

    /// Takes a model that the shell loaded, in the place of one that [`App::handle`] would
    /// load from the store.
    pub fn hold(&self, package: Digest, model: Model) {
        self.models.hold(package, model);
    }

    /// The highest counter of signed tags of this name that was accepted so far.
    pub fn counter(&self, name: &str) -> Option<u64> {
        self.gate.counter(name)
    }

    /// The answer to a request whose wants could not be met.
    pub fn unmet(&self, parts: &Parts, error: &Error) -> Response<Bytes> {
        match protocol::find(parts, self.options()) {
            Some(route) => route.failed(error),
            None => reply::error(error),
        }
    }
}
