//! The Python that tests and measurements compare with: reference libraries in virtual environments
//! of ours. Nothing else needs it.

use std::path::{Path, PathBuf};

use crate::failure::{Context, Failure, Result};
use crate::paths;
use crate::run::{Run, find_program};
use crate::steps::{Job, Output};

/// Tells the tests which Python has the packages.
pub const VARIABLE: &str = "TWINFER_TEST_PYTHON";

/// The newest first. Wheels of the pinned packages exist for these.
const NAMES: [&str; 4] = ["python3.11", "python3.12", "python3.13", "python3"];

/// The environment's own Python, once it is made.
pub fn program() -> Option<PathBuf> {
    let path = program_in(&folder());
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
    match interpreter() {
        Some(python) if works(&python, "import ensurepip, venv") => Setup::With(python),
        Some(python) => Setup::NeedsVenv(python),
        None => Setup::Nothing,
    }
}

fn works(python: &Path, code: &str) -> bool {
    Run::new(python).args(["-c", code]).read().is_ok()
}

/// A Python of a version that there are wheels for.
fn interpreter() -> Option<PathBuf> {
    let right = "import sys; assert (3, 11) <= sys.version_info < (3, 14)";
    NAMES
        .iter()
        .filter_map(|name| find_program(&[name]))
        .find(|python| works(python, right))
}

/// The environment of the measurements, made when it is not what `bench/requirements.txt` says.
///
/// # Errors
/// When there is no Python with the module venv, or pip cannot install what is pinned.
pub fn for_bench(output: &Output) -> Result<PathBuf> {
    prepared(
        &paths::target().join("bench/python"),
        &paths::root().join("bench/requirements.txt"),
        "the measurements need Python 3.11 with its module venv for the rivals on the host",
        output,
    )
}

/// The environment of the clients of other servers, made when it is not what
/// `tests/clients/requirements.txt` says.
///
/// # Errors
/// As [`for_bench`].
pub fn for_clients(output: &Output) -> Result<PathBuf> {
    prepared(
        &paths::target().join("clients"),
        &paths::root().join("tests/clients/requirements.txt"),
        "the clients of other servers need Python 3.11 with its module venv",
        output,
    )
}

/// The environment of the places of `deploy/`, made when it is not what
/// `tests/deploy/requirements.txt` says.
///
/// # Errors
/// As [`for_bench`].
pub fn for_deploy(output: &Output) -> Result<PathBuf> {
    prepared(
        &paths::target().join("deploy/python"),
        &paths::root().join("tests/deploy/requirements.txt"),
        "the files of deploy/ are checked by packages of Python 3.11 with its module venv",
        output,
    )
}

/// Rivals that hold back packages which others want newer: each has an environment of its own in
/// `target/bench`, of `bench/rivals/NAME.txt`.
pub const RIVALS: [&str; 2] = ["mlserver", "mlflow"];

/// The environment of one of the [`RIVALS`].
///
/// # Errors
/// As for [`for_bench`]; the measures go on without this rival.
pub fn for_rival(name: &str, output: &Output) -> Result<PathBuf> {
    prepared(
        &paths::target().join("bench").join(name),
        &paths::root().join(format!("bench/rivals/{name}.txt")),
        "the measurements need Python 3.11 with its module venv for the rivals on the host",
        output,
    )
}

/// The Python of an environment that is what these requirements say.
fn prepared(folder: &Path, requirements: &Path, need: &str, output: &Output) -> Result<PathBuf> {
    let stamp = folder.join(".made-from");
    let wanted = std::fs::read_to_string(requirements).context(|| paths::show(requirements))?;
    if !std::fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        let python = interpreter()
            .filter(|python| works(python, "import ensurepip, venv"))
            .ok_or_else(|| Failure::new(format!("{need}; install it (Debian: python3.11-venv)")))?;
        environment(&python, folder, requirements, output)?;
        std::fs::write(&stamp, wanted).context(|| paths::show(&stamp))?;
    }
    Ok(program_in(folder))
}

/// Making the environment, to run beside other jobs.
pub fn job(python: PathBuf) -> Job<'static> {
    Job::new(
        "pip install -r tests/python/requirements.txt",
        move |output| make(&python, output),
    )
}

fn make(python: &Path, output: &Output) -> Result<()> {
    environment(python, &folder(), &requirements(), output)?;
    std::fs::write(stamp(), wanted()).context(|| paths::show(&stamp()))
}

/// A fresh virtual environment with what is required.
fn environment(python: &Path, folder: &Path, requirements: &Path, output: &Output) -> Result<()> {
    Run::new(python)
        .args([
            "-m".as_ref(),
            "venv".as_ref(),
            "--clear".as_ref(),
            folder.as_os_str(),
        ])
        .to(output)
        .run()?;
    Run::new(program_in(folder))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .args([requirements])
        .to(output)
        .run()
}

/// The Python of a virtual environment.
fn program_in(folder: &Path) -> PathBuf {
    folder.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    })
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
pub fn wanted() -> String {
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
