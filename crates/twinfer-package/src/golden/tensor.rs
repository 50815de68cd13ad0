//! Tensors in golden examples.

use serde::{Deserialize, Serialize};
use twinfer::{DType, Maps, Result, Tensor, Value, bail};

use super::{decode_base64, encode_base64};

/// A named tensor in a golden example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct GoldenTensor {
    /// The name of the model's input or output.
    pub name: String,
    /// The data type of the elements.
    pub dtype: DType,
    /// The axes, outermost first.
    #[cfg_attr(feature = "schema", ts(type = "number[]"))]
    pub shape: Vec<usize>,
    /// The elements.
    pub data: GoldenData,
    /// For maps (ZipMap): the keys of the columns, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
}

/// The elements of a tensor in a golden example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum GoldenData {
    /// Numbers: little-endian, in row-major order, in base64.
    Base64(String),
    /// Strings.
    Strings(Vec<String>),
}

impl GoldenTensor {
    /// The tensor.
    ///
    /// # Errors
    /// `wrong_shape`, `wrong_dtype` and the like when the parts do not fit together.
    pub fn to_tensor(&self) -> Result<Tensor> {
        let tensor = match (&self.data, self.dtype) {
            (GoldenData::Strings(strings), DType::String) => {
                Tensor::from_strings(&self.shape, strings.clone())
            }
            (GoldenData::Base64(text), dtype) if dtype != DType::String => {
                decode_base64(text).and_then(|bytes| Tensor::from_bytes(dtype, &self.shape, bytes))
            }
            _ => {
                bail!(
                    WrongDtype,
                    "tensor `{}`: strings have dtype BYTES and `strings`, numbers `base64`",
                    self.name
                );
            }
        };
        tensor.map_err(|e| e.context(format!("tensor `{}`", self.name)))
    }

    /// The golden form of a value.
    ///
    /// # Errors
    /// `unsupported_dtype` for sequences and optionals, which have none.
    pub fn from_value(name: &str, value: &Value) -> Result<Self> {
        let tensor = value.tensor().map_err(|e| e.context(format!("`{name}`")))?;
        let keys = match value {
            Value::Maps(Maps { keys, .. }) => Some(keys.to_strings()),
            _ => None,
        };
        Ok(Self {
            keys,
            ..Self::from_tensor(name, tensor)
        })
    }

    /// The golden form of a tensor.
    pub fn from_tensor(name: &str, tensor: &Tensor) -> Self {
        let data = match tensor.strings() {
            Some(strings) => GoldenData::Strings(strings.to_vec()),
            None => GoldenData::Base64(encode_base64(tensor.as_bytes().unwrap_or_default())),
        };
        Self {
            name: name.into(),
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            data,
            keys: None,
        }
    }
}
