//! `cargo xtask sizes`: what a visitor downloads, and what a host loads.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure, Result};
use crate::paths;
use crate::profiles::WasmPack;
use crate::run::Run;
use crate::table::table;

/// Bytes of one file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Size {
    /// The file, relative to the workspace.
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

/// The files that are shipped.
pub fn artifacts(profile_name: &str) -> Result<Vec<PathBuf>> {
    let file = WasmPack::read()?;
    let profile = file.profile(profile_name)?;
    let dist = paths::web().join("dist");
    let engine = paths::root()
        .join(&profile.out_dir)
        .join(format!("{}_bg.wasm", file.krate.out_name));
    let files = vec![
        engine,
        dist.join("index.js"),
        dist.join("worker.js"),
        paths::component(&profile.cargo_profile),
    ];
    match files.iter().find(|file| !file.is_file()) {
        None => Ok(files),
        Some(missing) => Err(Failure::new(format!(
            "{} is missing; build it first: cargo xtask build",
            paths::show(missing)
        ))),
    }
}

/// Compresses the files and gives their sizes.
pub fn measure(files: &[PathBuf]) -> Result<Vec<Size>> {
    let printed = Run::new("node")
        .args([paths::root().join("xtask/src/sizes.mjs")])
        .args(files)
        .read()?;
    let mut sizes: Vec<Size> = serde_json::from_str(&printed).context(|| "sizes.mjs".into())?;
    for size in &mut sizes {
        size.file = paths::show(&PathBuf::from(&size.file));
    }
    Ok(sizes)
}
