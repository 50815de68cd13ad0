//! Weights that are not in the model file: ONNX "external data" (onnx.proto, message
//! `TensorProto`, fields `external_data` and `data_location`).

use std::borrow::Cow;

use tract_onnx::pb::{GraphProto, TensorProto, tensor_proto};

use super::MAX_MODEL_BYTES;
use super::constants::Constants;
use super::graph::onnx_dtype;
use crate::{DType, Result, bail, err};

/// Weights of one model together: more than any machine without a graphics card computes with.
pub const MAX_WEIGHTS_BYTES: u64 = 16 << 30;

/// Gives the weights that a model file keeps outside of itself, by the location that is
/// written in it. The engine never opens a file: whoever loads a model says what it may read.
pub trait Weights {
    /// How many bytes there are at this location.
    ///
    /// # Errors
    /// `invalid_model`, `invalid_package` where there is nothing, or nothing that may be read.
    fn length(&self, location: &str) -> Result<u64>;

    /// `length` bytes from `offset` on, borrowed where they are in memory. Asked for only
    /// within [`Weights::length`].
    ///
    /// # Errors
    /// As [`Weights::length`]; `storage` when reading fails.
    fn read(&self, location: &str, offset: u64, length: usize) -> Result<Cow<'_, [u8]>>;
}

/// The weights of a model that has all of them in its file.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWeights;

impl Weights for NoWeights {
    fn length(&self, location: &str) -> Result<u64> {
        Err(err!(
            InvalidModel,
            "weights are in another file, `{}` (external data), which was not given: load the model from its folder or its package, or save it with its weights in one file",
            short(location)
        ))
    }

    fn read(&self, location: &str, _offset: u64, _length: usize) -> Result<Cow<'_, [u8]>> {
        self.length(location).map(|_| Cow::default())
    }
}

/// What a tensor says of its place.
struct Claim {
    /// Position in the list of initializers.
    tensor: usize,
    location: String,
    offset: u64,
    length: u64,
}

/// Checks the shapes of weights, and gives those that are outside of the file their elements.
///
/// # Errors
/// `invalid_model` for negative axes, lengths that do not fit, claims beyond the end of what
/// is there or across each other; `model_too_large`; those of `weights`.
pub(super) fn fill(
    graph: &mut GraphProto,
    weights: &dyn Weights,
    constants: &mut Constants,
) -> Result<()> {
    let mut claims = Vec::new();
    for (index, tensor) in graph.initializer.iter().enumerate() {
        if tensor.dims.iter().any(|&d| d < 0) {
            bail!(
                InvalidModel,
                "weight `{}` has a negative axis: {:?}",
                tensor.name,
                tensor.dims
            );
        }
        if is_external(tensor) {
            let claim = claim(index, tensor, weights);
            claims.push(claim.map_err(|e| e.context(format!("weight `{}`", short(&tensor.name))))?);
        }
    }
    check_together(&claims)?;
    for claim in claims {
        let length = usize::try_from(claim.length)
            .map_err(|_| err!(ModelTooLarge, "a weight has {} bytes", claim.length))?;
        let bytes = weights.read(&claim.location, claim.offset, length)?;
        if bytes.len() != length {
            bail!(Internal, "{} bytes were read, not {length}", bytes.len());
        }
        if let Some(tensor) = graph.initializer.get_mut(claim.tensor) {
            tensor.external_data.clear();
            tensor.data_location = None;
        }
        constants.give(graph, claim.tensor, bytes)?;
    }
    Ok(())
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(tensor_proto::DataLocation::External as i32)
        || !tensor.external_data.is_empty()
}

fn claim(index: usize, tensor: &TensorProto, weights: &dyn Weights) -> Result<Claim> {
    let entry = |key: &str| {
        let mut found = tensor.external_data.iter().filter(|e| e.key == key);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(err!(InvalidModel, "external data says `{key}` twice")),
            (first, None) => Ok(first.map(|e| e.value.as_str())),
        }
    };
    let number = |key: &str| match entry(key)? {
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
            err!(
                InvalidModel,
                "external data has {key} `{}`, which is not a number of bytes",
                short(text)
            )
        }),
        None => Ok(None),
    };
    let Some(location) = entry("location")? else {
        bail!(InvalidModel, "external data has no location");
    };
    if !tensor.raw_data.is_empty() {
        bail!(InvalidModel, "the weight is in the file and outside of it");
    }
    let offset = number("offset")?.unwrap_or(0);
    let there = weights.length(location)?;
    let needed = byte_size(tensor)?;
    let Some(rest) = there.checked_sub(offset) else {
        bail!(
            InvalidModel,
            "offset {offset} is beyond the {there} bytes of `{}`",
            short(location)
        );
    };
    let length = number("length")?.unwrap_or(rest);
    if length > rest {
        bail!(
            InvalidModel,
            "{length} bytes from {offset} on are beyond the {there} bytes of `{}`",
            short(location)
        );
    }
    if length != needed {
        bail!(
            InvalidModel,
            "its shape {:?} needs {needed} bytes, but `{}` has {length} for it",
            tensor.dims,
            short(location)
        );
    }
    Ok(Claim {
        tensor: index,
        location: location.to_owned(),
        offset,
        length,
    })
}

/// The bytes that a tensor of this shape and type has in `raw_data`.
fn byte_size(tensor: &TensorProto) -> Result<u64> {
    let elements = tensor
        .dims
        .iter()
        .try_fold(1u64, |all, &d| all.checked_mul(u64::try_from(d).ok()?));
    let Some(bits) = onnx_dtype(tensor.data_type).and_then(DType::bits) else {
        bail!(
            InvalidModel,
            "element type {} cannot be outside of the file",
            tensor.data_type
        );
    };
    let size = elements.and_then(|n| Some(n.checked_mul(bits as u64)?.div_ceil(8)));
    size.filter(|size| *size <= MAX_WEIGHTS_BYTES)
        .ok_or_else(|| err!(ModelTooLarge, "its shape is {:?}", tensor.dims))
}

/// Claims may be equal (the same numbers in two places of the network), but not overlap in
/// part, which no exporter writes. Equal ones may be copied for each tensor (of another shape or
/// type): beyond what is there, they may take as much memory as a model file without shards
/// could.
fn check_together(claims: &[Claim]) -> Result<()> {
    let mut sorted: Vec<(&str, u64, u64)> = claims
        .iter()
        .filter(|c| c.length > 0)
        .map(|c| (c.location.as_str(), c.offset, c.length))
        .collect();
    let total = sum(&sorted);
    sorted.sort_unstable();
    sorted.dedup();
    for pair in sorted.windows(2) {
        if let [(a, start, length), (b, next, _)] = pair
            && a == b
            && next - start < *length
        {
            bail!(
                InvalidModel,
                "two weights claim overlapping parts of `{}`",
                short(a)
            );
        }
    }
    let copies = total.saturating_sub(sum(&sorted));
    if total > MAX_WEIGHTS_BYTES || copies > MAX_MODEL_BYTES as u64 {
        bail!(
            ModelTooLarge,
            "the weights have {total} bytes, {copies} of them in copies; at most {MAX_WEIGHTS_BYTES} are loaded, and {MAX_MODEL_BYTES} of copies"
        );
    }
    Ok(())
}

fn sum(claims: &[(&str, u64, u64)]) -> u64 {
    claims
        .iter()
        .fold(0, |all, (_, _, length)| all.saturating_add(*length))
}

/// Text of a model file for a message.
fn short(text: &str) -> String {
    text.chars()
        .take(100)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
