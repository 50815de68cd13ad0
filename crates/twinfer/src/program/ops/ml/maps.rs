//! Maps: what `ZipMap` gives, and tensors of it. A map is a row of [`Maps`].

use std::collections::HashMap;

use super::super::super::inputs::{Inputs, Kernel, kernel, tensor_kernel};
use super::super::super::node::Node;
use super::super::Table;
use super::{Labels, floats};
use crate::program::cast;
use crate::{DType, MapKeys, Maps, Result, Tensor, Value, bail, element_count};

pub(super) const OPS: Table = &[
    ("CastMap", cast_map),
    ("DictVectorizer", dict_vectorizer),
    ("ZipMap", zip_map),
];

/// More elements than an output has whose size the model claims.
pub(super) const MAX_ELEMENTS: usize = 1 << 26;

/// A longer `max_map` than a real model has.
const MAX_MAP: usize = 1 << 20;

/// The maps of an input.
fn maps<'a>(inputs: &Inputs<'a>) -> Result<(&'a Maps, usize)> {
    match inputs.value(0)? {
        Value::Maps(maps) => match *maps.values.shape() {
            [rows, columns] if columns == maps.keys.len() => Ok((maps, rows)),
            ref shape => bail!(
                InvalidInput,
                "there are {} keys for values of {shape:?}",
                maps.keys.len()
            ),
        },
        _ => bail!(InvalidInput, "the input is no map"),
    }
}

/// `ZipMap` (Operators-ml.md, ai.onnx.ml 1).
fn zip_map(node: &Node<'_>) -> Result<Option<Kernel>> {
    let keys = match Labels::read(node, "classlabels_int64s", "classlabels_strings")? {
        Labels::Ints(keys) => MapKeys::Ints(keys),
        Labels::Strings(keys) => MapKeys::Strings(keys),
    };
    kernel(move |inputs| {
        let scores = inputs.tensor(0)?;
        let values = match *scores.shape() {
            [columns] if columns == keys.len() => Tensor::from_vec(&[1, columns], floats(scores)?)?,
            [_, columns] if columns == keys.len() => scores.clone(),
            ref shape => bail!(
                InvalidInput,
                "there are {} keys for scores of {shape:?}",
                keys.len()
            ),
        };
        let keys = keys.clone();
        Ok(vec![Value::Maps(Maps { keys, values })])
    })
    .map(Some)
}

/// `DictVectorizer` (Operators-ml.md, ai.onnx.ml 1).
fn dict_vectorizer(node: &Node<'_>) -> Result<Option<Kernel>> {
    let vocabulary = Labels::read(node, "int64_vocabulary", "string_vocabulary")?;
    tensor_kernel(move |inputs| {
        let (maps, rows) = maps(inputs)?;
        // For each word the column of its key.
        let columns: Vec<Option<usize>> = match (&vocabulary, &maps.keys) {
            (Labels::Ints(words), MapKeys::Ints(keys)) => places(words, keys),
            (Labels::Strings(words), MapKeys::Strings(keys)) => places(words, keys),
            _ => bail!(InvalidInput, "keys and vocabulary are of different types"),
        };
        let (shape, width) = ([rows, columns.len()], maps.keys.len());
        if element_count(&shape)? > MAX_ELEMENTS {
            bail!(InvalidInput, "{shape:?} is more than can be");
        }
        if let Some(strings) = maps.values.strings() {
            return Tensor::from_strings(&shape, spread(strings, rows, width, &columns));
        }
        match maps.values.dtype() {
            DType::F32 => {
                let values = maps.values.view::<f32>()?;
                Tensor::from_vec(&shape, spread(&values, rows, width, &columns))
            }
            DType::F64 => {
                let values = maps.values.view::<f64>()?;
                Tensor::from_vec(&shape, spread(&values, rows, width, &columns))
            }
            DType::I64 => {
                let values = maps.values.view::<i64>()?;
                Tensor::from_vec(&shape, spread(&values, rows, width, &columns))
            }
            other => bail!(WrongDtype, "DictVectorizer takes no values of {other}"),
        }
    })
    .map(Some)
}

