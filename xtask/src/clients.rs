//! The suite of real clients: what others wrote for their servers, against ours.

use std::path::{Path, PathBuf};

use crate::browser;
use crate::counts::{Counts, Runner};
use crate::demo::pack_models;
use crate::failure::{Context, Failure, Result};
use crate::paths;
use crate::python;
use crate::run::Run;
use crate::serve::{Server, Serving, free_address};
use crate::steps::step;
use crate::test::watched;

/// What scripts share, and is none of them.
const HELPER: &str = "checks.py";
/// Begins the line of a script that runs in another environment than that of its folder.
const OTHER_ENVIRONMENT: &str = "# Environment: ";

/// Runs every script of `tests/clients` against a server of its own registry. A script says what it
/// found in its last line; one that breaks off is a failure.
pub fn suite(browser: &Path) -> Result<Counts> {
    let python = step("Python packages of tests/clients", python::for_clients)?;
    let folder = paths::target().join("client-suite");
    let registry = folder.join("registry");
    std::fs::create_dir_all(&folder).context(|| paths::show(&folder))?;
    pack_models(&paths::command(), &["models", "tests/models"], &registry)?;
    let component = paths::component("wasm-dev");
    let server = step("start a server", |_| {
        Server::start(&Serving {
            program: &paths::command(),
            registry: &registry,
            component: &component,
            listen: &free_address()?,
        })
    })?;
    let mut counts = Counts::default();
    for script in scripts("tests/clients", &[HELPER])? {
        println!("==> {}", paths::show(&script));
        let run = Run::new(environment(&script, &python)?)
            .args([&script])
            .args(["--address", server.address()])
            .args([Path::new("--registry"), &registry])
            .args([Path::new("--twinfer"), &paths::command()])
            .env("TWINFER_COMPONENT", &component)
            .env(browser::VARIABLE, browser)
            // Lines as they come, and no files beside the scripts.
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        counts += ran(watched(run, Runner::Plain)?);
    }
    Ok(counts)
}

/// The Python that a script asks for, which is mostly that of its folder.
///
/// # Errors
/// An environment that does not exist, or could not be made.
pub fn environment(script: &Path, own: &Path) -> Result<PathBuf> {
    let text = std::fs::read_to_string(script).context(|| paths::show(script))?;
    let other = text
        .lines()
        .find_map(|line| line.strip_prefix(OTHER_ENVIRONMENT));
    // A sentence may follow.
    match other.and_then(|name| name.split([' ', ',', ';', '.']).next()) {
        None => Ok(own.to_owned()),
        Some("tests/clients") => step("Python packages of tests/clients", python::for_clients),
        Some("tests/python") => python::program().ok_or_else(|| {
            Failure::new(format!(
                "{} needs the packages of tests/python/requirements.txt",
                paths::show(script)
            ))
        }),
        Some(name) => Err(Failure::new(format!(
            "{} asks for the environment {name}, which does not exist",
            paths::show(script)
        ))),
    }
}

/// A script that checked nothing is a failure.
pub fn ran(counts: Counts) -> Counts {
    if counts == Counts::default() {
        return Counts {
            passed: 0,
            failed: 1,
        };
    }
    counts
}

/// The scripts of a folder but for what they share, in the order of their names.
///
/// # Errors
/// A folder without a script.
pub fn scripts(folder: &str, helpers: &[&str]) -> Result<Vec<PathBuf>> {
    let folder = paths::root().join(folder);
    let entries = std::fs::read_dir(&folder).context(|| paths::show(&folder))?;
    let mut scripts: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "py"))
        .filter(|path| !helpers.iter().any(|helper| path.ends_with(helper)))
        .collect();
    scripts.sort();
    if scripts.is_empty() {
        return Err(Failure::new(format!(
            "{} holds no script",
            paths::show(&folder)
        )));
    }
    Ok(scripts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_scripts_and_the_helper_is_none() {
        let scripts = scripts("tests/clients", &[HELPER]).unwrap();
        assert!(scripts.iter().any(|path| path.ends_with("triton.py")));
        assert!(!scripts.iter().any(|path| path.ends_with(HELPER)));
    }

    #[test]
    fn a_script_that_checked_nothing_is_a_failure() {
        assert_eq!(ran(Counts::default()).failed, 1);
        let one = Counts {
            passed: 1,
            failed: 0,
        };
        assert_eq!(ran(one), one);
    }
}
