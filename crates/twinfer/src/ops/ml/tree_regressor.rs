//! `ai.onnx.ml.TreeEnsembleRegressor` (versions 1 and 3).

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::ensemble::{Ensemble, PostTransform};
use super::{Parsed, row_dim};
use crate::ops::kernel::{Kernel, KernelOp};

#[derive(Debug)]
struct TreeRegressor {
    ensemble: Ensemble,
    aggregate: Aggregate,
    base: Vec<f32>,
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
    for double in [
        "nodes_values_as_tensor",
        "target_weights_as_tensor",
        "base_values_as_tensor",
    ] {
        ensure!(
            !node.attribute.iter().any(|a| a.name == double),
            "TreeEnsembleRegressor with `{double}` (double precision) is not supported"
        );
    }
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
    let base: Vec<f32> = node.get_attr_opt_vec("base_values")?.unwrap_or_default();
    ensure!(
        base.is_empty() || base.len() == targets || base.len() == 1,
        "TreeEnsembleRegressor has {} base values for {targets} targets",
        base.len()
    );
    let post = PostTransform::read(node)?;
    let ensemble = Ensemble::read(node, "target", targets)?;
    Ok((
        KernelOp::boxed(TreeRegressor {
            ensemble,
            aggregate,
            base,
            post,
        }),
        vec![],
    ))
}

impl TreeRegressor {
    fn regress(&self, row: &[f32], scores: &mut [f32]) {
        let start = match self.aggregate {
            Aggregate::Sum | Aggregate::Average => 0.0,
            // NaN loses against every number in `min` and `max`.
            Aggregate::Min | Aggregate::Max => f32::NAN,
        };
        scores.fill(start);
        for weight in self.ensemble.reach(row).flatten() {
            let score = &mut scores[weight.id as usize];
            *score = match self.aggregate {
                Aggregate::Sum | Aggregate::Average => *score + weight.value,
                Aggregate::Min => score.min(weight.value),
                Aggregate::Max => score.max(weight.value),
            };
        }
        for (target, score) in scores.iter_mut().enumerate() {
            if self.aggregate == Aggregate::Average {
                *score /= self.ensemble.trees() as f32;
            }
            // A target that no tree spoke of.
            if score.is_nan() && start.is_nan() {
                *score = 0.0;
            }
            if !self.base.is_empty() {
                *score += self.base[if self.base.len() == 1 { 0 } else { target }];
            }
        }
        self.post.apply(scores);
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
        let scores = tvec![row_dim(shape), self.ensemble.targets.to_dim()];
        Ok(vec![(f32::datum_type(), scores)])
    }

    fn eval(&self, input: &Tensor) -> TractResult<Vec<Tensor>> {
        let scores = self
            .ensemble
            .score(input, |row, scores| self.regress(row, scores))?;
        Ok(vec![scores])
    }
}
