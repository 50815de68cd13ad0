//! `Tanh` in FP32: one function with one rounding on every processor.
//!
//! The engine has a rational function for each kind of processor: other coefficients with
//! AVX-512, fused multiply-add where there is one, neither on wasm. They differ in the last bit,
//! and models that square and subtract (a layer norm over nearly constant values) make a wrong
//! third digit of that bit, as `file-type` does on input that is mostly padding. This one has the
//! coefficients and the fused operations of onnxruntime's (MLAS, `lib/tanh.cpp`,
//! `MlasTanhConstants`), emulated in double precision, and so its bits, in every place. It takes
//! little of any model's time.

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_hir::tract_core::ops::element_wise::ElementWiseMiniOp;
use tract_onnx::tract_hir::tract_core::ops::math;

/// From the highest power of x squared to the lowest, with the digits of the source.
#[allow(clippy::excessive_precision)]
const NUMERATOR: [f32; 7] = [
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
];
#[allow(clippy::excessive_precision)]
const DENOMINATOR: [f32; 4] = [
    1.19825839466702e-06,
    1.18534705686654e-04,
    2.26843463243900e-03,
    4.89352518554385e-03,
];

/// `x * y + z`, rounded once: the product of two FP32 numbers is exact in FP64. (The sum can be
/// rounded twice, in one of some 2^29 cases.)
fn fused(x: f32, y: f32, z: f32) -> f32 {
    (f64::from(x) * f64::from(y) + f64::from(z)) as f32
}

fn tanh(x: f32) -> f32 {
    let x = x.clamp(-9.0, 9.0);
    let square = x * x;
    let horner = |coefficients: &[f32]| {
        let (first, rest) = (coefficients[0], &coefficients[1..]);
        rest.iter().fold(first, |sum, &c| fused(square, sum, c))
    };
    horner(&NUMERATOR) * x / horner(&DENOMINATOR)
}

/// `Tanh`: FP32 is ours, every other type the engine's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tanh;

impl ElementWiseMiniOp for Tanh {
    fn name(&self) -> String {
        "Tanh".into()
    }

    fn eval_in_place(&self, tensor: &mut Tensor, output: Option<DatumType>) -> TractResult<()> {
        if output.unwrap_or(tensor.datum_type()) != f32::datum_type() {
            return math::Tanh {}.eval_in_place(tensor, output);
        }
        let mut view = tensor.try_as_plain_ram_mut()?;
        view.as_slice_mut::<f32>()?
            .iter_mut()
            .for_each(|x| *x = tanh(*x));
        Ok(())
    }
}

/// The operator for the engine's register.
pub(super) fn op() -> Box<dyn InferenceOp> {
    expand(ElementWiseOp(Box::new(Tanh)))
}

#[cfg(test)]
mod tests {
    use super::tanh;

    #[test]
    fn it_is_the_hyperbolic_tangent() {
        for i in -20_000..20_000 {
            let x = i as f32 * 1e-3;
            let exact = f64::from(x).tanh();
            assert!(
                (f64::from(tanh(x)) - exact).abs() < 3e-7,
                "{x}: {} {exact}",
                tanh(x)
            );
        }
        assert_eq!(tanh(f32::INFINITY), tanh(9.0));
        assert_eq!(tanh(0.0), 0.0);
        assert!(tanh(f32::NAN).is_nan());
    }
}
