//! `twinfer rm`

use clap::Args as ClapArgs;
use serde_json::{Value as Json, json};
use twinfer::Result;
use twinfer_package::{Reference, WritableStore, remove};

use crate::output::Output;

/// Take versions or aliases out of the registry
///
/// Their content stays until `twinfer gc`, and so does what is signed. With a digest all tags
/// of the name that point to it go.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer rm face-detector:1.0.0
  twinfer rm face-detector:canary face-detector:1.1.0-rc.1
  twinfer rm face-detector@sha256:… --force
  twinfer gc")]
pub struct RmArgs {
    /// name:version, name:alias or name@sha256:…
    #[arg(required = true)]
    pub references: Vec<Reference>,

    /// Remove a version also when an alias points to it
    #[arg(long)]
    pub force: bool,
}

pub fn run(args: &RmArgs, store: &dyn WritableStore, output: &Output) -> Result<()> {
    let mut removed = Vec::new();
    for reference in &args.references {
        removed.push(remove(store, reference, args.force)?);
    }
    let all = || {
        removed
            .iter()
            .flat_map(|r| r.tags.iter().map(|tag| (tag.to_string(), r.digest)))
    };
    let json: Vec<Json> = all()
        .map(|(tag, digest)| json!({"reference": tag, "digest": digest}))
        .collect();
    output.print(&json!({"removed": json}), || {
        all()
            .map(|(tag, digest)| format!("removed {tag} (it was {digest})"))
            .collect::<Vec<_>>()
            .join("\n")
    })
}
