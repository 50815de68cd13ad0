//! Floating-point tensors as operators compute with them: in FP32, or in FP64 where the tensors are
//! that. FP16 and BF16 are computed in FP32 and rounded at the end.

use std::borrow::Cow;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub};

use half::{bf16, f16};

use super::super::cast;
use crate::{DType, Element, Result, Tensor, bail, element_count, err};

/// More elements than an operator here makes of its inputs: a product of sizes from a model must not
/// ask for all memory that there is.
const MAX_ELEMENTS: usize = 1 << 30;

/// FP32 or FP64.
pub(super) trait Float:
    Element
    + PartialOrd
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + AddAssign
    + MulAssign
    + DivAssign
    + Send
    + Sync
{
    const ZERO: Self;
    const ONE: Self;
    const LOWEST: Self;
    fn from_f64(number: f64) -> Self;
    fn to_f64(self) -> f64;
    fn to_f16(self) -> f16;
    fn to_bf16(self) -> bf16;
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn tanh(self) -> Self;
}

macro_rules! real {
    ($($type:ident, $to_f16:ident, $to_bf16:ident;)*) => {$(
        impl Float for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = $type::NEG_INFINITY;
            fn from_f64(number: f64) -> Self {
                number as $type
            }
            fn to_f64(self) -> f64 {
                self.into()
            }
            fn to_f16(self) -> f16 {
                f16::$to_f16(self)
            }
            fn to_bf16(self) -> bf16 {
                bf16::$to_bf16(self)
            }
            fn exp(self) -> Self {
                $type::exp(self)
            }
            fn ln(self) -> Self {
                $type::ln(self)
            }
            fn tanh(self) -> Self {
                $type::tanh(self)
            }
        }
    )*};
}

real! {
    f32, from_f32, from_f32;
    f64, from_f64, from_f64;
}

/// Whether elements are of a type that these operators take.
pub(super) fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
}

/// Whether a tensor of floats is computed with in FP64.
///
/// # Errors
/// `wrong_dtype` for a tensor of anything else.
pub(super) fn is_double(tensor: &Tensor) -> Result<bool> {
    match tensor.dtype() {
        DType::F64 => Ok(true),
        dtype if is_float(dtype) => Ok(false),
        other => bail!(
            WrongDtype,
            "expected a tensor of floats, this one is {other}"
        ),
    }
}

/// The elements of a tensor of floats, where they lie if they are of this type.
///
/// # Errors
/// `wrong_dtype` for a tensor of anything else.
pub(super) fn reals<R: Float>(tensor: &Tensor) -> Result<Cow<'_, [R]>> {
    is_double(tensor)?;
    match tensor.dtype() {
        dtype if dtype == R::DTYPE => tensor.view::<R>(),
        _ => Ok(Cow::Owned(numbers(tensor)?)),
    }
}

/// The elements of a tensor of any numbers.
///
/// # Errors
/// `wrong_dtype` for strings and complex numbers.
pub(super) fn numbers<R: Float>(tensor: &Tensor) -> Result<Vec<R>> {
    let numbers = cast::to_f64(tensor)?;
    Ok(numbers.into_iter().map(R::from_f64).collect())
}

/// A tensor of floats, rounded to their type.
///
/// # Errors
/// `wrong_dtype` for another type; `wrong_shape` where it has another number of elements.
pub(super) fn tensor<R: Float>(dtype: DType, shape: &[usize], reals: Vec<R>) -> Result<Tensor> {
    match dtype {
        dtype if dtype == R::DTYPE => Tensor::from_vec(shape, reals),
        DType::F16 => Tensor::from_vec(shape, reals.into_iter().map(R::to_f16).collect()),
        DType::BF16 => Tensor::from_vec(shape, reals.into_iter().map(R::to_bf16).collect()),
        DType::F32 => {
            let all = reals.into_iter().map(|x| x.to_f64() as f32);
            Tensor::from_vec(shape, all.collect())
        }
        DType::F64 => Tensor::from_vec(shape, reals.into_iter().map(R::to_f64).collect()),
        other => bail!(WrongDtype, "{other} is no type of floats"),
    }
}

/// A number as an element of this type has it.
pub(super) fn rounded<R: Float>(dtype: DType, number: R) -> R {
    match dtype {
        DType::F16 => R::from_f64(number.to_f16().to_f64()),
        DType::BF16 => R::from_f64(number.to_bf16().to_f64()),
        _ => number,
    }
}

/// The number of elements of an output, and memory for it.
///
/// # Errors
/// `wrong_shape` for more than an operator may ask for.
pub(super) fn zeros<R: Float>(shape: &[usize]) -> Result<Vec<R>> {
    // Also where an axis is 0 the others must not be of any length: strides are products of them.
    let axes: Vec<usize> = shape.iter().map(|&axis| axis.max(1)).collect();
    element_count(&axes)?;
    let count = element_count(shape)?;
    let mut all = Vec::new();
    if count > MAX_ELEMENTS || all.try_reserve_exact(count).is_err() {
        return Err(err!(
            WrongShape,
            "an output of shape {shape:?} has more elements than fit into memory"
        ));
    }
    all.resize(count, R::ZERO);
    Ok(all)
}

/// The product of two rows. Several sums at once, so that they do not wait for each other.
pub(super) fn dot<R: Float>(a: &[R], b: &[R]) -> R {
    const WIDE: usize = 8;
    let mut sums = [R::ZERO; WIDE];
    let (a_wide, a_rest) = a.as_chunks::<WIDE>();
    let (b_wide, b_rest) = b.as_chunks::<WIDE>();
    for (a, b) in a_wide.iter().zip(b_wide) {
        for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest = a_rest.iter().zip(b_rest);
    let rest = rest.fold(R::ZERO, |sum, (&a, &b)| sum + a * b);
    sums.into_iter().fold(rest, |sum, part| sum + part)
}

/// Adds a multiple of a row to another one.
pub(super) fn add_scaled<R: Float>(to: &mut [R], row: &[R], factor: R) {
    for (to, &element) in to.iter_mut().zip(row) {
        *to += element * factor;
    }
}

/// `Softmax` of a row, in place.
pub(super) fn softmax<R: Float>(row: &mut [R]) {
    let most = row
        .iter()
        .fold(R::LOWEST, |m, &x| if x > m { x } else { m });
    let mut sum = R::ZERO;
    for x in row.iter_mut() {
        *x = (*x - most).exp();
        sum += *x;
    }
    for x in row {
        *x /= sum;
    }
}
