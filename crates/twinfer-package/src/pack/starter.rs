//! The beginning of a recipe for a model file that has none.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use twinfer::{Dim, OutputSpec, Pipeline, Result, TensorSpec, err};

use super::Built;
use super::recipe::RECIPE_NAME;
use crate::content::Content;
use crate::making::Making;
use crate::media::CARD_NAME;
use crate::store::storage;
use crate::{ModelFolder, check_name};

/// The version of a model that nobody gave one.
pub const STARTER_VERSION: &str = "0.1.0";

/// The name of a model after that of its file: `Version RFB-320.onnx` is `version-rfb-320`.
///
/// # Errors
/// `invalid_reference` where nothing of the file name can be a name.
pub fn name_of(model: &Path) -> Result<String> {
    let stem = model.file_stem().map(|stem| stem.to_string_lossy());
    let lower = stem.unwrap_or_default().to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let name: String = words.join("-").chars().take(crate::MAX_NAME).collect();
    let name = name.trim_end_matches('-').to_owned();
    check_name(&name).map_err(|e| e.context(format!("{}: give a name", model.display())))?;
    Ok(name)
}

/// Writes the folder of a recipe that packs this model file: the model, the files that it
/// keeps weights in, a recipe with what the file says, and a model card to be written.
///
/// # Errors
/// `storage` where the folder is there and not empty, or cannot be written; those of
/// [`Built::from_file`].
pub fn write_recipe(model: &Path, name: &str, version: &str, folder: &Path) -> Result<()> {
    let built = Built::from_file(model, name, version)?;
    let making = Making::begin(folder)?;
    let file = model.file_name().unwrap_or_default();
    copy(
        &Content::of_file(model, length(model)?),
        &making.path(file.as_ref()),
    )?;
    let inputs = built.package().provenance().map(|p| p.inputs.as_slice());
    for input in inputs.unwrap_or_default() {
        let target = making.path(input.name.as_ref());
        if !target.exists() {
            copy(&ModelFolder::of(model).content(&input.name)?, &target)?;
        }
    }
    let text = recipe(&built, &file.to_string_lossy())?;
    copy(
        &text.into_bytes().into(),
        &making.path(RECIPE_NAME.as_ref()),
    )?;
    let card =
        format!("# {name}\n\nWhat it does, for whom, what it was trained on, what it is bad at.\n");
    copy(&card.into_bytes().into(), &making.path(CARD_NAME.as_ref()))?;
    making.finish()
}

fn length(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).map_err(|e| storage("read", path, &e))?;
    Ok(metadata.len())
}

/// Writes content into a file that is not there yet.
fn copy(content: &Content, target: &Path) -> Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(|e| storage("make", parent, &e))?;
    }
    let mut reader = content.reader()?;
    fs::File::create_new(target)
        .and_then(|mut file| io::copy(&mut reader, &mut file))
        .map_err(|e| storage("write", target, &e))?;
    Ok(())
}

/// The pipeline as a part of a recipe.
#[derive(Serialize)]
struct Part<'a> {
    pipeline: &'a Pipeline,
}

fn recipe(built: &Built, file: &str) -> Result<String> {
    let config = built.package().config();
    let mut text = format!(
        "# How the package `{0}` is made: twinfer pack FOLDER\n\n\
         [package]\nname = \"{0}\"\nversion = \"{1}\"\n\
         # title = \"…\"\n# description = \"One sentence on what it does.\"\n\
         # license = \"MIT\"          # SPDX\n# authors = [\"…\"]\n\
         # Never the clock: the same files give the same digest.\n\
         created = \"1970-01-01T00:00:00Z\"\n\n\
         [model]\nfile = {2}\n\n\
         [files]\ncard = \"{CARD_NAME}\"\n# license = \"LICENSE\"\n\
         # golden = \"golden.json\"     # inputs, and the answers that must come out everywhere\n\
         # metrics = \"metrics.json\"   # any JSON object; `twinfer diff` compares its numbers\n\n\
         # [training]\n# script = \"train.py\"\n\
         # data = [{{ name = \"…\", url = \"…\", digest = \"sha256:…\" }}]\n",
        config.name,
        config.version,
        toml::Value::from(file),
    );
    text += "\n# What the model file takes and gives. Steps before and after it, so that callers\n\
             # give pictures, sounds, texts, records or bytes instead: [pipeline], see docs/models.md.\n";
    if let Some(signature) = &config.signature {
        let comment = |kind: &str, name: &str, rest: String| {
            // A name of the file cannot end the comment and begin something else.
            format!("#   {kind} {} {rest}\n", name.escape_debug())
        };
        for TensorSpec {
            name, dtype, shape, ..
        } in &signature.inputs
        {
            text += &comment("input ", name, format!("{dtype} {}", show(shape)));
        }
        for OutputSpec {
            name, dtype, shape, ..
        } in &signature.outputs
        {
            text += &comment("output", name, format!("{dtype} {}", show(shape)));
        }
    }
    if let Some(pipeline) = &config.pipeline {
        let part = toml::to_string(&Part { pipeline });
        text.push('\n');
        text += &part.map_err(|e| err!(Internal, "a pipeline is no TOML: {e}"))?;
    }
    Ok(text)
}

fn show(shape: &Option<Vec<Dim>>) -> String {
    let Some(dims) = shape else {
        return "[any rank]".into();
    };
    let dims: Vec<String> = dims.iter().map(Dim::to_string).collect();
    format!("[{}]", dims.join(", ").escape_debug())
}
