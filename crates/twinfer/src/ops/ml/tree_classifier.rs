//! `ai.onnx.ml.TreeEnsembleClassifier` (versions 1 and 3), with onnxruntime's reading of what
//! the specification leaves open (its `tree_ensemble_aggregator.h`).

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::ensemble::{Adding, Ensemble, Forest, Real, Width};
use super::post::{PostTransform, logistic};
use super::table::numbers;
use super::{Parsed, row_dim};
use crate::ops::kernel::{Kernel, KernelOp};

#[derive(Debug)]
struct TreeClassifier {
    forest: Forest,
    labels: Labels,
    base: Vec<f64>,
    post: PostTransform,
    binary: Option<Binary>,
}

/// Labels of classes.
#[derive(Debug)]
pub(super) enum Labels {
    Ints(Vec<i64>),
    Strings(Vec<String>),
}

impl Labels {
    pub(super) fn len(&self) -> usize {
        match self {
            Labels::Ints(labels) => labels.len(),
            Labels::Strings(labels) => labels.len(),
        }
    }

    /// Those of one of two attributes.
    pub(super) fn read(node: &NodeProto, ints: &str, strings: &str) -> TractResult<Self> {
        let of_ints: Option<&[i64]> = node.get_attr_opt_slice(ints)?;
        let of_strings: Option<Vec<String>> = node.get_attr_opt_vec(strings)?;
        match (
            of_ints.filter(|l| !l.is_empty()),
            of_strings.filter(|l| !l.is_empty()),
        ) {
            (Some(labels), None) => Ok(Labels::Ints(labels.to_vec())),
            (None, Some(labels)) => Ok(Labels::Strings(labels)),
            _ => bail!("{} needs one of {ints} and {strings}", node.op_type),
        }
    }

    /// What a classifier gives for an input of this shape: a label for each row, and scores.
    pub(super) fn outputs(&self, shape: &[TDim]) -> Vec<(DatumType, TVec<TDim>)> {
        let rows = row_dim(shape);
        vec![
            (self.dtype(), tvec![rows.clone()]),
            (f32::datum_type(), tvec![rows, self.len().to_dim()]),
        ]
    }

    pub(super) fn dtype(&self) -> DatumType {
        match self {
            Labels::Ints(_) => i64::datum_type(),
            Labels::Strings(_) => String::datum_type(),
        }
    }

    /// The labels of these classes, which are to be there.
    pub(super) fn of(&self, classes: &[usize]) -> Tensor {
        match self {
            Labels::Ints(labels) => {
                tensor1(&classes.iter().map(|&b| labels[b]).collect::<Vec<_>>())
            }
            Labels::Strings(labels) => {
                let labels = classes.iter().map(|&b| labels[b].clone());
                tensor1(&labels.collect::<Vec<_>>())
            }
        }
    }
}

/// Two classes of which the trees score only one (as scikit-learn's forests and boosters are
/// exported): how that one score decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binary {
    /// All weights are positive: the score is a probability, decided at one half.
    Probability,
    /// Weights of both signs: the score is a margin, decided at zero.
    Margin,
}

/// Reads a `TreeEnsembleClassifier` node.
pub(super) fn parse(_context: &ParsingContext, node: &NodeProto) -> Parsed {
    let labels = Labels::read(node, "classlabels_int64s", "classlabels_strings")?;
    ensure!(
        labels.len() >= 2,
        "TreeEnsembleClassifier needs two classes or more"
    );
    let base = numbers(node, "base_values")?.unwrap_or_default();
    let post = PostTransform::read(node)?;
    let forest = Forest::read(node, "class", labels.len())?;
    let binary = match forest.of(f32::datum_type()) {
        Width::Single(ensemble) => binary(ensemble),
        Width::Double(ensemble) => binary(ensemble),
    };
    ensure!(
        base.is_empty() || base.len() == labels.len() || (base.len() == 1 && labels.len() == 2),
        "TreeEnsembleClassifier has {} base values for {} classes",
        base.len(),
        labels.len()
    );
    Ok((
        KernelOp::boxed(TreeClassifier {
            forest,
            labels,
            base,
            post,
            binary,
        }),
        vec![],
    ))
}

fn binary<F: Real>(ensemble: &Ensemble<F>) -> Option<Binary> {
    let weights = ensemble.weights();
    let first = weights.first()?.id;
    if ensemble.targets != 2 || weights.iter().any(|w| w.id != first) {
        return None;
    }
    let positive = weights.iter().all(|w| w.value >= F::default());
    Some(if positive {
        Binary::Probability
    } else {
        Binary::Margin
    })
}

impl TreeClassifier {
    /// Makes the scores of a row from its sums; gives the index of its label.
    fn classify<F: Real>(&self, sums: &mut [F], scores: &mut [f32]) -> usize {
        match self.binary {
            Some(binary) => self.classify_binary(binary, sums, scores),
            None => {
                if self.base.len() == sums.len() {
                    let with_base = sums.iter_mut().zip(&self.base);
                    with_base.for_each(|(s, base)| *s = *s + F::of(*base));
                }
                let best = argmax(sums);
                let singles = scores.iter_mut().zip(sums.iter());
                singles.for_each(|(score, sum)| *score = sum.single());
                self.post.apply(scores);
                best
            }
        }
    }

    fn classify_binary<F: Real>(&self, binary: Binary, sums: &[F], scores: &mut [f32]) -> usize {
        // One of the two is zero: the trees score only one.
        let base = F::of(self.base.last().copied().unwrap_or(0.0));
        let score = sums[0] + sums[1] + base;
        let label = match binary {
            Binary::Probability => score > F::of(0.5),
            Binary::Margin => score > F::default(),
        };
        let rest = (F::of(1.0) - score).single();
        let score = score.single();
        let (no, yes) = match (binary, self.post) {
            // With a base value for each class, the second is the score and both go through
            // the transform.
            (_, post) if self.base.len() == 2 => {
                let mut both = [-score, score];
                post.apply(&mut both);
                (both[0], both[1])
            }
            (_, PostTransform::Probit) => {
                let mut both = [rest, score];
                self.post.apply(&mut both);
                (both[0], both[1])
            }
            (_, PostTransform::Logistic) => (logistic(-score), logistic(score)),
            (Binary::Probability, _) => (rest, score),
            (Binary::Margin, _) => (-score, score),
        };
        scores.copy_from_slice(&[no, yes]);
        usize::from(label)
    }
}

impl TreeClassifier {
    fn eval_with<F: Real>(
        &self,
        ensemble: &Ensemble<F>,
        input: &Tensor,
    ) -> TractResult<Vec<Tensor>> {
        let mut best = Vec::with_capacity(input.shape().first().copied().unwrap_or(1));
        let adding = Adding {
            start: F::default(),
            add: |sum: F, weight: F| sum + weight,
        };
        let scores = ensemble.score(input, adding, |sums, scores| {
            best.push(self.classify(sums, scores));
        })?;
        Ok(vec![self.labels.of(&best), scores])
    }
}

/// The first of the largest; 0 where nothing is comparable.
pub(super) fn argmax<F: PartialOrd>(scores: &[F]) -> usize {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = index;
        }
    }
    best
}

impl Kernel for TreeClassifier {
    fn name(&self) -> &'static str {
        "TreeEnsembleClassifier"
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
        match self.forest.of(input.datum_type()) {
            Width::Single(ensemble) => self.eval_with(ensemble, input),
            Width::Double(ensemble) => self.eval_with(ensemble, input),
        }
    }
}
