//! Activations of recurrent layers (Operators.md, `LSTM`).

use crate::program::node::Node;
use crate::{Result, bail};

/// A function with its parameters.
#[derive(Clone, Copy)]
pub(super) struct Activation {
    function: fn(f32, f32, f32) -> f32,
    alpha: f32,
    beta: f32,
}

impl Activation {
    pub(super) fn of(self, x: f32) -> f32 {
        (self.function)(x, self.alpha, self.beta)
    }
}

/// A function of a name, with the defaults of `alpha` and `beta`, where it has these.
type Named = (fn(f32, f32, f32) -> f32, Option<f32>, Option<f32>);

fn named(name: &str) -> Option<Named> {
    Some(match name.to_ascii_lowercase().as_str() {
        "sigmoid" => (|x, _, _| 1.0 / (1.0 + (-x).exp()), None, None),
        "tanh" => (|x, _, _| x.tanh(), None, None),
        "relu" => (|x, _, _| x.max(0.0), None, None),
        "softsign" => (|x, _, _| x / (1.0 + x.abs()), None, None),
        "softplus" => (|x, _, _| x.max(0.0) + (-x.abs()).exp().ln_1p(), None, None),
        "leakyrelu" => (
            |x, alpha, _| if x >= 0.0 { x } else { alpha * x },
            Some(0.01),
            None,
        ),
        "thresholdedrelu" => (
            |x, alpha, _| if x > alpha { x } else { 0.0 },
            Some(1.0),
            None,
        ),
        "elu" => (
            |x, alpha, _| if x >= 0.0 { x } else { alpha * x.exp_m1() },
            Some(1.0),
            None,
        ),
        "affine" => (|x, alpha, beta| alpha * x + beta, Some(1.0), Some(0.0)),
        "scaledtanh" => (
            |x, alpha, beta| alpha * (beta * x).tanh(),
            Some(1.0),
            Some(1.0),
        ),
        "hardsigmoid" => (
            |x, alpha, beta| (alpha * x + beta).clamp(0.0, 1.0),
            Some(0.2),
            Some(0.5),
        ),
        _ => return None,
    })
}

/// Three activations for each direction, as the attributes of a node say; these otherwise.
///
/// # Errors
/// `invalid_model` for others, and more or fewer.
pub(super) fn of(
    node: &Node<'_>,
    directions: usize,
    defaults: [&str; 3],
) -> Result<Vec<[Activation; 3]>> {
    let names = match node.texts("activations")? {
        Some(names) if !names.is_empty() => names,
        _ => defaults
            .repeat(directions)
            .iter()
            .map(|&name| name.to_owned())
            .collect(),
    };
    if names.len() != 3 * directions {
        bail!(
            InvalidModel,
            "{} activations for {directions} directions",
            names.len()
        );
    }
    // Those that have a parameter take theirs in turn.
    let list = |name: &str| node.floats(name).unwrap_or_default().iter().copied();
    let (mut alphas, mut betas) = (list("activation_alpha"), list("activation_beta"));
    let mut all = Vec::with_capacity(names.len());
    for name in &names {
        let Some((function, alpha, beta)) = named(name) else {
            bail!(InvalidModel, "`{name}` is no activation");
        };
        all.push(Activation {
            function,
            alpha: alpha.map_or(0.0, |default| alphas.next().unwrap_or(default)),
            beta: beta.map_or(0.0, |default| betas.next().unwrap_or(default)),
        });
    }
    let threes = all.chunks_exact(3);
    Ok(threes
        .filter_map(|three| <[Activation; 3]>::try_from(three).ok())
        .collect())
}
