//! Elements of any numeric type as numbers of one.

use half::{bf16, f16};

use crate::{DType, Element, Result, Tensor, bail};

/// The elements as FP64. Integers beyond 2^53 are rounded.
///
/// # Errors
/// `wrong_dtype` for strings and complex numbers.
pub(crate) fn to_f64(tensor: &Tensor) -> Result<Vec<f64>> {
    fn all<T: Element>(tensor: &Tensor, number: impl Fn(T) -> f64) -> Result<Vec<f64>> {
        Ok(tensor.view::<T>()?.iter().copied().map(number).collect())
    }
    match tensor.dtype() {
        DType::Bool => all(tensor, |x: bool| x.into()),
        DType::U8 => all(tensor, |x: u8| x.into()),
        DType::U16 => all(tensor, |x: u16| x.into()),
        DType::U32 => all(tensor, |x: u32| x.into()),
        DType::U64 => all(tensor, |x: u64| x as f64),
        DType::I8 => all(tensor, |x: i8| x.into()),
        DType::I16 => all(tensor, |x: i16| x.into()),
        DType::I32 => all(tensor, |x: i32| x.into()),
        DType::I64 => all(tensor, |x: i64| x as f64),
        DType::F16 => all(tensor, |x: f16| x.into()),
        DType::BF16 => all(tensor, |x: bf16| x.into()),
        DType::F32 => all(tensor, |x: f32| x.into()),
        DType::F64 => all(tensor, |x: f64| x),
        other => bail!(WrongDtype, "{other} is no type of numbers here"),
    }
}
