//! `cargo xtask sizes`: what a visitor downloads, and what a host loads.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure, Result};
use crate::paths;
use crate::profiles::WasmPack;
use crate::run::Run;
use crate::table::table;

/// Bytes of one artifact.
#[derive(Debug, Serialize, Deserialize)]
pub struct Size {
    /// The file, relative to the workspace, or files.
    pub file: String,
    /// As it is.
    pub raw: u64,
    /// After gzip -9.
    pub gzip: u64,
    /// After brotli -11.
    pub brotli: u64,
}

/// Prints the sizes of the artifacts of a profile of `wasm-pack.toml`, which must be built.
pub fn sizes(json: bool, profile_name: &str) -> Result<()> {
    let sizes = measure(&artifacts(profile_name)?)?;
    if json {
        println!(
            "{}",
            serde_json::to_string_pretty(&sizes).context(|| "sizes".into())?
        );
        return Ok(());
    }
    let rows: Vec<Vec<String>> = sizes
        .iter()
        .map(|s| {
            vec![
                s.file.clone(),
                s.raw.to_string(),
                s.gzip.to_string(),
                s.brotli.to_string(),
            ]
        })
        .collect();
    print!("{}", table(&["file", "raw", "gzip", "brotli"], &rows));
    Ok(())
}

/// Something that is shipped: one file, or several that are fetched together.
#[derive(Debug, Serialize)]
pub struct Artifact {
    /// How it is called in tables.
    name: String,
    files: Vec<PathBuf>,
}

impl Artifact {
    /// An artifact of one file.
    pub fn file(path: PathBuf) -> Self {
        Self {
            name: paths::show(&path),
            files: vec![path],
        }
    }
}

/// What is shipped of a profile of `wasm-pack.toml`.
pub fn artifacts(profile_name: &str) -> Result<Vec<Artifact>> {
    let file = WasmPack::read()?;
    let profile = file.profile(profile_name)?;
    let dist = paths::web().join("dist");
    let engine = paths::root()
        .join(&profile.out_dir)
        .join(format!("{}_bg.wasm", file.krate.out_name));
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(&dist).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "js") {
            scripts.push(path);
        }
    }
    scripts.sort();
    let scripts = Artifact {
        name: "web/dist/*.js".into(),
        files: scripts,
    };
    let artifacts = vec![
        Artifact::file(engine),
        scripts,
        Artifact::file(paths::component(&profile.cargo_profile)),
    ];
    match artifacts.iter().find(|artifact| {
        artifact.files.is_empty() || artifact.files.iter().any(|file| !file.is_file())
    }) {
        None => Ok(artifacts),
        Some(missing) => Err(Failure::new(format!(
            "{} is missing; build it first: cargo xtask build",
            missing.name
        ))),
    }
}

/// Compresses the files and gives their sizes.
pub fn measure(artifacts: &[Artifact]) -> Result<Vec<Size>> {
    let list = serde_json::to_string(artifacts).context(|| "sizes".into())?;
    let printed = Run::new("node")
        .args([
            paths::root().join("xtask/src/sizes.mjs").as_os_str(),
            list.as_ref(),
        ])
        .read()?;
    serde_json::from_str(&printed).context(|| "sizes.mjs".into())
}
