//! `twinfer pack`

use serde_json::json;
use twinfer::Result;
use twinfer_package::{FolderStore, PackOptions, pack};

use crate::args::PackArgs;
use crate::output::Output;

pub fn run(args: &PackArgs, store: &FolderStore, output: &Output) -> Result<()> {
    let options = PackOptions {
        force: args.force,
        self_test: !args.no_self_test,
    };
    let imported = crate::import::prepare(&args.recipe, &args.import)?;
    let recipe = imported
        .as_ref()
        .map_or(args.recipe.as_path(), |i| i.recipe());
    let packed = pack(recipe, store, options)?;
    let value = json!({
        "name": packed.reference.name(),
        "version": packed.reference.tag(),
        "digest": packed.digest,
        "reference": packed.to_string(),
        "unchanged": packed.unchanged,
        "self_test": packed.self_test,
    });
    output.print(&value, || packed.to_string())
}
