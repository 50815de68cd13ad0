//! Values from JSON, in the forms in which [`crate::value_to_json`] gives them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::{Map, Value as Json};

use crate::{
    DType, Element, MapKeys, Maps, Result, Tensor, TensorSpec, Value, ValueKind, bail,
    element_count, err, number_from_words,
};

/// More values than maps of a real model have: keys that only one map has cost one in each.
const MAX_MAP_VALUES: usize = 1 << 26;

/// The value of an input from JSON: a tensor as nested arrays, or as `{"shape": […], "data": […]}`
/// where nesting cannot show the shape; a map as an object, maps as a list of objects; a sequence as
/// a list; an empty optional as `null`. Inside a sequence or an optional a list is a tensor, or a
/// sequence where objects are in it.
///
/// # Errors
/// `invalid_input` for JSON of another form, or an element that the type does not hold, with its
/// place; `wrong_shape` for uneven nesting; `unsupported_dtype` for types that JSON has no form for.
pub fn value_from_json(spec: &TensorSpec, json: &Json) -> Result<Value> {
    of_kind(spec, spec.kind, json).map_err(|e| e.context(format!("input `{}`", spec.name)))
}

fn of_kind(spec: &TensorSpec, kind: ValueKind, json: &Json) -> Result<Value> {
    match (kind, json) {
        (ValueKind::Tensor, _) => tensor(spec.dtype, json).map(Value::Tensor),
        (ValueKind::Maps, _) => maps(spec, json).map(Value::Maps),
        (ValueKind::Sequence, Json::Array(items)) => {
            let items = items
                .iter()
                .enumerate()
                .map(|(at, item)| inside(spec, item).map_err(|e| e.context(format!("item {at}"))));
            items.collect::<Result<_>>().map(Value::Sequence)
        }
        (ValueKind::Sequence, other) => bail!(
            InvalidInput,
            "a sequence is a list in JSON, got {}",
            what(other)
        ),
        (ValueKind::Optional, Json::Null) => Ok(Value::Optional(None)),
        (ValueKind::Optional, some) => Ok(Value::Optional(Some(Box::new(inside(spec, some)?)))),
    }
}

/// What is in a sequence or an optional: its JSON shows what it is.
fn inside(spec: &TensorSpec, json: &Json) -> Result<Value> {
    let kind = match json {
        Json::Null => ValueKind::Optional,
        Json::Array(items) if items.iter().any(has_object) => ValueKind::Sequence,
        _ => ValueKind::Tensor,
    };
    of_kind(spec, kind, json)
}

fn has_object(json: &Json) -> bool {
    match json {
        Json::Object(_) => true,
        Json::Array(items) => items.iter().any(has_object),
        _ => false,
    }
}

fn what(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

fn tensor(dtype: DType, json: &Json) -> Result<Tensor> {
    let mut flat = Vec::new();
    let shape = match json {
        Json::Object(object) => {
            let (shape, data) = shape_and_data(object)?;
            flatten(data, &shape_of(data), &mut flat)?;
            shape
        }
        nested => {
            let shape = shape_of(nested);
            flatten(nested, &shape, &mut flat)?;
            shape
        }
    };
    elements(dtype, &shape, &flat, |at| format!("element {at}"))
}

fn shape_and_data(object: &Map<String, Json>) -> Result<(Vec<usize>, &Json)> {
    if let Some(other) = object.keys().find(|key| *key != "shape" && *key != "data") {
        bail!(
            InvalidInput,
            "a tensor is nested arrays or {{\"shape\": […], \"data\": […]}}, got an object with `{other}`"
        );
    }
    let axis = |axis: &Json| axis.as_u64().and_then(|axis| usize::try_from(axis).ok());
    let shape = object.get("shape").and_then(Json::as_array);
    let shape = shape.and_then(|shape| shape.iter().map(axis).collect::<Option<Vec<_>>>());
    match (shape, object.get("data")) {
        (Some(shape), Some(data)) => Ok((shape, data)),
        _ => bail!(
            InvalidInput,
            "a tensor as an object has a `shape` of whole numbers and `data`"
        ),
    }
}

/// The shape that the first element of each array tells.
fn shape_of(json: &Json) -> Vec<usize> {
    let mut shape = Vec::new();
    let mut next = Some(json);
    while let Some(Json::Array(items)) = next {
        shape.push(items.len());
        next = items.first();
    }
    shape
}

fn flatten<'a>(json: &'a Json, shape: &[usize], flat: &mut Vec<&'a Json>) -> Result<()> {
    match (json, shape) {
        (Json::Array(items), [length, rest @ ..]) if items.len() == *length => {
            items.iter().try_for_each(|item| flatten(item, rest, flat))
        }
        (Json::Array(_), _) | (_, [_, ..]) => bail!(
            WrongShape,
            "the arrays are nested unevenly at element {}",
            flat.len()
        ),
        (element, []) => {
            flat.push(element);
            Ok(())
        }
    }
}

