//! Attention of queries over keys and values, in full: `Attention` and `FlexAttention`.

mod flex;
mod microsoft;

use std::borrow::Cow;

pub(in super::super) use self::flex::Flex;
pub(super) use self::microsoft::{OPS as MICROSOFT, PROJECTED};
use super::super::arrange;
use super::super::inputs::{Inputs, Kernel, kernel};
use super::super::node::Node;
use super::floats::{self, Float};
use crate::session::onnx_dtype;
use crate::{DType, Result, Tensor, Value, bail};

/// Those of the standard domain.
pub(super) const OPS: super::Table = &[("Attention", attention)];
/// Those of `ai.onnx.preview`.
pub(super) const PREVIEW: super::Table = &[("FlexAttention", flex::flex_attention)];

/// What is asked for as the output of the product of queries and keys.
#[derive(Clone, Copy, PartialEq)]
enum Scores {
    Scaled,
    Capped,
    Masked,
    Softmax,
}

/// The attributes of `Attention`.
struct Attention {
    query_heads: Option<usize>,
    key_heads: Option<usize>,
    scale: Option<f64>,
    softcap: f64,
    is_causal: bool,
    is_double: bool,
    scores: Scores,
    outputs: [bool; 4],
}

/// `Attention` (Operators.md, ai.onnx 23 and 24).
fn attention(node: &Node<'_>) -> Result<Option<Kernel>> {
    let heads = |name: &str| match node.int_opt(name) {
        None => Ok(None),
        Some(count) if count > 0 => Ok(usize::try_from(count).ok()),
        Some(count) => bail!(InvalidModel, "`{name}` is {count}"),
    };
    let attention = Attention {
        query_heads: heads("q_num_heads")?,
        key_heads: heads("kv_num_heads")?,
        scale: node.float_opt("scale").map(f64::from),
        softcap: node.float("softcap", 0.0).into(),
        is_causal: node.flag("is_causal", false),
        is_double: softmax_precision(node)? == Some(DType::F64),
        scores: match node.int("qk_matmul_output_mode", 0) {
            0 => Scores::Scaled,
            1 => Scores::Capped,
            2 => Scores::Masked,
            3 => Scores::Softmax,
            other => bail!(InvalidModel, "`qk_matmul_output_mode` is {other}"),
        },
        outputs: [0, 1, 2, 3].map(|index| node.has_output(index)),
    };
    kernel(move |inputs| {
        let is_double = attention.is_double
            || floats::is_double(inputs.tensor(0)?)?
            || floats::is_double(inputs.tensor(2)?)?;
        match is_double {
            true => attention.run::<f64>(inputs),
            false => attention.run::<f32>(inputs),
        }
    })
    .map(Some)
}

/// The type of the softmax, where the node has one. Less than FP32 is computed in FP32.
fn softmax_precision(node: &Node<'_>) -> Result<Option<DType>> {
    let Some(code) = node.int_opt("softmax_precision") else {
        return Ok(None);
    };
    match i32::try_from(code).ok().and_then(onnx_dtype) {
        Some(dtype) if floats::is_float(dtype) => Ok(Some(dtype)),
        _ => bail!(
            InvalidModel,
            "`softmax_precision` is {code}, no type of floats"
        ),
    }
}

/// `[batch, heads, length, size]`, in this order.
struct Heads<'a, R: Float> {
    shape: [usize; 4],
    rows: Cow<'a, [R]>,
}

impl<'a, R: Float> Heads<'a, R> {
    /// Of a tensor of four axes, or of three: `[batch, length, heads × size]`.
    fn new(tensor: &'a Tensor, heads: Option<usize>) -> Result<Self> {
        let rows = floats::reals::<R>(tensor)?;
        let (batch, length, wide) = match *tensor.shape() {
            [batch, heads, length, size] => {
                let shape = [batch, heads, length, size];
                return Ok(Self { shape, rows });
            }
            [batch, length, wide] => (batch, length, wide),
            ref other => bail!(InvalidInput, "{other:?} has neither three axes nor four"),
        };
        let Some(heads) = heads else {
            bail!(
                InvalidModel,
                "with three axes, the numbers of heads are needed"
            );
        };
        if !wide.is_multiple_of(heads) {
            bail!(InvalidInput, "{wide} cannot be divided into {heads} heads");
        }
        let size = wide / heads;
        let mut moved = Vec::with_capacity(rows.len());
        // Axes can be long where there are no elements.
        let batches = if rows.is_empty() { 0 } else { batch };
        for batch in 0..batches {
            for head in 0..heads {
                for at in 0..length {
                    let start = (batch * length + at) * wide + head * size;
                    moved.extend_from_slice(rows.get(start..start + size).unwrap_or_default());
                }
            }
        }
        Ok(Self {
            shape: [batch, heads, length, size],
            rows: Cow::Owned(moved),
        })
    }

