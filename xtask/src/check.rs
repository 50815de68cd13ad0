//! `cargo xtask generate`: files that are made from the code. That they are up to date is
//! checked by tests of the crates that make them.

use crate::build::native_selection;
use crate::failure::Result;
use crate::run::Run;
use crate::steps::step;

/// The variable on which those tests write the file instead of comparing it.
const BLESS: &str = "TWINFER_BLESS";

/// Writes the generated files.
pub fn generate() -> Result<()> {
    step("write the files that are made from the code", |output| {
        Run::new("cargo")
            .args(["test"])
            .args(native_selection())
            .args(["--", "generated"])
            .env(BLESS, "1")
            .to(output)
            .run()
    })
}
