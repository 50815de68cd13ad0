//! The npm package whose engine is made slim.

use std::path::{Path, PathBuf};

use twinfer::{Result, bail, err};

/// The folder `dist` of the npm package.
pub struct NpmPackage {
    dist: PathBuf,
}

impl NpmPackage {
    /// The package in this folder, or the one that is found from the working directory upwards.
    ///
    /// # Errors
    /// `invalid_parameter` where there is none; `storage`.
    pub fn find(given: Option<&Path>) -> Result<Self> {
        if let Some(folder) = given {
            return Self::in_folder(folder).ok_or_else(|| {
                err!(
                    InvalidParameter,
                    "{} has no dist/glue.js: name the folder of the npm package twinfer",
                    folder.display()
                )
            });
        }
        let here =
            std::env::current_dir().map_err(|e| err!(Storage, "the working directory: {e}"))?;
        let candidates = here
            .ancestors()
            .flat_map(|folder| [folder.join("node_modules/twinfer"), folder.join("web")]);
        match candidates
            .into_iter()
            .find_map(|folder| Self::in_folder(&folder))
        {
            Some(package) => Ok(package),
            None => bail!(
                InvalidParameter,
                "the npm package twinfer is not here: install it, or name its folder with --npm"
            ),
        }
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        let dist = [folder.join("dist"), folder.to_path_buf()];
        let dist = dist
            .into_iter()
            .find(|dist| dist.join("glue.js").is_file())?;
        // Absolute: Node imports from it.
        let dist = dist.canonicalize().ok()?;
        Some(Self { dist })
    }

    /// Its code.
    pub fn dist(&self) -> &Path {
        &self.dist
    }

    /// Its full engine.
    pub fn engine(&self) -> PathBuf {
        self.dist.join("twinfer_web_bg.wasm")
    }
}
