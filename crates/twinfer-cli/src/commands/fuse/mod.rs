//! `twinfer fuse`

mod component;

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use serde_json::json;
use twinfer::{Result, bail, err};
use twinfer_artifact::component::Label;
use twinfer_package::{Digest, Reference, Store};

use crate::output::{Output, bytes};
use crate::trust::Trust;

/// Load a package into the engine at build time: what serves or opens it starts with the model
///
/// The file has the model in it, not the package: aliases, newer versions and signatures are
/// still the registry's. It answers with the same bits, and is the same file each time.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer fuse face-detector:1.0.0
      makes face-detector.wasm, a component for any host of wasi:http/handler@0.3
  twinfer serve --component face-detector.wasm
      serves it, with a fresh instance for each request
  twinfer fuse tumour-risk -o risk.wasm --engine twinfer_worker.wasm
      of a component that is named")]
pub struct FuseArgs {
    /// name, name:version, or name@sha256:…
    pub reference: Reference,

    /// What will run it
    #[arg(long, value_enum, default_value = "component")]
    pub target: Target,

    /// The full engine: a component, or the wasm of the npm package; found by itself in a build
    /// folder or beside this program
    #[arg(long, value_name = "FILE", alias = "component")]
    pub engine: Option<PathBuf>,

    /// Where it goes [default: NAME.wasm]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What runs an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// A host of WASI HTTP components
    Component,
    /// The npm package, in a page or in Node
    Page,
}

/// Fuses a package.
///
/// # Errors
/// Those of opening the package, of the engine's file, and of fusing; `storage` for the output.
pub fn run(args: &FuseArgs, store: &dyn Store, trust: &Trust, output: &Output) -> Result<()> {
    let (wasm, label) = match args.target {
        Target::Component => component::fuse(args, store, trust)?,
        Target::Page => bail!(
            InvalidParameter,
            "this version of twinfer fuses components only: leave out --target page"
        ),
    };
    let file = args
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}.wasm", args.reference.name())));
    std::fs::write(&file, &wasm)
        .map_err(|e| err!(Storage, "cannot write {}: {e}", file.display()))?;
    report(&file, &wasm, &label, output)
}

fn report(file: &std::path::Path, wasm: &[u8], label: &Label, output: &Output) -> Result<()> {
    let digest = Digest::of(wasm);
    let package = label.packages.keys().next();
    let value = json!({
        "file": file, "digest": digest, "size": wasm.len(), "engine": label.engine,
        "version": label.version, "package": package,
    });
    output.print(&value, || {
        let package = package.map(ToString::to_string).unwrap_or_default();
        format!(
            "{}: {}\n  digest   {digest}\n  package  {package}\n  engine   {} ({})",
            file.display(),
            bytes(wasm.len() as u64),
            label.engine,
            label.version
        )
    })
}
