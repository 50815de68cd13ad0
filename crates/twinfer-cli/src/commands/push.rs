//! `twinfer push`

use clap::Args;
use twinfer::Result;
use twinfer_package::Reference;
use twinfer_registry::Location;

use crate::options::location;
use crate::output::Output;
use crate::registry::Registry;
use crate::transfer;

/// Send a package from the registry (a folder) to another one
///
/// With its signatures and the signed list of tags. What is there already is not sent; a
/// version that is there with other content is refused.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinfer push face-detector:1.0.0 oci://registry.example/models
  twinfer push face-detector:1.0.0 oci://127.0.0.1:5000/models --json
  twinfer push face-detector /srv/models")]
pub struct PushArgs {
    /// name, name:version, name:alias or name@sha256:…
    pub reference: Reference,

    /// Where to: a folder, or oci://host/prefix
    #[arg(value_name = "LOCATION", value_parser = location())]
    pub to: Location,

    /// Exchange a version that is there with other content
    #[arg(long)]
    pub force: bool,
}

pub fn run(args: &PushArgs, registry: &Registry, output: &Output) -> Result<()> {
    let references = std::slice::from_ref(&args.reference);
    transfer::run(
        registry,
        &registry.at(&args.to),
        references,
        args.force,
        output,
    )
}
