//! `twinfer pack`

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use serde_json::json;
use twinfer::{Result, bail};
use twinfer_package::{Built, FolderStore, PackOptions, STARTER_VERSION, name_of, write_recipe};

use crate::can_run::CanRun;
use crate::import::{self, ImportArgs, Imported};
use crate::output::{Output, fact_table};

/// Make a package of a recipe, a model file or an MLflow model, and put it into the registry
///
/// Loads the model, writes its signature into the package, and runs the golden examples: a
/// package that fails its own examples is refused. Says in a terminal, and with --json, where the
/// model runs, and what memory and how many multiply-adds a prediction takes. The same files always give the same digest.
/// Of an .onnx file the signature is inferred, and weights in files beside it are packed too.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer pack models/face-detector
  twinfer pack models/face-detector --registry /srv/models
  twinfer pack models/face-detector --no-self-test --json
  twinfer pack model.onnx --name face-detector --model-version 1.0.0
  twinfer pack model.onnx --write-recipe recipes/face-detector
  twinfer pack mlruns/1/models/m-0123/artifacts --name risk --convert
  twinfer pack models:/Risk@champion --tracking-uri https://mlflow.example.org")]
pub struct PackArgs {
    /// The folder of a recipe (with twinfer.toml), an .onnx file, the folder of an MLflow model
    /// (with MLmodel), or models:/NAME, models:/NAME/VERSION, models:/NAME@ALIAS of an MLflow
    /// registry
    #[arg(value_name = "RECIPE|FILE.onnx|MLFLOW")]
    pub recipe: PathBuf,

    /// Exchange a version that is there with other content. Versions are immutable for
    /// everybody else: only for what was not published yet
    #[arg(long)]
    pub force: bool,

    /// Do not load the model, run the golden examples or measure a run: for models larger than
    /// the memory.
    /// Digests and operators are checked all the same
    #[arg(long)]
    pub no_self_test: bool,

    #[command(flatten)]
    pub import: ImportArgs,
}

pub fn run(args: &PackArgs, store: &FolderStore, output: &Output) -> Result<()> {
    // Kept until the package is in the registry: its files are read on the way.
    let imported = import::prepare(&args.recipe, &args.import)?;
    let Some(built) = build(args, imported.as_ref(), output)? else {
        return Ok(());
    };
    let options = PackOptions {
        force: args.force,
        self_test: !args.no_self_test,
    };
    let packed = built.pack(store, options)?;
    let verdict = match args.no_self_test {
        true => None,
        false => Some(CanRun::new(built.assess()?, 0)),
    };
    let value = json!({
        "name": packed.reference.name(),
        "version": packed.reference.tag(),
        "digest": packed.digest,
        "reference": packed.to_string(),
        "unchanged": packed.unchanged,
        "self_test": packed.self_test,
        "can_run": verdict.as_ref().map(CanRun::json),
    });
    output.print(&value, || packed.to_string())?;
    // A script that packs reads the reference, and takes other words for trouble: it finds these in
    // the JSON.
    let is_read = |verdict: &CanRun| std::io::stderr().is_terminal() || !verdict.runs_everywhere();
    if let Some(verdict) = verdict.filter(|verdict| !output.is_json() && is_read(verdict)) {
        output.note(&fact_table(verdict.facts()));
    }
    Ok(())
}

/// The package; `None` when only a recipe was asked for, and is written.
fn build(args: &PackArgs, imported: Option<&Imported>, output: &Output) -> Result<Option<Built>> {
    if let Some(imported) = imported {
        return match &args.import.write_recipe {
            Some(folder) => written(folder, output),
            None => Built::from_recipe(imported.recipe()).map(Some),
        };
    }
    if args.recipe.is_file() || args.recipe.extension().is_some_and(|e| e == "onnx") {
        return of_file(args, output);
    }
    for (option, given) in [
        ("--name", args.import.name.is_some()),
        ("--model-version", args.import.model_version.is_some()),
        ("--write-recipe", args.import.write_recipe.is_some()),
    ] {
        if given {
            bail!(
                InvalidRecipe,
                "{option} is for .onnx files and MLflow models; for a recipe folder it stands in twinfer.toml"
            );
        }
    }
    Built::from_recipe(&args.recipe).map(Some)
}

fn of_file(args: &PackArgs, output: &Output) -> Result<Option<Built>> {
    let name = match &args.import.name {
        Some(name) => name.clone(),
        None => name_of(&args.recipe)?,
    };
    let version = args
        .import
        .model_version
        .as_deref()
        .unwrap_or(STARTER_VERSION);
    if let Some(folder) = &args.import.write_recipe {
        write_recipe(&args.recipe, &name, version, folder)?;
        return written(folder, output);
    }
    Built::from_file(&args.recipe, &name, version)
        .map(Some)
        .map_err(|e| e.context(args.recipe.display()))
}

fn written(folder: &Path, output: &Output) -> Result<Option<Built>> {
    output.print(&json!({"recipe": folder}), || folder.display().to_string())?;
    Ok(None)
}
