//! The Python that the tests compare with: reference libraries in a virtual environment of
//! ours. Nothing but tests needs it.

use std::path::{Path, PathBuf};

use crate::failure::{Context, Result};
use crate::paths;
use crate::run::{Run, find_program};
use crate::steps::{Job, Output};

/// Tells the tests which Python has the packages.
pub const VARIABLE: &str = "TWINFER_TEST_PYTHON";

/// The newest first. Wheels of the pinned packages exist for these.
const NAMES: [&str; 4] = ["python3.11", "python3.12", "python3.13", "python3"];

/// The environment's own Python, once it is made.
pub fn program() -> Option<PathBuf> {
    let path = folder().join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    up_to_date().then_some(path).filter(|path| path.exists())
}

/// What has to be done before the tests, and the Debian package that it needs first.
pub enum Setup {
    /// It is there.
    Done,
    /// To be made with this Python.
    With(PathBuf),
    /// To be made, after `python3-venv` was installed.
    NeedsVenv(PathBuf),
    /// There is no Python: the tests that compare with it are skipped.
    Nothing,
}

/// Looks what is there.
pub fn setup() -> Setup {
    if program().is_some() {
        return Setup::Done;
    }
    let works = |python: &Path, code: &str| Run::new(python).args(["-c", code]).read().is_ok();
    let found = NAMES
        .iter()
        .filter_map(|name| find_program(&[name]))
        .find(|python| {
            works(
                python,
                "import sys; assert (3, 11) <= sys.version_info < (3, 14)",
            )
        });
    match found {
        Some(python) if works(&python, "import ensurepip, venv") => Setup::With(python),
        Some(python) => Setup::NeedsVenv(python),
        None => Setup::Nothing,
    }
}

/// Making the environment, to run beside other jobs.
pub fn job(python: PathBuf) -> Job<'static> {
    Job::new(
        "pip install -r tests/python/requirements.txt",
        move |output| make(&python, output),
    )
}

fn make(python: &Path, output: &Output) -> Result<()> {
    let folder = folder();
    Run::new(python)
        .args([
            "-m".as_ref(),
            "venv".as_ref(),
            "--clear".as_ref(),
            folder.as_os_str(),
        ])
        .to(output)
        .run()?;
    let bin = folder.join(if cfg!(windows) { "Scripts" } else { "bin" });
    Run::new(bin.join("python"))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .args([requirements()])
        .to(output)
        .run()?;
    std::fs::write(stamp(), wanted()).context(|| paths::show(&stamp()))
}

fn folder() -> PathBuf {
    paths::target().join("python")
}

fn requirements() -> PathBuf {
    paths::root().join("tests/python/requirements.txt")
}

/// What the environment was made of.
fn stamp() -> PathBuf {
    folder().join(".made-from")
}

/// Every file of requirements, one after the other.
fn wanted() -> String {
    let mut text = String::new();
    let mut files = vec![requirements()];
    while let Some(file) = files.pop() {
        let content = std::fs::read_to_string(&file).unwrap_or_default();
        let below = content.lines().filter_map(|line| line.strip_prefix("-r "));
        files.extend(below.map(|name| file.with_file_name("").join(name.trim())));
        text += &content;
    }
    text
}

fn up_to_date() -> bool {
    std::fs::read_to_string(stamp()).is_ok_and(|made_from| made_from == wanted())
}
