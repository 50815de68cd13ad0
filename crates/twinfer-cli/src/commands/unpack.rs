//! `twinfer unpack`

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde_json::json;
use twinfer::Result;
use twinfer_package::{Reference, Role, Store, role, unpack};

use crate::output::Output;
use crate::trust::Trust;

/// Write the files of a package into a folder
///
/// Every file is verified. The folder appears when it is complete; one that is there and not
/// empty is left alone.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer unpack face-detector:1.0.0 face-detector
  twinfer unpack face-detector:1.0.0 face-detector --join")]
pub struct UnpackArgs {
    /// name, name:version, or name@sha256:…
    pub reference: Reference,

    /// The folder to make
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,

    /// Put the weights into model.onnx again, instead of files beside it
    #[arg(long)]
    pub join: bool,
}

pub fn run(args: &UnpackArgs, store: &dyn Store, trust: &Trust, output: &Output) -> Result<()> {
    let package = unpack(
        store,
        &trust.pinned(store, &args.reference)?,
        &args.folder,
        args.join,
    )?;
    let layers = package.layers().iter();
    let files: Vec<PathBuf> = layers
        .filter(|layer| !args.join || role(layer) != Role::Shard)
        .filter_map(|layer| Some(args.folder.join(layer.file_name()?)))
        .collect();
    let value = json!({
        "name": package.name(),
        "version": package.version(),
        "digest": package.digest(),
        "files": files,
    });
    output.print(&value, || {
        let lines = files.iter().map(|file| file.display().to_string());
        lines.collect::<Vec<_>>().join("\n")
    })
}
