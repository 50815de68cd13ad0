//! Writing the recipe: twinfer.toml, golden.json and README.md beside the model.

use serde_json::json;
use twinfer::{Result, err};

use super::golden::{MODEL, Made, write};
use super::mlmodel::MlModel;
use super::name::package_name;
use super::{Import, card};

/// Writes the recipe of an imported model.
pub fn write_all(import: &Import, model: &MlModel, made: &Made) -> Result<()> {
    let title = title(import);
    let name = match &import.args.name {
        Some(name) => name.clone(),
        None => package_name(&title)?,
    };
    let registered = import.registered.as_ref();
    let version = match (
        &import.args.model_version,
        registered.and_then(|r| r.version),
    ) {
        (Some(version), _) => version.clone(),
        (None, Some(number)) => format!("{number}.0.0"),
        (None, None) => "0.1.0".into(),
    };
    let description = registered.and_then(|r| r.description.clone());
    let mut recipe = json!({
        "package": {
            "name": name,
            "version": version,
            "title": title,
            "description": description.unwrap_or_else(|| "Imported from MLflow.".into()),
            "created": model.created(),
        },
        "model": {"file": MODEL},
        "files": {"card": "README.md"},
        "mlflow": model.kept()?,
    });
    if let Some(golden) = &made.golden {
        recipe["files"]["golden"] = json!("golden.json");
        let text =
            serde_json::to_vec_pretty(golden).map_err(|e| err!(Internal, "golden.json: {e}"))?;
        write(&import.recipe.join("golden.json"), &text)?;
    }
    if let Some(pipeline) = &made.pipeline {
        recipe["pipeline"] = json!(pipeline);
    }
    let text = toml::to_string_pretty(&recipe).map_err(|e| err!(Internal, "twinfer.toml: {e}"))?;
    let head =
        "# Made by `twinfer pack` from an MLflow model. Correct it here, and pack this folder.\n\n";
    write(
        &import.recipe.join(twinfer_package::RECIPE_NAME),
        format!("{head}{text}").as_bytes(),
    )?;
    let card = card::of(import, model, made, &title)?;
    write(&import.recipe.join("README.md"), card.as_bytes())
}

/// What MLflow calls it: the registered name, else the folder's.
fn title(import: &Import) -> String {
    match &import.registered {
        Some(registered) => registered.name.clone(),
        None => {
            let name = import.folder.root().file_name();
            name.map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned())
        }
    }
}
