//! The backend tests of ONNX itself: `cargo xtask conformance`, and a suite of `cargo xtask test`.

use std::path::PathBuf;

use crate::build::native_selection;
use crate::failure::{Context, Failure, Result};
use crate::paths;
use crate::python;
use crate::run::Run;
use crate::setup::Setup;
use crate::steps::{Output, nothing_to_do, step, together};

/// Prints how the tests of ONNX end, in a line or as JSON; with `write`, the table of expected
/// states becomes what they are now.
pub fn conformance(json: bool, write: bool) -> Result<()> {
    let setup = Setup::begin()?;
    let mut jobs = setup.jobs();
    if let python::Setup::With(python) = python::setup() {
        jobs.push(python::job(python));
    }
    together(jobs)?;
    step("build the runner", |output| {
        Run::new("cargo")
            .args(["build", "--bin", "twinfer-onnx"])
            .args(native_selection())
            .to(output)
            .run()
    })?;
    let mut run = program()?;
    if json {
        run = run.args(["--json"]);
    }
    if write {
        run = run.args(["--write"]);
    }
    run.run()
}

/// The runner on all cases, which says at its end how many are as expected.
pub fn program() -> Result<Run> {
    let folder = cases()?;
    let name = format!("twinfer-onnx{}", std::env::consts::EXE_SUFFIX);
    let expected = paths::root().join("tests/onnx/expected.json");
    Ok(Run::new(paths::target().join("debug").join(name))
        .args(["native"])
        .args(["--folder".as_ref(), folder.as_os_str()])
        .args(["--expected".as_ref(), expected.as_os_str()]))
}

/// The cases, written from the package `onnx` when the script or its pins are not those of the last
/// time.
fn cases() -> Result<PathBuf> {
    let folder = paths::target().join("onnx");
    let script = paths::root().join("tests/onnx/cases.py");
    let stamp = folder.join(".made-by");
    let read = |path: &PathBuf| std::fs::read_to_string(path).context(|| paths::show(path));
    let wanted = read(&script)? + &python::wanted();
    if std::fs::read_to_string(&stamp).is_ok_and(|made_by| made_by == wanted) {
        nothing_to_do("cases of ONNX");
        return Ok(folder);
    }
    let Some(python) = python::program() else {
        return Err(Failure::new(
            "the tests of ONNX come from its Python package; install Python 3.11",
        ));
    };
    step("write the cases of ONNX", |output: &Output| {
        Run::new(python)
            .args([script.as_os_str(), folder.as_os_str()])
            .to(output)
            .run()
    })?;
    std::fs::write(&stamp, wanted).context(|| paths::show(&stamp))?;
    Ok(folder)
}
