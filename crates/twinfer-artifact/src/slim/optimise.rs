//! `wasm-opt` of binaryen, where there is one.

use std::path::{Path, PathBuf};
use std::process::Command;

use twinfer::{Result, bail, err};

use super::MISSING_FUNCTION;

/// A module after [`optimise`].
#[derive(Debug)]
pub struct Optimised {
    /// The module.
    pub module: Vec<u8>,
    /// The `wasm-opt` that made it; without one the module is as it was.
    pub with: Option<PathBuf>,
}

/// The features of `wasm-pack.toml`: what the engines use, and no more.
const FEATURES: [&str; 7] = [
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
    "--enable-multivalue",
];

/// The `wasm-opt` to use: `TWINFER_WASM_OPT` (none, where that is empty), the one on the PATH, or that of `node_modules/.bin`
/// in `near` or a folder above it.
pub fn wasm_opt(near: Option<&Path>) -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("TWINFER_WASM_OPT") {
        return (!given.is_empty()).then(|| given.into());
    }
    let name = format!("wasm-opt{}", std::env::consts::EXE_SUFFIX);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(&name));
    let in_modules = near
        .into_iter()
        .flat_map(Path::ancestors)
        .map(|folder| folder.join("node_modules/.bin").join(&name));
    on_path.chain(in_modules).find(|program| program.is_file())
}

/// Lets `program` (see [`wasm_opt`]) drop what is dead and shorten the rest. The same bits come
/// out: no flag of it relaxes floating point.
///
/// # Errors
/// `internal` when the program fails.
pub fn optimise(module: Vec<u8>, program: Option<&Path>) -> Result<Optimised> {
    let Some(program) = program else {
        return Ok(Optimised { module, with: None });
    };
    let failed = |e: std::io::Error| err!(Internal, "{}: {e}", program.display());
    let folder = tempfile::tempdir().map_err(failed)?;
    let (from, to) = (
        folder.path().join("in.wasm"),
        folder.path().join("out.wasm"),
    );
    std::fs::write(&from, &module).map_err(failed)?;
    let mut command = Command::new(program);
    // The function is what hosts look for: it must stay a function with a name.
    command
        .arg(format!("--no-inline=*{MISSING_FUNCTION}*"))
        .args(["-Os", "--strip-producers", "--strip-target-features"])
        .args(FEATURES);
    if names(&module) {
        command.arg("--debuginfo");
    }
    let output = command
        .arg(&from)
        .arg("-o")
        .arg(&to)
        .output()
        .map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let end: String = said.lines().rev().take(5).collect::<Vec<_>>().join("; ");
        bail!(
            Internal,
            "{} failed ({}): {end}",
            program.display(),
            output.status
        );
    }
    Ok(Optimised {
        module: std::fs::read(&to).map_err(failed)?,
        with: Some(program.to_owned()),
    })
}

/// Whether there is a name section: then it has the one name that is needed.
fn names(module: &[u8]) -> bool {
    wasmparser::Parser::new(0).parse_all(module).any(|payload| {
        matches!(payload, Ok(wasmparser::Payload::CustomSection(section)) if section.name() == "name")
    })
}
