//! npm in a folder of the workspace.

use std::path::{Path, PathBuf};

use crate::failure::{Context, Result};
use crate::run::Run;
use crate::steps::Output;

/// A copy of the lock file that `node_modules` was made from: compared whole, so that no
/// time stamp can lie.
fn stamp(folder: &Path) -> PathBuf {
    folder.join("node_modules/.installed-from.json")
}

fn lock_file(folder: &Path) -> PathBuf {
    folder.join("package-lock.json")
}

/// Whether `node_modules` is what the lock file says.
pub fn up_to_date(folder: &Path) -> bool {
    match (
        std::fs::read(lock_file(folder)),
        std::fs::read(stamp(folder)),
    ) {
        (Ok(wanted), Ok(installed)) => wanted == installed,
        _ => false,
    }
}

/// Installs exactly what the lock file says.
pub fn install(folder: &Path, output: &Output) -> Result<()> {
    Run::new("npm")
        .args(["ci", "--no-audit", "--no-fund"])
        .dir(folder)
        .to(output)
        .run()?;
    std::fs::copy(lock_file(folder), stamp(folder))
        .map(drop)
        .context(|| stamp(folder).display().to_string())
}

/// Runs a script of the package.
pub fn script(folder: &Path, name: &str) -> Run {
    Run::new("npm").args(["run", "--silent", name]).dir(folder)
}