    /// All rows of a head.
    fn head(&self, batch: usize, head: usize) -> &[R] {
        let [_, heads, length, size] = self.shape;
        let start = (batch * heads + head) * length * size;
        self.rows
            .get(start..start + length * size)
            .unwrap_or_default()
    }

    /// As a tensor.
    fn tensor(&self, dtype: DType) -> Result<Tensor> {
        floats::tensor(dtype, &self.shape, self.rows.to_vec())
    }
}

/// What is added to the scores: shapes that fit to `[batch, heads, queries, keys]` from behind, and
/// fewer keys than there are.
struct Mask<R: Float> {
    added: Vec<R>,
    strides: [usize; 3],
    keys: usize,
}

impl<R: Float> Mask<R> {
    fn new(tensor: &Tensor, to: [usize; 4]) -> Result<Self> {
        let added = match tensor.dtype() {
            DType::Bool => {
                let taken = tensor.view::<bool>()?;
                let added = taken.iter().map(|&is| if is { R::ZERO } else { R::LOWEST });
                added.collect()
            }
            _ => floats::numbers(tensor)?,
        };
        let mut shape = [1; 4];
        let given = tensor.shape();
        let fits = (shape.iter_mut().rev().zip(given.iter().rev()))
            .zip(to.into_iter().rev())
            .enumerate()
            .all(|(axis, ((shape, &given), to))| {
                *shape = given;
                given == to || (axis == 0 && given < to) || (axis > 0 && given == 1)
            });
        if !fits || given.is_empty() || given.len() > 4 {
            bail!(InvalidInput, "a mask of {given:?} does not fit to {to:?}");
        }
        let [batches, heads, queries, keys] = shape;
        let stride = |axis: usize, stride: usize| if axis == 1 { 0 } else { stride };
        Ok(Self {
            added,
            strides: [
                stride(batches, heads.saturating_mul(queries).saturating_mul(keys)),
                stride(heads, queries.saturating_mul(keys)),
                stride(queries, keys),
            ],
            keys,
        })
    }

    fn add_to(&self, scores: &mut [R], place: [usize; 3]) {
        let places = self.strides.iter().zip(place);
        let start: usize = places.map(|(stride, at)| stride * at).sum();
        let row = self.added.get(start..start + self.keys).unwrap_or_default();
        for (score, &added) in scores.iter_mut().zip(row) {
            *score += added;
        }
        if let Some(rest) = scores.get_mut(row.len()..) {
            rest.fill(R::LOWEST);
        }
    }
}

/// Queries, keys and values whose shapes fit to each other.
struct Triple<'a, R: Float> {
    query: Heads<'a, R>,
    key: Heads<'a, R>,
    value: Heads<'a, R>,
}

