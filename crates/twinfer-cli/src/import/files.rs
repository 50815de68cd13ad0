//! Files of a model folder: read within limits, and never outside of it.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use twinfer::{Result, bail, err};

/// Files that describe the model: texts of a few kB; 8 MiB leave room for thousands of
/// columns.
pub const MAX_TEXT_BYTES: u64 = 8 << 20;

/// An input example: some rows, or some pictures as numbers.
pub const MAX_EXAMPLE_BYTES: u64 = 64 << 20;

/// The folder of an MLflow model.
pub struct ModelFolder {
    root: PathBuf,
}

impl ModelFolder {
    /// # Errors
    /// `storage` when it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let root = path
            .canonicalize()
            .map_err(|e| err!(Storage, "cannot read {}: {e}", path.display()))?;
        Ok(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a file that the model names; `None` when it is not there.
    ///
    /// # Errors
    /// `invalid_model` for a path that leads out of the folder, by itself or over a link,
    /// and for what is no file.
    pub fn find(&self, name: &str) -> Result<Option<PathBuf>> {
        if !is_inside(name) {
            bail!(
                InvalidModel,
                "MLmodel names the file `{}`, which is outside of the model's folder",
                name.escape_debug()
            );
        }
        let path = match self.root.join(name).canonicalize() {
            Ok(path) => path,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => bail!(Storage, "cannot read {name}: {e}"),
        };
        if !path.starts_with(&self.root) {
            bail!(
                InvalidModel,
                "`{name}` is a link that leads out of the model's folder"
            );
        }
        if !path.is_file() {
            bail!(InvalidModel, "`{name}` is not a file");
        }
        Ok(Some(path))
    }

    /// A file that must be there.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn need(&self, name: &str) -> Result<PathBuf> {
        self.find(name)?.ok_or_else(|| {
            err!(
                InvalidModel,
                "MLmodel names the file `{name}`, which is not in the folder: get the whole model again"
            )
        })
    }

    /// The content of a file, if it is there.
    ///
    /// # Errors
    /// As [`Self::find`]; `model_too_large` beyond the limit.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(path) = self.find(name)? else {
            return Ok(None);
        };
        read_limited(&path, name, limit).map(Some)
    }
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// `model_too_large`, `storage`.
pub fn read_limited(path: &Path, name: &str, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|e| err!(Storage, "cannot read {}: {e}", path.display()))?;
    if bytes.len() as u64 > limit {
        bail!(ModelTooLarge, "`{name}` has more than {limit} bytes");
    }
    Ok(bytes)
}

/// Whether a relative path stays below its folder, on every system.
pub fn is_inside(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 1024
        && !name.contains(['\\', ':'])
        && !name.chars().any(char::is_control)
        && Path::new(name)
            .components()
            .all(|c| matches!(c, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_not_inside() {
        for good in ["model.onnx", "data/model.onnx", "a b.bin"] {
            assert!(is_inside(good), "{good}");
        }
        for bad in [
            "",
            "..",
            "../x",
            "a/../../x",
            "/etc/passwd",
            "C:\\x",
            "C:x",
            "a\\b",
            "./x",
            "a\0",
        ] {
            assert!(!is_inside(bad), "{bad}");
        }
    }
}
