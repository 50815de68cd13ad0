//! The files of a recipe.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;
use twinfer::{Pipeline, Result, bail, err};

use super::recipe::recipe_error;
use crate::content::Content;
use crate::digest::shorten;
use crate::limits::{MAX_CONFIG_BYTES, MAX_GOLDEN_BYTES, MAX_MODEL_BYTES};
use crate::store::storage;
use crate::weights::ModelFolder;
use crate::{Digest, DvcLock, Golden, GoldenInput, InputFile};

/// The folder of a recipe. Remembers what was read, for the provenance.
#[derive(Debug)]
pub(super) struct RecipeFolder {
    root: PathBuf,
    inputs: BTreeMap<String, InputFile>,
    /// The folder of the model file, for its external data.
    model: ModelFolder,
    /// Where that folder is in this one: empty, or ending in a slash.
    model_prefix: String,
    is_recipe: bool,
}

impl RecipeFolder {
    /// A folder; whether it is a recipe, or only holds a model file.
    pub(super) fn new(root: &Path, is_recipe: bool) -> Self {
        Self {
            root: root.into(),
            inputs: BTreeMap::new(),
            model: ModelFolder::of(&root.join("model")),
            model_prefix: String::new(),
            is_recipe,
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn is_recipe(&self) -> bool {
        self.is_recipe
    }

    /// What was read so far, by name.
    pub(super) fn inputs(&self) -> Vec<InputFile> {
        self.inputs.values().cloned().collect()
    }

    /// The digest of a file that was read.
    pub(super) fn digest_of(&self, name: &str) -> Option<Digest> {
        self.inputs.get(&plain(name)).map(|input| input.digest)
    }

    fn remember(&mut self, name: &str, digest: Digest, size: u64) {
        let name = plain(name);
        self.inputs
            .entry(name.clone())
            .or_insert(InputFile { name, digest, size });
    }

    /// The model file, which is not read into memory.
    pub(super) fn model(&mut self, name: &str) -> Result<Content> {
        let (path, size) = self.regular(name, MAX_MODEL_BYTES)?;
        let content = Content::of_file(&path, size);
        self.remember(name, content.digest()?, size);
        self.model = ModelFolder::of(&path);
        let name = plain(name);
        self.model_prefix = match name.rfind('/') {
            Some(slash) => name[..=slash].to_owned(),
            None => String::new(),
        };
        Ok(content)
    }

    /// A file that the model names as the place of its weights.
    pub(super) fn beside_model(&mut self, location: &str) -> Result<Content> {
        let content = self.model.content(location)?;
        let name = format!("{}{location}", self.model_prefix);
        if self.digest_of(&name).is_none() {
            self.remember(&name, content.digest()?, content.length());
        }
        Ok(content)
    }

    /// The `dvc.lock` of the folder, where there is one.
    pub(super) fn dvc_lock(&mut self) -> Result<Option<DvcLock>> {
        const NAME: &str = "dvc.lock";
        if !self.root.join(NAME).is_file() {
            return Ok(None);
        }
        let content = self.text(NAME)?;
        Ok(Some(DvcLock {
            digest: Digest::of(content.as_bytes()),
            content,
        }))
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        let inside = Path::new(name)
            .components()
            .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if !inside || name.is_empty() {
            bail!(
                InvalidRecipe,
                "`{}` is outside the folder of the recipe: copy the file into it, so that the recipe is complete",
                shorten(name)
            );
        }
        Ok(self.root.join(name))
    }

    fn regular(&self, name: &str, limit: u64) -> Result<(PathBuf, u64)> {
        let path = self.path(name)?;
        let metadata = fs::metadata(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                err!(InvalidRecipe, "there is no file {}", path.display())
            }
            _ => storage("read", &path, &e),
        })?;
        if !metadata.is_file() {
            bail!(InvalidRecipe, "{} is not a file", path.display());
        }
        if metadata.len() > limit {
            bail!(
                ModelTooLarge,
                "{} has {} bytes; at most {limit} can be packed",
                path.display(),
                metadata.len()
            );
        }
        Ok((path, metadata.len()))
    }

    pub(super) fn bytes(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let (path, _) = self.regular(name, limit)?;
        let bytes = fs::read(&path).map_err(|e| storage("read", &path, &e))?;
        self.remember(name, Digest::of(&bytes), bytes.len() as u64);
        Ok(bytes)
    }

    pub(super) fn text(&mut self, name: &str) -> Result<String> {
        String::from_utf8(self.bytes(name, MAX_CONFIG_BYTES)?)
            .map_err(|_| err!(InvalidRecipe, "{name} is not UTF-8 text"))
    }

    pub(super) fn json<T: DeserializeOwned>(&mut self, name: &str) -> Result<T> {
        serde_json::from_slice(&self.bytes(name, MAX_CONFIG_BYTES)?)
            .map_err(|e| recipe_error(name, &e.to_string()))
    }

    /// The declared steps: in the recipe itself, or in a JSON file beside it.
    pub(super) fn pipeline(&mut self, value: toml::Value) -> Result<Pipeline> {
        if let Some(table) = value.as_table()
            && table.len() == 1
            && let Some(file) = table.get("file").and_then(toml::Value::as_str)
        {
            return self.json(file);
        }
        value
            .try_into()
            .map_err(|e: toml::de::Error| recipe_error("twinfer.toml: pipeline", e.message()))
    }

    /// The golden examples, with the files that they name put in.
    pub(super) fn golden(&mut self, name: &str) -> Result<Golden> {
        let mut golden = Golden::from_json(&self.bytes(name, MAX_GOLDEN_BYTES)?)?;
        for case in &mut golden.cases {
            let (GoldenInput::Picture(blob) | GoldenInput::Bytes(blob) | GoldenInput::Audio(blob)) =
                &mut case.input
            else {
                continue;
            };
            if let Some(file) = blob.file.take() {
                let bytes = self
                    .bytes(&file, MAX_GOLDEN_BYTES)
                    .map_err(|e| e.context(format!("{name}: case `{}`", case.name)))?;
                blob.base64 = Some(crate::golden::encode_base64(&bytes));
            }
        }
        Ok(golden)
    }
}

/// The name of a file without `./` in it.
fn plain(name: &str) -> String {
    let parts = name.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.collect::<Vec<_>>().join("/")
}
