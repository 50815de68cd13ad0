//! What turns sums into scores.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// What turns sums into scores (`post_transform`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PostTransform {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
    Probit,
}

/// How a second score follows from the only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecondClass {
    /// The score is a probability: that of the first class is the rest.
    Complement,
    /// The score is a margin: that of the first class is the same to the other side.
    Negated,
}

impl PostTransform {
    pub(super) fn read(node: &NodeProto) -> TractResult<Self> {
        let name = node.get_attr_opt::<&str>("post_transform")?;
        let name = name.unwrap_or("NONE");
        Self::from_name(name).with_context(|| format!("unknown post_transform `{name}`"))
    }

    /// The one of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "NONE" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            _ => return None,
        })
    }

    /// Applies it to the scores of one row.
    pub(super) fn apply(self, scores: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => scores.iter_mut().for_each(|s| *s = logistic(*s)),
            Self::Softmax => softmax(scores, |_| true),
            Self::SoftmaxZero => softmax(scores, |s| s.abs() > 1e-7),
            Self::Probit => scores.iter_mut().for_each(|s| *s = probit(*s)),
        }
    }

    /// The scores of a row as onnxruntime gives them: a single one is left alone but for PROBIT,
    /// and may have a second one follow from it.
    pub(crate) fn finish(self, scores: &mut Vec<f32>, second: Option<SecondClass>) {
        let (&[score], Some(second)) = (&scores[..], second) else {
            if scores.len() > 1 || self == Self::Probit {
                self.apply(scores);
            }
            return;
        };
        *scores = match (self, second) {
            (Self::Logistic, _) => vec![logistic(-score), logistic(score)],
            (Self::Probit, _) => vec![probit(1.0 - score), probit(score)],
            (_, SecondClass::Complement) => vec![1.0 - score, score],
            (_, SecondClass::Negated) => vec![-score, score],
        };
    }
}

/// `1 / (1 + exp(-x))`, computed on the side where `exp` does not overflow.
pub(crate) fn logistic(x: f32) -> f32 {
    let y = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - y } else { y }
}

/// Softmax over the scores that count; the others (SOFTMAX_ZERO: zeros) stay near zero.
fn softmax(scores: &mut [f32], counts: impl Fn(f32) -> bool) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let zero = (-max).exp();
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        if counts(*score) {
            *score = (*score - max).exp();
            sum += *score;
        } else {
            *score *= zero;
        }
    }
    scores.iter_mut().for_each(|s| *s /= sum);
}

/// The inverse of the normal distribution, in the approximation that onnxruntime uses
/// (Winitzki, "A handy approximation for the error function and its inverse", a = 0.147).
fn probit(p: f32) -> f32 {
    let x = 2.0 * p - 1.0;
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let v = 2.0 / (std::f32::consts::PI * 0.147) + 0.5 * log;
    let root = ((v * v - log / 0.147).sqrt() - v).sqrt();
    std::f32::consts::SQRT_2 * if x < 0.0 { -root } else { root }
}
