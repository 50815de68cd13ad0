//! `twinfer tag`

use clap::Args as ClapArgs;
use serde_json::json;
use twinfer::Result;
use twinfer_package::{Moved, Reference, WritableStore, move_alias};

use crate::output::Output;

/// Let an alias, like stable or canary, point to a package
///
/// Where the alias points to another version already, the inputs and outputs of both are
/// compared: one that breaks callers of the old version is refused without --breaking.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer tag face-detector:1.1.0 stable
  twinfer tag face-detector@sha256:… canary
  twinfer tag face-detector:2.0.0 stable --breaking")]
pub struct TagArgs {
    /// name:version, or name@sha256:…
    pub reference: Reference,

    /// The alias, without the name
    pub alias: String,

    /// Move it even if the new version breaks callers of the old one
    #[arg(long)]
    pub breaking: bool,
}

pub fn run(args: &TagArgs, store: &dyn WritableStore, output: &Output) -> Result<()> {
    let moved = move_alias(store, &args.reference, &args.alias, args.breaking)?;
    let json = json!({
        "alias": moved.alias.to_string(),
        "from": moved.from,
        "to": moved.to,
        "breaking": moved.breaking,
    });
    output.print(&json, || text(&moved))
}

fn text(moved: &Moved) -> String {
    let Moved {
        alias,
        from,
        to,
        breaking,
    } = moved;
    let mut lines = vec![match from {
        Some(from) if from == to => format!("{alias} points to {to} already"),
        Some(from) => format!("{alias}@{to}\nbefore: {from}"),
        None => format!("{alias}@{to}"),
    }];
    lines.extend(breaking.iter().map(|what| format!("breaking: {what}")));
    lines.join("\n")
}
