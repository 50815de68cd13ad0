//! An MLflow server: its REST API 2.0, and its artifacts through the server
//! (`mlflow-artifacts:`; mlflow, `mlflow/server/handlers.py`).

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use twinfer::{Result, bail, err};

use super::http::{Http, Refusal};
use super::{Found, Registered, Uri, Which, no_model, no_version};
use crate::import::args::ImportArgs;
use crate::import::files::is_inside;

/// Before the names of all calls.
const API: [&str; 3] = ["api", "2.0", "mlflow"];

/// A model has some ten files; one with the code of a project a few hundred.
const MAX_FILES: usize = 10_000;

/// Folders in folders.
const MAX_DEPTH: usize = 16;

/// What fits onto a disk that models are fetched to: four files of the largest size.
const MAX_TOTAL_BYTES: u64 = 8 << 30;

/// Finds a model and fetches its files into `target`.
pub fn get(
    address: &str,
    asked: &str,
    uri: &Uri,
    args: &ImportArgs,
    target: &Path,
) -> Result<Found> {
    let http = Http::new(address, args)?;
    let (name, version, meta) = match uri {
        Uri::Logged(id) => (id.clone(), None, json!({"model_id": id})),
        Uri::Registered { name, which } => {
            let meta = version_of(&http, name, which)?;
            (name.clone(), Some(number_in(&meta)?), meta)
        }
    };
    let place = location(&http, &name, version, &meta)?;
    let root = artifact_path(&http, &place)?;
    fs::create_dir_all(target)
        .map_err(|e| err!(Storage, "cannot make {}: {e}", target.display()))?;
    let mut fetch = Fetch {
        http: &http,
        files: 0,
        left: MAX_TOTAL_BYTES,
    };
    fetch.folder(&root, target, 0)?;
    if fetch.files == 0 {
        bail!(UnknownVersion, "the server has no files of {asked}");
    }
    let description = meta["description"].as_str().filter(|d| !d.is_empty());
    Ok(Found {
        folder: target.to_path_buf(),
        registered: Registered {
            name,
            version,
            description: description.map(ToOwned::to_owned),
        },
    })
}

fn number_in(meta: &Json) -> Result<u64> {
    let version = &meta["version"];
    let number = version.as_u64().or_else(|| version.as_str()?.parse().ok());
    number.ok_or_else(|| {
        err!(
            Network,
            "the server names no version: is this an MLflow server?"
        )
    })
}

fn call<'a>(path: &[&'a str]) -> Vec<&'a str> {
    API.iter().copied().chain(path.iter().copied()).collect()
}

