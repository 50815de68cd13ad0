//! Where things are.

use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub fn root() -> PathBuf {
    // The manifest of this crate lies one folder below it.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The npm package.
pub fn web() -> PathBuf {
    root().join("web")
}

/// The `twinfer` command of the dev profile.
pub fn command() -> PathBuf {
    target()
        .join("debug")
        .join(format!("twinfer{}", std::env::consts::EXE_SUFFIX))
}

/// The `twinfer` command that ships.
pub fn release_command() -> PathBuf {
    let command = command();
    let name = command.file_name().unwrap_or_default();
    target().join("release").join(name)
}

/// The component of a cargo profile.
pub fn component(cargo_profile: &str) -> PathBuf {
    target()
        .join("wasm32-wasip2")
        .join(cargo_profile)
        .join("twinfer_worker.wasm")
}

/// The component of a cargo profile for hosts with key-value stores.
pub fn key_value_component(cargo_profile: &str) -> PathBuf {
    component(cargo_profile).with_file_name("twinfer_worker_key_value.wasm")
}

/// Logs of the steps that run at the same time as others.
pub fn logs() -> PathBuf {
    target().join("xtask").join("logs")
}

/// A path as people read it: relative to the workspace where it lies in it.
pub fn show(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}
