//! `ai.onnx.ml.LinearClassifier` and `LinearRegressor`. The engine has both, without labels of text
//! and two of the transforms, and gives wrong numbers where the input has another number of features
//! than there are weights for.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::post::{PostTransform, SecondClass};
use super::tree_classifier::{Labels, argmax};
use super::{Parsed, floats, row_dim, rows_and_columns};
use crate::ops::kernel::{Kernel, KernelOp};

/// Rows of weights, one for each class or target.
#[derive(Debug)]
struct Linear {
    /// `[rows, features]`.
    weights: Vec<f32>,
    features: usize,
    /// One for each row.
    offsets: Vec<f32>,
    post: PostTransform,
}

impl Linear {
    fn read(node: &NodeProto, rows: Option<usize>) -> TractResult<Self> {
        let weights: Vec<f32> = node.get_attr_vec("coefficients")?;
        let offsets: Vec<f32> = node.get_attr_opt_vec("intercepts")?.unwrap_or_default();
        let rows = rows.unwrap_or(offsets.len());
        ensure!(
            rows > 0 && !weights.is_empty() && weights.len().is_multiple_of(rows),
            "{} has {} coefficients for {rows} rows",
            node.op_type,
            weights.len()
        );
        ensure!(
            offsets.is_empty() || offsets.len() == rows,
            "{} has {} intercepts for {rows} rows",
            node.op_type,
            offsets.len()
        );
        let offsets = if offsets.is_empty() {
            vec![0.0; rows]
        } else {
            offsets
        };
        Ok(Self {
            features: weights.len() / rows,
            weights,
            offsets,
            post: PostTransform::read(node)?,
        })
    }

    /// The sums for each row of the input.
    fn sums(&self, input: &Tensor, mut take: impl FnMut(&mut Vec<f32>)) -> TractResult<usize> {
        let (rows, columns) = rows_and_columns(input.shape())?;
        // Of a model with weights for more, onnxruntime takes as many as the input has use for, from
        // the first on: so does the Iris model among its own examples.
        ensure!(
            (1..=self.features).contains(&columns),
            "the model has {} features, the input {columns}",
            self.features
        );
        let input = floats(input)?;
        let input = input.try_as_plain_ram()?;
        let mut sums = Vec::with_capacity(self.offsets.len());
        for row in input.as_slice::<f32>()?.chunks_exact(columns) {
            let weights = self.weights.chunks_exact(columns).zip(&self.offsets);
            let sum = |(weights, offset): (&[f32], &f32)| {
                row.iter().zip(weights).map(|(x, w)| x * w).sum::<f32>() + offset
            };
            sums.clear();
            sums.extend(weights.map(sum));
            take(&mut sums);
        }
        Ok(rows)
    }
}

#[derive(Debug)]
struct Classifier {
    linear: Linear,
    labels: Labels,
}

/// Reads a `LinearClassifier` node.
pub(super) fn classifier(_context: &ParsingContext, node: &NodeProto) -> Parsed {
    let labels = Labels::read(node, "classlabels_ints", "classlabels_strings")?;
    let offsets: Option<Vec<f32>> = node.get_attr_opt_vec("intercepts")?;
    let rows = match offsets {
        Some(offsets) if !offsets.is_empty() => offsets.len(),
        _ if labels.len() == 2 && node.get_attr_opt::<i64>("multi_class")?.unwrap_or(0) == 0 => 1,
        _ => labels.len(),
    };
    let linear = Linear::read(node, Some(rows))?;
    ensure!(
        labels.len() == rows || (labels.len() == 2 && rows == 1),
        "LinearClassifier has {} labels for {rows} rows",
        labels.len()
    );
    Ok((KernelOp::boxed(Classifier { linear, labels }), vec![]))
}

impl Kernel for Classifier {
    fn name(&self) -> &'static str {
        "LinearClassifier"
    }

    fn output_count(&self) -> usize {
        2
    }

    fn outputs(
        &self,
        _dtype: DatumType,
        shape: &[TDim],
    ) -> TractResult<Vec<(DatumType, TVec<TDim>)>> {
        Ok(self.labels.outputs(shape))
    }

    fn eval(&self, input: &Tensor) -> TractResult<Vec<Tensor>> {
        let (mut best, mut scores) = (vec![], vec![]);
        let rows = self.linear.sums(input, |sums| {
            best.push(match sums[..] {
                [sum] if self.labels.len() == 2 => usize::from(sum > 0.0),
                _ => argmax(sums),
            });
            let second = (self.labels.len() == 2).then_some(SecondClass::Negated);
            match self.linear.post {
                // As the specification's reference has it: transforms see both.
                PostTransform::Softmax | PostTransform::SoftmaxZero if sums.len() == 1 => {
                    PostTransform::None.finish(sums, second);
                    self.linear.post.finish(sums, None);
                }
                post => post.finish(sums, second),
            }
            scores.append(sums);
        })?;
        let scores = Tensor::from_shape(&[rows, self.labels.len()], &scores)?;
        Ok(vec![self.labels.of(&best), scores])
    }
}

#[derive(Debug)]
struct Regressor(Linear);

/// Reads a `LinearRegressor` node.
pub(super) fn regressor(_context: &ParsingContext, node: &NodeProto) -> Parsed {
    let targets: i64 = node.get_attr_opt("targets")?.unwrap_or(1);
    let linear = Linear::read(node, Some(usize::try_from(targets)?))?;
    Ok((KernelOp::boxed(Regressor(linear)), vec![]))
}

impl Kernel for Regressor {
    fn name(&self) -> &'static str {
        "LinearRegressor"
    }

    fn outputs(
        &self,
        _dtype: DatumType,
        shape: &[TDim],
    ) -> TractResult<Vec<(DatumType, TVec<TDim>)>> {
        let scores = tvec![row_dim(shape), self.0.offsets.len().to_dim()];
        Ok(vec![(f32::datum_type(), scores)])
    }

    fn eval(&self, input: &Tensor) -> TractResult<Vec<Tensor>> {
        let mut scores = vec![];
        let rows = self.0.sums(input, |sums| {
            // Also to a single one, which onnxruntime leaves as it is.
            self.0.post.apply(sums);
            scores.append(sums);
        })?;
        Ok(vec![Tensor::from_shape(
            &[rows, self.0.offsets.len()],
            &scores,
        )?])
    }
}
