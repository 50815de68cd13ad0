//! `twinfer ls`

use serde_json::{Value as Json, json};
use twinfer::{Result, bail};
use twinfer_package::Tagged;

use crate::args::LsArgs;
use crate::output::{Output, table};
use crate::registry::Registry;

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
    let packages: Vec<Json> = tags.iter().map(|t| json!({"name": t.name, "tag": t.tag, "version": t.version().is_some(), "digest": t.digest})).collect();
    output.print(&json!({"packages": packages}), || text(&tags))
}

fn text(tags: &[Tagged]) -> String {
    if tags.is_empty() {
        return "no packages yet; make one with `twinfer pack RECIPE`".into();
    }
    let row = |t: &Tagged| vec![t.name.clone(), t.tag.clone(), t.digest.to_string()];
    table(&tags.iter().map(row).collect::<Vec<_>>())
}
