//! `EmbedLayerNormalization` of `com.microsoft`: the sum of the embeddings of words, positions and
//! segments, normalised.

use super::super::inputs::{Inputs, Kernel, ints, kernel};
use super::super::node::Node;
use super::floats;
use crate::{Result, Tensor, Value, bail, element_count, err};

/// What `com.microsoft` has of them.
pub(super) const MICROSOFT: super::Table = &[("EmbedLayerNormalization", embed)];

/// `EmbedLayerNormalization` (ContribOperators.md, com.microsoft 1).
fn embed(node: &Node<'_>) -> Result<Option<Kernel>> {
    let epsilon = node.float("epsilon", 1e-12);
    let has_sum = node.has_output(2);
    kernel(move |inputs| run(inputs, epsilon, has_sum)).map(Some)
}

/// Rows of a table of embeddings in FP32.
struct Table {
    rows: Vec<f32>,
    count: usize,
}

impl Table {
    fn new(tensor: &Tensor, size: usize) -> Result<Self> {
        let &[count, own] = tensor.shape() else {
            bail!(InvalidInput, "embeddings of {:?}", tensor.shape());
        };
        if own != size {
            bail!(InvalidInput, "embeddings of {own} and of {size} numbers");
        }
        let rows = floats::reals::<f32>(tensor)?.into_owned();
        Ok(Self { rows, count })
    }

    fn add_to(&self, at: i64, sum: &mut [f32]) -> Result<()> {
        let place = usize::try_from(at).ok().filter(|&at| at < self.count);
        let place = place
            .ok_or_else(|| err!(InvalidInput, "there is no embedding {at} of {}", self.count))?;
        let size = sum.len();
        let row = self.rows.get(place * size..(place + 1) * size);
        for (sum, x) in sum.iter_mut().zip(row.unwrap_or_default()) {
            *sum += x;
        }
        Ok(())
    }
}

fn run(inputs: &Inputs<'_>, epsilon: f32, has_sum: bool) -> Result<Vec<Value>> {
    let words = inputs.tensor(0)?;
    let (&[batch, length], &[_, size]) = (words.shape(), inputs.tensor(2)?.shape()) else {
        bail!(
            InvalidInput,
            "words of {:?} with embeddings of {:?}",
            words.shape(),
            inputs.tensor(2)?.shape()
        );
    };
    let dtype = inputs.tensor(2)?.dtype();
    let shape = [batch, length, size];
    let mut sums = floats::zeros::<f32>(&shape)?;
    let table = |index: usize| Table::new(inputs.tensor(index)?, size);
    let (of_words, of_positions) = (table(2)?, table(3)?);
    let words = ints(words)?;
    let segments = match (inputs.ints_opt(1)?, inputs.tensor_opt(4)?) {
        (Some(segments), Some(_)) => Some((segments, table(4)?)),
        _ => None,
    };
    let positions = inputs.ints_opt(8)?;
    for (at, sum) in sums.chunks_exact_mut(size.max(1)).enumerate() {
        let number = |all: &[i64]| all.get(at).copied().unwrap_or(-1);
        of_words.add_to(number(&words), sum)?;
        let position = match &positions {
            // The same for all of the batch, or one for each word.
            Some(all) if all.len() == length => all.get(at % length).copied().unwrap_or(-1),
            Some(all) => number(all),
            None => (at % length) as i64,
        };
        of_positions.add_to(position, sum)?;
        if let Some((segments, of_segments)) = &segments {
            of_segments.add_to(number(segments), sum)?;
        }
    }
    let mut values = vec![Value::Optional(None); 3];
    if has_sum && let Some(place) = values.last_mut() {
        *place = Value::Tensor(floats::tensor(dtype, &shape, sums.clone())?);
    }
    let gamma = floats::reals::<f32>(inputs.tensor(5)?)?;
    let beta = floats::reals::<f32>(inputs.tensor(6)?)?;
    if gamma.len() != size || beta.len() != size {
        bail!(InvalidInput, "the scale or bias is not of {size} numbers");
    }
    for row in sums.chunks_exact_mut(size.max(1)) {
        normalise(row, &gamma, &beta, epsilon);
    }
    if let [first, second, _] = &mut values[..] {
        *first = Value::Tensor(floats::tensor(dtype, &shape, sums)?);
        *second = Value::Tensor(lengths(inputs.tensor_opt(7)?, batch, length)?);
    }
    Ok(values)
}

/// How many words each of the batch has by a mask; 0 without one.
fn lengths(mask: Option<&Tensor>, batch: usize, length: usize) -> Result<Tensor> {
    let counts = match mask {
        None => vec![0; element_count(&[batch])?],
        Some(mask) => {
            let mask = ints(mask)?;
            let rows = mask.chunks_exact(length.max(1));
            rows.map(|row| row.iter().filter(|&&x| x == 1).count() as i32)
                .collect()
        }
    };
    Tensor::from_vec(&[batch], counts)
}

fn normalise(row: &mut [f32], gamma: &[f32], beta: &[f32], epsilon: f32) {
    let count = row.len() as f32;
    let mean = row.iter().sum::<f32>() / count;
    let squares: f32 = row.iter().map(|x| (x - mean) * (x - mean)).sum();
    let deviation = (squares / count + epsilon).sqrt();
    for ((x, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
        *x = (*x - mean) / deviation * gamma + beta;
    }
}
