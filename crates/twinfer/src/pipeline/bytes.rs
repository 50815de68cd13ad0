//! Bytes to the tokens of a model: the features of Magika (google/magika, `magika.py`).

use super::{Before, ShortAnswer};
use crate::{BytesInput, DType, Limits, Result, ShortBytes, Tensor, bail, err};

/// The tokens, or the answer for input that is too short for the model.
///
/// # Errors
/// `body_too_large` for more bytes than the limit.
pub(crate) fn before(step: &BytesInput, content: &[u8], limits: &Limits) -> Result<Before> {
    if content.len() as u64 > limits.max_bytes {
        bail!(
            BodyTooLarge,
            "input `{}` has {} bytes, this model takes at most {}",
            step.name,
            content.len(),
            limits.max_bytes
        );
    }
    let block = content.len().min(step.block as usize);
    let mut begin = &content[..block];
    let mut end = &content[content.len() - block..];
    if step.strip_whitespace {
        begin = &begin[begin.iter().take_while(|b| is_space(**b)).count()..];
        end = &end[..end.len() - end.iter().rev().take_while(|b| is_space(**b)).count()];
    }
    if let Some(short) = &step.short {
        let below = short.below as usize;
        if content.len() < below || begin.len() < below {
            return Ok(Before::Short(short_answer(short, &content[..block])));
        }
    }
    let tokens = tokens(step, begin, end);
    let tensor = to_tensor(step.dtype, tokens)?;
    Ok(Before::Tensors {
        tensors: vec![(step.tensor.clone(), tensor)],
        picture: None,
    })
}

/// The white space of Python's `bytes.strip`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn short_answer(short: &ShortBytes, looked_at: &[u8]) -> ShortAnswer {
    let label = if looked_at.is_empty() {
        &short.empty
    } else if std::str::from_utf8(looked_at).is_ok() {
        &short.text
    } else {
        &short.binary
    };
    ShortAnswer {
        label: label.clone(),
        model_label: short.undefined.clone(),
    }
}

/// The first tokens of `begin`, padded at their end, then the last ones of `end`, padded at
/// their beginning.
fn tokens(step: &BytesInput, begin: &[u8], end: &[u8]) -> Vec<u32> {
    let (first, last) = (step.begin as usize, step.end as usize);
    let begin = &begin[..begin.len().min(first)];
    let end = &end[end.len() - end.len().min(last)..];
    let mut tokens = vec![step.padding; first + last];
    for (token, byte) in tokens.iter_mut().zip(begin) {
        *token = u32::from(*byte);
    }
    for (token, byte) in tokens.iter_mut().rev().zip(end.iter().rev()) {
        *token = u32::from(*byte);
    }
    tokens
}

/// The largest token that the data type holds exactly; `None` for types that tokens cannot have.
pub(crate) fn largest_token(dtype: DType) -> Option<u32> {
    match dtype {
        DType::U8 => Some(u8::MAX.into()),
        DType::U16 => Some(u16::MAX.into()),
        DType::I16 => Some(i16::MAX as u32),
        DType::I32 => Some(i32::MAX as u32),
        DType::U32 | DType::U64 | DType::I64 | DType::F64 => Some(u32::MAX),
        DType::F32 => Some(1 << 24),
        _ => None,
    }
}

fn to_tensor(dtype: DType, tokens: Vec<u32>) -> Result<Tensor> {
    let shape = [1, tokens.len()];
    let tokens = tokens.into_iter();
    // `check` has made sure that no token is over `largest_token`.
    match dtype {
        DType::U8 => Tensor::from_vec(&shape, tokens.map(|t| t as u8).collect()),
        DType::U16 => Tensor::from_vec(&shape, tokens.map(|t| t as u16).collect()),
        DType::U32 => Tensor::from_vec(&shape, tokens.collect()),
        DType::U64 => Tensor::from_vec(&shape, tokens.map(u64::from).collect()),
        DType::I16 => Tensor::from_vec(&shape, tokens.map(|t| t as i16).collect()),
        DType::I32 => Tensor::from_vec(&shape, tokens.map(|t| t as i32).collect()),
        DType::I64 => Tensor::from_vec(&shape, tokens.map(i64::from).collect()),
        DType::F32 => Tensor::from_vec(&shape, tokens.map(|t| t as f32).collect()),
        DType::F64 => Tensor::from_vec(&shape, tokens.map(f64::from).collect()),
        other => Err(err!(
            InvalidPackage,
            "bytes cannot become a tensor of {other}"
        )),
    }
}
