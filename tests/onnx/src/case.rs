//! The cases, as the script writes them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use twinfer::{DType, Result, Tensor, Value, bail, err};

/// A test: a model, and what it gives for what.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// `node`, `simple`, `pytorch-converted`, `pytorch-operator`.
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

impl Typed {
    /// The value.
    ///
    /// # Errors
    /// `unsupported_dtype` for a type that Twinfer has no name for.
    pub fn value(&self) -> Result<Value> {
        match self {
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
    let lines = BufReader::new(File::open(folder.join("cases.jsonl"))?).lines();
    lines
        .map(|line| serde_json::from_str(&line?).map_err(io::Error::other))
        .collect()
}
