//! `twinfer ls`

use clap::Args as ClapArgs;
use serde_json::{Value as Json, json};
use twinfer::{Result, bail};
use twinfer_package::{DerivedEngine, Index, Tagged};

use crate::output::{Output, table};
use crate::registry::Registry;

/// List the packages of the registry
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer ls
  twinfer ls face-detector --json")]
pub struct LsArgs {
    /// Only the versions of this model
    pub name: Option<String>,
}

pub fn run(args: &LsArgs, registry: &Registry, output: &Output) -> Result<()> {
    let index = registry.index(args.name.as_deref())?;
    let mut tags = index.tags();
    if let Some(name) = &args.name {
        tags.retain(|tag| tag.name == *name);
        if tags.is_empty() {
            bail!(
                UnknownModel,
                "there is no model `{name}` in the registry {registry}"
            );
        }
    }
    let packages: Vec<Json> = tags.iter().map(|t| json!({"name": t.name, "tag": t.tag, "version": t.version().is_some(), "digest": t.digest, "engines": index.engines(&t.digest)})).collect();
    output.print(&json!({"packages": packages}), || text(&tags, &index))
}

fn text(tags: &[Tagged], index: &Index) -> String {
    if tags.is_empty() {
        return "no packages yet; make one with `twinfer pack RECIPE`".into();
    }
    let engines = |t: &Tagged| {
        let engines = index.engines(&t.digest);
        let of = |engine: &DerivedEngine| format!("{} for {}", engine.kind, engine.target);
        engines.iter().map(of).collect::<Vec<_>>().join(", ")
    };
    let row = |t: &Tagged| {
        vec![
            t.name.clone(),
            t.tag.clone(),
            t.digest.to_string(),
            engines(t),
        ]
    };
    table(&tags.iter().map(row).collect::<Vec<_>>())
}
