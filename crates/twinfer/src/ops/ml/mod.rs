//! `ai.onnx.ml`: what scikit-learn, LightGBM and XGBoost export.

mod columns;
mod ensemble;
#[cfg(test)]
mod ensemble_tests;
mod linear;
mod post;
mod table;
mod tree_classifier;
mod tree_regressor;

pub(crate) use self::post::{PostTransform, SecondClass, logistic};

use std::borrow::Cow;
use tract_onnx::model::OnnxOpRegister;

use tract_onnx::tract_hir::internal::*;

/// Operators of this domain that are ours; of the others the engine's are used.
pub(super) const OURS: &[&str] = &[
    "Imputer",
    "LinearClassifier",
    "LinearRegressor",
    "Scaler",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
];

/// Adds ours to the engine's, under their qualified names.
pub(super) fn register(register: &mut OnnxOpRegister) {
    register.insert("ai.onnx.ml.Imputer", columns::imputer);
    register.insert("ai.onnx.ml.LinearClassifier", linear::classifier);
    register.insert("ai.onnx.ml.LinearRegressor", linear::regressor);
    register.insert("ai.onnx.ml.Scaler", columns::scaler);
    register.insert("ai.onnx.ml.TreeEnsembleClassifier", tree_classifier::parse);
    register.insert("ai.onnx.ml.TreeEnsembleRegressor", tree_regressor::parse);
}

/// What the engine wants of a parsed node: the operator, and the names that it captures.
type Parsed = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// Rows and columns of a matrix; a vector is one row.
fn rows_and_columns(shape: &[usize]) -> TractResult<(usize, usize)> {
    match *shape {
        [columns] => Ok((1, columns)),
        [rows, columns] => Ok((rows, columns)),
        _ => bail!("expected a matrix [rows, columns], got shape {shape:?}"),
    }
}

/// The number of rows of such a shape, known or not.
fn row_dim(shape: &[TDim]) -> TDim {
    match shape {
        [rows, _] => rows.clone(),
        _ => 1.to_dim(),
    }
}

/// The elements as FP32, row-major.
fn floats(tensor: &Tensor) -> TractResult<Cow<'_, Tensor>> {
    tensor.cast_to::<f32>()
}
