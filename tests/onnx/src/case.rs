//! The cases, as the script writes them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use twinfer::{DType, MapKeys, Maps, Result, Tensor, Value, bail, err};

/// A test: a model, and what it gives for what.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// `node`, `simple`, `pytorch-converted`, `pytorch-operator`; `scikit-learn`, `lightgbm`, `xgboost`.
    pub suite: String,
    /// As ONNX calls it.
    pub name: String,
    /// The path of the model in the folder.
    pub model: String,
    /// Share of the expected number.
    pub rtol: f64,
    /// In the unit of the number.
    pub atol: f64,
    /// Versions of operator sets by domain; the standard one is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// Operators in the graph, with the domain before them.
    pub operators: Vec<String>,
    /// Calls of the model.
    pub sets: Vec<Set>,
}

impl Case {
    /// Whether it draws random numbers: ONNX leaves open which ones, also for the same seed.
    pub fn is_random(&self) -> bool {
        let mut operators = self.operators.iter();
        operators.any(|name| {
            let name = name.strip_prefix("ai.onnx.").unwrap_or_default();
            matches!(name, "Bernoulli" | "Multinomial") || name.starts_with("Random")
        })
    }
}

/// One call.
#[derive(Debug, Deserialize)]
pub struct Set {
    /// What is given.
    pub inputs: Vec<Named>,
    /// What must come out.
    pub outputs: Vec<Named>,
}

/// A value with its name in the graph.
#[derive(Debug, Deserialize)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The value.
    pub value: Typed,
}

/// A value of any type of ONNX.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Typed {
    /// A tensor.
    Tensor {
        /// The type of the elements.
        dtype: String,
        /// The axes.
        shape: Vec<usize>,
        /// Little-endian bytes in base64; empty for strings.
        #[serde(default)]
        data: String,
        /// The elements of a tensor of strings.
        #[serde(default)]
        strings: Vec<String>,
    },
    /// A sequence of maps that share their keys, as `ZipMap` gives it.
    Maps {
        /// The type of the keys: `INT64` or `BYTES`.
        keys: String,
        /// Key and number, of each map, in the order of the keys.
        maps: Vec<Vec<(Key, f32)>>,
    },
    /// A sequence.
    Sequence {
        /// Its elements.
        sequence: Vec<Typed>,
    },
    /// An optional.
    Optional {
        /// What is in it.
        optional: Option<Box<Typed>>,
    },
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Key {
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
}

impl Typed {
    /// The value.
    ///
    /// # Errors
    /// `unsupported_dtype` for a type that Twinfer has no name for.
    pub fn value(&self) -> Result<Value> {
        match self {
            Self::Maps { keys, maps } => Ok(Value::Maps(shared(keys, maps)?)),
            Self::Sequence { sequence } => {
                let items = sequence.iter().map(Self::value);
                Ok(Value::Sequence(items.collect::<Result<_>>()?))
            }
            Self::Optional { optional } => {
                let inner = optional.as_ref().map(|inner| inner.value()).transpose()?;
                Ok(Value::Optional(inner.map(Box::new)))
            }
            Self::Tensor {
                dtype,
                shape,
                data,
                strings,
            } => tensor(dtype, shape, data, strings).map(Value::Tensor),
        }
    }
}

/// The maps with the keys that they share.
fn shared(kind: &str, maps: &[Vec<(Key, f32)>]) -> Result<Maps> {
    let first: Vec<&Key> = maps
        .first()
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
        .collect();
    let keys = match kind {
        "INT64" => {
            let keys = first.iter().filter_map(|key| match key {
                Key::Int(key) => Some(*key),
                Key::Text(_) => None,
            });
            MapKeys::Ints(keys.collect())
        }
        "BYTES" => {
            let keys = first.iter().filter_map(|key| match key {
                Key::Int(_) => None,
                Key::Text(key) => Some(key.clone()),
            });
            MapKeys::Strings(keys.collect())
        }
        other => bail!(UnsupportedDtype, "{other} is no type of a key"),
    };
    let same = |map: &Vec<(Key, f32)>| map.iter().map(|(key, _)| key).eq(first.iter().copied());
    if keys.len() != first.len() || !maps.iter().all(same) {
        bail!(Internal, "the maps of a case do not share their keys");
    }
    let values: Vec<f32> = maps.iter().flatten().map(|(_, number)| *number).collect();
    let values = Tensor::from_vec(&[maps.len(), keys.len()], values)?;
    Ok(Maps { keys, values })
}

fn tensor(dtype: &str, shape: &[usize], data: &str, strings: &[String]) -> Result<Tensor> {
    {
        let Some(known) = DType::from_name(dtype) else {
            bail!(UnsupportedDtype, "{dtype} is no type of a tensor here");
        };
        if known == DType::String {
            return Tensor::from_strings(shape, strings.to_vec());
        }
        let bytes = STANDARD
            .decode(data)
            .map_err(|e| err!(Internal, "a case is not base64: {e}"))?;
        Tensor::from_bytes(known, shape, bytes)
    }
}

/// Reads the cases of a folder.
///
/// # Errors
/// When the file cannot be read, or is not what the script writes.
pub fn read(folder: &Path) -> io::Result<Vec<Case>> {
    lines(&folder.join("cases.jsonl"))
}

/// Reads a file of JSON, a value in each line.
///
/// # Errors
/// When the file cannot be read, or is not of this kind.
pub fn lines<T: serde::de::DeserializeOwned>(file: &Path) -> io::Result<Vec<T>> {
    let lines = BufReader::new(File::open(file)?).lines();
    lines
        .map(|line| serde_json::from_str(&line?).map_err(io::Error::other))
        .collect()
}