/// Where each word is among the keys.
fn places<T: Eq + std::hash::Hash>(words: &[T], keys: &[T]) -> Vec<Option<usize>> {
    let keys: HashMap<&T, usize> = keys.iter().enumerate().map(|(at, key)| (key, at)).collect();
    words.iter().map(|word| keys.get(word).copied()).collect()
}

/// Of each row, which has `width` values, these columns; zero for those that are not there.
fn spread<T: Clone + Default>(
    values: &[T],
    rows: usize,
    width: usize,
    columns: &[Option<usize>],
) -> Vec<T> {
    let rows = (0..rows).map(|at| values.get(at * width..).unwrap_or_default());
    rows.flat_map(|row| {
        let value = |at: &Option<usize>| at.and_then(|at| row.get(at)).cloned();
        columns.iter().map(move |at| value(at).unwrap_or_default())
    })
    .collect()
}

/// The type that `CastMap` gives.
#[derive(Clone, Copy)]
enum To {
    Float,
    Int,
    Text,
}

/// `CastMap` (Operators-ml.md, ai.onnx.ml 1).
fn cast_map(node: &Node<'_>) -> Result<Option<Kernel>> {
    let to = match node.text("cast_to", "TO_FLOAT")? {
        "TO_FLOAT" => To::Float,
        "TO_INT64" => To::Int,
        "TO_STRING" => To::Text,
        other => bail!(InvalidModel, "cast_to is `{other}`"),
    };
    let length = match node.text("map_form", "DENSE")? {
        "DENSE" => None,
        "SPARSE" => match usize::try_from(node.int("max_map", 1)) {
            Ok(length) if length <= MAX_MAP => Some(length),
            _ => bail!(InvalidModel, "max_map is {}", node.int("max_map", 1)),
        },
        other => bail!(InvalidModel, "map_form is `{other}`"),
    };
    tensor_kernel(move |inputs| {
        let (maps, rows) = maps(inputs)?;
        let MapKeys::Ints(keys) = &maps.keys else {
            bail!(InvalidInput, "the keys of CastMap are integers");
        };
        let columns: Vec<Option<usize>> = match length {
            Some(length) => {
                if let Some(key) = keys.iter().find(|&&k| k < 0 || k as u64 >= length as u64) {
                    bail!(InvalidInput, "the key {key} is not below {length}");
                }
                let words: Vec<i64> = (0..length as i64).collect();
                places(&words, keys)
            }
            None => {
                let mut order: Vec<usize> = (0..keys.len()).collect();
                order.sort_by_key(|&at| keys.get(at));
                order.into_iter().map(Some).collect()
            }
        };
        let shape = [rows, columns.len()];
        if element_count(&shape)? > MAX_ELEMENTS {
            bail!(InvalidInput, "{shape:?} is more than can be");
        }
        cast_all(&maps.values, keys.len(), &columns, &shape, to)
    })
    .map(Some)
}

fn cast_all(
    values: &Tensor,
    width: usize,
    columns: &[Option<usize>],
    shape: &[usize],
    to: To,
) -> Result<Tensor> {
    let rows = shape.first().copied().unwrap_or(0);
    if let Some(strings) = values.strings() {
        let number = |text: &String| match text.trim() {
            // What is not there.
            "" => Ok(0.0),
            text => text
                .parse::<f64>()
                .map_err(|_| crate::err!(InvalidInput, "`{text}` is no number")),
        };
        let strings = spread(strings, rows, width, columns);
        return match to {
            To::Text => Tensor::from_strings(shape, strings),
            To::Float => {
                let numbers = strings.iter().map(|s| number(s).map(|x| x as f32));
                Tensor::from_vec(shape, numbers.collect::<Result<_>>()?)
            }
            To::Int => {
                let numbers = strings.iter().map(|s| number(s).map(|x| x as i64));
                Tensor::from_vec(shape, numbers.collect::<Result<_>>()?)
            }
        };
    }
    let numbers = spread(&cast::to_f64(values)?, rows, width, columns);
    match to {
        To::Float => Tensor::from_vec(shape, numbers.iter().map(|&x| x as f32).collect()),
        To::Int => Tensor::from_vec(shape, numbers.iter().map(|&x| x as i64).collect()),
        To::Text => {
            // As C++ prints floats: six digits behind the point.
            let texts = numbers.iter().map(|x| format!("{x:.6}"));
            Tensor::from_strings(shape, texts.collect())
        }
    }
}
