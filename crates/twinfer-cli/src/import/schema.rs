//! MLflow's own signature: a list of columns, or of tensors (mlflow, `mlflow/types/schema.py`).

use serde::Deserialize;
use serde_json::Value as Json;
use twinfer::{
    MlflowColumn, MlflowParam, MlflowSchema, MlflowTensor, MlflowType, Result, bail, err,
};

/// Inputs or outputs of a model.
#[derive(Debug, Clone)]
pub enum Schema {
    /// Columns of a table.
    Columns(Vec<ColumnSpec>),
    /// Arrays, with a name each unless there is only one.
    Tensors(Vec<ArraySpec>),
}

#[derive(Debug, Clone)]
pub struct ColumnSpec {
    /// Its name; columns of a list may have none.
    pub name: Option<String>,
    /// As MLflow writes it: `double`, `long`, `string`, …
    pub kind: String,
    pub required: bool,
}

#[derive(Debug, Clone)]
pub struct ArraySpec {
    pub name: Option<String>,
    /// A NumPy type.
    pub dtype: String,
    /// -1 for a free axis.
    pub shape: Vec<i64>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: Json,
    name: Option<Json>,
    required: Option<bool>,
    optional: Option<bool>,
    #[serde(rename = "tensor-spec")]
    tensor: Option<TensorPart>,
}

/// A parameter as MLmodel writes it; old versions say `dtype`.
#[derive(Deserialize)]
struct ParamEntry {
    name: String,
    #[serde(rename = "type", alias = "dtype")]
    kind: String,
    default: Option<Json>,
    shape: Option<Vec<i64>>,
}

#[derive(Deserialize)]
struct TensorPart {
    dtype: String,
    shape: Vec<i64>,
}

impl Schema {
    /// Reads the JSON text in `MLmodel`.
    ///
    /// # Errors
    /// `invalid_model`.
    pub fn parse(place: &str, text: &str) -> Result<Self> {
        let entries: Vec<Entry> = serde_json::from_str(text)
            .map_err(|e| err!(InvalidModel, "MLmodel: signature.{place}: {e}"))?;
        let mut columns = Vec::new();
        let mut tensors = Vec::new();
        for entry in entries {
            // A column of a table without names is numbered.
            let name = entry.name.map(|name| match name {
                Json::String(text) => text,
                other => other.to_string(),
            });
            match entry.tensor {
                Some(part) => tensors.push(ArraySpec {
                    name,
                    dtype: part.dtype,
                    shape: part.shape,
                }),
                None => columns.push(ColumnSpec {
                    name,
                    kind: match entry.kind {
                        Json::String(text) => text,
                        other => other.to_string(),
                    },
                    required: entry.required.unwrap_or(!entry.optional.unwrap_or(false)),
                }),
            }
        }
        match (columns.is_empty(), tensors.is_empty()) {
            (false, true) => Ok(Self::Columns(columns)),
            (true, _) => Ok(Self::Tensors(tensors)),
            (false, false) => bail!(
                InvalidModel,
                "MLmodel: signature.{place} mixes columns and tensors"
            ),
        }
    }

    /// As a package has it.
    pub fn kept(self) -> MlflowSchema {
        match self {
            Self::Columns(columns) => {
                let column = |spec: ColumnSpec| MlflowColumn {
                    kind: kind(&spec.kind),
                    name: spec.name,
                    required: spec.required,
                };
                MlflowSchema::Columns(columns.into_iter().map(column).collect())
            }
            Self::Tensors(tensors) => {
                let tensor = |spec: ArraySpec| MlflowTensor {
                    name: spec.name,
                    dtype: spec.dtype,
                    shape: spec.shape,
                };
                MlflowSchema::Tensors(tensors.into_iter().map(tensor).collect())
            }
        }
    }

    /// For people: one entry each.
    pub fn lines(&self) -> Vec<String> {
        let named = |name: &Option<String>| name.clone().unwrap_or_else(|| "(no name)".into());
        match self {
            Self::Columns(columns) => columns
                .iter()
                .map(|c| {
                    let optional = if c.required { "" } else { ", optional" };
                    format!("{}: {}{optional}", named(&c.name), c.kind)
                })
                .collect(),
            Self::Tensors(tensors) => tensors
                .iter()
                .map(|t| format!("{}: {} {:?}", named(&t.name), t.dtype, t.shape))
                .collect(),
        }
    }
}

/// Reads the JSON text of the parameters in `MLmodel`.
///
/// # Errors
/// `invalid_model`.
pub fn params(text: &str) -> Result<Vec<MlflowParam>> {
    let entries: Vec<ParamEntry> = serde_json::from_str(text)
        .map_err(|e| err!(InvalidModel, "MLmodel: signature.params: {e}"))?;
    let param = |entry: ParamEntry| MlflowParam {
        kind: kind(&entry.kind),
        name: entry.name,
        default: entry.default.filter(|default| !default.is_null()),
        list: entry.shape.is_some(),
    };
    Ok(entries.into_iter().map(param).collect())
}

/// What is none of MLflow's types, as vectors of Spark, is not checked there either.
fn kind(name: &str) -> MlflowType {
    MlflowType::deserialize(Json::from(name)).unwrap_or(MlflowType::Any)
}

/// The names of the columns, where all have one and no two the same.
pub fn names(columns: &[ColumnSpec]) -> Option<Vec<&str>> {
    let names: Option<Vec<&str>> = columns.iter().map(|c| c.name.as_deref()).collect();
    let names = names?;
    let distinct: std::collections::BTreeSet<&str> = names.iter().copied().collect();
    (distinct.len() == names.len() && !distinct.contains("")).then_some(names)
}

/// Whether all columns are numbers, so that they may stand side by side in one tensor.
pub fn numeric(columns: &[ColumnSpec]) -> bool {
    columns.iter().all(|c| {
        matches!(
            c.kind.as_str(),
            "double" | "float" | "long" | "integer" | "boolean"
        )
    })
}
