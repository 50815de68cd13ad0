//! `twinfer gc`

use clap::Args as ClapArgs;
use twinfer::Result;
use twinfer_package::{Collected, FolderStore};

use crate::output::{Output, bytes};

/// Remove what nothing in the registry folder refers to
///
/// Packages that lost their tag can still be asked for by digest, and stay without --untagged.
/// When a manifest is damaged nothing is removed.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer gc --dry-run
  twinfer gc
  twinfer gc --untagged --json")]
pub struct GcArgs {
    /// Also remove packages that no version and no alias points to
    #[arg(long)]
    pub untagged: bool,

    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(args: &GcArgs, store: &FolderStore, output: &Output) -> Result<()> {
    let collected = store.collect_garbage(args.untagged, args.dry_run)?;
    output.print(&collected, || text(&collected, args.dry_run))
}

fn text(collected: &Collected, dry_run: bool) -> String {
    let verb = if dry_run { "would remove" } else { "removed" };
    let mut lines: Vec<String> = Vec::new();
    for digest in &collected.untagged {
        lines.push(format!("{verb} the package {digest}, which has no tag"));
    }
    for tag in &collected.orphans {
        lines.push(format!("{verb} {tag}, whose package is gone"));
    }
    lines.push(format!(
        "{verb} {} blobs ({}), kept {}",
        collected.blobs.len(),
        bytes(collected.bytes),
        collected.kept
    ));
    lines.join("\n")
}
