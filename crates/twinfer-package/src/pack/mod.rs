//! Making packages: recipe in, package out.

mod build;
mod folder;
mod git;
mod recipe;
mod starter;

use std::fmt;
use std::path::Path;

use twinfer::{Result, bail};

pub use build::Built;
pub use recipe::RECIPE_NAME;
pub use starter::{STARTER_VERSION, name_of, write_recipe};

use crate::{Digest, Reference, SelfTestReport, WritableStore};

/// Choices for packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackOptions {
    /// Move the version tag when it points to another package. Versions are immutable for
    /// everybody else: this is for work that was not published yet.
    pub force: bool,
    /// Load the model and run the golden examples, and refuse a package that fails them.
    /// Without, memory does not grow with the weights.
    pub self_test: bool,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self {
            force: false,
            self_test: true,
        }
    }
}

/// A package that was packed.
#[derive(Debug, Clone)]
pub struct Packed {
    /// `name:version`.
    pub reference: Reference,
    /// The digest of the manifest.
    pub digest: Digest,
    /// Whether the registry had it before.
    pub unchanged: bool,
    /// What the golden examples said; `None` when they were not run.
    pub self_test: Option<SelfTestReport>,
}

impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.reference, self.digest)
    }
}

/// Packs the recipe of a folder into a registry. The same files give the same digest.
///
/// # Errors
/// `invalid_recipe`, `unknown_field`, `invalid_reference`; `digest_mismatch` when the model
/// is not the one that the recipe names; those of [`twinfer::Model::load`];
/// `self_test_failed`; `version_exists`; `storage`, `out_of_space`.
pub fn pack(recipe: &Path, store: &dyn WritableStore, options: PackOptions) -> Result<Packed> {
    Built::from_recipe(recipe)?.pack(store, options)
}

impl Built {
    /// Tests the package, as the options say, and writes it into a registry.
    ///
    /// # Errors
    /// Those of [`Built::self_test`] and [`Built::publish`]; `self_test_failed`.
    pub fn pack(&self, store: &dyn WritableStore, options: PackOptions) -> Result<Packed> {
        // All that can fail for reasons of the recipe comes before the registry is touched.
        let self_test = match options.self_test {
            true => Some(self.self_test()?),
            false => None,
        };
        if let Some(report) = &self_test {
            report.check()?;
        }
        let unchanged = self.publish(store, options.force)?;
        Ok(Packed {
            reference: self.reference().clone(),
            digest: *self.digest(),
            unchanged,
            self_test,
        })
    }

    /// Writes the package into a registry: blobs first, the index last. True when it was
    /// there before.
    ///
    /// # Errors
    /// `version_exists` when the version points to another package, unless `force`;
    /// `storage`, `out_of_space`.
    pub fn publish(&self, store: &dyn WritableStore, force: bool) -> Result<bool> {
        let mut change = store.begin(self.reference().name())?;
        let mut index = change.index()?;
        let wanted = self.digest().to_string();
        let before = index.digest_of(self.reference()).map(str::to_owned);
        if let Some(other) = before.as_ref().filter(|before| **before != wanted)
            && !force
        {
            bail!(
                VersionExists,
                "{} is there already, as {other}; this package would be {wanted}. Versions never change: raise the version in twinfer.toml, or use --force if nobody has it yet",
                self.reference()
            );
        }
        for (descriptor, content) in self.blobs() {
            change.put(descriptor, &mut content.reader()?)?;
        }
        if before.as_deref() == Some(&wanted) {
            return Ok(true);
        }
        index.point(self.reference(), self.descriptor());
        change.commit(&index)?;
        Ok(false)
    }
}
