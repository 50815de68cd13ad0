//! Recipes: how a package is made of files, in `twinfer.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use twinfer::{Error, ErrorCode, Label, Limits, Mlflow, Pipeline, Result, bail};

use super::folder::RecipeFolder;
use crate::content::Content;
use crate::digest::shorten;
use crate::limits::{MAX_CONFIG_BYTES, MAX_FILE_BYTES, MAX_GOLDEN_BYTES};
use crate::provenance::metrics;
use crate::{Baseline, Digest, DvcLock, Golden, ModelSource, Training, check_name, check_tag};

/// File name of a recipe.
pub const RECIPE_NAME: &str = "twinfer.toml";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeFile {
    package: PackageSection,
    #[serde(default)]
    source: ModelSource,
    training: Option<Training>,
    model: ModelSection,
    #[serde(default)]
    files: FilesSection,
    pipeline: Option<toml::Value>,
    #[serde(default)]
    limits: Limits,
    mlflow: Option<Mlflow>,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelSection {
    file: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesSection {
    golden: Option<String>,
    baseline: Option<String>,
    metrics: Option<String>,
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

/// A recipe with its files: the small ones read, the model where it is.
#[derive(Debug)]
pub(super) struct Recipe {
    pub package: PackageSection,
    pub source: ModelSource,
    pub model: Content,
    /// What the model keeps in files beside it; `None` for one in memory.
    pub folder: Option<RecipeFolder>,
    pub golden: Option<Golden>,
    pub baseline: Option<Vec<u8>>,
    pub metrics: Option<Vec<u8>>,
    pub card: Option<Vec<u8>>,
    pub license: Option<Vec<u8>>,
    pub labels: BTreeMap<String, Vec<Label>>,
    pub pipeline: Option<Pipeline>,
    pub limits: Limits,
    pub training: Option<Training>,
    pub dvc_lock: Option<DvcLock>,
    pub mlflow: Option<Mlflow>,
}

impl Recipe {
    /// Reads the recipe of a folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut files = RecipeFolder::new(folder, true);
        let text = files.text(RECIPE_NAME)?;
        let recipe: RecipeFile =
            toml::from_str(&text).map_err(|e| toml_error(RECIPE_NAME, &text, &e))?;
        recipe.package.check().map_err(|e| e.context(RECIPE_NAME))?;
        let mut read = Self::of_content(recipe.package, files.model(&recipe.model.file)?);
        check_source(&recipe.source, &recipe.model.file, &files)?;
        read.source = recipe.source;
        read.limits = recipe.limits;
        read.mlflow = recipe.mlflow;
        let names = recipe.files;
        if let Some(name) = &names.golden {
            read.golden = Some(files.golden(name)?);
        }
        if let Some(name) = &names.labels {
            let labels = files.json::<BTreeMap<String, Vec<LabelEntry>>>(name)?;
            read.labels = labels.into_iter().map(label_list).collect();
        }
        for (name, file, limit) in [
            (&names.baseline, &mut read.baseline, MAX_GOLDEN_BYTES),
            (&names.metrics, &mut read.metrics, MAX_CONFIG_BYTES),
            (&names.card, &mut read.card, MAX_FILE_BYTES),
            (&names.license, &mut read.license, MAX_FILE_BYTES),
        ] {
            if let Some(name) = name {
                *file = Some(files.bytes(name, limit)?);
            }
        }
        if let Some(json) = &read.baseline {
            Baseline::from_json(json)?;
        }
        if let Some(json) = &read.metrics {
            metrics(json)?;
        }
        if let Some(value) = recipe.pipeline {
            read.pipeline = Some(files.pipeline(value)?);
        }
        if let Some(script) = recipe.training.as_ref().and_then(|t| t.script.as_ref()) {
            files.bytes(script, MAX_FILE_BYTES)?;
        }
        read.training = recipe.training;
        read.dvc_lock = files.dvc_lock()?;
        read.folder = Some(files);
        Ok(read)
    }

    /// A recipe of nothing but a model file in memory.
    pub fn of_model(name: &str, version: &str, model: Vec<u8>) -> Result<Self> {
        Ok(Self::of_content(starter(name, version)?, model.into()))
    }

    /// A recipe of nothing but a model file, and what it keeps in files beside it.
    pub fn of_file(path: &Path, name: &str, version: &str) -> Result<Self> {
        let file = path.file_name().and_then(|name| name.to_str());
        let Some(file) = file else {
            bail!(InvalidRecipe, "{} has no file name", path.display());
        };
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        let mut files = RecipeFolder::new(parent.unwrap_or(Path::new(".")), false);
        let mut recipe = Self::of_content(starter(name, version)?, files.model(file)?);
        recipe.folder = Some(files);
        Ok(recipe)
    }

    fn of_content(package: PackageSection, model: Content) -> Self {
        Self {
            package,
            source: ModelSource::default(),
            model,
            folder: None,
            golden: None,
            baseline: None,
            metrics: None,
            card: None,
            license: None,
            labels: BTreeMap::new(),
            pipeline: None,
            limits: Limits::default(),
            training: None,
            dvc_lock: None,
            mlflow: None,
        }
    }
}

/// What a package is called that nobody wrote a recipe for.
fn starter(name: &str, version: &str) -> Result<PackageSection> {
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
    Ok(package)
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

fn check_source(source: &ModelSource, name: &str, files: &RecipeFolder) -> Result<()> {
    let Some(wanted) = &source.sha256 else {
        return Ok(());
    };
    let wanted = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let wanted: Digest = format!("sha256:{wanted}")
        .parse()
        .map_err(|e: Error| e.context("twinfer.toml: source.sha256"))?;
    match files.digest_of(name) {
        Some(got) if got != wanted => bail!(
            DigestMismatch,
            "`{name}` has the digest {got}, but source.sha256 in twinfer.toml says {wanted}: get the file again, or correct the recipe"
        ),
        _ => Ok(()),
    }
}

pub(super) fn recipe_error(place: &str, message: &str) -> Error {
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
