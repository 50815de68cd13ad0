//! Operators of `com.microsoft` on quantised tensors: those that `onnxruntime.quantization` writes.
//! (ContribOperators.md; what it leaves open is as ONNX Runtime's CPU provider does it.)
//!
//! An 8-bit number stands for `scale * (number - zero point)`. All of these compute in FP32 and round
//! half to even.

mod activation;
mod blocks;
mod elements;
mod linear;
mod lstm;
mod pooled;

use super::integer::Bytes;
use crate::program::cast::Numbers;
use crate::program::inputs::Inputs;
use crate::{DType, Result, Tensor, bail, err};

pub(super) use self::blocks::OPS as BLOCKS;
pub(super) use self::elements::OPS as ELEMENTS;
pub(super) use self::linear::OPS as LINEAR;
pub(super) use self::lstm::OPS as LSTM;
pub(super) use self::pooled::{OPS as POOLED, channels_first, channels_last};

/// A quantised tensor.
struct Quantised<'a> {
    shape: &'a [usize],
    bytes: &'a [u8],
    point: Point,
}

/// What 8-bit integers stand for.
#[derive(Clone, Copy, PartialEq)]
struct Point {
    dtype: DType,
    scale: f32,
    zero: i32,
}

impl<'a> Quantised<'a> {
    /// A tensor of UINT8 or INT8 with its scale and zero point, by the indices of the inputs.
    ///
    /// # Errors
    /// `unsupported_dtype` for other types; `invalid_input` for more than one scale or zero point.
    fn of(inputs: &Inputs<'a>, [x, scale, zero]: [usize; 3]) -> Result<Self> {
        let tensor = inputs.tensor(x)?;
        let point = Point::of(inputs, scale, zero, tensor.dtype())?;
        Ok(Self {
            shape: tensor.shape(),
            bytes: tensor.as_bytes().unwrap_or_default(),
            point,
        })
    }
}

impl Point {
    /// The zero point may be left out.
    fn of(inputs: &Inputs<'_>, scale: usize, zero: usize, dtype: DType) -> Result<Self> {
        let zero_point = inputs.tensor_opt(zero)?;
        let dtype = zero_point.map_or(dtype, Tensor::dtype);
        if !matches!(dtype, DType::U8 | DType::I8) {
            bail!(
                UnsupportedDtype,
                "quantised as {dtype}: there are UINT8 and INT8"
            );
        }
        let zero_point = match zero_point {
            Some(tensor) => only(&Numbers::of(tensor)?.ints(), zero)?,
            None => 0,
        };
        Ok(Self {
            dtype,
            scale: one_scale(inputs, scale)?,
            zero: zero_point as i32,
        })
    }

    /// The integer that a byte is.
    fn integer(self, byte: u8) -> i32 {
        match self.dtype {
            DType::I8 => (byte as i8).into(),
            _ => byte.into(),
        }
    }

    /// The number that a byte stands for.
    fn value(self, byte: u8) -> f32 {
        (self.integer(byte) - self.zero) as f32 * self.scale
    }

    /// The numbers that all bytes stand for, times a factor.
    fn values(self, factor: f32) -> [f32; 256] {
        let mut all = [0.0; 256];
        for (byte, value) in (0..=255).zip(&mut all) {
            *value = self.value(byte) * factor;
        }
        all
    }

    /// How numbers of steps become bytes.
    fn bytes(self) -> Bytes {
        Bytes::new(self.dtype, self.zero.into())
    }

    /// The bytes for all bytes of another scale, each after a function.
    fn table(self, from: Self, function: impl Fn(f32) -> f32) -> [u8; 256] {
        let to = self.bytes();
        from.values(1.0)
            .map(|value| to.nearest(function(value) / self.scale))
    }
}

/// The only number of a list.
fn only<T: Copy>(all: &[T], index: usize) -> Result<T> {
    match all {
        [one] => Ok(*one),
        all => bail!(
            InvalidInput,
            "input {index} is to be one number, and has {}",
            all.len()
        ),
    }
}

/// A scale for a whole tensor.
fn one_scale(inputs: &Inputs<'_>, index: usize) -> Result<f32> {
    only(&Numbers::of(inputs.tensor(index)?)?.singles(), index)
}

/// The shape that tensors of some shapes are repeated to, and the steps along its axes of each.
fn broadcast(shapes: &[&[usize]]) -> Result<(Vec<usize>, Vec<Vec<usize>>)> {
    let mut shape = Vec::new();
    for own in shapes {
        shape = super::integer::repeated(&shape, own)
            .ok_or_else(|| err!(InvalidInput, "{own:?} does not fit to {shape:?}"))?;
    }
    let steps = shapes
        .iter()
        .map(|own| super::integer::steps(own, &shape))
        .collect();
    Ok((shape, steps))
}
