//! Columns: choosing, joining, and two values of each.

use super::super::super::arrange;
use super::super::super::inputs::{Inputs, Kernel, tensor_kernel};
use super::super::super::node::Node;
use super::super::Table;
use super::{floats, rows_and_columns};
use crate::{DType, Element, Result, Tensor, bail, element_count, err};

pub(super) const OPS: Table = &[
    // The engine has it, with an axis too many.
    ("ArrayFeatureExtractor", array_feature_extractor),
    ("Binarizer", binarizer),
    ("FeatureVectorizer", feature_vectorizer),
];

/// `Binarizer` (Operators-ml.md, ai.onnx.ml 1).
fn binarizer(node: &Node<'_>) -> Result<Option<Kernel>> {
    fn all<T: Element + From<bool>>(tensor: &Tensor, is_one: impl Fn(T) -> bool) -> Result<Tensor> {
        let elements = tensor.view::<T>()?;
        let made: Vec<T> = elements.iter().map(|&x| is_one(x).into()).collect();
        Tensor::from_vec(tensor.shape(), made)
    }
    let threshold = node.float("threshold", 0.0);
    let wide = f64::from(threshold);
    tensor_kernel(move |inputs| {
        let tensor = inputs.tensor(0)?;
        match tensor.dtype() {
            DType::F32 => all(tensor, |x: f32| x > threshold),
            DType::F64 => all(tensor, |x: f64| x > wide),
            DType::I32 => all(tensor, |x: i32| f64::from(x) > wide),
            DType::I64 => all(tensor, |x: i64| x as f64 > wide),
            other => bail!(WrongDtype, "Binarizer takes no {other}"),
        }
    })
    .map(Some)
}

/// `FeatureVectorizer` (Operators-ml.md, ai.onnx.ml 1). Columns that an input lacks are zeros.
fn feature_vectorizer(node: &Node<'_>) -> Result<Option<Kernel>> {
    let widths = node.ints("inputdimensions").map(<[i64]>::to_vec);
    tensor_kernel(move |inputs| join(inputs, widths.as_deref())).map(Some)
}

fn join(inputs: &Inputs<'_>, widths: Option<&[i64]>) -> Result<Tensor> {
    let mut parts = Vec::with_capacity(inputs.len());
    let (mut rows, mut total) = (None, 0usize);
    for index in 0..inputs.len() {
        let tensor = inputs.tensor(index)?;
        let (these, columns) = rows_and_columns(tensor)?;
        let width = match widths.map(|widths| widths.get(index)) {
            None => columns,
            Some(width) => width
                .and_then(|&width| usize::try_from(width).ok())
                .ok_or_else(|| err!(InvalidModel, "input {index} has no dimension"))?,
        };
        if *rows.get_or_insert(these) != these {
            bail!(InvalidInput, "the inputs have different numbers of rows");
        }
        total = total.saturating_add(width);
        parts.push((floats(tensor)?, columns, width));
    }
    let shape = [rows.unwrap_or(0), total];
    // The widths are the model's: a claim of more than anybody has is refused.
    let count = element_count(&shape)?;
    if count > super::maps::MAX_ELEMENTS {
        bail!(InvalidModel, "{shape:?} is more than can be");
    }
    let mut all = vec![0f32; count];
    let mut start = 0;
    for (floats, columns, width) in parts {
        if columns > 0 {
            let rows = all.chunks_exact_mut(total.max(1));
            for (to, from) in rows.zip(floats.chunks_exact(columns)) {
                let to = to.iter_mut().skip(start).take(width);
                to.zip(from).for_each(|(to, from)| *to = *from);
            }
        }
        start = start.saturating_add(width);
    }
    Tensor::from_vec(&shape, all)
}

/// `ArrayFeatureExtractor` (Operators-ml.md, ai.onnx.ml 1). A vector gives a matrix of one row, as
/// onnxruntime has it.
fn array_feature_extractor(_node: &Node<'_>) -> Result<Option<Kernel>> {
    tensor_kernel(|inputs| {
        let (tensor, indices) = (inputs.tensor(0)?, inputs.ints(1)?);
        let Some((&columns, outer)) = tensor.shape().split_last() else {
            bail!(InvalidInput, "a scalar has no columns");
        };
        let chosen: Vec<usize> = (indices.iter())
            .map(|&index| {
                let inside = usize::try_from(index).ok().filter(|&at| at < columns);
                inside
                    .ok_or_else(|| err!(InvalidInput, "there is no column {index} among {columns}"))
            })
            .collect::<Result<_>>()?;
        let shape = match outer {
            [] => vec![1, chosen.len()],
            outer => [outer, &[chosen.len()]].concat(),
        };
        arrange::columns(tensor, columns, &chosen, &shape)
    })
    .map(Some)
}
