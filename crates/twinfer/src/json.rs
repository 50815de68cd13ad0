//! Tensors and numbers as JSON.

use serde_json::{Number, Value as Json};

use crate::{DType, Element, Result, Tensor, Value, bail};

/// A number as JSON. What JSON has no number for becomes the string that JavaScript and
/// TF Serving write: `"NaN"`, `"Infinity"`, `"-Infinity"`.
pub fn number_to_json(value: f64) -> Json {
    match Number::from_f64(value) {
        Some(number) => Json::Number(number),
        None if value.is_nan() => Json::String("NaN".into()),
        None if value > 0.0 => Json::String("Infinity".into()),
        None => Json::String("-Infinity".into()),
    }
}

/// What JSON has no number for, in the words of [`number_to_json`]; nothing for other texts.
pub fn number_from_words(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// A value as JSON: tensors as nested arrays, maps as a list of objects. Floats are widened
/// exactly to double precision.
///
/// # Errors
/// `unsupported_dtype` for types that JSON has no form for (8-bit floats, 4-bit integers,
/// complex numbers).
pub fn value_to_json(value: &Value) -> Result<Json> {
    match value {
        Value::Tensor(tensor) => Ok(nest(
            tensor.shape(),
            &mut elements_to_json(tensor)?.into_iter(),
        )),
        Value::Maps(maps) => {
            let keys = maps.keys.to_strings();
            let numbers = elements_to_json(&maps.values)?;
            let rows = numbers.chunks(keys.len().max(1));
            Ok(rows
                .map(|row| {
                    keys.iter()
                        .cloned()
                        .zip(row.iter().cloned())
                        .collect::<Json>()
                })
                .collect())
        }
        Value::Sequence(items) => items.iter().map(value_to_json).collect(),
        Value::Optional(None) => Ok(Json::Null),
        Value::Optional(Some(inner)) => value_to_json(inner),
    }
}

/// The elements, flat, in row-major order.
pub(crate) fn elements_to_json(tensor: &Tensor) -> Result<Vec<Json>> {
    fn all<T: Element>(tensor: &Tensor, json: impl Fn(T) -> Json) -> Result<Vec<Json>> {
        Ok(tensor.view::<T>()?.iter().copied().map(json).collect())
    }
    if let Some(strings) = tensor.strings() {
        return Ok(strings.iter().cloned().map(Json::String).collect());
    }
    match tensor.dtype() {
        DType::Bool => all::<bool>(tensor, Json::Bool),
        DType::U8 => all::<u8>(tensor, Json::from),
        DType::U16 => all::<u16>(tensor, Json::from),
        DType::U32 => all::<u32>(tensor, Json::from),
        DType::U64 => all::<u64>(tensor, Json::from),
        DType::I8 => all::<i8>(tensor, Json::from),
        DType::I16 => all::<i16>(tensor, Json::from),
        DType::I32 => all::<i32>(tensor, Json::from),
        DType::I64 => all::<i64>(tensor, Json::from),
        DType::F16 => all::<half::f16>(tensor, |v| number_to_json(v.to_f64())),
        DType::BF16 => all::<half::bf16>(tensor, |v| number_to_json(v.to_f64())),
        DType::F32 => all::<f32>(tensor, |v| number_to_json(v.into())),
        DType::F64 => all::<f64>(tensor, number_to_json),
        other => bail!(
            UnsupportedDtype,
            "{other} has no form in JSON; ask for the raw bytes"
        ),
    }
}

fn nest(shape: &[usize], elements: &mut impl Iterator<Item = Json>) -> Json {
    match shape {
        [] => elements.next().unwrap_or(Json::Null),
        [length, rest @ ..] => (0..*length).map(|_| nest(rest, elements)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MapKeys, Maps};
    use serde_json::json;

    #[test]
    fn tensors_nest_by_shape_and_keep_what_json_has_no_number_for() {
        let tensor =
            Tensor::from_vec(&[2, 2], vec![0.1f32, f32::NAN, f32::NEG_INFINITY, 2.0]).unwrap();
        let json = value_to_json(&Value::Tensor(tensor)).unwrap();
        assert_eq!(
            json,
            json!([[0.10000000149011612, "NaN"], ["-Infinity", 2.0]])
        );
        let empty = Tensor::from_vec(&[2, 0], Vec::<f32>::new()).unwrap();
        assert_eq!(
            value_to_json(&Value::Tensor(empty)).unwrap(),
            json!([[], []])
        );
    }

    #[test]
    fn maps_become_one_object_a_row() {
        let values = Tensor::from_vec(&[2, 2], vec![0.25f32, 0.75, 1.0, 0.0]).unwrap();
        let maps = Maps {
            keys: MapKeys::Ints(vec![0, 1]),
            values,
        };
        assert_eq!(
            value_to_json(&Value::Maps(maps)).unwrap(),
            json!([{"0": 0.25, "1": 0.75}, {"0": 1.0, "1": 0.0}])
        );
    }
}
