//! The file `MLmodel`: YAML, as MLflow 1 to 3 write it (mlflow, `mlflow/models/model.py`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;
use twinfer::{Mlflow, MlflowFlavor, MlflowParam, Result, bail, err};

use super::files::{MAX_TEXT_BYTES, ModelFolder};
use super::schema::{self, Schema};

/// Name of the file.
pub const FILE: &str = "MLmodel";

/// What an MLflow model says about itself. Fields that are not needed here are left out,
/// whatever they are: MLflow adds some with each version.
#[derive(Debug, Deserialize)]
pub struct MlModel {
    #[serde(default)]
    flavors: BTreeMap<String, Json>,
    signature: Option<RawSignature>,
    pub saved_input_example_info: Option<ExampleInfo>,
    pub utc_time_created: Option<String>,
    pub run_id: Option<String>,
    pub model_uuid: Option<String>,
    pub model_id: Option<String>,
    pub mlflow_version: Option<String>,
    /// What the author wrote: any YAML.
    pub metadata: Option<Json>,
}

#[derive(Debug, Deserialize)]
struct RawSignature {
    inputs: Option<String>,
    outputs: Option<String>,
    params: Option<String>,
}

/// Which file has the input example, and in which form.
#[derive(Debug, Clone, Deserialize)]
pub struct ExampleInfo {
    pub artifact_path: Option<String>,
    pub serving_input_path: Option<String>,
}

/// A form of the model that can be packed.
pub enum Flavor {
    Onnx(OnnxFlavor),
    Sklearn(SklearnFlavor),
}

#[derive(Debug, Deserialize)]
pub struct OnnxFlavor {
    pub data: String,
    pub onnx_version: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct SklearnFlavor {
    pub pickled_model: String,
    #[serde(default = "pickle")]
    pub serialization_format: String,
    pub sklearn_version: Option<String>,
    pub skops_trusted_types: Option<Vec<String>>,
    /// The folder with modules that the pickle needs.
    pub code: Option<String>,
}

fn pickle() -> String {
    "pickle".into()
}

impl MlModel {
    /// # Errors
    /// `invalid_model`, `model_too_large`.
    pub fn read(folder: &ModelFolder) -> Result<Self> {
        let bytes = folder
            .read(FILE, MAX_TEXT_BYTES)?
            .ok_or_else(|| err!(InvalidModel, "there is no file MLmodel in the folder"))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| err!(InvalidModel, "MLmodel is not UTF-8 text"))?;
        let json = super::yaml::parse(FILE, &text)?;
        if !json.is_object() {
            bail!(InvalidModel, "MLmodel is not the YAML of an MLflow model");
        }
        Self::deserialize(json).map_err(|e| err!(InvalidModel, "MLmodel: {e}"))
    }

    /// The form to pack: ONNX where there is one.
    ///
    /// # Errors
    /// `invalid_model` for a flavor that is malformed, or when there is none at all;
    /// `conversion_failed` when there are only others.
    pub fn flavor(&self) -> Result<Flavor> {
        if let Some(flavor) = self.flavors.get("onnx") {
            return Ok(Flavor::Onnx(parse("onnx", flavor)?));
        }
        if let Some(flavor) = self.flavors.get("sklearn") {
            return Ok(Flavor::Sklearn(parse("sklearn", flavor)?));
        }
        if self.flavors.is_empty() {
            bail!(
                InvalidModel,
                "MLmodel has no `flavors`: it is no MLflow model"
            );
        }
        let names: Vec<&str> = self.flavors.keys().map(String::as_str).collect();
        bail!(
            ConversionFailed,
            "the model has the flavors {}; onnx and sklearn can be packed: export it to ONNX and log it with mlflow.onnx.log_model",
            names.join(", ")
        )
    }

    /// # Errors
    /// `invalid_model` when the signature is malformed.
    pub fn inputs(&self) -> Result<Option<Schema>> {
        let text = self.signature.as_ref().and_then(|s| s.inputs.as_deref());
        text.map(|t| Schema::parse("inputs", t)).transpose()
    }

    /// # Errors
    /// `invalid_model` when the signature is malformed.
    pub fn outputs(&self) -> Result<Option<Schema>> {
        let text = self.signature.as_ref().and_then(|s| s.outputs.as_deref());
        text.map(|t| Schema::parse("outputs", t)).transpose()
    }

    /// The parameters that a call may have; `None` where the signature has no list of them.
    ///
    /// # Errors
    /// `invalid_model` when the signature is malformed.
    pub fn params(&self) -> Result<Option<Vec<MlflowParam>>> {
        let text = self.signature.as_ref().and_then(|s| s.params.as_deref());
        text.map(schema::params).transpose()
    }

    /// What the package keeps of it.
    ///
    /// # Errors
    /// Those of [`MlModel::flavor`] and of the parts of the signature.
    pub fn kept(&self) -> Result<Mlflow> {
        Ok(Mlflow {
            flavor: match self.flavor()? {
                Flavor::Onnx(_) => MlflowFlavor::Onnx,
                Flavor::Sklearn(_) => MlflowFlavor::Sklearn,
            },
            inputs: self.inputs()?.map(Schema::kept),
            outputs: self.outputs()?.map(Schema::kept),
            params: self.params()?,
        })
    }

    /// The time as a recipe writes it; 1970 when there is none that can be read.
    pub fn created(&self) -> String {
        // "2026-11-25 10:33:27.608357", always UTC.
        let text = self.utc_time_created.as_deref().unwrap_or_default();
        let seconds = text.split('.').next().unwrap_or_default();
        match seconds.split_once(' ') {
            Some((day, time)) if day.len() == 10 && time.len() == 8 => format!("{day}T{time}Z"),
            _ => "1970-01-01T00:00:00Z".into(),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(name: &str, flavor: &'a Json) -> Result<T> {
    T::deserialize(flavor).map_err(|e| err!(InvalidModel, "MLmodel: the flavor {name}: {e}"))
}