/// What the server says about a version.
fn version_of(http: &Http, name: &str, which: &Which) -> Result<Json> {
    let answer = match which {
        Which::Version(number) => http.get(
            &call(&["model-versions", "get"]),
            &[("name", name), ("version", &number.to_string())],
        )?,
        Which::Alias(alias) => http.get(
            &call(&["registered-models", "alias"]),
            &[("name", name), ("alias", alias)],
        )?,
        Which::Latest => http.post(
            &call(&["registered-models", "get-latest-versions"]),
            &json!({"name": name}),
        )?,
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(refusal) => return Err(unknown(http, name, which, refusal)?),
    };
    if !matches!(which, Which::Latest) {
        return Ok(answer["model_version"].clone());
    }
    let versions = answer["model_versions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let newest = versions
        .into_iter()
        .max_by_key(|v| number_in(v).unwrap_or(0));
    newest.ok_or_else(|| no_version(name, which))
}

/// Whether it is the model that is not there, or only this version of it.
fn unknown(http: &Http, name: &str, which: &Which, refusal: Refusal) -> Result<twinfer::Error> {
    let absent = |refusal: &Refusal| {
        refusal.code == "RESOURCE_DOES_NOT_EXIST"
            // An alias that is not there is an invalid value to MLflow.
            || (refusal.code == "INVALID_PARAMETER_VALUE" && refusal.message.contains("not found"))
    };
    if !absent(&refusal) {
        return Ok(refusal.into_error());
    }
    let model = http.get(&call(&["registered-models", "get"]), &[("name", name)])?;
    Ok(match model {
        Err(refusal) if absent(&refusal) => no_model(name),
        _ => no_version(name, which),
    })
}

/// The address of the model's files.
fn location(http: &Http, name: &str, version: Option<u64>, meta: &Json) -> Result<String> {
    if let Some(version) = version {
        let answer = http.get(
            &call(&["model-versions", "get-download-uri"]),
            &[("name", name), ("version", &version.to_string())],
        )?;
        let answer = answer.map_err(Refusal::into_error)?;
        let place = answer["artifact_uri"].as_str().unwrap_or_default();
        match place.strip_prefix("models:/") {
            Some(id) => return logged(http, id),
            None => return Ok(place.to_owned()),
        }
    }
    logged(http, meta["model_id"].as_str().unwrap_or_default())
}

/// The address of the files of a logged model of MLflow 3.
fn logged(http: &Http, id: &str) -> Result<String> {
    if !super::is_model_id(id) {
        bail!(Network, "the server names a model `{}`", id.escape_debug());
    }
    let answer = match http.get(&call(&["logged-models", id]), &[])? {
        Ok(answer) => answer,
        Err(refusal) if refusal.status == 404 => {
            bail!(UnknownModel, "the server has no logged model `{id}`")
        }
        Err(refusal) => return Err(refusal.into_error()),
    };
    let place = answer["model"]["info"]["artifact_uri"].as_str();
    Ok(place.unwrap_or_default().to_owned())
}

/// The path below the server's artifacts, in `mlflow-artifacts:/path` or
/// `mlflow-artifacts://host/path` of this very server.
fn artifact_path(http: &Http, place: &str) -> Result<Vec<String>> {
    let scheme = place.split(':').next().unwrap_or_default();
    let Some(rest) = place.strip_prefix("mlflow-artifacts:") else {
        bail!(
            Network,
            "the files of the model are in `{}:`, not on the MLflow server itself: download them with `mlflow artifacts download`, and pack the folder",
            scheme.chars().take(20).collect::<String>().escape_debug()
        );
    };
    let path = match rest.strip_prefix("//") {
        Some(with_host) => {
            let (host, path) = with_host.split_once('/').unwrap_or((with_host, ""));
            let name = host.split(':').next().unwrap_or_default();
            if !name.is_empty() && Some(name) != http.base().host_str() {
                bail!(
                    Network,
                    "the files of the model are on another server, `{}`",
                    host.escape_debug()
                );
            }
            path
        }
        None => rest.trim_start_matches('/'),
    };
    let path = path.trim_end_matches('/');
    if !is_inside(path) {
        bail!(
            Network,
            "the server names files at `{}`",
            place.escape_debug()
        );
    }
    Ok(path.split('/').map(ToOwned::to_owned).collect())
}

/// Fetching files, with what is left of the limits.
struct Fetch<'a> {
    http: &'a Http,
    files: usize,
    left: u64,
}

impl Fetch<'_> {
    fn folder(&mut self, path: &[String], target: &Path, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            bail!(Network, "the server lists folders in folders without end");
        }
        let artifacts = ["api", "2.0", "mlflow-artifacts", "artifacts"];
        let list = self.http.get(&artifacts, &[("path", &path.join("/"))])?;
        let list = list.map_err(Refusal::into_error)?;
        for entry in list["files"].as_array().into_iter().flatten() {
            let name = entry["path"].as_str().unwrap_or_default();
            // Some stores give the whole path, most the last part.
            let name = name.rsplit('/').next().unwrap_or_default();
            if !is_inside(name) {
                bail!(
                    Network,
                    "the server lists a file of the name `{}`",
                    name.escape_debug()
                );
            }
            self.files += 1;
            if self.files > MAX_FILES {
                bail!(ModelTooLarge, "the model has more than {MAX_FILES} files");
            }
            let path: Vec<String> = path.iter().cloned().chain([name.to_owned()]).collect();
            let target = target.join(name);
            if entry["is_dir"].as_bool().unwrap_or(false) {
                fs::create_dir(&target)
                    .map_err(|e| err!(Storage, "cannot make {}: {e}", target.display()))?;
                self.folder(&path, &target, depth + 1)?;
            } else {
                let segments = artifacts.into_iter().chain(path.iter().map(String::as_str));
                let segments: Vec<&str> = segments.collect();
                let limit = self.left.min(twinfer::MAX_MODEL_BYTES as u64);
                self.left -= self.http.download(&segments, &target, limit)?;
            }
        }
        Ok(())
    }
}
