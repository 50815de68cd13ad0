//! Operators that carry a state along a sequence: `LinearAttention` and `CausalConvWithState`.

use std::borrow::Cow;

use super::super::inputs::{Inputs, Kernel, kernel};
use super::super::node::Node;
use super::floats;
use crate::{Result, Tensor, Value, bail, element_count};

/// Those of the standard domain.
pub(super) const OPS: super::Table = &[
    ("CausalConvWithState", convolution),
    ("LinearAttention", attention),
];

/// The attributes of `LinearAttention`.
struct Attention {
    query_heads: usize,
    key_heads: usize,
    scale: f32,
    decays: bool,
    corrects: bool,
}

/// `LinearAttention` (Operators.md, ai.onnx 27).
fn attention(node: &Node<'_>) -> Result<Option<Kernel>> {
    let heads = |name: &str| match node.required(name, node.int_opt(name))? {
        count if count > 0 => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
        count => bail!(InvalidModel, "`{name}` is {count}"),
    };
    let (decays, corrects) = match node.text("update_rule", "gated_delta")? {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => bail!(InvalidModel, "`update_rule` is `{other}`"),
    };
    let attention = Attention {
        query_heads: heads("q_num_heads")?,
        key_heads: heads("kv_num_heads")?,
        scale: node.float("scale", 0.0),
        decays,
        corrects,
    };
    if !(attention.query_heads).is_multiple_of(attention.key_heads) {
        bail!(
            InvalidModel,
            "{} heads of queries are no multiple of {} of keys",
            attention.query_heads,
            attention.key_heads
        );
    }
    kernel(move |inputs| attention.run(inputs)).map(Some)
}

/// A tensor of batch, length and heads next to each other.
struct Packed<'a> {
    rows: Cow<'a, [f32]>,
    /// Elements of a place in the sequence.
    wide: usize,
}

impl<'a> Packed<'a> {
    fn new(tensor: &'a Tensor, sequence: &[usize]) -> Result<Self> {
        match *tensor.shape() {
            [batch, length, wide] if [batch, length] == *sequence => Ok(Self {
                rows: floats::reals(tensor)?,
                wide,
            }),
            ref other => bail!(
                InvalidInput,
                "{other:?} is to have three axes, the first two of them {sequence:?}"
            ),
        }
    }

    /// Elements of a head.
    fn size(&self, heads: usize) -> Result<usize> {
        if self.wide == 0 || !self.wide.is_multiple_of(heads) {
            bail!(
                InvalidInput,
                "{} cannot be divided into {heads} heads",
                self.wide
            );
        }
        Ok(self.wide / heads)
    }

    /// A head at a place of all sequences, one after the other. A single one is for all heads.
    fn at(&self, place: usize, head: usize, size: usize) -> &[f32] {
        let start = place * self.wide + if self.wide == size { 0 } else { head * size };
        self.rows.get(start..start + size).unwrap_or_default()
    }
}

/// The inputs of `LinearAttention`.
struct Given<'a> {
    sequence: [usize; 2],
    query: Packed<'a>,
    key: Packed<'a>,
    value: Packed<'a>,
    decay: Option<Packed<'a>>,
    beta: Option<Packed<'a>>,
    key_size: usize,
    value_size: usize,
}

