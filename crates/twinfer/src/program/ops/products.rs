//! Products along an axis: `CumProd`.

use half::{bf16, f16};

use super::super::inputs::{self, Kernel, tensor_kernel};
use super::super::node::Node;
use crate::{DType, Element, Result, Tensor, bail};

/// Those of the standard domain.
pub(super) const OPS: super::Table = &[("CumProd", cum_prod)];

/// `CumProd` (Operators.md, ai.onnx 26).
fn cum_prod(node: &Node<'_>) -> Result<Option<Kernel>> {
    let (exclusive, reverse) = (node.flag("exclusive", false), node.flag("reverse", false));
    tensor_kernel(move |inputs| {
        let tensor = inputs.tensor(0)?;
        let along = Along {
            axis: inputs::axis(inputs.int(1)?, tensor.shape().len())?,
            exclusive,
            reverse,
        };
        match tensor.dtype() {
            DType::U32 => along.of(tensor, 1u32, u32::wrapping_mul, |x| x, |x| x),
            DType::U64 => along.of(tensor, 1u64, u64::wrapping_mul, |x| x, |x| x),
            DType::I32 => along.of(tensor, 1i32, i32::wrapping_mul, |x| x, |x| x),
            DType::I64 => along.of(tensor, 1i64, i64::wrapping_mul, |x| x, |x| x),
            DType::F16 => along.of(tensor, 1f32, |a, b| a * b, f16::to_f32, f16::from_f32),
            DType::BF16 => along.of(tensor, 1f32, |a, b| a * b, bf16::to_f32, bf16::from_f32),
            DType::F32 => along.of(tensor, 1f32, |a, b| a * b, |x| x, |x| x),
            DType::F64 => along.of(tensor, 1f64, |a, b| a * b, |x| x, |x| x),
            other => bail!(WrongDtype, "there are no products of {other} here"),
        }
    })
    .map(Some)
}

struct Along {
    axis: usize,
    exclusive: bool,
    reverse: bool,
}

impl Along {
    /// Products of elements `T`, computed as `P`.
    fn of<T: Element, P: Copy>(
        &self,
        tensor: &Tensor,
        one: P,
        times: impl Fn(P, P) -> P,
        read: impl Fn(T) -> P,
        write: impl Fn(P) -> T,
    ) -> Result<Tensor> {
        let shape = tensor.shape();
        let mut all = tensor.to_vec::<T>()?;
        if all.is_empty() {
            return Tensor::from_vec(shape, all);
        }
        let length = shape.get(self.axis).copied().unwrap_or(1);
        let behind = shape.get(self.axis + 1..).unwrap_or_default();
        let inner: usize = behind.iter().product();
        let mut products = vec![one; inner];
        for block in all.chunks_exact_mut(length * inner) {
            products.fill(one);
            let step = |row: &mut [T]| {
                for (element, product) in row.iter_mut().zip(&mut products) {
                    let before = *product;
                    *product = times(before, read(*element));
                    *element = write(if self.exclusive { before } else { *product });
                }
            };
            match self.reverse {
                true => block.chunks_exact_mut(inner).rev().for_each(step),
                false => block.chunks_exact_mut(inner).for_each(step),
            }
        }
        Tensor::from_vec(shape, all)
    }
}
