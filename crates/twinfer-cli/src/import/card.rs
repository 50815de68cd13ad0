//! The model card of an imported model: what MLflow knew about it.

use std::fmt::Write;

use serde_json::{Map, Value as Json};
use twinfer::Result;

use super::Import;
use super::files::MAX_TEXT_BYTES;
use super::golden::Made;
use super::mlmodel::MlModel;

/// README.md of the recipe.
pub fn of(import: &Import, model: &MlModel, made: &Made, title: &str) -> Result<String> {
    let registered = import.registered.as_ref();
    let meta = registered_meta(import)?;
    let known = |key: &str| meta.get(key).map(plain);
    let name = registered
        .map(|r| r.name.clone())
        .or_else(|| known("model_name"));
    let version = registered
        .and_then(|r| r.version.map(|v| v.to_string()))
        .or_else(|| known("model_version"));
    let rows = [
        ("registered model", name),
        ("registered version", version),
        ("run", model.run_id.clone()),
        ("model uuid", model.model_uuid.clone()),
        ("model id", model.model_id.clone()),
        ("MLflow", model.mlflow_version.clone()),
        ("created (UTC)", model.utc_time_created.clone()),
        ("made with", Some(made.origin.clone())),
    ];
    let mut text = format!("# {}\n\n", one_line(title));
    if let Some(description) = registered.and_then(|r| r.description.as_deref()) {
        text += &format!("{}\n\n", description.trim());
    }
    text += "Imported from MLflow by `twinfer pack`.\n\n| | |\n|---|---|\n";
    for (key, value) in rows {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            let _ = writeln!(text, "| {key} | {} |", one_line(&value).replace('|', "\\|"));
        }
    }
    for (title, schema) in [("Inputs", model.inputs()?), ("Outputs", model.outputs()?)] {
        if let Some(schema) = schema {
            let _ = writeln!(text, "\n## {title} as MLflow declares them\n");
            for line in schema.lines() {
                let _ = writeln!(text, "- {}", one_line(&line));
            }
        }
    }
    if let Some(metadata) = model.metadata.as_ref().filter(|m| !m.is_null()) {
        let pretty = serde_json::to_string_pretty(metadata).unwrap_or_default();
        let _ = writeln!(
            text,
            "\n## Metadata\n\n```json\n{}\n```",
            pretty.replace("```", "` ` `")
        );
    }
    Ok(text)
}

/// `registered_model_meta`, which MLflow adds to a model that it downloads from a registry.
fn registered_meta(import: &Import) -> Result<Map<String, Json>> {
    const FILE: &str = "registered_model_meta";
    let Some(bytes) = import.folder.read(FILE, MAX_TEXT_BYTES)? else {
        return Ok(Map::new());
    };
    match super::yaml::parse(FILE, &String::from_utf8_lossy(&bytes))? {
        Json::Object(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

fn plain(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Text of others on one line, so that it cannot break out of its place.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control())
        .collect::<Vec<_>>()
        .join(" ")
        .trim()
        .to_owned()
}
