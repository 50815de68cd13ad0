//! The activations of recurrent operators (Operators.md, `RNN`).

use tract_onnx::tract_hir::internal::*;

use super::cells::Kind;

/// A function of a number, with its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Activation {
    Affine(f64, f64),
    Elu(f64),
    HardSigmoid(f64, f64),
    LeakyRelu(f64),
    Relu,
    ScaledTanh(f64, f64),
    Sigmoid,
    Softplus,
    Softsign,
    Tanh,
    ThresholdedRelu(f64),
}

impl Activation {
    pub(super) fn of(self, x: f64) -> f64 {
        match self {
            Self::Affine(alpha, beta) => alpha * x + beta,
            Self::Elu(alpha) if x < 0.0 => alpha * x.exp_m1(),
            Self::HardSigmoid(alpha, beta) => (alpha * x + beta).clamp(0.0, 1.0),
            Self::LeakyRelu(alpha) if x < 0.0 => alpha * x,
            Self::Relu => x.max(0.0),
            Self::ScaledTanh(alpha, beta) => alpha * (beta * x).tanh(),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Tanh => x.tanh(),
            Self::ThresholdedRelu(alpha) if x <= alpha => 0.0,
            Self::Elu(_) | Self::LeakyRelu(_) | Self::ThresholdedRelu(_) => x,
        }
    }
}

/// Those of an operator that does not say which; of those that it has no use for, any.
pub(super) fn usual(kind: Kind) -> [Activation; 3] {
    use Activation::{Sigmoid, Tanh};
    match kind {
        Kind::Rnn => [Tanh; 3],
        Kind::Gru | Kind::Lstm => [Sigmoid, Tanh, Tanh],
    }
}

/// Those of each direction. Their parameters come in the order of the functions that have some.
pub(super) fn read(
    names: &[Vec<u8>],
    alphas: Vec<f32>,
    betas: Vec<f32>,
    kind: Kind,
    directions: usize,
) -> TractResult<Vec<[Activation; 3]>> {
    if names.is_empty() {
        return Ok(vec![usual(kind); directions]);
    }
    let count = match kind {
        Kind::Rnn => 1,
        Kind::Gru => 2,
        Kind::Lstm => 3,
    };
    if names.len() != count * directions {
        bail!(
            "{} activations, {} are wanted",
            names.len(),
            count * directions
        );
    }
    let (mut alphas, mut betas) = (alphas.into_iter(), betas.into_iter());
    let mut alpha = |default: f64| alphas.next().map_or(default, f64::from);
    let mut beta = |default: f64| betas.next().map_or(default, f64::from);
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        all.push(match &*name.to_ascii_lowercase() {
            b"affine" => Activation::Affine(alpha(1.0), beta(0.0)),
            b"elu" => Activation::Elu(alpha(1.0)),
            b"hardsigmoid" => Activation::HardSigmoid(alpha(0.2), beta(0.5)),
            b"leakyrelu" => Activation::LeakyRelu(alpha(0.01)),
            b"relu" => Activation::Relu,
            b"scaledtanh" => Activation::ScaledTanh(alpha(1.0), beta(1.0)),
            b"sigmoid" => Activation::Sigmoid,
            b"softplus" => Activation::Softplus,
            b"softsign" => Activation::Softsign,
            b"tanh" => Activation::Tanh,
            b"thresholdedrelu" => Activation::ThresholdedRelu(alpha(1.0)),
            _ => bail!("`{}` is no activation", String::from_utf8_lossy(name)),
        });
    }
    Ok(all
        .chunks(count)
        .map(|some| {
            let mut whole = usual(kind);
            whole
                .iter_mut()
                .zip(some)
                .for_each(|(place, a)| *place = *a);
            if kind == Kind::Rnn {
                whole = [whole[0]; 3];
            }
            whole
        })
        .collect())
}
