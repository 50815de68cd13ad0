//! `Attention` and `MultiHeadAttention` of `com.microsoft`, as ONNX Runtime's optimisers put them into
//! files of transformers. (ContribOperators.md; masks as its CPU provider reads them.)

use super::{Heads, Mask, Triple, with_past};
use crate::program::arrange;
use crate::program::inputs::{Inputs, Kernel, kernel};
use crate::program::node::Node;
use crate::program::ops::floats::{self, Float};
use crate::{DType, Result, Tensor, Value, bail};

/// Those of `com.microsoft`.
pub(in super::super) const OPS: super::super::Table =
    &[("Attention", attention), ("MultiHeadAttention", multi_head)];

/// Of `Attention`: the first input is what its product with the weights has given already.
pub(in super::super) const PROJECTED: &str = "twinfer_projected";

/// What both have.
struct Settings {
    heads: usize,
    scale: Option<f64>,
    /// What is added to the scores of keys that a mask hides.
    filter: f32,
    is_causal: bool,
    outputs: [bool; 3],
}

impl Settings {
    fn of(node: &Node<'_>) -> Result<Self> {
        let heads = node.required("num_heads", node.int_opt("num_heads"))?;
        let Some(heads) = usize::try_from(heads).ok().filter(|&heads| heads > 0) else {
            bail!(InvalidModel, "`num_heads` is {heads}");
        };
        for name in ["do_rotary", "past_present_share_buffer"] {
            if node.flag(name, false) {
                return node.unsupported(format_args!("`{name}`"));
            }
        }
        if node.has_output(3) {
            return node.unsupported("an output of scores");
        }
        let scale = node.float("scale", 0.0);
        Ok(Self {
            heads,
            scale: (scale != 0.0).then_some(scale.into()),
            filter: node.float("mask_filter_value", -10000.0),
            is_causal: node.flag("unidirectional", false),
            outputs: [0, 1, 2].map(|index| node.has_output(index)),
        })
    }

    /// The result, and the keys and values that it was made of.
    fn run(
        &self,
        all: &Triple<'_, f32>,
        past: usize,
        mask: Option<&Tensor>,
        bias: Option<&Tensor>,
    ) -> Result<(Vec<usize>, Vec<f32>)> {
        all.check()?;
        let scores = all.scores();
        let hidden = mask.map(|mask| Hidden::new(mask, scores)).transpose()?;
        let bias = bias.map(|bias| Mask::new(bias, scores)).transpose()?;
        let (shape, made) = all.run(self.scale, true, |scores, place| {
            if let Some(bias) = &bias {
                bias.add_to(scores, place);
            }
            if let Some(hidden) = &hidden {
                hidden.add_to(scores, place, self.filter);
            }
            if self.is_causal
                && let Some(later) = scores.get_mut(past + place[2] + 1..)
            {
                later.fill(f32::LOWEST);
            }
            floats::softmax(scores);
        })?;
        match shape[..] {
            [batch, queries, heads, size] => {
                Ok((vec![batch, queries, heads.saturating_mul(size)], made))
            }
            _ => Ok((shape, made)),
        }
    }
}

/// Which keys a mask hides.
struct Hidden {
    numbers: Vec<i64>,
    kind: Kind,
}

enum Kind {
    /// Where the keys of each of the batch end.
    Ends,
    /// The same, and behind these where they begin.
    Spans,
    /// A number for each key, positive where it is seen.
    Keys,
    /// The same for each query, of so many.
    Queries(usize),
    /// The same for each key that there could be: so many, of keys and of queries.
    Square(usize),
}

impl Hidden {
    fn new(mask: &Tensor, [batch, _, queries, keys]: [usize; 4]) -> Result<Self> {
        let kind = match *mask.shape() {
            [length] if length == batch => Kind::Ends,
            [length] if Some(length) == batch.checked_mul(2) => Kind::Spans,
            [rows, columns] if (rows, columns) == (batch, keys) => Kind::Keys,
            [rows, high, wide] if (rows, high, wide) == (batch, queries, keys) => {
                Kind::Queries(queries)
            }
            [rows, 1, high, wide] if rows == batch && high == wide && wide >= keys => {
                Kind::Square(wide)
            }
            ref other => bail!(
                InvalidInput,
                "a mask of {other:?} does not fit to {batch} sequences with {queries} queries and {keys} keys"
            ),
        };
        let numbers = match mask.dtype() {
            DType::Bool => mask.view::<bool>()?.iter().map(|&x| x.into()).collect(),
            _ => crate::program::inputs::ints(mask)?,
        };
        Ok(Self { numbers, kind })
    }

