//! Recipes: how a package is made of files, in `twinfer.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use twinfer::{Error, ErrorCode, Label, Limits, Pipeline, Result, bail, err};

use crate::digest::shorten;
use crate::limits::{MAX_CONFIG_BYTES, MAX_FILE_BYTES, MAX_GOLDEN_BYTES, MAX_MODEL_BYTES};
use crate::store::storage;
use crate::{Digest, Golden, GoldenInput, check_name, check_tag};

/// File name of a recipe.
pub const RECIPE_NAME: &str = "twinfer.toml";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeFile {
    package: PackageSection,
    #[serde(default)]
    source: Source,
    model: ModelSection,
    #[serde(default)]
    files: FilesSection,
    pipeline: Option<toml::Value>,
    #[serde(default)]
    limits: Limits,
}

/// `[package]`: what it is called and who made it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PackageSection {
    pub name: String,
    pub version: String,
    pub title: Option<String>,
    #[serde(default)]
    pub description: String,
    pub license: Option<String>,
    #[serde(default)]
    pub authors: Vec<String>,
    pub created: String,
}

/// `[source]`: where a model comes from that was not trained by the recipe itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub url: Option<String>,
    pub commit: Option<String>,
    pub sha256: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelSection {
    file: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesSection {
    golden: Option<String>,
    card: Option<String>,
    license: Option<String>,
    labels: Option<String>,
}

/// A label in `labels.json`: its name alone, or with properties.
#[derive(Deserialize)]
#[serde(untagged)]
enum LabelEntry {
    Name(String),
    Full(Label),
}

/// A recipe with all its files read.
#[derive(Debug)]
pub(super) struct Recipe {
    pub package: PackageSection,
    pub source: Source,
    pub model: Vec<u8>,
    pub golden: Option<Golden>,
    pub card: Option<Vec<u8>>,
    pub license: Option<Vec<u8>>,
    pub labels: BTreeMap<String, Vec<Label>>,
    pub pipeline: Option<Pipeline>,
    pub limits: Limits,
}

impl Recipe {
    /// Reads the recipe of a folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let files = RecipeFolder(folder);
        let text = files.text(RECIPE_NAME)?;
        let recipe: RecipeFile =
            toml::from_str(&text).map_err(|e| toml_error(RECIPE_NAME, &text, &e))?;
        recipe.package.check().map_err(|e| e.context(RECIPE_NAME))?;
        let model = files.bytes(&recipe.model.file, MAX_MODEL_BYTES)?;
        recipe.source.check(&recipe.model.file, &model)?;
        let file = |name: &Option<String>| {
            name.as_deref()
                .map(|n| files.bytes(n, MAX_FILE_BYTES))
                .transpose()
        };
        let golden = match &recipe.files.golden {
            Some(name) => Some(files.golden(name)?),
            None => None,
        };
        let labels = match &recipe.files.labels {
            Some(name) => files
                .json::<BTreeMap<String, Vec<LabelEntry>>>(name)?
                .into_iter()
                .map(label_list)
                .collect(),
            None => BTreeMap::new(),
        };
        Ok(Self {
            golden,
            labels,
            model,
            card: file(&recipe.files.card)?,
            license: file(&recipe.files.license)?,
            pipeline: recipe
                .pipeline
                .map(|value| files.pipeline(value))
                .transpose()?,
            package: recipe.package,
            source: recipe.source,
            limits: recipe.limits,
        })
    }
}

impl Recipe {
    /// A recipe of nothing but a model file.
    pub fn of_model(name: &str, version: &str, model: Vec<u8>) -> Result<Self> {
        let package = PackageSection {
            name: name.into(),
            version: version.into(),
            title: None,
            description: String::new(),
            license: None,
            authors: Vec::new(),
            // The same file gives the same digest: the clock has no say.
            created: "1970-01-01T00:00:00Z".into(),
        };
        package.check()?;
        Ok(Self {
            package,
            source: Source::default(),
            model,
            golden: None,
            card: None,
            license: None,
            labels: BTreeMap::new(),
            pipeline: None,
            limits: Limits::default(),
        })
    }
}