impl<R: Float> Triple<'_, R> {
    fn check(&self) -> Result<()> {
        let [batch, heads, _, size] = self.query.shape;
        let [_, key_heads, length, value_size] = self.value.shape;
        let fits = self.key.shape == [batch, key_heads, length, size]
            && self.value.shape == [batch, key_heads, length, value_size];
        if !fits || key_heads == 0 || !heads.is_multiple_of(key_heads) {
            bail!(
                InvalidInput,
                "queries of {:?}, keys of {:?} and values of {:?} do not fit to each other",
                self.query.shape,
                self.key.shape,
                self.value.shape
            );
        }
        // Shapes without elements say nothing of the memory that an output needs.
        if size == 0 || length == 0 || value_size == 0 {
            bail!(InvalidInput, "attention over nothing is not defined");
        }
        Ok(())
    }

    /// `[batch, heads, queries, keys]`
    fn scores(&self) -> [usize; 4] {
        let [batch, heads, queries, _] = self.query.shape;
        [batch, heads, queries, self.key.shape[2]]
    }

    /// The rows of keys or of values that a head of queries has, `at` counting all heads of all of the
    /// batch.
    fn shared<'b>(&self, of: &'b Heads<'_, R>, at: usize) -> &'b [R] {
        let [_, heads, ..] = self.query.shape;
        of.head(at / heads, at % heads / (heads / of.shape[1]))
    }

    /// All scores.
    fn products(&self, scale: Option<f64>) -> Result<Vec<R>> {
        let [_, heads, queries, size] = self.query.shape;
        let keys = self.key.shape[2];
        let scale = R::from_f64(scale.unwrap_or_else(|| 1.0 / (size as f64).sqrt()));
        let mut all = floats::zeros::<R>(&self.scores())?;
        if all.is_empty() {
            return Ok(all);
        }
        for (at, scores) in all.chunks_exact_mut(queries * keys).enumerate() {
            let key = self.shared(&self.key, at);
            let rows = self.query.head(at / heads, at % heads).chunks_exact(size);
            for (row, scores) in rows.zip(scores.chunks_exact_mut(keys)) {
                for (score, key) in scores.iter_mut().zip(key.chunks_exact(size)) {
                    *score = floats::dot(row, key) * scale;
                }
            }
        }
        Ok(all)
    }

    /// The sums of values, weighted with all probabilities.
    fn sums(&self, probabilities: &[R], shape: &[usize; 4]) -> Result<Vec<R>> {
        let [_, _, queries, size] = *shape;
        let keys = self.key.shape[2];
        let mut all = floats::zeros::<R>(shape)?;
        if all.is_empty() {
            return Ok(all);
        }
        let heads = probabilities.chunks_exact(queries * keys);
        let heads = heads.zip(all.chunks_exact_mut(queries * size));
        for (at, (weights, sums)) in heads.enumerate() {
            let value = self.shared(&self.value, at);
            let rows = weights.chunks_exact(keys).zip(sums.chunks_exact_mut(size));
            for (weights, sums) in rows {
                for (&weight, value) in weights.iter().zip(value.chunks_exact(size)) {
                    floats::add_scaled(sums, value, weight);
                }
            }
        }
        Ok(all)
    }

    /// The result as `[batch, heads, queries, size]`, or with the heads inside as
    /// `[batch, queries, heads × size]`. What makes probabilities of the scores of a query is told
    /// its place: batch, head, query.
    fn run(
        &self,
        scale: Option<f64>,
        heads_inside: bool,
        mut probabilities: impl FnMut(&mut [R], [usize; 3]),
    ) -> Result<(Vec<usize>, Vec<R>)> {
        let [batch, heads, queries, size] = self.query.shape;
        let [_, key_heads, keys, value_size] = self.value.shape;
        let scale = R::from_f64(scale.unwrap_or_else(|| 1.0 / (size as f64).sqrt()));
        let shape = match heads_inside {
            true => vec![batch, queries, heads, value_size],
            false => vec![batch, heads, queries, value_size],
        };
        let mut made = floats::zeros::<R>(&shape)?;
        if made.is_empty() {
            // Nothing else bounds the other axes then.
            return Ok((shape, made));
        }
        let mut scores = floats::zeros::<R>(&[keys])?;
        let mut scaled = vec![R::ZERO; size];
        for batch in 0..batch {
            for head in 0..heads {
                let key = self.key.head(batch, head / (heads / key_heads));
                let value = self.value.head(batch, head / (heads / key_heads));
                let rows = self.query.head(batch, head).chunks_exact(size);
                for (query, row) in rows.enumerate() {
                    for (scaled, &element) in scaled.iter_mut().zip(row) {
                        *scaled = element * scale;
                    }
                    for (score, key) in scores.iter_mut().zip(key.chunks_exact(size)) {
                        *score = floats::dot(&scaled, key);
                    }
                    probabilities(&mut scores, [batch, head, query]);
                    let at = match heads_inside {
                        true => (batch * queries + query) * heads + head,
                        false => (batch * heads + head) * queries + query,
                    };
                    let to = made.get_mut(at * value_size..(at + 1) * value_size);
                    let to = to.unwrap_or_default();
                    for (&score, value) in scores.iter().zip(value.chunks_exact(value_size)) {
                        floats::add_scaled(to, value, score);
                    }
                }
            }
        }
        Ok((shape, made))
    }
}