impl Attention {
    fn given<'a>(&self, inputs: &Inputs<'a>) -> Result<Given<'a>> {
        let [batch, length, _] = *inputs.tensor(0)?.shape() else {
            bail!(InvalidInput, "queries have three axes");
        };
        let sequence = [batch, length];
        let packed = |index| Packed::new(inputs.tensor(index)?, &sequence);
        let gate = |index: usize, wanted: bool| {
            let tensor = inputs.tensor_opt(index)?;
            if tensor.is_some() != wanted {
                bail!(
                    InvalidModel,
                    "the update rule and input {index} do not fit to each other"
                );
            }
            let packed = tensor.map(|tensor| Packed::new(tensor, &sequence));
            packed.transpose()
        };
        let (query, key, value) = (packed(0)?, packed(1)?, packed(2)?);
        let (decay, beta) = (gate(4, self.decays)?, gate(5, self.corrects)?);
        let key_size = query.size(self.query_heads)?;
        let value_size = value.size(self.key_heads)?;
        let fits = key.size(self.key_heads)? == key_size
            && (decay.iter()).all(|d| d.wide == self.key_heads || d.wide == key.wide)
            && (beta.iter()).all(|b| b.wide == self.key_heads || b.wide == 1);
        if !fits {
            bail!(
                InvalidInput,
                "keys, decay or beta do not have the heads of the queries"
            );
        }
        Ok(Given {
            sequence,
            query,
            key,
            value,
            decay,
            beta,
            key_size,
            value_size,
        })
    }

    fn run(&self, inputs: &Inputs<'_>) -> Result<Vec<Value>> {
        let given = self.given(inputs)?;
        let dtype = inputs.tensor(0)?.dtype();
        let [batch, length] = given.sequence;
        let (key_size, value_size) = (given.key_size, given.value_size);
        let state_shape = [batch, self.key_heads, key_size, value_size];
        let past = inputs.tensor_opt(3)?;
        let mut state = match past {
            Some(past) if past.shape() == state_shape => floats::reals(past)?.into_owned(),
            Some(past) => bail!(
                InvalidInput,
                "a past state of {:?}, expected {state_shape:?}",
                past.shape()
            ),
            None => floats::zeros::<f32>(&state_shape)?,
        };
        let Some(wide) = self.query_heads.checked_mul(value_size) else {
            bail!(InvalidInput, "{} heads are too many", self.query_heads);
        };
        let shape = [batch, length, wide];
        let mut made = floats::zeros::<f32>(&shape)?;
        let states = state.chunks_exact_mut(element_count(&[key_size, value_size])?);
        for (at, state) in states.enumerate() {
            let (batch, head) = (at / self.key_heads, at % self.key_heads);
            self.head(&given, batch, head, state, &mut made);
        }
        let state_dtype = past.map_or(dtype, Tensor::dtype);
        Ok(vec![
            Value::Tensor(floats::tensor(dtype, &shape, made)?),
            Value::Tensor(floats::tensor(state_dtype, &state_shape, state)?),
        ])
    }

    /// A head of keys of one sequence, from its first place to its last.
    fn head(
        &self,
        given: &Given<'_>,
        batch: usize,
        head: usize,
        state: &mut [f32],
        made: &mut [f32],
    ) {
        let (key_size, value_size) = (given.key_size, given.value_size);
        let scale = match self.scale {
            0.0 => 1.0 / (key_size as f32).sqrt(),
            scale => scale,
        };
        let group = self.query_heads / self.key_heads;
        let mut written = vec![0.0; value_size];
        let mut read = vec![0.0; value_size];
        for place in batch * given.sequence[1]..(batch + 1) * given.sequence[1] {
            let key = given.key.at(place, head, key_size);
            if let Some(decay) = &given.decay {
                let wide = decay.wide / self.key_heads;
                // One for each element of a key, or one for all of them.
                let by = decay.at(place, head, wide).iter().cycle();
                for (row, by) in state.chunks_exact_mut(value_size).zip(by) {
                    let by = by.exp();
                    row.iter_mut().for_each(|x| *x *= by);
                }
            }
            written.copy_from_slice(given.value.at(place, head, value_size));
            if let Some(beta) = &given.beta {
                let beta = beta.at(place, head, 1).first().copied().unwrap_or_default();
                read.fill(0.0);
                for (row, &key) in state.chunks_exact(value_size).zip(key) {
                    floats::add_scaled(&mut read, row, key);
                }
                for (written, &read) in written.iter_mut().zip(&read) {
                    *written = beta * (*written - read);
                }
            }
            for (row, &key) in state.chunks_exact_mut(value_size).zip(key) {
                floats::add_scaled(row, &written, key);
            }
            for reader in head * group..(head + 1) * group {
                let query = given.query.at(place, reader, key_size);
                let to = (place * self.query_heads + reader) * value_size;
                let to = made.get_mut(to..to + value_size).unwrap_or_default();
                for (row, &query) in state.chunks_exact(value_size).zip(query) {
                    floats::add_scaled(to, row, query * scale);
                }
            }
        }
    }
}

