//! The suite of the versioned cache: the same cases natively, in the component, in Node and in a
//! real browser, against a server that lies.

use std::path::Path;

use crate::browser;
use crate::failure::Result;
use crate::paths;
use crate::run::Run;

/// The program with all its places. What it prints ends with a line of counts.
pub fn suite(browser: &Path) -> Result<Run> {
    let name = format!("twinfer-conformance{}", std::env::consts::EXE_SUFFIX);
    let options = [
        ("--folder", paths::target().join("cache-suite")),
        ("--component", paths::component("wasm-dev")),
        ("--key-value", paths::key_value_component("wasm-dev")),
        ("--script", paths::web().join("test/run-cache.mjs")),
    ];
    let run = Run::new(paths::target().join("debug").join(name)).args(["cache"]);
    let run = options.iter().fold(run, |run, (option, path)| {
        run.args([option.as_ref(), path.as_os_str()])
    });
    Ok(run.env(browser::VARIABLE, browser))
}
