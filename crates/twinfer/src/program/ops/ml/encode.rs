//! Categories: from labels to numbers, and back.

use std::collections::HashMap;

use super::super::super::inputs::{self, Kernel, tensor_kernel};
use super::super::super::node::Node;
use super::super::Table;
use crate::program::cast;
use crate::{DType, Result, Tensor, bail, element_count};

pub(super) const OPS: Table = &[
    ("CategoryMapper", category_mapper),
    ("LabelEncoder", label_encoder),
    ("OneHotEncoder", one_hot_encoder),
];

/// Where a key is in a list.
enum Places {
    Strings(HashMap<String, usize>),
    Ints(HashMap<i64, usize>),
    /// By their bits.
    Floats(HashMap<u64, usize>),
}

/// Bits that are the same for all that counts as the same number.
fn bits(number: f64) -> u64 {
    match number {
        n if n.is_nan() => f64::NAN.to_bits(),
        0.0 => 0,
        n => n.to_bits(),
    }
}

fn numbered<T>(keys: impl IntoIterator<Item = T>) -> impl Iterator<Item = (T, usize)> {
    keys.into_iter().enumerate().map(|(at, key)| (key, at))
}

impl Places {
    /// Of a repeated key the last counts.
    fn new(keys: &Tensor) -> Result<Self> {
        Ok(match keys.dtype() {
            DType::String => {
                let keys = keys.strings().unwrap_or_default();
                Self::Strings(numbered(keys.iter().cloned()).collect())
            }
            DType::F32 | DType::F64 | DType::F16 | DType::BF16 => {
                let keys = cast::to_f64(keys)?;
                Self::Floats(numbered(keys.into_iter().map(bits)).collect())
            }
            _ => Self::Ints(numbered(whole(keys)?).collect()),
        })
    }

    /// Where each element is.
    fn find(&self, elements: &Tensor) -> Result<Vec<Option<usize>>> {
        Ok(match self {
            Self::Strings(places) => {
                let Some(strings) = elements.strings() else {
                    bail!(WrongDtype, "expected strings, got {}", elements.dtype());
                };
                strings.iter().map(|s| places.get(s).copied()).collect()
            }
            Self::Ints(places) => (whole(elements)?.iter())
                .map(|i| places.get(i).copied())
                .collect(),
            Self::Floats(places) => (cast::to_f64(elements)?.into_iter())
                .map(|x| places.get(&bits(x)).copied())
                .collect(),
        })
    }
}

/// Numbers of any type as integers.
fn whole(tensor: &Tensor) -> Result<Vec<i64>> {
    match inputs::ints(tensor) {
        Ok(ints) => Ok(ints),
        Err(_) => Ok((cast::to_f64(tensor)?.into_iter().map(|x| x as i64)).collect()),
    }
}

/// Values by place, and what is given for a key that is nowhere.
enum Values {
    Strings(Vec<String>, String),
    Numbers {
        dtype: DType,
        size: usize,
        bytes: Vec<u8>,
        default: Vec<u8>,
    },
}

impl Values {
    fn new(values: &Tensor, default: &Tensor) -> Result<Self> {
        if values.dtype() != default.dtype() || default.len() != 1 {
            bail!(
                InvalidModel,
                "the default is no single value of the type of the values"
            );
        }
        if let (Some(values), Some(default)) = (values.strings(), default.strings()) {
            let default = default.first().cloned().unwrap_or_default();
            return Ok(Self::Strings(values.to_vec(), default));
        }
        match (values.as_bytes(), default.as_bytes(), values.dtype().bits()) {
            (Some(bytes), Some(default), Some(bits)) if bits % 8 == 0 => Ok(Self::Numbers {
                dtype: values.dtype(),
                size: bits / 8,
                bytes: bytes.to_vec(),
                default: default.to_vec(),
            }),
            _ => bail!(UnsupportedDtype, "values of {}", values.dtype()),
        }
    }

    fn at(&self, places: &[Option<usize>], shape: &[usize]) -> Result<Tensor> {
        match self {
            Self::Strings(values, default) => {
                let value = |place: &Option<usize>| {
                    let value = place.and_then(|place| values.get(place));
                    value.unwrap_or(default).clone()
                };
                Tensor::from_strings(shape, places.iter().map(value).collect())
            }
            Self::Numbers {
                dtype,
                size,
                bytes,
                default,
            } => {
                let mut all = Vec::with_capacity(places.len() * size);
                for place in places {
                    let value = place.and_then(|place| bytes.get(place * size..(place + 1) * size));
                    all.extend_from_slice(value.unwrap_or(default));
                }
                Tensor::from_slice(*dtype, shape, &all)
            }
        }
    }
}

fn strings(list: Vec<String>) -> Result<Tensor> {
    Tensor::from_strings(&[list.len()], list)
}

fn one<T: crate::Element>(value: T) -> Result<Tensor> {
    Tensor::from_vec(&[1], vec![value])
}

