//! `ai.onnx.ml`: what the engine lacks of it. Where the specification leaves something open,
//! onnxruntime's reading counts. What graphs of scikit-learn end with (`ops::ml`) runs as a whole.

mod columns;
mod encode;
mod maps;
mod svm;
mod trees;

use super::super::cast;
use super::super::node::Node;
use crate::{Result, Tensor, bail};

/// The operators of this domain that are ours.
pub(super) const TABLES: &[super::Table] =
    &[columns::OPS, encode::OPS, maps::OPS, svm::OPS, trees::OPS];

/// The elements of any type of numbers as FP32.
fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    match tensor.to_vec::<f32>() {
        Ok(floats) => Ok(floats),
        Err(_) => Ok((cast::to_f64(tensor)?.into_iter().map(|x| x as f32)).collect()),
    }
}

/// Rows and columns of a matrix; a vector is one row.
fn rows_and_columns(tensor: &Tensor) -> Result<(usize, usize)> {
    match *tensor.shape() {
        [columns] => Ok((1, columns)),
        [rows, columns] => Ok((rows, columns)),
        ref shape => bail!(
            InvalidInput,
            "expected a matrix [rows, columns], got shape {shape:?}"
        ),
    }
}

/// Labels of classes.
enum Labels {
    Ints(Vec<i64>),
    Strings(Vec<String>),
}

impl Labels {
    /// Those of a classifier: one of two attributes.
    fn read(node: &Node<'_>, ints: &str, strings: &str) -> Result<Self> {
        let strings = node.texts(strings)?.filter(|labels| !labels.is_empty());
        let ints = node.ints(ints).filter(|labels| !labels.is_empty());
        match (ints, strings) {
            (_, Some(labels)) => Ok(Self::Strings(labels)),
            (Some(labels), None) => Ok(Self::Ints(labels.to_vec())),
            (None, None) => bail!(InvalidModel, "there are no labels"),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Ints(labels) => labels.len(),
            Self::Strings(labels) => labels.len(),
        }
    }

    /// The labels of these classes.
    fn of(&self, classes: &[usize]) -> Result<Tensor> {
        let shape = [classes.len()];
        let at = classes.iter();
        match self {
            Self::Ints(labels) => {
                let labels = at.map(|&class| labels.get(class).copied().unwrap_or_default());
                Tensor::from_vec(&shape, labels.collect())
            }
            Self::Strings(labels) => {
                let labels = at.map(|&class| labels.get(class).cloned().unwrap_or_default());
                Tensor::from_strings(&shape, labels.collect())
            }
        }
    }
}
