//! Tensors on their way in and out.

use js_sys::{Array, BigInt, Object, Reflect, Uint8Array};
use serde::Serialize;
use twinfer::{DType, MapKeys, Result, Tensor, Tensors, Value, err};
use wasm_bindgen::prelude::*;

use super::error::to_js as thrown;

/// Named tensors on their way in.
#[wasm_bindgen]
#[derive(Default)]
pub struct TensorList {
    pub(super) tensors: Tensors,
}

#[wasm_bindgen]
impl TensorList {
    /// An empty list.
    #[wasm_bindgen(constructor)]
    pub fn new() -> TensorList {
        Self::default()
    }

    /// Adds a tensor of numbers: little-endian bytes in row-major order.
    ///
    /// # Errors
    /// `wrong_dtype` for an unknown type; those of [`Tensor::from_bytes`].
    pub fn push(
        &mut self,
        name: &str,
        dtype: &str,
        shape: Vec<u32>,
        bytes: &Uint8Array,
    ) -> Result<(), JsValue> {
        let make = || {
            // One copy, from JavaScript's memory to where the engine computes.
            let length = bytes.length() as usize;
            Tensor::filled(dtype_of(dtype)?, &axes(shape), length, |memory| {
                bytes.copy_to(memory);
            })
        };
        self.add(name, make())
    }

    /// Adds a tensor of strings.
    ///
    /// # Errors
    /// Those of [`Tensor::from_strings`].
    #[wasm_bindgen(js_name = pushStrings)]
    pub fn push_strings(
        &mut self,
        name: &str,
        shape: Vec<u32>,
        strings: Vec<String>,
    ) -> Result<(), JsValue> {
        self.add(name, Tensor::from_strings(&axes(shape), strings))
    }

    fn add(&mut self, name: &str, tensor: Result<Tensor>) -> Result<(), JsValue> {
        let tensor = tensor.map_err(|e| thrown(e.context(format!("input `{name}`"))))?;
        self.tensors.push((name.into(), tensor));
        Ok(())
    }
}

fn axes(shape: Vec<u32>) -> Vec<usize> {
    shape.into_iter().map(|axis| axis as usize).collect()
}

fn dtype_of(name: &str) -> Result<DType> {
    DType::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = DType::ALL.iter().map(|d| d.name()).collect();
        err!(
            WrongDtype,
            "`{name}` is not a data type; there are {}",
            known.join(", ")
        )
    })
}

/// What JavaScript gets of a tensor beside its elements.
#[derive(Serialize)]
struct Head<'a> {
    name: &'a str,
    dtype: &'a str,
    shape: &'a [usize],
}

/// Named values as `{name, dtype, shape, data: Uint8Array | string[], keys?}[]`.
pub(super) fn to_js<'a>(
    values: impl IntoIterator<Item = (&'a str, &'a Value)>,
) -> Result<Array, JsValue> {
    values
        .into_iter()
        .map(|(name, value)| one_to_js(name, value))
        .collect()
}

fn one_to_js(name: &str, value: &Value) -> Result<JsValue, JsValue> {
    let tensor = value
        .tensor()
        .map_err(|e| thrown(e.context(format!("`{name}`"))))?;
    let head = Head {
        name,
        dtype: tensor.dtype().name(),
        shape: tensor.shape(),
    };
    let object: Object = super::to_js(&head)?.unchecked_into();
    let data: JsValue = match tensor.strings() {
        Some(strings) => strings.iter().map(JsValue::from).collect::<Array>().into(),
        // One copy out of the wasm memory, into a buffer of its own that can be transferred.
        None => Uint8Array::from(tensor.as_bytes().unwrap_or_default()).into(),
    };
    Reflect::set(&object, &"data".into(), &data)?;
    if let Value::Maps(maps) = value {
        Reflect::set(&object, &"keys".into(), &keys_to_js(&maps.keys))?;
    }
    Ok(object.into())
}

/// Integer labels are 64-bit, which only a bigint holds.
fn keys_to_js(keys: &MapKeys) -> JsValue {
    let array: Array = match keys {
        MapKeys::Ints(keys) => keys
            .iter()
            .map(|&key| JsValue::from(BigInt::from(key)))
            .collect(),
        MapKeys::Strings(keys) => keys.iter().map(JsValue::from).collect(),
    };
    array.into()
}
