//! Steps of optimizers: `Adagrad`, `Adam` and `Momentum`.

use super::super::inputs::{Inputs, Kernel, kernel};
use super::super::node::Node;
use super::floats::{self, Float};
use crate::{DType, Result, Value, bail};

/// Those of `ai.onnx.preview.training`.
pub(super) const OPS: super::Table =
    &[("Adagrad", adagrad), ("Adam", adam), ("Momentum", momentum)];

/// An optimizer that keeps `N - 2` numbers for each element: what an element, its gradient and
/// these become, in place. It is given the learning rate and how many steps there were.
fn optimizer<const N: usize>(
    step: impl Fn(f64, i64) -> Box<dyn Fn(&mut [f64; N])> + Send + Sync + 'static,
) -> Result<Option<Kernel>> {
    kernel(move |inputs| {
        let rate = inputs.number_opt(0)?;
        let Some(rate) = rate else {
            bail!(InvalidModel, "the learning rate is missing");
        };
        let step = step(rate, inputs.int(1)?);
        let tensors = inputs.len().saturating_sub(2);
        if tensors == 0 || !tensors.is_multiple_of(N) {
            bail!(InvalidModel, "{tensors} tensors are no multiple of {N}");
        }
        let count = tensors / N;
        let mut values: Vec<Vec<Value>> = vec![Vec::new(); N];
        for at in 0..count {
            let made = match inputs.tensor(2 + at)?.dtype() {
                DType::F64 => update::<f64, N>(inputs, at, count, &step)?,
                _ => update::<f32, N>(inputs, at, count, &step)?,
            };
            for (values, value) in values.iter_mut().zip(made) {
                values.push(value);
            }
        }
        // A gradient is no output.
        let kept = values
            .into_iter()
            .enumerate()
            .filter(|(part, _)| *part != 1);
        Ok(kept.flat_map(|(_, values)| values).collect())
    })
    .map(Some)
}

/// The tensor `at` of `count`, with what belongs to it.
fn update<R: Float, const N: usize>(
    inputs: &Inputs<'_>,
    at: usize,
    count: usize,
    step: &dyn Fn(&mut [f64; N]),
) -> Result<Vec<Value>> {
    let first = inputs.tensor(2 + at)?;
    let mut parts: Vec<Vec<R>> = Vec::with_capacity(N);
    for part in 0..N {
        let tensor = inputs.tensor(2 + part * count + at)?;
        if tensor.shape() != first.shape() || tensor.dtype() != first.dtype() {
            bail!(
                InvalidInput,
                "{:?} and {:?} of one tensor and of what belongs to it",
                first.shape(),
                tensor.shape()
            );
        }
        parts.push(floats::reals(tensor)?.into_owned());
    }
    for element in 0..first.len() {
        let mut numbers = [0.0; N];
        for (number, part) in numbers.iter_mut().zip(&parts) {
            *number = part.get(element).map_or(0.0, |x| x.to_f64());
        }
        step(&mut numbers);
        for (number, part) in numbers.into_iter().zip(&mut parts) {
            if let Some(to) = part.get_mut(element) {
                *to = R::from_f64(number);
            }
        }
    }
    let tensor = |part| floats::tensor(first.dtype(), first.shape(), part).map(Value::Tensor);
    parts.into_iter().map(tensor).collect()
}

/// `Adagrad` (Operators.md, ai.onnx.preview.training 1).
fn adagrad(node: &Node<'_>) -> Result<Option<Kernel>> {
    let number = |name: &str, default: f32| f64::from(node.float(name, default));
    let norm = number("norm_coefficient", 0.0);
    let decay = number("decay_factor", 0.0);
    let epsilon = number("epsilon", 1e-6);
    optimizer(move |rate, steps| {
        let rate = rate / (1.0 + steps as f64 * decay);
        Box::new(move |[x, gradient, squares]| {
            let regular = norm * *x + *gradient;
            *squares += regular * regular;
            *x -= rate * regular / (squares.sqrt() + epsilon);
        })
    })
}

/// `Adam` (Operators.md, ai.onnx.preview.training 1).
fn adam(node: &Node<'_>) -> Result<Option<Kernel>> {
    let number = |name: &str, default: f32| f64::from(node.float(name, default));
    let norm = number("norm_coefficient", 0.0);
    let norm_post = number("norm_coefficient_post", 0.0);
    let (alpha, beta) = (number("alpha", 0.9), number("beta", 0.999));
    let epsilon = number("epsilon", 1e-6);
    optimizer(move |rate, steps| {
        let rate = match steps {
            1.. => {
                let [alpha, beta] = [alpha, beta].map(|base| 1.0 - base.powf(steps as f64));
                rate * beta.sqrt() / alpha
            }
            _ => rate,
        };
        Box::new(move |[x, gradient, mean, squares]| {
            let regular = norm * *x + *gradient;
            *mean = alpha * *mean + (1.0 - alpha) * regular;
            *squares = beta * *squares + (1.0 - beta) * regular * regular;
            *x -= rate * *mean / (squares.sqrt() + epsilon);
            *x *= 1.0 - norm_post;
        })
    })
}

/// `Momentum` (Operators.md, ai.onnx.preview.training 1).
fn momentum(node: &Node<'_>) -> Result<Option<Kernel>> {
    let number = |name: &str| node.required(name, node.float_opt(name)).map(f64::from);
    let (alpha, beta) = (number("alpha")?, number("beta")?);
    let norm = number("norm_coefficient")?;
    let is_nesterov = match node.required("mode", node.text_opt("mode")?)? {
        "standard" => false,
        "nesterov" => true,
        other => bail!(InvalidModel, "`mode` is `{other}`"),
    };
    optimizer(move |rate, steps| {
        let beta = if steps > 0 { beta } else { 1.0 };
        Box::new(move |[x, gradient, momentum]| {
            let regular = norm * *x + *gradient;
            *momentum = alpha * *momentum + beta * regular;
            *x -= rate
                * match is_nesterov {
                    true => regular + alpha * *momentum,
                    false => *momentum,
                };
        })
    })
}