    fn add_to(&self, scores: &mut [f32], [batch, _, query]: [usize; 3], filter: f32) {
        let keys = scores.len();
        let number = |at: usize| self.numbers.get(at).copied().unwrap_or(0);
        let mut hide = |is_hidden: &dyn Fn(usize) -> bool| {
            let hidden = scores.iter_mut().enumerate();
            let hidden = hidden.filter(|(at, _)| is_hidden(*at));
            hidden.for_each(|(_, score)| *score += filter);
        };
        match self.kind {
            Kind::Ends => hide(&|at| at as i64 >= number(batch)),
            Kind::Spans => {
                let start = number(self.numbers.len() / 2 + batch);
                hide(&|at| (at as i64) < start || at as i64 >= number(batch));
            }
            Kind::Keys => hide(&|at| number(batch * keys + at) <= 0),
            Kind::Queries(queries) => {
                hide(&|at| number((batch * queries + query) * keys + at) <= 0);
            }
            Kind::Square(wide) => hide(&|at| number((batch * wide + query) * wide + at) <= 0),
        }
    }
}

/// Columns of `[batch, length, columns]`, as a tensor of FP32.
fn columns(rows: &[f32], shape: [usize; 3], first: usize, count: usize) -> Result<Tensor> {
    let [batch, length, wide] = shape;
    let mut made = Vec::with_capacity(rows.len() / wide.max(1) * count);
    for row in rows.chunks_exact(wide.max(1)) {
        made.extend_from_slice(row.get(first..first + count).unwrap_or_default());
    }
    Tensor::from_vec(&[batch, length, count], made)
}

/// How many positions there are in the keys of the past.
fn past_length(past: Option<&Tensor>) -> usize {
    past.and_then(|past| past.shape().get(2).copied())
        .unwrap_or(0)
}

/// `Attention` (ContribOperators.md, com.microsoft 1), behind the product with its weights.
fn attention(node: &Node<'_>) -> Result<Option<Kernel>> {
    let settings = Settings::of(node)?;
    if !node.has(PROJECTED) {
        bail!(Internal, "the product with the weights was not taken out");
    }
    let sizes = node.ints("qkv_hidden_sizes").unwrap_or_default().to_vec();
    kernel(move |inputs| self_attention(inputs, &settings, &sizes)).map(Some)
}

fn self_attention(inputs: &Inputs<'_>, settings: &Settings, sizes: &[i64]) -> Result<Vec<Value>> {
    let x = inputs.tensor(0)?;
    let &[batch, length, wide] = x.shape() else {
        bail!(InvalidInput, "{:?} has not three axes", x.shape());
    };
    let sizes: Vec<usize> = match sizes {
        [] => vec![wide / 3; 3],
        sizes => sizes.iter().filter_map(|&n| n.try_into().ok()).collect(),
    };
    let &[of_query, of_key, of_value] = &sizes[..] else {
        bail!(InvalidModel, "`qkv_hidden_sizes` are not three");
    };
    if of_query
        .checked_add(of_key)
        .and_then(|both| both.checked_add(of_value))
        != Some(wide)
    {
        bail!(InvalidInput, "{sizes:?} are not {wide} together");
    }
    let rows = floats::reals::<f32>(x)?;
    let part = |first, count| columns(&rows, [batch, length, wide], first, count);
    let query = part(0, of_query)?;
    let (key, value) = (part(of_query, of_key)?, part(of_query + of_key, of_value)?);
    let past = inputs.tensor_opt(4)?;
    let past_of = |at| past.map(|past| arrange::at(past, 0, at)).transpose();
    let past = (past_of(0)?, past_of(1)?);
    let heads = Some(settings.heads);
    let all = Triple {
        query: Heads::new(&query, heads)?,
        key: with_past(Heads::new(&key, heads)?, past.0.as_ref())?,
        value: with_past(Heads::new(&value, heads)?, past.1.as_ref())?,
    };
    let before = past_length(past.0.as_ref());
    let (mask, bias) = (inputs.tensor_opt(3)?, inputs.tensor_opt(5)?);
    let (shape, made) = settings.run(&all, before, mask, bias)?;
    let mut values = vec![Value::Tensor(floats::tensor(x.dtype(), &shape, made)?)];
    if settings.outputs[1] {
        let both = [all.key.tensor(x.dtype())?, all.value.tensor(x.dtype())?];
        values.push(Value::Tensor(arrange::stack(&both, 0)?));
    }
    Ok(values)
}

