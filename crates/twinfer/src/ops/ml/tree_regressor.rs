//! `ai.onnx.ml.TreeEnsembleRegressor` (versions 1 and 3).

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::ensemble::{Adding, Ensemble, Forest, Real, Width};
use super::post::PostTransform;
use super::table::numbers;
use super::{Parsed, row_dim};
use crate::ops::kernel::{Kernel, KernelOp};

#[derive(Debug)]
struct TreeRegressor {
    forest: Forest,
    aggregate: Aggregate,
    base: Vec<f64>,
    post: PostTransform,
}

/// How what the trees say of a target is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// Reads a `TreeEnsembleRegressor` node.
pub(super) fn parse(_context: &ParsingContext, node: &NodeProto) -> Parsed {
    let aggregate = match node
        .get_attr_opt::<&str>("aggregate_function")?
        .unwrap_or("SUM")
    {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => bail!("unknown aggregate_function `{other}`"),
    };
    let targets: i64 = node.get_attr_opt("n_targets")?.unwrap_or(1);
    // A row of scores is allocated for each: a claim of more is not one of a real model.
    let targets = usize::try_from(targets)
        .ok()
        .filter(|t| (1..=1_000_000).contains(t))
        .with_context(|| format!("n_targets is {targets}"))?;
    let base = numbers(node, "base_values")?.unwrap_or_default();
    ensure!(
        base.is_empty() || base.len() == targets || base.len() == 1,
        "TreeEnsembleRegressor has {} base values for {targets} targets",
        base.len()
    );
    let post = PostTransform::read(node)?;
    let forest = Forest::read(node, "target", targets)?;
    Ok((
        KernelOp::boxed(TreeRegressor {
            forest,
            aggregate,
            base,
            post,
        }),
        vec![],
    ))
}

impl TreeRegressor {
    fn is_sum(&self) -> bool {
        matches!(self.aggregate, Aggregate::Sum | Aggregate::Average)
    }

    /// Makes the scores of a row from its sums.
    fn regress<F: Real>(&self, trees: usize, sums: &[F], scores: &mut [f32]) {
        for (target, (sum, score)) in sums.iter().zip(scores.iter_mut()).enumerate() {
            let mut sum = *sum;
            if self.aggregate == Aggregate::Average {
                sum = sum / F::of(trees as f64);
            }
            // A target that no tree spoke of.
            if !self.is_sum() && sum.is_nan() {
                sum = F::default();
            }
            if !self.base.is_empty() {
                sum = sum + F::of(self.base[if self.base.len() == 1 { 0 } else { target }]);
            }
            *score = sum.single();
        }
        self.post.apply(scores);
    }

    fn eval_with<F: Real>(&self, ensemble: &Ensemble<F>, input: &Tensor) -> TractResult<Tensor> {
        let adding = Adding {
            // NaN loses against every number in `least` and `most`.
            start: match self.is_sum() {
                true => F::default(),
                false => F::NAN,
            },
            add: |sum: F, weight: F| match self.aggregate {
                Aggregate::Sum | Aggregate::Average => sum + weight,
                Aggregate::Min => sum.least(weight),
                Aggregate::Max => sum.most(weight),
            },
        };
        ensemble.score(input, adding, |sums, scores| {
            self.regress(ensemble.trees(), sums, scores);
        })
    }
}

impl Kernel for TreeRegressor {
    fn name(&self) -> &'static str {
        "TreeEnsembleRegressor"
    }

    fn outputs(
        &self,
        _dtype: DatumType,
        shape: &[TDim],
    ) -> TractResult<Vec<(DatumType, TVec<TDim>)>> {
        let scores = tvec![row_dim(shape), self.forest.targets().to_dim()];
        Ok(vec![(f32::datum_type(), scores)])
    }

    fn eval(&self, input: &Tensor) -> TractResult<Vec<Tensor>> {
        let scores = match self.forest.of(input.datum_type()) {
            Width::Single(ensemble) => self.eval_with(ensemble, input)?,
            Width::Double(ensemble) => self.eval_with(ensemble, input)?,
        };
        Ok(vec![scores])
    }
}
