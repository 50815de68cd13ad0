//! What `--check` finds.

use serde::Serialize;
use twinfer::{Result, bail};

use super::runner::Lacks;

/// What was found of a package.
#[derive(Serialize)]
pub struct Checked {
    pub reference: String,
    /// Answers that have the same bits.
    pub same: usize,
    /// Examples that have others, or none.
    pub different: Vec<String>,
    /// Functions that were asked for and are not in it.
    pub missing: Vec<Lacks>,
}

impl Checked {
    /// Nothing was asked yet.
    pub fn new(reference: &str) -> Self {
        Self {
            reference: reference.to_owned(),
            same: 0,
            different: Vec::new(),
            missing: Vec::new(),
        }
    }
}

/// An error where anything was different.
///
/// # Errors
/// `self_test_failed`.
pub fn verdict(checked: &[Checked]) -> Result<()> {
    match checked.iter().find(|c| !c.different.is_empty()) {
        Some(checked) => bail!(
            SelfTestFailed,
            "{}: the slim engine cannot do `{}` without the full one",
            checked.reference,
            checked.different.join("`, `")
        ),
        None => Ok(()),
    }
}

/// For people.
pub fn text(checked: &[Checked]) -> String {
    let mut lines = Vec::new();
    for checked in checked {
        lines.push(format!(
            "{}: {} answers with the same bits",
            checked.reference, checked.same
        ));
        for lack in &checked.missing {
            lines.push(match lack.index {
                ..0 => format!("  {}: lacks a function", lack.doing),
                index => format!("  {}: lacks the function {index}", lack.doing),
            });
        }
    }
    lines.join("\n")
}