/// `MultiHeadAttention` (ContribOperators.md, com.microsoft 1).
fn multi_head(node: &Node<'_>) -> Result<Option<Kernel>> {
    let settings = Settings::of(node)?;
    kernel(move |inputs| cross_attention(inputs, &settings)).map(Some)
}

/// Queries, keys and values of a packed tensor: `[batch, length, heads, count, size]`.
fn unpacked(tensor: &Tensor, count: usize) -> Result<Vec<Tensor>> {
    let (&[batch, length, heads, packed, size], true) = (tensor.shape(), count > 0) else {
        bail!(InvalidInput, "{:?} is not packed", tensor.shape());
    };
    if packed != count {
        bail!(InvalidInput, "{packed} are packed instead of {count}");
    }
    let shape = [batch, length, heads.saturating_mul(size)];
    let part = |at| arrange::reshaped(&arrange::at(tensor, 3, at)?, &shape);
    (0..count).map(part).collect()
}

/// With a part of the bias for each column, where keys and values are no cross states.
fn with_bias(tensor: Tensor, bias: Option<&[f32]>) -> Result<Tensor> {
    let (Some(bias), &[_, _, wide]) = (bias, tensor.shape()) else {
        return Ok(tensor);
    };
    if bias.len() != wide {
        bail!(InvalidInput, "{} biases for {wide} columns", bias.len());
    }
    let mut rows = floats::reals::<f32>(&tensor)?.into_owned();
    for row in rows.chunks_exact_mut(wide.max(1)) {
        row.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
    }
    floats::tensor(tensor.dtype(), tensor.shape(), rows)
}

fn cross_attention(inputs: &Inputs<'_>, settings: &Settings) -> Result<Vec<Value>> {
    let query = inputs.tensor(0)?;
    let parts = match (inputs.tensor_opt(1)?, inputs.tensor_opt(2)?) {
        (None, None) => unpacked(query, 3)?,
        (Some(key), None) => {
            let mut parts = vec![query.clone()];
            parts.extend(unpacked(key, 2)?);
            parts
        }
        (Some(key), Some(value)) => vec![query.clone(), key.clone(), value.clone()],
        (None, Some(_)) => bail!(InvalidInput, "there are values and no keys"),
    };
    let bias = inputs
        .tensor_opt(3)?
        .map(floats::reals::<f32>)
        .transpose()?;
    let mut first = 0;
    let mut biased = Vec::with_capacity(3);
    for part in parts {
        let count = match *part.shape() {
            [_, _, wide] => wide,
            _ => 0,
        };
        let own = bias
            .as_ref()
            .map(|bias| bias.get(first..first + count).unwrap_or_default());
        first += count;
        biased.push(with_bias(part, own)?);
    }
    let [query, key, value] = &biased[..] else {
        bail!(Internal, "there are not three parts");
    };
    let past = (inputs.tensor_opt(6)?, inputs.tensor_opt(7)?);
    let heads = Some(settings.heads);
    let all = Triple {
        query: Heads::new(query, heads)?,
        key: with_past(Heads::new(key, heads)?, past.0)?,
        value: with_past(Heads::new(value, heads)?, past.1)?,
    };
    let (mask, bias) = (inputs.tensor_opt(4)?, inputs.tensor_opt(5)?);
    let (shape, made) = settings.run(&all, past_length(past.0), mask, bias)?;
    let dtype = query.dtype();
    let mut values = vec![Value::Tensor(floats::tensor(dtype, &shape, made)?)];
    for (index, heads) in [(1, &all.key), (2, &all.value)] {
        values.push(match settings.outputs[index] {
            true => Value::Tensor(heads.tensor(dtype)?),
            false => Value::Optional(None),
        });
    }
    Ok(values)
}
