//! `twinfer fuse`

mod component;
mod page;

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, ValueEnum};
use serde_json::json;
use twinfer::{Result, err};
use twinfer_artifact::component::Label;
use twinfer_package::{DerivedEngine, Digest, EngineTarget, Reference, Store, attach_engine};

use crate::output::{Output, bytes};
use crate::registry::Registry;
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
      of a component that is named
  twinfer fuse face-detector:1.0.0 --target page --attach
      makes the engine of a page, and attaches it to the package: loadModel finds it there

An engine of a page is run in Node, and functions that were not entered are dropped; when one of
them is needed after all, the page goes on with the full engine. wasm-opt (npm package binaryen)
makes it smaller still; it is looked for in TWINFER_WASM_OPT, on the PATH, and in
node_modules/.bin above the npm package.")]
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

    /// The npm package `twinfer`, whose engine and code are used for a page [default:
    /// node_modules/twinfer or web here or in a folder above]
    #[arg(long, value_name = "DIR", env = "TWINFER_NPM")]
    pub npm: Option<PathBuf>,

    /// Where it goes [default: NAME.wasm, or nowhere with --attach]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Keep every function in the engine of a page
    #[arg(long, conflicts_with = "slim")]
    pub no_slim: bool,

    /// Drop the functions of a component that the package does not need, as `twinfer slim` does;
    /// an engine of a page is slim anyhow
    #[arg(long)]
    pub slim: bool,

    /// Attach it to the package in the registry
    #[arg(long)]
    pub attach: bool,
}

/// What runs an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// A host of WASI HTTP components
    Component,
    /// The npm package, in a page or in Node
    Page,
}

/// What was made.
struct Made {
    wasm: Vec<u8>,
    label: Label,
    /// The package, pinned to what was fused.
    reference: Reference,
    /// The `wasm-opt` that was used; `None` where none was found, or none was wanted.
    wasm_opt: Option<PathBuf>,
}

/// Fuses a package.
///
/// # Errors
/// Those of opening the package, of the engine's file, and of fusing; `storage` for the output;
/// those of attaching.
pub fn run(
    args: &FuseArgs,
    registry: &Registry,
    store: &dyn Store,
    trust: &Trust,
    output: &Output,
) -> Result<()> {
    let made = match args.target {
        Target::Component => component::fuse(args, store, trust)?,
        Target::Page => page::fuse(args, store, trust)?,
    };
    let file = match (&args.output, args.attach) {
        (Some(file), _) => Some(file.clone()),
        (None, true) => None,
        (None, false) => Some(PathBuf::from(format!("{}.wasm", args.reference.name()))),
    };
    if let Some(file) = &file {
        std::fs::write(file, &made.wasm)
            .map_err(|e| err!(Storage, "cannot write {}: {e}", file.display()))?;
    }
    let engine = engine(&made, args.target);
    if args.attach {
        attach_engine(&*registry.writable()?, &made.reference, &engine, &made.wasm)?;
    }
    report(&made, &engine, file.as_deref(), args, output)
}

fn engine(made: &Made, target: Target) -> DerivedEngine {
    let Label {
        kind,
        engine,
        version,
        packages,
        ..
    } = made.label.clone();
    DerivedEngine {
        kind,
        target: match target {
            Target::Component => EngineTarget::Component,
            Target::Page => EngineTarget::Page,
        },
        digest: Digest::of(&made.wasm),
        size: made.wasm.len() as u64,
        engine,
        version,
        packages,
        signatures: Vec::new(),
    }
}

fn report(
    made: &Made,
    engine: &DerivedEngine,
    file: Option<&Path>,
    args: &FuseArgs,
    output: &Output,
) -> Result<()> {
    let package = engine.packages.keys().next();
    let attached = args.attach.then(|| made.reference.to_string());
    let value = json!({
        "file": file, "digest": engine.digest, "size": engine.size, "engine": engine.engine,
        "version": engine.version, "package": package, "slim": made.label.slim,
        "wasmOpt": made.wasm_opt, "attached": attached,
    });
    output.print(&value, || {
        let place = file.map_or("not written".to_owned(), |file| file.display().to_string());
        let package = package.map(ToString::to_string).unwrap_or_default();
        let mut text = format!(
            "{place}: {}\n  digest   {}\n  package  {package}\n  engine   {} ({})",
            bytes(engine.size),
            engine.digest,
            engine.engine,
            engine.version
        );
        if let Some(attached) = &attached {
            text += &format!("\n  attached to {attached}");
        }
        if made.label.slim && made.wasm_opt.is_none() {
            text += "\n  no wasm-opt was found: with it the file is smaller (npm install binaryen)";
        }
        text
    })
}
