//! From a package to files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use twinfer::{Result, bail};

use crate::content::Content;
use crate::digest::shorten;
use crate::making::Making;
use crate::onnx::join;
use crate::store::{copy_verified, storage};
use crate::{Package, Parts, Reference, Role, Store, media, role};

/// Writes the layers of a package into a folder, as they are: each under its file name, and
/// nothing else. With `join_model`, `model.onnx` has all weights in it again (for a model that
/// was one file, the bytes of that file), and there is no `weights`.
///
/// The folder must not be there, or be empty. It appears when everything in it is verified.
/// Gives the package, without its weights.
///
/// # Errors
/// Those of [`Package::open_parts`]; `storage`, `out_of_space`; with `join_model` also
/// `invalid_model`, `invalid_package` and `model_too_large`.
pub fn unpack(
    store: &dyn Store,
    reference: &Reference,
    folder: &Path,
    join_model: bool,
) -> Result<Package> {
    let package = Package::open_parts(store, reference, Parts::Description)?;
    let making = Making::begin(folder)?;
    for layer in package.layers() {
        // The manifest was checked: every layer has a name that stays inside.
        let path = making.path(layer.file_name().unwrap_or_default().as_ref());
        let mut file = create(&path)?;
        copy_verified(layer, &mut store.open(layer)?, |part| {
            file.write_all(part)
                .map_err(|e| storage("write", &path, &e))
        })
        .map_err(|e| e.context(reference))?;
    }
    if join_model {
        join_files(&package, &making).map_err(|e| e.context(reference))?;
    }
    making.finish()?;
    Ok(package)
}

fn create(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|e| storage("make", parent, &e))?;
    }
    File::create_new(path).map_err(|e| storage("write", path, &e))
}

fn join_files(package: &Package, making: &Making) -> Result<()> {
    let shards = || package.layers().iter().filter(|l| role(l) == Role::Shard);
    let content = |name: &str, size| Content::of_file(&making.path(name.as_ref()), size);
    let beside = |location: &str| {
        let layer = shards().find(|layer| layer.file_name() == Some(location));
        match layer {
            Some(layer) => Ok(content(location, layer.size)),
            None => bail!(
                InvalidPackage,
                "the model has weights in `{}`, which is no layer of the package",
                shorten(location)
            ),
        }
    };
    let Some(model) = package.manifest().layers_of(Role::Model).next() else {
        bail!(InvalidPackage, "there is no {}", media::MODEL_NAME);
    };
    if shards().next().is_none() {
        return Ok(());
    }
    let joined = join(&content(media::MODEL_NAME, model.size), &beside)?;
    let aside = making.aside();
    let mut file = create(&aside)?;
    io::copy(&mut joined.reader()?, &mut file).map_err(|e| storage("write", &aside, &e))?;
    let target = making.path(media::MODEL_NAME.as_ref());
    fs::rename(&aside, &target).map_err(|e| storage("write", &target, &e))?;
    let weights = making.path(media::SHARDS.trim_end_matches('/').as_ref());
    fs::remove_dir_all(&weights).map_err(|e| storage("remove", &weights, &e))
}