/// `CausalConvWithState` (Operators.md, ai.onnx 27).
fn convolution(node: &Node<'_>) -> Result<Option<Kernel>> {
    let is_silu = match node.text("activation", "none")? {
        "none" => false,
        "silu" | "swish" => true,
        other => bail!(InvalidModel, "`activation` is `{other}`"),
    };
    kernel(move |inputs| convolve(inputs, is_silu)).map(Some)
}

fn convolve(inputs: &Inputs<'_>, is_silu: bool) -> Result<Vec<Value>> {
    let (input, weight) = (inputs.tensor(0)?, inputs.tensor(1)?);
    let dtype = input.dtype();
    let ([batch, channels, length], [filters, 1, taps]) = (input.shape(), weight.shape()) else {
        bail!(
            InvalidInput,
            "input and weight have three axes, the middle one of weight is 1"
        );
    };
    let (batch, channels, length, taps) = (*batch, *channels, *length, *taps);
    if *filters != channels || taps == 0 || length == 0 {
        bail!(
            InvalidInput,
            "weight of {:?} does not fit to input of {:?}",
            weight.shape(),
            input.shape()
        );
    }
    let state_shape = [batch, channels, taps - 1];
    let past = inputs.tensor_opt(3)?;
    let past = match past {
        Some(past) if past.shape() == state_shape => floats::reals(past)?,
        Some(past) => bail!(
            InvalidInput,
            "a past state of {:?}, expected {state_shape:?}",
            past.shape()
        ),
        None => Cow::Owned(floats::zeros::<f32>(&state_shape)?),
    };
    let bias = match inputs.tensor_opt(2)? {
        Some(bias) if bias.shape() == [channels] => floats::reals(bias)?,
        Some(bias) => bail!(InvalidInput, "a bias of {:?}", bias.shape()),
        None => Cow::Owned(floats::zeros::<f32>(&[channels])?),
    };
    let (rows, weights) = (floats::reals::<f32>(input)?, floats::reals::<f32>(weight)?);
    let mut made = floats::zeros::<f32>(input.shape())?;
    let mut state = floats::zeros::<f32>(&state_shape)?;
    // Without elements, axes can be of any length.
    let wide = (taps - 1).checked_add(length).filter(|_| !made.is_empty());
    let mut padded = vec![0.0; wide.unwrap_or(0)];
    for (at, (row, to)) in
        (rows.chunks_exact(length).zip(made.chunks_exact_mut(length))).enumerate()
    {
        let before = at * (taps - 1)..(at + 1) * (taps - 1);
        let (first, rest) = padded.split_at_mut(taps - 1);
        first.copy_from_slice(past.get(before.clone()).unwrap_or_default());
        rest.copy_from_slice(row);
        let channel = at % channels;
        let filter = weights.get(channel * taps..(channel + 1) * taps);
        to.fill(bias.get(channel).copied().unwrap_or_default());
        for (tap, &weight) in filter.unwrap_or_default().iter().enumerate() {
            floats::add_scaled(to, padded.get(tap..).unwrap_or_default(), weight);
        }
        if is_silu {
            for x in to {
                // The convolution is of the type of the input, the activation is not.
                let y = floats::rounded(dtype, *x);
                *x = y / (1.0 + (-y).exp());
            }
        }
        let (kept, last) = (state.get_mut(before), padded.get(length..));
        kept.unwrap_or_default()
            .copy_from_slice(last.unwrap_or_default());
    }
    Ok(vec![
        Value::Tensor(floats::tensor(dtype, input.shape(), made)?),
        Value::Tensor(floats::tensor(dtype, &state_shape, state)?),
    ])
}
