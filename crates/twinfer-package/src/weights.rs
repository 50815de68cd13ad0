//! Weights outside of the model file: in the layers of a package, or in files beside it.

use std::borrow::Cow;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use twinfer::{Result, Weights, bail, err};

use crate::content::Content;
use crate::digest::shorten;
use crate::store::storage;
use crate::{Package, Role, role};

impl Weights for Package {
    fn length(&self, location: &str) -> Result<u64> {
        self.shard(location).map(|bytes| bytes.len() as u64)
    }

    fn read(&self, location: &str, offset: u64, length: usize) -> Result<Cow<'_, [u8]>> {
        let bytes = self.shard(location)?;
        let part = usize::try_from(offset)
            .ok()
            .and_then(|start| bytes.get(start..start.checked_add(length)?));
        part.map(Cow::Borrowed).ok_or_else(|| {
            err!(
                InvalidPackage,
                "{length} bytes from {offset} on are not all in `{}`",
                shorten(location)
            )
        })
    }
}

impl Package {
    fn shard(&self, location: &str) -> Result<&[u8]> {
        let layer = self
            .layers()
            .iter()
            .find(|l| role(l) == Role::Shard && l.file_name() == Some(location));
        let Some(layer) = layer else {
            bail!(
                InvalidPackage,
                "the model has weights in `{}`, which is no layer of the package",
                shorten(location)
            );
        };
        self.content_of(layer).ok_or_else(|| {
            err!(
                InvalidPackage,
                "{} was not read: open the package with Parts::Model",
                layer.label()
            )
        })
    }
}

/// The folder of a model file that keeps weights in files beside it (ONNX external data).
/// Nothing outside of the folder is read, also not through links.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    folder: PathBuf,
}

impl ModelFolder {
    /// The folder in which this model file is.
    pub fn of(model: &Path) -> Self {
        let folder = model.parent().filter(|p| !p.as_os_str().is_empty());
        Self {
            folder: folder.unwrap_or(Path::new(".")).into(),
        }
    }

    /// The file at a location that a model names.
    ///
    /// # Errors
    /// `invalid_model` for a location outside of the folder, or without a file; `storage`.
    pub(crate) fn content(&self, location: &str) -> Result<Content> {
        let relative = Path::new(location);
        let inside = relative
            .components()
            .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if !inside || location.is_empty() || location.contains(['\\', '\0', ':']) {
            bail!(
                InvalidModel,
                "the model has weights in `{}`: only files in its own folder are read",
                shorten(location)
            );
        }
        let path = self.folder.join(relative);
        let folder = self
            .folder
            .canonicalize()
            .map_err(|e| storage("read", &self.folder, &e))?;
        let path = path.canonicalize().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => err!(
                InvalidModel,
                "the model has weights in `{}`, but there is no file {}",
                shorten(location),
                path.display()
            ),
            _ => storage("read", &path, &e),
        })?;
        if !path.starts_with(&folder) {
            bail!(
                InvalidModel,
                "the model has weights in `{}`, which leads out of its folder",
                shorten(location)
            );
        }
        let metadata = fs::metadata(&path).map_err(|e| storage("read", &path, &e))?;
        if !metadata.is_file() {
            bail!(InvalidModel, "{} is not a file", path.display());
        }
        Ok(Content::of_file(&path, metadata.len()))
    }
}

impl Weights for ModelFolder {
    fn length(&self, location: &str) -> Result<u64> {
        self.content(location).map(|content| content.length())
    }

    fn read(&self, location: &str, offset: u64, length: usize) -> Result<Cow<'_, [u8]>> {
        let mut file = self.content(location)?.seeker()?;
        let mut bytes = vec![0; length];
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|e| err!(Storage, "cannot read `{}`: {e}", shorten(location)))?;
        Ok(bytes.into())
    }
}
