//! Numbers of any type, and memory for what operators give.

use half::{bf16, f16};

use crate::{DType, Element, Result, Tensor, bail, element_count};

/// More bytes than an output may have: sizes come from models and callers.
const MAX_BYTES: usize = 1 << 31;

/// A number that an operator computes with in FP64, whatever it is stored as.
pub(super) trait Real: Element + Default + PartialOrd {
    /// As FP64; integers beyond 2^53 are rounded.
    fn to_f64(self) -> f64;
    /// From FP64: rounded, and for integers the nearest one that there is.
    fn of_f64(value: f64) -> Self;
}

macro_rules! reals {
    ($($type:ty, $value:ident => $to:expr, $from:expr;)*) => {$(
        impl Real for $type {
            fn to_f64(self) -> f64 {
                let $value = self;
                $to
            }
            fn of_f64($value: f64) -> Self {
                $from
            }
        }
    )*};
}

reals! {
    u8, x => x.into(), x.round_ties_even() as u8;
    u16, x => x.into(), x.round_ties_even() as u16;
    u32, x => x.into(), x.round_ties_even() as u32;
    u64, x => x as f64, x.round_ties_even() as u64;
    i8, x => x.into(), x.round_ties_even() as i8;
    i16, x => x.into(), x.round_ties_even() as i16;
    i32, x => x.into(), x.round_ties_even() as i32;
    i64, x => x as f64, x.round_ties_even() as i64;
    f16, x => x.into(), f16::from_f64(x);
    bf16, x => x.into(), bf16::from_f64(x);
    f32, x => x.into(), x as f32;
    f64, x => x, x;
}

/// Does the same for each type of numbers: `$type` is the type in `$body`, which gives a `Result`.
macro_rules! with_real {
    ($dtype:expr, $type:ident => $body:expr) => {
        match $dtype {
            $crate::DType::U8 => {
                type $type = u8;
                $body
            }
            $crate::DType::U16 => {
                type $type = u16;
                $body
            }
            $crate::DType::U32 => {
                type $type = u32;
                $body
            }
            $crate::DType::U64 => {
                type $type = u64;
                $body
            }
            $crate::DType::I8 => {
                type $type = i8;
                $body
            }
            $crate::DType::I16 => {
                type $type = i16;
                $body
            }
            $crate::DType::I32 => {
                type $type = i32;
                $body
            }
            $crate::DType::I64 => {
                type $type = i64;
                $body
            }
            $crate::DType::F16 => {
                type $type = half::f16;
                $body
            }
            $crate::DType::BF16 => {
                type $type = half::bf16;
                $body
            }
            $crate::DType::F32 => {
                type $type = f32;
                $body
            }
            $crate::DType::F64 => {
                type $type = f64;
                $body
            }
            other => $crate::bail!(WrongDtype, "{other} is no type of numbers here"),
        }
    };
}
pub(super) use with_real;

/// Memory for the elements of a shape, filled with one of them.
///
/// # Errors
/// `out_of_memory` for a shape that is beyond all bounds, or where there is none.
pub(super) fn filled<T: Clone>(shape: &[usize], value: T) -> Result<Vec<T>> {
    let count = element_count(shape)?;
    let bytes = count.checked_mul(size_of::<T>());
    let mut memory = Vec::new();
    let there =
        bytes.is_some_and(|bytes| bytes <= MAX_BYTES) && memory.try_reserve_exact(count).is_ok();
    if !there {
        bail!(OutOfMemory, "there is no memory for an output of {shape:?}");
    }
    memory.resize(count, value);
    Ok(memory)
}

/// Numbers of one type, from those that were computed.
pub(super) fn rounded(dtype: DType, shape: &[usize], values: &[f64]) -> Result<Tensor> {
    with_real!(dtype, T => {
        Tensor::from_vec(shape, values.iter().map(|&x| T::of_f64(x)).collect())
    })
}

/// A size from a model or a caller.
///
/// # Errors
/// `invalid_input` for one below zero.
pub(super) fn size(value: i64) -> Result<usize> {
    match usize::try_from(value) {
        Ok(size) => Ok(size),
        Err(_) => bail!(InvalidInput, "{value} is no size"),
    }
}

/// Sizes from a model or a caller.
///
/// # Errors
/// As [`size`].
pub(super) fn sizes(values: &[i64]) -> Result<Vec<usize>> {
    values.iter().map(|&value| size(value)).collect()
}

/// Goes on to the next place of a shape, the last axis first.
pub(super) fn next(place: &mut [usize], shape: &[usize]) {
    for (at, &end) in place.iter_mut().zip(shape).rev() {
        *at += 1;
        if *at < end {
            return;
        }
        *at = 0;
    }
}

/// Elements of axes, as many as there can be where it is more: a shape without elements may have
/// any other axes.
pub(super) fn product(axes: &[usize]) -> usize {
    axes.iter().fold(1, |n, &axis| n.saturating_mul(axis))
}