fn label_list((key, labels): (String, Vec<LabelEntry>)) -> (String, Vec<Label>) {
    let full = |entry| match entry {
        LabelEntry::Name(name) => Label { name, text: false },
        LabelEntry::Full(label) => label,
    };
    (key, labels.into_iter().map(full).collect())
}

impl PackageSection {
    fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        check_tag(&self.version)?;
        if crate::tag_version(&self.version).is_none() {
            bail!(
                InvalidRecipe,
                "version `{}` is not a semantic version; write major.minor.patch, like 1.0.0",
                shorten(&self.version)
            );
        }
        if !is_timestamp(&self.created) {
            bail!(
                InvalidRecipe,
                "created = `{}` is not a time; write UTC like 2026-11-25T00:00:00Z (the recipe states it, so that packing again gives the same digest)",
                shorten(&self.created)
            );
        }
        Ok(())
    }
}

/// `YYYY-MM-DDTHH:MM:SSZ`, within the ranges of RFC 3339.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    let pattern = b"dddd-dd-ddTdd:dd:ddZ";
    let formed = bytes.len() == pattern.len()
        && bytes.iter().zip(pattern).all(|(b, p)| {
            if *p == b'd' {
                b.is_ascii_digit()
            } else {
                b == p
            }
        });
    let number = |from: usize, to: usize| {
        text.get(from..to)
            .and_then(|t| t.parse::<u32>().ok())
            .unwrap_or(u32::MAX)
    };
    formed
        && (1..=12).contains(&number(5, 7))
        && (1..=31).contains(&number(8, 10))
        && number(11, 13) <= 23
        && number(14, 16) <= 59
        && number(17, 19) <= 60
}

impl Source {
    fn check(&self, name: &str, model: &[u8]) -> Result<()> {
        let Some(wanted) = &self.sha256 else {
            return Ok(());
        };
        let wanted = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        let wanted: Digest = format!("sha256:{wanted}")
            .parse()
            .map_err(|e: Error| e.context("twinfer.toml: source.sha256"))?;
        let got = Digest::of(model);
        if got != wanted {
            bail!(
                DigestMismatch,
                "`{name}` has the digest {got}, but source.sha256 in twinfer.toml says {wanted}: get the file again, or correct the recipe"
            );
        }
        Ok(())
    }
}

/// The folder of a recipe.
struct RecipeFolder<'a>(&'a Path);

impl RecipeFolder<'_> {
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
        Ok(self.0.join(name))
    }

    fn bytes(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
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
        fs::read(&path).map_err(|e| storage("read", &path, &e))
    }

    fn text(&self, name: &str) -> Result<String> {
        String::from_utf8(self.bytes(name, MAX_CONFIG_BYTES)?)
            .map_err(|_| err!(InvalidRecipe, "{name} is not UTF-8 text"))
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_slice(&self.bytes(name, MAX_CONFIG_BYTES)?)
            .map_err(|e| recipe_error(name, &e.to_string()))
    }

    /// The declared steps: in the recipe itself, or in a JSON file beside it.
    fn pipeline(&self, value: toml::Value) -> Result<Pipeline> {
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
    fn golden(&self, name: &str) -> Result<Golden> {
        let mut golden = Golden::from_json(&self.bytes(name, MAX_GOLDEN_BYTES)?)?;
        for case in &mut golden.cases {
            let (GoldenInput::Picture(blob) | GoldenInput::Bytes(blob)) = &mut case.input else {
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

fn recipe_error(place: &str, message: &str) -> Error {
    let code = if message.starts_with("unknown field") {
        ErrorCode::UnknownField
    } else {
        ErrorCode::InvalidRecipe
    };
    Error::new(code, format!("{place}: {message}"))
}

fn toml_error(place: &str, text: &str, error: &toml::de::Error) -> Error {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map(|before| before.matches('\n').count() + 1);
    match line {
        Some(line) => recipe_error(&format!("{place}: line {line}"), error.message()),
        None => recipe_error(place, error.message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_form_of_time_is_accepted() {
        assert!(is_timestamp("2026-11-25T00:00:00Z"));
        for text in [
            "",
            "2026-11-25",
            "2026-13-25T00:00:00Z",
            "2026-11-25T24:00:00Z",
            "2026-11-25T00:00:00+00:00",
            "2026-11-25t00:00:00z",
        ] {
            assert!(!is_timestamp(text), "{text}");
        }
    }
}
