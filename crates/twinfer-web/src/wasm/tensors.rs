//! Tensors on their way in and out.

use js_sys::{Array, BigInt, Object, Reflect, Uint8Array};
use serde::Serialize;
use twinfer::{DType, MapKeys, Result, Tensor, TensorSpec, Value, ValueKind, err, value_from_json};
use wasm_bindgen::prelude::*;

use super::error::to_js as thrown;

/// Named values on their way in.
#[wasm_bindgen]
#[derive(Default)]
pub struct TensorList {
    values: Vec<(String, Value)>,
    /// Sequences and optionals that were begun, the innermost last.
    open: Vec<Open>,
}

/// What comes next belongs into it.
struct Open {
    name: String,
    is_sequence: bool,
    values: Vec<Value>,
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

    /// Adds maps: a list of objects as JSON, with the type of their values and of their keys.
    ///
    /// # Errors
    /// `wrong_dtype` for an unknown type; those of [`value_from_json`].
    #[wasm_bindgen(js_name = pushMaps)]
    pub fn push_maps(
        &mut self,
        name: &str,
        dtype: &str,
        keys: &str,
        json: &str,
    ) -> Result<(), JsValue> {
        let make = || {
            let spec = TensorSpec {
                name: name.into(),
                kind: ValueKind::Maps,
                dtype: dtype_of(dtype)?,
                shape: None,
                keys: Some(dtype_of(keys)?),
            };
            let json = serde_json::from_str(json)
                .map_err(|e| err!(InvalidJson, "the maps of `{name}`: {e}"))?;
            value_from_json(&spec, &json)
        };
        self.put(name, make().map_err(thrown)?);
        Ok(())
    }

    /// Begins a sequence, or an optional: what is added up to [`TensorList::end`] is in it.
    pub fn begin(&mut self, name: &str, is_sequence: bool) {
        self.open.push(Open {
            name: name.into(),
            is_sequence,
            values: Vec::new(),
        });
    }

    /// Ends what was begun last; an optional in which nothing is, is empty.
    ///
    /// # Errors
    /// `invalid_input` when nothing was begun.
    pub fn end(&mut self) -> Result<(), JsValue> {
        let Some(ended) = self.open.pop() else {
            return Err(thrown(err!(
                InvalidInput,
                "nothing was begun that could end"
            )));
        };
        let value = match ended.is_sequence {
            true => Value::Sequence(ended.values),
            false => Value::Optional(ended.values.into_iter().next().map(Box::new)),
        };
        self.put(&ended.name, value);
        Ok(())
    }

    fn add(&mut self, name: &str, tensor: Result<Tensor>) -> Result<(), JsValue> {
        let tensor = tensor.map_err(|e| thrown(e.context(format!("input `{name}`"))))?;
        self.put(name, Value::Tensor(tensor));
        Ok(())
    }

    fn put(&mut self, name: &str, value: Value) {
        match self.open.last_mut() {
            Some(open) => open.values.push(value),
            None => self.values.push((name.into(), value)),
        }
    }
}

impl TensorList {
    /// The values.
    pub(super) fn into_values(self) -> Vec<(String, Value)> {
        self.values
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
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    dtype: &'a str,
    shape: &'a [usize],
}

/// Named values as `{name, dtype, shape, data: Uint8Array | string[], keys?}[]`; a sequence is
/// `{name, sequence: […]}` and an optional `{name, optional: … | null}`, with the same inside.
pub(super) fn to_js<'a>(
    values: impl IntoIterator<Item = (&'a str, &'a Value)>,
) -> Result<Array, JsValue> {
    values
        .into_iter()
        .map(|(name, value)| one_to_js(Some(name), value))
        .collect()
}

fn one_to_js(name: Option<&str>, value: &Value) -> Result<JsValue, JsValue> {
    let tensor = match value {
        Value::Sequence(items) => {
            let items = items.iter().map(|item| one_to_js(None, item));
            let items: Array = items.collect::<Result<_, _>>()?;
            return inside(name, "sequence", &items);
        }
        Value::Optional(inner) => {
            let inner = inner.as_deref().map(|inner| one_to_js(None, inner));
            let inner = inner.transpose()?.unwrap_or(JsValue::NULL);
            return inside(name, "optional", &inner);
        }
        Value::Tensor(tensor) => tensor,
        Value::Maps(maps) => &maps.values,
    };
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

/// `{name?, [kind]: value}`.
fn inside(name: Option<&str>, kind: &str, value: &JsValue) -> Result<JsValue, JsValue> {
    let object = Object::new();
    if let Some(name) = name {
        Reflect::set(&object, &"name".into(), &name.into())?;
    }
    Reflect::set(&object, &kind.into(), value)?;
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
