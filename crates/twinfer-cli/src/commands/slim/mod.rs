//! `twinfer slim`

mod check;
pub mod component;
mod instance;
pub mod npm;
mod page;
mod requests;
pub mod runner;

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, ValueEnum};
use serde_json::{Value as Json, json};
use twinfer::{Audio, Input, Picture, Result, bail, err};
use twinfer_package::{FolderStore, GoldenTensor, Package, Reference, Store, Texts};
use twinfer_registry::{CopyOptions, copy};

use crate::inputs;
use crate::options::pair;
use crate::output::Output;
use crate::registry::Registry;
use crate::trust::Trust;

/// Make an engine that has only what these packages need
///
/// The full engine is run over everything that is done with the packages: every kind of input,
/// their golden examples, common mistakes; that of a page in Node, with its cache; a component in
/// the host of `twinfer serve`. Functions that were not entered are dropped. When one of them is
/// needed after all, the page or the host goes on with the full engine.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer slim face-detector:1.0.0 --attach
  twinfer slim face-detector file-type tumour-risk -o engines/default.wasm
  twinfer slim face-detector --check --input picture=mine.jpg
      say what is missing in it for an input of yours
  twinfer slim face-detector:1.1.0 --check --made face.wasm
      say whether an engine will do for another version
  twinfer slim tumour-risk --target component -o risk.wasm
      a component for twinfer serve --component

wasm-opt (npm package binaryen) makes it smaller still; it is looked for in TWINFER_WASM_OPT, on
the PATH, and in node_modules/.bin above the npm package.")]
pub struct SlimArgs {
    /// name, name:version, or name@sha256:…; one engine is made for all of them
    #[arg(required = true)]
    pub references: Vec<Reference>,

    /// What runs it
    #[arg(long, value_enum, default_value = "page")]
    pub target: Target,

    /// The full engine [default: that of the npm package; a component is found by itself in a
    /// build folder or beside this program]
    #[arg(long, value_name = "FILE", alias = "component")]
    pub engine: Option<PathBuf>,

    /// The npm package `twinfer`, whose code runs the engine [default: node_modules/twinfer or
    /// web here or in a folder above]
    #[arg(long, value_name = "DIR", env = "TWINFER_NPM")]
    pub npm: Option<PathBuf>,

    /// Where the engine is written
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Where the profile is written: which functions were entered
    #[arg(long, value_name = "FILE")]
    pub profile_out: Option<PathBuf>,

    /// Attach it to the packages in the registry
    #[arg(long)]
    pub attach: bool,

    /// Run the golden examples, and the inputs given with --input, on the full engine and on the
    /// slim one, compare every bit, and say what is missing
    #[arg(long)]
    pub check: bool,

    /// A slim engine that was made before: it is checked, and none is made
    #[arg(long, value_name = "FILE", requires = "check", conflicts_with_all = ["attach", "output", "profile_out"])]
    pub made: Option<PathBuf>,

    /// An input of yours, as for `twinfer predict`: with --check it is tried, without it the
    /// engine has what it needs
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    pub input: Vec<(String, String)>,
}

/// Brings a package into a registry folder in which an engine is profiled, under its name and
/// version, which it gives. What was made for the package before stays behind: it must not change
/// what is made.
///
/// # Errors
/// Those of copying the package.
pub fn gather(store: &dyn Store, package: &Package, folder: &Path) -> Result<Reference> {
    let tagged = Reference::new(package.name(), package.version())?;
    copy(
        store,
        &FolderStore::new(folder),
        &[tagged.clone().pinned(*package.digest())],
        &CopyOptions {
            force: false,
            without_engines: true,
        },
        &mut |_| {},
    )?;
    Ok(tagged)
}

/// Writes what was made.
fn write(file: &Path, content: &[u8]) -> Result<()> {
    std::fs::write(file, content).map_err(|e| err!(Storage, "cannot write {}: {e}", file.display()))
}

/// What runs an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// The npm package, in pages and in Node
    Page,
    /// A host of WASI HTTP components
    Component,
}

/// `policy` is the file of the trust policy: the page that is played has it, too.
pub fn run(
    args: &SlimArgs,
    registry: &Registry,
    trust: &Trust,
    policy: Option<&Path>,
    output: &Output,
) -> Result<()> {
    if args.references.len() > 1 && !args.input.is_empty() {
        bail!(
            InvalidParameter,
            "--input belongs to one package: name only that one"
        );
    }
    if args.output.is_none() && !args.attach && !args.check && args.profile_out.is_none() {
        bail!(
            InvalidParameter,
            "nothing is asked for: give --output FILE, --attach, --check or --profile-out FILE"
        );
    }
    match args.target {
        Target::Page => page::run(args, registry, trust, policy, output),
        Target::Component => component::run(args, registry, trust, output),
    }
}

/// The inputs of the command line for a package with its model, as golden examples have them.
fn given(package: &Package, inputs: &[(String, String)]) -> Result<Json> {
    let model = package.load()?;
    let input = inputs::for_pipeline(model.config(), model.signature(), inputs)?;
    Ok(golden_form(&input))
}

/// An input as golden examples have it.
fn golden_form(input: &Input) -> Json {
    use base64::Engine as _;
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    match input {
        Input::Picture(Picture::Encoded(file)) => json!({"picture": {"base64": base64(file)}}),
        // Golden examples have no form for these.
        Input::Picture(Picture::Rgba { .. }) | Input::Values(_) => Json::Null,
        Input::Bytes(content) => json!({"bytes": {"base64": base64(content)}}),
        Input::Audio(Audio::Encoded(file)) => json!({"audio": {"base64": base64(file)}}),
        Input::Audio(Audio::Samples { .. }) => Json::Null,
        Input::Text(texts) => json!({"text": Texts::from(texts.clone())}),
        Input::Record(record) => json!({"record": record}),
        Input::Tensors(tensors) => {
            let golden = |(name, tensor): &(String, twinfer::Tensor)| {
                GoldenTensor::from_tensor(name, tensor)
            };
            json!({"tensors": tensors.iter().map(golden).collect::<Vec<_>>()})
        }
    }
}
