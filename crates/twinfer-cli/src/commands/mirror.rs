//! `twinfer mirror`

use std::path::PathBuf;

use clap::Args;
use twinfer::Result;
use twinfer_registry::{Location, MirrorOptions, Mirrored, mirror};

use crate::bar::Bar;
use crate::options::location;
use crate::output::{Output, bytes};
use crate::registry::Registry;

/// Publish the whole registry into a folder that a static host serves
///
/// Writes only what changed, and the index last: whoever reads meanwhile sees the old state
/// or the new one. With --json the files are listed in the order in which to upload them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinfer mirror /var/www/models
  twinfer mirror /var/www/models --delete
  twinfer mirror public --from oci://registry.example/models --json")]
pub struct MirrorArgs {
    /// The folder that is served
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,

    /// Where from [default: the registry]
    #[arg(long, value_name = "LOCATION", value_parser = location())]
    pub from: Option<Location>,

    /// Remove blobs that neither the new index nor the one before it names
    #[arg(long)]
    pub delete: bool,
}

pub fn run(args: &MirrorArgs, registry: &Registry, output: &Output) -> Result<()> {
    let from = registry.at_or(args.from.as_ref());
    let mut bar = Bar::new(output);
    let options = MirrorOptions {
        delete: args.delete,
    };
    let mirrored = mirror(from.store()?, &args.folder, options, &mut |p| bar.show(p));
    bar.clear();
    let mirrored = mirrored?;
    output.print(&mirrored, || text(args, &mirrored))
}

fn text(args: &MirrorArgs, mirrored: &Mirrored) -> String {
    let folder = args.folder.display();
    match mirrored.unchanged {
        true => format!("{folder}  nothing to do"),
        false => format!(
            "{folder}  {} files written ({}), {} removed, {} there before",
            mirrored.written.len(),
            bytes(mirrored.bytes_sent),
            mirrored.removed.len(),
            bytes(mirrored.bytes_skipped)
        ),
    }
}
