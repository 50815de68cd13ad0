//! Losses: `NegativeLogLikelihoodLoss` and `SoftmaxCrossEntropyLoss`.

use super::super::inputs::{self, Inputs, Kernel, kernel};
use super::super::node::Node;
use super::floats::{self, Float};
use crate::{Result, Tensor, Value, bail};

/// Those of the standard domain.
pub(super) const OPS: super::Table = &[
    ("NegativeLogLikelihoodLoss", likelihood),
    ("SoftmaxCrossEntropyLoss", entropy),
];

#[derive(Clone, Copy, PartialEq)]
enum Reduction {
    None,
    Sum,
    Mean,
}

/// The attributes that the losses share.
#[derive(Clone, Copy)]
struct Loss {
    reduction: Reduction,
    ignored: Option<i64>,
}

impl Loss {
    fn new(node: &Node<'_>) -> Result<Self> {
        Ok(Self {
            reduction: match node.text("reduction", "mean")? {
                "none" => Reduction::None,
                "sum" => Reduction::Sum,
                "mean" => Reduction::Mean,
                other => bail!(InvalidModel, "`reduction` is `{other}`"),
            },
            ignored: node.int_opt("ignore_index"),
        })
    }

    /// The loss for logarithms of probabilities.
    fn of<R: Float>(
        self,
        logs: &[R],
        sizes: &Sizes,
        inputs: &Inputs<'_>,
    ) -> Result<(Vec<usize>, Vec<R>)> {
        let targets = sizes.targets(inputs.tensor(1)?)?;
        let weights = inputs.tensor_opt(2)?.map(floats::reals::<R>).transpose()?;
        if weights.as_ref().is_some_and(|w| w.len() != sizes.classes) {
            bail!(InvalidInput, "there is to be a weight for each class");
        }
        let mut losses = floats::zeros::<R>(&sizes.target)?;
        let mut total = R::ZERO;
        for (at, (loss, &target)) in losses.iter_mut().zip(&targets).enumerate() {
            if self.ignored == Some(target) {
                continue;
            }
            let class = usize::try_from(target).ok().filter(|&c| c < sizes.classes);
            let log = class.and_then(|class| logs.get(sizes.place(at, class)));
            let (Some(class), Some(&log)) = (class, log) else {
                bail!(
                    InvalidInput,
                    "there is no class {target} of {}",
                    sizes.classes
                );
            };
            let weight = weights.as_ref().and_then(|weights| weights.get(class));
            let weight = weight.copied().unwrap_or(R::ONE);
            *loss = -(log * weight);
            total += weight;
        }
        if self.reduction == Reduction::None {
            return Ok((sizes.target.clone(), losses));
        }
        // In FP64, as there may be many of them.
        let mut sum: f64 = losses.iter().map(|loss| loss.to_f64()).sum();
        if self.reduction == Reduction::Mean {
            sum /= total.to_f64();
        }
        Ok((Vec::new(), vec![R::from_f64(sum)]))
    }
}

/// The axes of scores: batch, classes, and all behind as one.
struct Sizes {
    classes: usize,
    behind: usize,
    /// The shape without the classes.
    target: Vec<usize>,
}

impl Sizes {
    fn new(shape: &[usize]) -> Result<Self> {
        let [batch, classes, ref behind @ ..] = *shape else {
            bail!(
                InvalidInput,
                "{shape:?} has no axes for a batch and for classes"
            );
        };
        let mut target = vec![batch];
        target.extend_from_slice(behind);
        Ok(Self {
            classes,
            behind: crate::element_count(behind)?,
            target,
        })
    }

    fn targets(&self, tensor: &Tensor) -> Result<Vec<i64>> {
        if tensor.shape() != self.target {
            bail!(
                InvalidInput,
                "targets of {:?}, expected {:?}",
                tensor.shape(),
                self.target
            );
        }
        inputs::ints(tensor)
    }

    /// Where the score of a class is, for a target.
    fn place(&self, target: usize, class: usize) -> usize {
        let [batch, behind] = [target / self.behind, target % self.behind];
        (batch * self.classes + class) * self.behind + behind
    }

    /// `LogSoftmax` over the classes.
    fn log_softmax<R: Float>(&self, scores: &[R]) -> Vec<R> {
        let mut logs = scores.to_vec();
        if logs.is_empty() {
            // Axes can be of any length then.
            return logs;
        }
        let mut most = vec![R::LOWEST; self.behind];
        let mut sums = vec![R::ZERO; self.behind];
        let block = self.classes * self.behind;
        for batch in logs.chunks_exact_mut(block) {
            most.fill(R::LOWEST);
            sums.fill(R::ZERO);
            for row in batch.chunks_exact(self.behind) {
                for (most, &score) in most.iter_mut().zip(row) {
                    if score > *most {
                        *most = score;
                    }
                }
            }
            for row in batch.chunks_exact_mut(self.behind) {
                for ((score, &most), sum) in row.iter_mut().zip(&most).zip(&mut sums) {
                    *score = *score - most;
                    *sum += score.exp();
                }
            }
            for sum in &mut sums {
                *sum = sum.ln();
            }
            for row in batch.chunks_exact_mut(self.behind) {
                for (score, &sum) in row.iter_mut().zip(&sums) {
                    *score = *score - sum;
                }
            }
        }
        logs
    }
}

/// `NegativeLogLikelihoodLoss` (Operators.md, ai.onnx 12 to 22).
fn likelihood(node: &Node<'_>) -> Result<Option<Kernel>> {
    fn run<R: Float>(loss: Loss, inputs: &Inputs<'_>) -> Result<Vec<Value>> {
        let tensor = inputs.tensor(0)?;
        let sizes = Sizes::new(tensor.shape())?;
        let (shape, made) = loss.of(&floats::reals::<R>(tensor)?, &sizes, inputs)?;
        Ok(vec![Value::Tensor(floats::tensor(
            tensor.dtype(),
            &shape,
            made,
        )?)])
    }
    let loss = Loss::new(node)?;
    kernel(move |inputs| match floats::is_double(inputs.tensor(0)?)? {
        true => run::<f64>(loss, inputs),
        false => run::<f32>(loss, inputs),
    })
    .map(Some)
}

/// `SoftmaxCrossEntropyLoss` (Operators.md, ai.onnx 12 and 13).
fn entropy(node: &Node<'_>) -> Result<Option<Kernel>> {
    fn run<R: Float>(loss: Loss, logs: bool, inputs: &Inputs<'_>) -> Result<Vec<Value>> {
        let tensor = inputs.tensor(0)?;
        let sizes = Sizes::new(tensor.shape())?;
        let all = sizes.log_softmax(&floats::reals::<R>(tensor)?);
        let (shape, made) = loss.of(&all, &sizes, inputs)?;
        let mut values = vec![floats::tensor(tensor.dtype(), &shape, made)?];
        if logs {
            values.push(floats::tensor(tensor.dtype(), tensor.shape(), all)?);
        }
        Ok(values.into_iter().map(Value::Tensor).collect())
    }
    let loss = Loss::new(node)?;
    let logs = node.has_output(1);
    kernel(move |inputs| match floats::is_double(inputs.tensor(0)?)? {
        true => run::<f64>(loss, logs, inputs),
        false => run::<f32>(loss, logs, inputs),
    })
    .map(Some)
}
