//! A model on the command line: a file, or a package of a registry.

use std::fs;
use std::path::{Path, PathBuf};

use twinfer::{Result, bail, err};
use twinfer_package::Reference;

/// Where a model is.
#[derive(Debug, Clone)]
pub enum ModelSource {
    /// An .onnx file.
    File(PathBuf),
    /// In a registry.
    Package(Reference),
}

impl ModelSource {
    /// # Errors
    /// For what is neither a file nor a reference.
    pub fn of(text: &str) -> Result<Self> {
        let path = Path::new(text);
        if path.is_file() || path.extension().is_some_and(|e| e == "onnx") {
            return Ok(Self::File(path.into()));
        }
        let reference = text.parse::<Reference>();
        reference
            .map(Self::Package)
            .map_err(|e| e.context(format!("there is no file {text}, and as a reference")))
    }
}

/// The bytes of a model file, without the weights that are in others.
///
/// # Errors
/// `invalid_model` where there is none, `model_too_large`, `storage`.
pub fn read_model(path: &Path) -> Result<Vec<u8>> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => err!(InvalidModel, "there is no file {}", path.display()),
        _ => err!(Storage, "cannot read {}: {e}", path.display()),
    };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > twinfer::MAX_MODEL_BYTES as u64 {
        bail!(
            ModelTooLarge,
            "{} has {size} bytes; at most {} are loaded",
            path.display(),
            twinfer::MAX_MODEL_BYTES
        );
    }
    fs::read(path).map_err(failed)
}
