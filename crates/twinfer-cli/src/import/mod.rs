//! MLflow models: from a model folder or a registry to a recipe that `twinfer pack` packs.
//!
//! The importer only writes a recipe folder, as a person would; what is then done with it
//! (checks, golden examples, the registry) is the same as for every recipe.

mod args;
mod card;
mod example;
mod files;
mod golden;
mod mlmodel;
mod name;
mod python;
mod recipe;
mod registry;
mod schema;
mod sklearn;
mod yaml;

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use twinfer::{Result, bail, err};

pub use args::ImportArgs;

use files::ModelFolder;
use mlmodel::{Flavor, MlModel};
use registry::Registered;

/// A recipe that was made of an MLflow model. The folder is gone when this is dropped,
/// unless it was asked for.
#[derive(Debug)]
pub struct Imported {
    recipe: PathBuf,
    _temporary: TempDir,
}

impl Imported {
    /// The folder of the recipe.
    pub fn recipe(&self) -> &Path {
        &self.recipe
    }
}

/// Makes a recipe when the source is an MLflow model; `None` when it is anything else.
///
/// # Errors
/// `invalid_model` for a folder that is no proper MLflow model, `conversion_failed` when it
/// cannot become ONNX, `invalid_recipe` for an input example that does not fit;
/// `unknown_model`, `unknown_version`, `unauthorized`, `network`, `timeout` from a registry;
/// those of the model itself; `storage`.
pub fn prepare(source: &Path, args: &ImportArgs) -> Result<Option<Imported>> {
    let uri = source.to_str().filter(|text| text.starts_with("models:"));
    if uri.is_none() && !is_model_folder(source) {
        return Ok(None);
    }
    let temporary = tempfile::Builder::new()
        .prefix("twinfer-import-")
        .tempdir()
        .map_err(|e| err!(Storage, "cannot make a temporary folder: {e}"))?;
    let (folder, registered) = match uri {
        None => (source.to_path_buf(), None),
        Some(uri) => {
            let found = registry::get(uri, args, &temporary.path().join("model"))?;
            (found.folder, Some(found.registered))
        }
    };
    let recipe = match &args.write_recipe {
        Some(folder) => new_folder(folder)?,
        None => new_folder(&temporary.path().join("recipe"))?,
    };
    let work = new_folder(&temporary.path().join("work"))?;
    let place = uri.map_or_else(|| source.display().to_string(), ToOwned::to_owned);
    Import {
        folder: ModelFolder::open(&folder)?,
        registered,
        args,
        recipe: recipe.clone(),
        work,
    }
    .run()
    .map_err(|e| e.context(place))?;
    Ok(Some(Imported {
        recipe,
        _temporary: temporary,
    }))
}

/// A folder with `MLmodel`; one that is a recipe too is a recipe.
fn is_model_folder(path: &Path) -> bool {
    path.join(mlmodel::FILE).exists() && !path.join(twinfer_package::RECIPE_NAME).exists()
}

/// A folder that was not there, or is empty: nothing of anybody is overwritten.
fn new_folder(path: &Path) -> Result<PathBuf> {
    let failed = |e: std::io::Error| err!(Storage, "cannot make {}: {e}", path.display());
    std::fs::create_dir_all(path).map_err(failed)?;
    if std::fs::read_dir(path).map_err(failed)?.next().is_some() {
        bail!(
            Storage,
            "{} is not empty: name a new folder for the recipe",
            path.display()
        );
    }
    path.canonicalize().map_err(failed)
}

/// One import, on its way.
struct Import<'a> {
    folder: ModelFolder,
    registered: Option<Registered>,
    args: &'a ImportArgs,
    recipe: PathBuf,
    work: PathBuf,
}

impl Import<'_> {
    fn run(&self) -> Result<()> {
        let model = MlModel::read(&self.folder)?;
        let example = match self.args.no_example {
            true => None,
            false => example::read(&self.folder, &model)?,
        };
        let made = match model.flavor()? {
            Flavor::Onnx(flavor) => golden::of_onnx(self, &model, &flavor, example)?,
            Flavor::Sklearn(flavor) => sklearn::convert(self, &model, &flavor, example)?,
        };
        recipe::write_all(self, &model, &made)
    }
}