/// A tensor of these elements. `place` names one by its number, for messages.
fn elements(
    dtype: DType,
    shape: &[usize],
    flat: &[&Json],
    place: impl Fn(usize) -> String,
) -> Result<Tensor> {
    fn all<T>(
        dtype: DType,
        flat: &[&Json],
        place: &dyn Fn(usize) -> String,
        read: impl Fn(&Json) -> Option<T>,
    ) -> Result<Vec<T>> {
        let one = |(at, json): (usize, &&Json)| {
            read(json).ok_or_else(|| {
                let shown: String = json.to_string().chars().take(40).collect();
                err!(
                    InvalidInput,
                    "{} is {shown}, which is no {dtype}",
                    place(at)
                )
            })
        };
        flat.iter().enumerate().map(one).collect()
    }
    fn integers<T: Element + TryFrom<i128>>(
        shape: &[usize],
        flat: &[&Json],
        place: &dyn Fn(usize) -> String,
    ) -> Result<Tensor> {
        let read = |json: &Json| {
            let wide = json.as_i64().map(i128::from);
            let wide = wide.or_else(|| json.as_u64().map(i128::from));
            wide.and_then(|wide| T::try_from(wide).ok())
        };
        Tensor::from_vec(shape, all(T::DTYPE, flat, place, read)?)
    }
    fn floats<T: Element>(
        shape: &[usize],
        flat: &[&Json],
        place: &dyn Fn(usize) -> String,
        narrow: impl Fn(f64) -> (T, bool),
    ) -> Result<Tensor> {
        let read = |json: &Json| match json {
            // What is finite does not become infinite.
            Json::Number(number) => number
                .as_f64()
                .map(&narrow)
                .and_then(|(narrow, is_finite)| is_finite.then_some(narrow)),
            Json::String(text) => number_from_words(text).map(|number| narrow(number).0),
            _ => None,
        };
        Tensor::from_vec(shape, all(T::DTYPE, flat, place, read)?)
    }
    match dtype {
        DType::Bool => Tensor::from_vec(shape, all(dtype, flat, &place, Json::as_bool)?),
        DType::U8 => integers::<u8>(shape, flat, &place),
        DType::U16 => integers::<u16>(shape, flat, &place),
        DType::U32 => integers::<u32>(shape, flat, &place),
        DType::U64 => integers::<u64>(shape, flat, &place),
        DType::I8 => integers::<i8>(shape, flat, &place),
        DType::I16 => integers::<i16>(shape, flat, &place),
        DType::I32 => integers::<i32>(shape, flat, &place),
        DType::I64 => integers::<i64>(shape, flat, &place),
        DType::F16 => floats(shape, flat, &place, |x| {
            let narrow = half::f16::from_f64(x);
            (narrow, narrow.is_finite())
        }),
        DType::BF16 => floats(shape, flat, &place, |x| {
            let narrow = half::bf16::from_f64(x);
            (narrow, narrow.is_finite())
        }),
        DType::F32 => floats(shape, flat, &place, |x| (x as f32, (x as f32).is_finite())),
        DType::F64 => floats(shape, flat, &place, |x| (x, x.is_finite())),
        DType::String => {
            let text = |json: &Json| json.as_str().map(str::to_owned);
            Tensor::from_strings(shape, all(dtype, flat, &place, text)?)
        }
        other => bail!(UnsupportedDtype, "{other} has no form in JSON"),
    }
}

fn maps(spec: &TensorSpec, json: &Json) -> Result<Maps> {
    let object = |(at, json): (usize, &'_ Json)| match json {
        Json::Object(_) => Ok(()),
        other => Err(err!(
            InvalidInput,
            "map {at} is {}, and must be an object",
            what(other)
        )),
    };
    let rows = match json {
        Json::Object(_) => std::slice::from_ref(json),
        Json::Array(rows) => rows.as_slice(),
        other => bail!(
            InvalidInput,
            "a map is an object in JSON, and several are a list of objects; got {}",
            what(other)
        ),
    };
    rows.iter().enumerate().try_for_each(object)?;
    let rows: Vec<&Map<String, Json>> = rows.iter().filter_map(Json::as_object).collect();
    maps_of(spec.dtype, spec.keys, &rows)
}

/// Maps from objects; their keys are in the order in which they first come.
///
/// # Errors
/// `invalid_input` for values that the type does not hold, and keys that are no integers where those
/// are wanted.
pub(crate) fn maps_of(
    dtype: DType,
    keys: Option<DType>,
    rows: &[&Map<String, Json>],
) -> Result<Maps> {
    let mut columns: HashMap<&str, usize> = HashMap::new();
    let mut names: Vec<String> = Vec::new();
    for key in rows.iter().flat_map(|row| row.keys()) {
        if let Entry::Vacant(free) = columns.entry(key) {
            free.insert(names.len());
            names.push(key.clone());
        }
    }
    let shape = [rows.len(), names.len()];
    let count = element_count(&shape)?;
    if count > MAX_MAP_VALUES {
        bail!(
            InvalidInput,
            "{} maps with {} keys between them are more than can be given at once",
            rows.len(),
            names.len()
        );
    }
    // What a map does not have.
    let absent = match dtype {
        DType::String => Json::from(""),
        DType::Bool => Json::from(false),
        _ => Json::from(0),
    };
    let mut flat: Vec<&Json> = vec![&absent; count];
    for (row, places) in rows.iter().zip(flat.chunks_mut(names.len().max(1))) {
        for (key, value) in row.iter() {
            let at = columns.get(key.as_str()).copied();
            if let Some(place) = at.and_then(|at| places.get_mut(at)) {
                *place = value;
            }
        }
    }
    let place = |at: usize| {
        let width = names.len().max(1);
        let key = names.get(at % width).map(|key| shorten(key));
        let key = format!("the value of `{}`", key.unwrap_or_default());
        match rows.len() {
            1 => key,
            _ => format!("{key} of map {}", at / width),
        }
    };
    let values = elements(dtype, &shape, &flat, place)?;
    let keys = match keys {
        Some(DType::I64) => MapKeys::ints_of(&names)?,
        _ => MapKeys::Strings(names),
    };
    Ok(Maps { keys, values })
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests;
