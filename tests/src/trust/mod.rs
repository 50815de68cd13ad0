//! The table of the trust policy: what every place must decide, and registries to decide on.
//!
//! [`Table::write`] makes a folder with two registries (`one`, and `two` with an older list of
//! tags), the policies, and `table.json`. `tests/tests/all/trust.rs` and
//! `web/test/run-trust.mjs` run it.

mod cases;
mod maker;
mod tag_cases;

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The table.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Table {
    /// In the order in which they run: later ones may depend on what was seen before.
    pub cases: Vec<TrustCase>,
}

/// One case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrustCase {
    /// Its name, unique in the table.
    pub id: String,
    /// The folder of the registry: `one` or `two`.
    pub registry: String,
    /// The policy is `policies/<this>.json`; `None` for no policy.
    pub policy: Option<String>,
    /// What is asked for.
    pub reference: String,
    /// What must be decided.
    pub expect: Decided,
}

/// What a place decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decided {
    /// It is loaded; signed by these keys. `None` where there is no policy, or where the place
    /// does not say.
    Allowed(Option<Vec<String>>),
    /// It is loaded with a warning.
    Warned,
    /// It is refused with this code.
    Refused(String),
}

impl Decided {
    /// The same, as a place sees it that tells only whether a package was loaded.
    #[must_use]
    pub fn coarse(&self) -> Self {
        match self {
            Self::Refused(code) => Self::Refused(code.clone()),
            Self::Allowed(_) | Self::Warned => Self::Allowed(None),
        }
    }
}

impl Table {
    /// Makes the registries, the policies and the table from the package `base`
    /// (`name:version`), which must be in the registry `from`.
    ///
    /// # Errors
    /// When something cannot be read, made or written.
    pub fn write(from: &Path, base: &str, folder: &Path) -> io::Result<Self> {
        let table = cases::make(from, base, folder)?;
        std::fs::write(
            folder.join("table.json"),
            serde_json::to_vec_pretty(&table)?,
        )?;
        Ok(table)
    }
}
