//! What MLflow knew of a model that it saved, for servers that speak its protocol.
//!
//! Source: mlflow, `mlflow/models/signature.py`, `mlflow/types/schema.py`.

use serde::{Deserialize, Serialize};

/// The flavor and the signature of a model that MLflow saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Mlflow {
    /// The flavor that the package was made of.
    pub flavor: MlflowFlavor,
    /// The schema of the inputs; without one MLflow checks nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<MlflowSchema>,
    /// The schema of the outputs, which MLflow does not enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<MlflowSchema>,
    /// The parameters of a call; without a list MLflow takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Vec<MlflowParam>>,
}

/// A flavor of MLflow: what its server gives for the same model depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum MlflowFlavor {
    /// `mlflow.onnx`: every output of the model file by its name.
    Onnx,
    /// `mlflow.sklearn`: what `predict` gives.
    Sklearn,
}

/// Inputs or outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum MlflowSchema {
    /// Columns of a table: all of them have a name, or none has.
    Columns(Vec<MlflowColumn>),
    /// Arrays: all of them have a name, or there is one without.
    Tensors(Vec<MlflowTensor>),
}

/// A column (`ColSpec`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct MlflowColumn {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: MlflowType,
    /// Whether it must be there.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub required: bool,
}

/// An array (`TensorSpec`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct MlflowTensor {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A type of NumPy: `float64`, `int64`, `str`, and so on.
    pub dtype: String,
    /// The lengths of its axes; -1 for any.
    #[cfg_attr(feature = "schema", ts(type = "number[]"))]
    pub shape: Vec<i64>,
}

/// A parameter (`ParamSpec`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct MlflowParam {
    /// Its name.
    pub name: String,
    /// The type of its value, or of the elements of a list.
    #[serde(rename = "type")]
    pub kind: MlflowType,
    /// What it is where a call says nothing; left out for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// Whether its value is a list (shape `(-1,)`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub list: bool,
}

/// A type of a column or a parameter (`DataType`, and the kinds that are made of others).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum MlflowType {
    /// A truth value.
    Boolean,
    /// 32 bits, with a sign.
    Integer,
    /// 64 bits, with a sign.
    Long,
    /// 32 bits.
    Float,
    /// 64 bits.
    Double,
    /// A text.
    String,
    /// Bytes; in JSON as base64.
    Binary,
    /// A point in time; in JSON as a text of ISO 8601.
    Datetime,
    /// A list. What its elements are is not kept: no model in ONNX takes one in a column.
    Array,
    /// An object; as for [`MlflowType::Array`].
    Object,
    /// An object with any keys; as for [`MlflowType::Array`].
    Map,
    /// Anything.
    Any,
}

impl MlflowType {
    /// The name that MLflow has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::String => "string",
            Self::Binary => "binary",
            Self::Datetime => "datetime",
            Self::Array => "array",
            Self::Object => "object",
            Self::Map => "map",
            Self::Any => "any",
        }
    }
}

fn yes() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_true(value: &bool) -> bool {
    *value
}
