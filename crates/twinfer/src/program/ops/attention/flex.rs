//! `FlexAttention`: attention whose scores and probabilities graphs may change.

use super::super::super::inputs::{Inputs, Kernel, tensor_kernel};
use super::super::super::node::Node;
use super::super::floats::{self, Float};
use super::{Heads, Triple, softmax_precision};
use crate::{DType, Result, Tensor, bail};

/// A graph inside of a node, as what it makes of a tensor.
pub(in super::super::super) type Modify<'a> = dyn Fn(Tensor) -> Result<Tensor> + 'a;

/// `FlexAttention` (Operators.md, ai.onnx.preview 1).
#[derive(Debug)]
pub(in super::super::super) struct Flex {
    scale: Option<f64>,
    precision: Option<DType>,
}

impl Flex {
    pub(in super::super::super) fn new(node: &Node<'_>) -> Result<Self> {
        Ok(Self {
            scale: node.float_opt("scale").map(f64::from),
            precision: softmax_precision(node)?,
        })
    }

    /// Graphs change scores and probabilities, where they are there.
    pub(in super::super::super) fn run(
        &self,
        inputs: &Inputs<'_>,
        score: Option<&Modify<'_>>,
        probability: Option<&Modify<'_>>,
    ) -> Result<Tensor> {
        match self.precision == Some(DType::F64) || floats::is_double(inputs.tensor(0)?)? {
            true => self.run_in::<f64>(inputs, score, probability),
            false => self.run_in::<f32>(inputs, score, probability),
        }
    }

    fn run_in<R: Float>(
        &self,
        inputs: &Inputs<'_>,
        score: Option<&Modify<'_>>,
        probability: Option<&Modify<'_>>,
    ) -> Result<Tensor> {
        let all = Triple::<R> {
            query: Heads::new(inputs.tensor(0)?, None)?,
            key: Heads::new(inputs.tensor(1)?, None)?,
            value: Heads::new(inputs.tensor(2)?, None)?,
        };
        all.check()?;
        let dtype = inputs.tensor(2)?.dtype();
        if score.is_none() && probability.is_none() {
            let (shape, made) = all.run(self.scale, false, |scores, _| floats::softmax(scores))?;
            return floats::tensor(dtype, &shape, made);
        }
        let mut rows = self.modified(&all, all.products(self.scale)?, score)?;
        // Without any key there is no row.
        for row in rows.chunks_exact_mut(all.key.shape[2].max(1)) {
            floats::softmax(row);
        }
        let rows = self.modified(&all, rows, probability)?;
        let [batch, heads, queries, _] = all.query.shape;
        let shape = [batch, heads, queries, all.value.shape[3]];
        floats::tensor(dtype, &shape, all.sums(&rows, &shape)?)
    }

    fn modified<R: Float>(
        &self,
        all: &Triple<'_, R>,
        rows: Vec<R>,
        modify: Option<&Modify<'_>>,
    ) -> Result<Vec<R>> {
        let Some(modify) = modify else {
            return Ok(rows);
        };
        let dtype = self.precision.unwrap_or(R::DTYPE);
        let made = modify(floats::tensor(dtype, &all.scores(), rows)?)?;
        if made.shape() != all.scores() {
            bail!(
                InvalidModel,
                "a graph makes {:?} of {:?}, and is not to change the shape",
                made.shape(),
                all.scores()
            );
        }
        Ok(floats::reals(&made)?.into_owned())
    }
}

pub(super) fn flex_attention(node: &Node<'_>) -> Result<Option<Kernel>> {
    if node.has("score_mod") || node.has("prob_mod") {
        return node.unsupported("a graph that changes scores or probabilities");
    }
    let flex = Flex::new(node)?;
    tensor_kernel(move |inputs| flex.run(inputs, None, None)).map(Some)
}
