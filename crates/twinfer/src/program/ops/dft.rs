//! `DFT` (Operators.md, ai.onnx 17 and 20), in double precision: the engine's, in single, is beyond
//! what ONNX allows.

use rustfft::FftPlannerScalar;
use rustfft::num_complex::Complex64;

use super::super::cast::to_f64;
use super::super::inputs::{self, Inputs, Kernel, tensor_kernel};
use super::super::node::Node;
use crate::{DType, Result, Tensor, bail};

pub(super) const OPS: super::Table = &[("DFT", dft)];

/// Longer ones are refused: the work grows with the length, and a number in a file is not to ask
/// for all memory.
const MAX_LENGTH: usize = 1 << 26;

#[derive(Clone, Copy)]
struct Form {
    inverse: bool,
    onesided: bool,
    /// Of version 17; later ones have an input.
    axis: i64,
}

fn dft(node: &Node<'_>) -> Result<Option<Kernel>> {
    let default = if node.version() < 20 { 1 } else { -2 };
    let form = Form {
        inverse: node.flag("inverse", false),
        onesided: node.flag("onesided", false),
        axis: node.int("axis", default),
    };
    tensor_kernel(move |inputs| transform(form, inputs)).map(Some)
}

fn transform(form: Form, given: &Inputs<'_>) -> Result<Tensor> {
    let tensor = given.tensor(0)?;
    let shape = tensor.shape();
    let axis = match given.ints_opt(2)?.as_deref() {
        Some([axis]) => *axis,
        _ => form.axis,
    };
    let axis = inputs::axis(axis, shape.len())?;
    let Some((&parts @ (1 | 2), _)) = shape.split_last().filter(|_| axis + 1 < shape.len()) else {
        bail!(
            InvalidInput,
            "a signal has one or two numbers on its last axis, got {shape:?}"
        );
    };
    let length = shape[axis];
    let wanted = match given.ints_opt(1)?.as_deref() {
        Some([wanted]) => usize::try_from(*wanted).unwrap_or(0),
        _ if form.inverse && form.onesided => length.saturating_sub(1) * 2,
        _ => length,
    };
    if wanted == 0 || wanted > MAX_LENGTH {
        bail!(
            InvalidInput,
            "a transform of length {wanted}; from 1 to {MAX_LENGTH} are done"
        );
    }
    // One-sided forward gives half, one-sided inverse takes half and gives real numbers.
    let given_length = if form.onesided && !form.inverse {
        wanted / 2 + 1
    } else {
        wanted
    };
    let given_parts = if form.onesided && form.inverse { 1 } else { 2 };
    let outer: usize = shape[..axis].iter().product();
    let inner: usize = shape[axis + 1..shape.len() - 1].iter().product();
    let mut made_shape = shape.to_vec();
    made_shape[axis] = given_length;
    made_shape[shape.len() - 1] = given_parts;
    let numbers = to_f64(tensor)?;
    let mut made = vec![0.0; crate::element_count(&made_shape)?];
    let mut planner = FftPlannerScalar::new();
    let plan = match form.inverse {
        true => planner.plan_fft_inverse(wanted),
        false => planner.plan_fft_forward(wanted),
    };
    let scale = if form.inverse {
        1.0 / wanted as f64
    } else {
        1.0
    };
    let mut row = vec![Complex64::default(); wanted];
    for at in 0..outer * inner {
        let (before, after) = (at / inner, at % inner);
        let place = |step: usize, length: usize| (before * length + step) * inner + after;
        row.fill(Complex64::default());
        for (step, value) in row.iter_mut().enumerate().take(length) {
            let from = place(step, length) * parts;
            let part = |part: usize| numbers.get(from + part).copied().unwrap_or_default();
            *value = Complex64::new(part(0), if parts == 2 { part(1) } else { 0.0 });
        }
        if form.onesided && form.inverse {
            mirror(&mut row, length);
        }
        plan.process(&mut row);
        for (step, value) in row.iter().enumerate().take(given_length) {
            let to = place(step, given_length) * given_parts;
            let parts = [value.re * scale, value.im * scale];
            for (place, part) in made.iter_mut().skip(to).zip(parts).take(given_parts) {
                *place = part;
            }
        }
    }
    match tensor.dtype() {
        DType::F64 => Tensor::from_vec(&made_shape, made),
        DType::F32 => Tensor::from_vec(&made_shape, made.iter().map(|&x| x as f32).collect()),
        other => bail!(UnsupportedDtype, "a transform of {other}"),
    }
}

/// The other half of the spectrum of a real signal: the conjugates, in reverse.
fn mirror(row: &mut [Complex64], known: usize) {
    let length = row.len();
    for at in known.min(length)..length {
        if let Some(value) = row.get(length - at).copied() {
            row[at] = value.conj();
        }
    }
    // As NumPy reads it: what must be real is.
    row[0].im = 0.0;
    if length.is_multiple_of(2) {
        row[length / 2].im = 0.0;
    }
}
