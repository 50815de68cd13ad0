//! `twinfer pack`

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde_json::json;
use twinfer::{Result, bail};
use twinfer_package::{Built, FolderStore, PackOptions, STARTER_VERSION, name_of, write_recipe};

use crate::output::Output;

/// Make a package of a recipe or a model file, and put it into the registry
///
/// Loads the model, writes its signature into the package, and runs the golden examples: a
/// package that fails its own examples is refused. The same files always give the same digest.
/// Of an .onnx file the signature is inferred, and weights in files beside it are packed too.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer pack models/face-detector
  twinfer pack models/face-detector --registry /srv/models
  twinfer pack models/face-detector --no-self-test --json
  twinfer pack model.onnx --name face-detector --model-version 1.0.0
  twinfer pack model.onnx --write-recipe recipes/face-detector")]
pub struct PackArgs {
    /// The folder of the recipe (with twinfer.toml), or an .onnx file
    #[arg(value_name = "RECIPE|FILE.onnx")]
    pub recipe: PathBuf,

    /// Of an .onnx file: the name of the model, instead of that of the file
    #[arg(long)]
    pub name: Option<String>,

    /// Of an .onnx file: the version of the model, instead of 0.1.0
    #[arg(long, value_name = "VERSION")]
    pub model_version: Option<String>,

    /// Of an .onnx file: do not pack it, but write a folder with a recipe to begin with: the
    /// model, twinfer.toml and a model card
    #[arg(long, value_name = "DIR")]
    pub write_recipe: Option<PathBuf>,

    /// Exchange a version that is there with other content. Versions are immutable for
    /// everybody else: only for what was not published yet
    #[arg(long)]
    pub force: bool,

    /// Do not load the model and run the golden examples: for models larger than the memory.
    /// Digests and operators are checked all the same
    #[arg(long)]
    pub no_self_test: bool,
}

pub fn run(args: &PackArgs, store: &FolderStore, output: &Output) -> Result<()> {
    let bare = args.recipe.is_file() || args.recipe.extension().is_some_and(|e| e == "onnx");
    let built = match bare {
        true => {
            let name = match &args.name {
                Some(name) => name.clone(),
                None => name_of(&args.recipe)?,
            };
            let version = args.model_version.as_deref().unwrap_or(STARTER_VERSION);
            if let Some(folder) = &args.write_recipe {
                write_recipe(&args.recipe, &name, version, folder)?;
                let value = json!({"name": name, "version": version, "recipe": folder});
                return output.print(&value, || folder.display().to_string());
            }
            Built::from_file(&args.recipe, &name, version)
                .map_err(|e| e.context(args.recipe.display()))?
        }
        false => {
            for (option, given) in [
                ("--name", args.name.is_some()),
                ("--model-version", args.model_version.is_some()),
                ("--write-recipe", args.write_recipe.is_some()),
            ] {
                if given {
                    bail!(
                        InvalidRecipe,
                        "{option} is for .onnx files; for a recipe folder it stands in twinfer.toml"
                    );
                }
            }
            Built::from_recipe(&args.recipe)?
        }
    };
    let options = PackOptions {
        force: args.force,
        self_test: !args.no_self_test,
    };
    let packed = built.pack(store, options)?;
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
