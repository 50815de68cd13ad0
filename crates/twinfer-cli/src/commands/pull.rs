//! `twinfer pull`

use clap::Args;
use twinfer::Result;
use twinfer_package::Reference;
use twinfer_registry::Location;

use crate::options::location;
use crate::output::Output;
use crate::registry::Registry;
use crate::transfer;

/// Get a package from another registry into the registry (a folder)
///
/// With its signatures and the signed list of tags. Every digest is checked on the way; what
/// is there already is not fetched.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinfer pull face-detector:1.0.0 oci://registry.example/models
  twinfer pull face-detector https://models.example.org/registry
  twinfer pull face-detector:1.0.0 oci://127.0.0.1:5000/models --registry /srv/models")]
pub struct PullArgs {
    /// name, name:version, name:alias or name@sha256:…
    pub reference: Reference,

    /// Where from: a folder, https://host/path or oci://host/prefix
    #[arg(value_name = "LOCATION", value_parser = location())]
    pub from: Location,

    /// Exchange a version that is there with other content
    #[arg(long)]
    pub force: bool,
}

pub fn run(args: &PullArgs, registry: &Registry, output: &Output) -> Result<()> {
    let references = std::slice::from_ref(&args.reference);
    transfer::run(
        &registry.at(&args.from),
        registry,
        references,
        args.force,
        output,
    )
}
