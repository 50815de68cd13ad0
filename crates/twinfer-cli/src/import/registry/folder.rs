//! A tracking folder: what MLflow's file store writes (mlflow,
//! `mlflow/store/model_registry/file_store.py`).

use std::fs;
use std::path::{Component, Path, PathBuf};

use serde_json::Value as Json;
use twinfer::{Result, bail, err};

use super::{Found, Registered, Uri, Which, file_path, no_model, no_version};
use crate::import::files::{MAX_TEXT_BYTES, read_limited};
use crate::import::{mlmodel, yaml};

/// Finds a model in the folder.
pub fn get(root: &Path, uri: &Uri) -> Result<Found> {
    let root = root
        .canonicalize()
        .ok()
        .filter(|root| root.is_dir())
        .ok_or_else(|| err!(Storage, "there is no tracking folder {}", root.display()))?;
    let (name, which) = match uri {
        Uri::Registered { name, which } => (name, which),
        Uri::Logged(id) => {
            let folder = logged(&root, id)?.ok_or_else(|| {
                err!(
                    UnknownModel,
                    "there is no logged model `{id}` in {}",
                    root.display()
                )
            })?;
            return Ok(found(folder, id, None, None));
        }
    };
    let model = root.join("models").join(name);
    if !model.join("meta.yaml").is_file() {
        return Err(no_model(name));
    }
    let number = number_of(&model, name, which)?;
    let meta = model.join(format!("version-{number}")).join("meta.yaml");
    if !meta.is_file() {
        return Err(no_version(name, &Which::Version(number)));
    }
    let text = read_limited(&meta, "meta.yaml", MAX_TEXT_BYTES)?;
    let meta = yaml::parse("meta.yaml", &String::from_utf8_lossy(&text))?;
    let folder =
        location(&root, &meta).map_err(|e| e.context(format!("{name} version {number}")))?;
    let description = meta["description"].as_str().map(ToOwned::to_owned);
    Ok(found(folder, name, Some(number), description))
}

fn found(folder: PathBuf, name: &str, version: Option<u64>, description: Option<String>) -> Found {
    Found {
        folder,
        registered: Registered {
            name: name.into(),
            version,
            description,
        },
    }
}

fn number_of(model: &Path, name: &str, which: &Which) -> Result<u64> {
    match which {
        Which::Version(number) => Ok(*number),
        Which::Alias(alias) => {
            let file = model.join("aliases").join(alias);
            if !file.is_file() {
                return Err(no_version(name, which));
            }
            let text = read_limited(&file, alias, 64)?;
            let number = String::from_utf8_lossy(&text).trim().parse();
            number.map_err(|_| {
                err!(
                    InvalidModel,
                    "the file of the alias `{alias}` has no number in it"
                )
            })
        }
        Which::Latest => {
            let entries = fs::read_dir(model)
                .map_err(|e| err!(Storage, "cannot read {}: {e}", model.display()))?;
            let numbers = entries.filter_map(|entry| {
                let name = entry.ok()?.file_name();
                name.to_str()?.strip_prefix("version-")?.parse().ok()
            });
            numbers.max().ok_or_else(|| no_version(name, which))
        }
    }
}

/// Where the files of a version are. Always inside the tracking folder: what points
/// elsewhere is looked for there, because the folder may have been moved.
fn location(root: &Path, meta: &Json) -> Result<PathBuf> {
    let text = |key: &str| meta[key].as_str().filter(|text| !text.is_empty());
    if let Some(id) = text("model_id")
        && let Some(folder) = logged(root, id)?
    {
        return Ok(folder);
    }
    let Some(place) = text("storage_location").or(text("source")) else {
        bail!(InvalidModel, "meta.yaml does not say where the model is");
    };
    let path = match place.split_once(':') {
        Some(("file", rest)) => file_path(rest),
        Some(("models", rest)) => {
            let id = rest.trim_start_matches('/');
            return logged(root, id)?.ok_or_else(|| missing(place, root));
        }
        Some((scheme, _)) if scheme.len() > 1 => bail!(
            InvalidModel,
            "the model is stored in `{scheme}:`, not in the tracking folder: name the MLflow server instead"
        ),
        _ => PathBuf::from(place),
    };
    let whole = [path.clone()].into_iter();
    let names: Vec<Component> = path
        .components()
        .filter(|c| matches!(c, Component::Normal(_)))
        .collect();
    let moved = (0..names.len()).map(|from| root.join(names[from..].iter().collect::<PathBuf>()));
    let inside = |candidate: PathBuf| {
        let path = candidate.canonicalize().ok()?;
        (path.starts_with(root) && path.join(mlmodel::FILE).is_file()).then_some(path)
    };
    whole
        .chain(moved)
        .find_map(inside)
        .ok_or_else(|| missing(place, root))
}

fn missing(place: &str, root: &Path) -> twinfer::Error {
    err!(
        InvalidModel,
        "the model should be at `{}`, but no folder with MLmodel is there inside of {}",
        place.escape_debug(),
        root.display()
    )
}

/// The artifacts of a logged model of MLflow 3: `<experiment>/models/<id>/artifacts`.
fn logged(root: &Path, id: &str) -> Result<Option<PathBuf>> {
    if !super::is_model_id(id) {
        return Ok(None);
    }
    let entries =
        fs::read_dir(root).map_err(|e| err!(Storage, "cannot read {}: {e}", root.display()))?;
    for entry in entries.flatten() {
        let folder = entry.path().join("models").join(id).join("artifacts");
        if let Ok(folder) = folder.canonicalize()
            && folder.starts_with(root)
            && folder.join(mlmodel::FILE).is_file()
        {
            return Ok(Some(folder));
        }
    }
    Ok(None)
}