impl Attention {
    fn run<R: Float>(&self, inputs: &Inputs<'_>) -> Result<Vec<Value>> {
        let [query, key, value] = [inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?];
        let rank = query.shape().len();
        if key.shape().len() != rank || value.shape().len() != rank {
            bail!(
                InvalidInput,
                "queries, keys and values are of different ranks"
            );
        }
        let past = (inputs.tensor_opt(4)?, inputs.tensor_opt(5)?);
        if past.0.is_some() != past.1.is_some() {
            bail!(
                InvalidInput,
                "of keys and values of the past, one is missing"
            );
        }
        let all = Triple::<R> {
            query: Heads::new(query, self.query_heads)?,
            key: with_past(Heads::new(key, self.key_heads)?, past.0)?,
            value: with_past(Heads::new(value, self.key_heads)?, past.1)?,
        };
        all.check()?;
        let steps = self.steps(inputs, &all)?;
        let mut kept = match self.outputs[3] {
            true => floats::zeros::<R>(&all.scores())?,
            false => Vec::new(),
        };
        let mut places = kept.chunks_exact_mut(all.key.shape[2]);
        let (shape, made) = all.run(self.scale, rank == 3, |scores, place| {
            steps.run(scores, place, places.next());
        })?;
        let shape = match shape[..] {
            [batch, queries, heads, size] if rank == 3 => {
                vec![batch, queries, heads.saturating_mul(size)]
            }
            _ => shape,
        };
        let mut values = vec![Value::Tensor(floats::tensor(query.dtype(), &shape, made)?)];
        for (index, dtype, heads) in [(1, key.dtype(), &all.key), (2, value.dtype(), &all.value)] {
            values.push(match self.outputs[index] {
                true => Value::Tensor(heads.tensor(dtype)?),
                false => Value::Optional(None),
            });
        }
        if self.outputs[3] {
            let kept = floats::tensor(query.dtype(), &all.scores(), kept)?;
            values.push(Value::Tensor(kept));
        }
        Ok(values)
    }

    fn steps<R: Float>(&self, inputs: &Inputs<'_>, all: &Triple<'_, R>) -> Result<Steps<R>> {
        let mask = inputs.tensor_opt(3)?;
        let mask = mask.map(|mask| Mask::new(mask, all.scores()));
        let valid = inputs.ints_opt(6)?;
        if (valid.as_ref()).is_some_and(|valid| valid.len() != all.query.shape[0]) {
            bail!(
                InvalidInput,
                "`nonpad_kv_seqlen` is to have one length for each in the batch"
            );
        }
        let past = inputs.tensor_opt(4)?;
        let before = past.and_then(|past| past.shape().get(2).copied());
        Ok(Steps {
            softcap: R::from_f64(self.softcap),
            mask: mask.transpose()?,
            causal: self.is_causal.then_some(before.unwrap_or(0)),
            valid,
            kept: self.scores,
        })
    }
}

/// What makes probabilities of scores.
struct Steps<R: Float> {
    softcap: R,
    mask: Option<Mask<R>>,
    /// How many keys of the past all queries see, where they see no later ones than their own.
    causal: Option<usize>,
    /// How many keys there are for each of the batch.
    valid: Option<Vec<i64>>,
    /// What is kept of the scores.
    kept: Scores,
}

impl<R: Float> Steps<R> {
    /// For one query: of batch, head, query.
    fn run(&self, scores: &mut [R], place: [usize; 3], mut kept: Option<&mut [R]>) {
        let mut keep = |when: Scores, scores: &[R]| {
            if let Some(kept) = kept.as_mut().filter(|_| when == self.kept) {
                kept.copy_from_slice(scores);
            }
        };
        keep(Scores::Scaled, scores);
        if self.softcap > R::ZERO {
            for score in scores.iter_mut() {
                *score = (*score / self.softcap).tanh() * self.softcap;
            }
        }
        keep(Scores::Capped, scores);
        if let Some(mask) = &self.mask {
            mask.add_to(scores, place);
        }
        let [batch, _, query] = place;
        let mut end = scores.len();
        if let Some(before) = self.causal {
            end = end.min(before + query + 1);
        }
        if let Some(&valid) = self.valid.as_ref().and_then(|valid| valid.get(batch)) {
            end = end.min(usize::try_from(valid).unwrap_or(0));
        }
        if let Some(hidden) = scores.get_mut(end..) {
            hidden.fill(R::LOWEST);
        }
        keep(Scores::Masked, scores);
        floats::softmax(scores);
        keep(Scores::Softmax, scores);
    }
}

/// Keys or values after those of the past.
fn with_past<'a, R: Float>(heads: Heads<'a, R>, past: Option<&Tensor>) -> Result<Heads<'a, R>> {
    let Some(past) = past else {
        return Ok(heads);
    };
    let now = floats::tensor::<R>(R::DTYPE, &heads.shape, heads.rows.into_owned())?;
    let past = floats::tensor::<R>(R::DTYPE, past.shape(), floats::reals(past)?.into_owned())?;
    let all = arrange::concat(&[past, now], 2)?;
    let [batch, count, length, size] = *all.shape() else {
        bail!(InvalidInput, "keys and values of the past have four axes");
    };
    let rows = Cow::Owned(all.to_vec()?);
    let shape = [batch, count, length, size];
    Ok(Heads { shape, rows })
}