/// The list of an attribute in one of its forms, `keys_*` or `values_*`.
fn list(node: &Node<'_>, name: &str) -> Result<Tensor> {
    if let Some(tensor) = node.tensor(&format!("{name}_tensor"))? {
        return Ok(tensor);
    }
    if let Some(list) = node
        .texts(&format!("{name}_strings"))?
        .filter(|l| !l.is_empty())
    {
        return strings(list);
    }
    if let Some(list) = node
        .ints(&format!("{name}_int64s"))
        .filter(|l| !l.is_empty())
    {
        return Tensor::from_vec(&[list.len()], list.to_vec());
    }
    let list = node.required(name, node.floats(&format!("{name}_floats")))?;
    Tensor::from_vec(&[list.len()], list.to_vec())
}

/// What `LabelEncoder` gives for a key that it does not know.
fn default_of(node: &Node<'_>, dtype: DType) -> Result<Tensor> {
    if let Some(tensor) = node.tensor("default_tensor")? {
        return Ok(tensor);
    }
    match dtype {
        DType::String => strings(vec![node.text("default_string", "_Unused")?.to_owned()]),
        DType::I64 => one(node.int("default_int64", -1)),
        DType::I32 => one(-1i32),
        DType::I16 => one(-1i16),
        DType::F64 => one(-0.0f64),
        DType::F32 => one(node.float("default_float", -0.0)),
        other => bail!(UnsupportedDtype, "values of {other}"),
    }
}

/// `LabelEncoder` (Operators-ml.md, ai.onnx.ml 1, 2 and 4).
fn label_encoder(node: &Node<'_>) -> Result<Option<Kernel>> {
    if node.version() < 2 {
        let classes = node.required("classes_strings", node.texts("classes_strings")?)?;
        let places = (0..classes.len() as i64).collect();
        return both_ways(node, classes, places);
    }
    let (keys, values) = (list(node, "keys")?, list(node, "values")?);
    if keys.len() != values.len() {
        bail!(
            InvalidModel,
            "there are {} keys and {} values",
            keys.len(),
            values.len()
        );
    }
    let default = default_of(node, values.dtype())?;
    let (places, values) = (Places::new(&keys)?, Values::new(&values, &default)?);
    tensor_kernel(move |inputs| {
        let input = inputs.tensor(0)?;
        values.at(&places.find(input)?, input.shape())
    })
    .map(Some)
}

/// `CategoryMapper` (Operators-ml.md, ai.onnx.ml 1).
fn category_mapper(node: &Node<'_>) -> Result<Option<Kernel>> {
    let texts = node.required("cats_strings", node.texts("cats_strings")?)?;
    let ints = node.required("cats_int64s", node.ints("cats_int64s"))?;
    if texts.len() != ints.len() {
        bail!(
            InvalidModel,
            "there are {} strings and {} integers",
            texts.len(),
            ints.len()
        );
    }
    both_ways(node, texts, ints.to_vec())
}

/// Strings to integers, and integers to strings: what comes decides.
fn both_ways(node: &Node<'_>, texts: Vec<String>, ints: Vec<i64>) -> Result<Option<Kernel>> {
    let (texts, ints) = (strings(texts)?, Tensor::from_vec(&[ints.len()], ints)?);
    let text = strings(vec![node.text("default_string", "_Unused")?.to_owned()])?;
    let int = one(node.int("default_int64", -1))?;
    let to_int = (Places::new(&texts)?, Values::new(&ints, &int)?);
    let to_text = (Places::new(&ints)?, Values::new(&texts, &text)?);
    tensor_kernel(move |inputs| {
        let input = inputs.tensor(0)?;
        let (places, values) = match input.dtype() {
            DType::String => &to_int,
            _ => &to_text,
        };
        values.at(&places.find(input)?, input.shape())
    })
    .map(Some)
}

/// `OneHotEncoder` (Operators-ml.md, ai.onnx.ml 1).
fn one_hot_encoder(node: &Node<'_>) -> Result<Option<Kernel>> {
    let texts = node.texts("cats_strings")?.filter(|cats| !cats.is_empty());
    let categories = match (texts, node.ints("cats_int64s")) {
        (Some(texts), _) => strings(texts)?,
        (None, Some(ints)) => Tensor::from_vec(&[ints.len()], ints.to_vec())?,
        (None, None) => bail!(InvalidModel, "there are no categories"),
    };
    let (places, count) = (Places::new(&categories)?, categories.len());
    let zeros = node.flag("zeros", true);
    tensor_kernel(move |inputs| {
        let input = inputs.tensor(0)?;
        let mut shape = input.shape().to_vec();
        shape.push(count);
        if element_count(&shape)? > super::maps::MAX_ELEMENTS {
            bail!(InvalidInput, "{shape:?} is more than can be");
        }
        let mut all = vec![0f32; element_count(&shape)?];
        let found = places.find(input)?;
        for (row, place) in all.chunks_exact_mut(count.max(1)).zip(found) {
            match place.and_then(|place| row.get_mut(place)) {
                Some(hot) => *hot = 1.0,
                None if zeros => {}
                None => bail!(InvalidInput, "an element is of no known category"),
            }
        }
        Tensor::from_vec(&shape, all)
    })
    .map(Some)
}
