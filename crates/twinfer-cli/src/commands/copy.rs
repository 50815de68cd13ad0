//! `twinfer copy`

use clap::Args;
use twinfer::Result;
use twinfer_package::Reference;
use twinfer_registry::Location;

use crate::options::location;
use crate::output::Output;
use crate::registry::Registry;
use crate::transfer;

/// Copy packages from any registry to any other
///
/// Within one OCI registry, layers are taken over from repository to repository without
/// being sent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinfer copy face-detector:1.0.0 --from oci://registry.example/staging --to oci://registry.example/models
  twinfer copy face-detector file-type:1.0.0 --from https://models.example.org --to /srv/models")]
pub struct CopyArgs {
    /// name, name:version, name:alias or name@sha256:…
    #[arg(required = true)]
    pub references: Vec<Reference>,

    /// Where from [default: the registry]
    #[arg(long, value_name = "LOCATION", value_parser = location())]
    pub from: Option<Location>,

    /// Where to: a folder, or oci://host/prefix
    #[arg(long, value_name = "LOCATION", value_parser = location())]
    pub to: Location,

    /// Exchange versions that are there with other content
    #[arg(long)]
    pub force: bool,
}

pub fn run(args: &CopyArgs, registry: &Registry, output: &Output) -> Result<()> {
    let from = registry.at_or(args.from.as_ref());
    transfer::run(
        &from,
        &registry.at(&args.to),
        &args.references,
        args.force,
        output,
    )
}
