//! Products: `QGemm`, `DynamicQuantizeMatMul`, `MatMulIntegerToFloat`; and `QLinearConv` of
//! `com.microsoft`.

use super::super::dots::{multiply, multiply_turned, turned};
use super::super::integer::{
    self, Bytes, MAX_ELEMENTS, Scale, centred, product, scaled, small_integers,
};
use super::super::quantize::Dynamic;
use super::{one_scale, only};
use crate::program::cast::Numbers;
use crate::program::inputs::{Inputs, Kernel, tensor_kernel};
use crate::program::node::Node;
use crate::{DType, Result, Tensor, bail, element_count};

pub(in super::super) const OPS: super::super::Table = &[
    ("DynamicQuantizeMatMul", |_| {
        tensor_kernel(dynamic).map(Some)
    }),
    ("MatMulIntegerToFloat", |_| {
        tensor_kernel(to_float).map(Some)
    }),
    ("QGemm", gemm),
    ("QLinearConv", integer::q_linear_conv),
];

/// Sums in the scales of both factors, and a bias for each column.
fn in_floats(
    sums: &[i32],
    shape: &[usize],
    (a_scale, b_scale): (&Tensor, &Tensor),
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let a = Scale::new(a_scale, shape, 2)?;
    let b = Scale::new(b_scale, shape, 1)?;
    let mut made = Vec::with_capacity(sums.len());
    scaled(
        sums,
        &[&a, &b],
        |at| a.at(at) * b.at(at),
        |sums, factor| made.extend(sums.iter().map(|&sum| sum as f32 * factor)),
    );
    if let Some(bias) = bias {
        let columns = shape.last().copied().unwrap_or(1);
        let bias_of = Numbers::of(bias)?.singles();
        if bias_of.len() != columns {
            bail!(
                InvalidInput,
                "{} biases for {columns} columns",
                bias_of.len()
            );
        }
        for row in made.chunks_exact_mut(columns.max(1)) {
            row.iter_mut().zip(&bias_of).for_each(|(y, b)| *y += b);
        }
    }
    Numbers::Singles(made).into_tensor(b_scale.dtype(), shape, Default::default())
}

/// `DynamicQuantizeMatMul` (ContribOperators.md, com.microsoft 1): the left factor becomes UINT8 as
/// `DynamicQuantizeLinear` makes it.
fn dynamic(inputs: &Inputs<'_>) -> Result<Tensor> {
    let (a, b) = (inputs.tensor(0)?, inputs.tensor(1)?);
    let left = Numbers::of(a)?.singles();
    let quantised = Dynamic::of(&left);
    let left = quantised.centred(&left);
    let right = centred(b, inputs.tensor_opt(3)?, 1)?;
    let (sums, shape) = product((&left, a.shape()), (&right, b.shape()))?;
    let scale = Tensor::from_vec(&[], vec![quantised.scale])?;
    let scales = (&scale, inputs.tensor(2)?);
    in_floats(&sums, &shape, scales, inputs.tensor_opt(4)?)
}

/// `MatMulIntegerToFloat` (ContribOperators.md, com.microsoft 1).
fn to_float(inputs: &Inputs<'_>) -> Result<Tensor> {
    let (a, b) = (inputs.tensor(0)?, inputs.tensor(1)?);
    let left = centred(a, inputs.tensor_opt(4)?, 2)?;
    let right = centred(b, inputs.tensor_opt(5)?, 1)?;
    let (sums, shape) = product((&left, a.shape()), (&right, b.shape()))?;
    let scales = (inputs.tensor(2)?, inputs.tensor(3)?);
    in_floats(&sums, &shape, scales, inputs.tensor_opt(6)?)
}

/// `QGemm` (ContribOperators.md, com.microsoft 1).
fn gemm(node: &Node<'_>) -> Result<Option<Kernel>> {
    let gemm = Gemm {
        turns_a: node.flag("transA", false),
        turns_b: node.flag("transB", false),
        alpha: node.float("alpha", 1.0),
    };
    tensor_kernel(move |inputs| gemm.run(inputs)).map(Some)
}

struct Gemm {
    turns_a: bool,
    turns_b: bool,
    alpha: f32,
}

impl Gemm {
    /// The sums, and how many rows and columns they have.
    fn sums(&self, inputs: &Inputs<'_>) -> Result<(Vec<i32>, [usize; 2])> {
        let (a, b) = (inputs.tensor(0)?, inputs.tensor(3)?);
        let (&[a_rows, a_columns], &[b_rows, b_columns]) = (a.shape(), b.shape()) else {
            bail!(
                InvalidInput,
                "a product of {:?} and {:?}: both are to have 2 axes",
                a.shape(),
                b.shape()
            );
        };
        let mut left = small_integers(a)?;
        let zero = only(&small_integers(inputs.tensor(2)?)?, 2)?;
        left.iter_mut().for_each(|x| *x -= zero);
        // Zero points of columns, which are the axis in front when it is turned.
        let right = centred(b, inputs.tensor_opt(5)?, if self.turns_b { 2 } else { 1 })?;
        let (rows, depth) = match self.turns_a {
            true => (a_columns, a_rows),
            false => (a_rows, a_columns),
        };
        let (depth_b, columns) = match self.turns_b {
            true => (b_columns, b_rows),
            false => (b_rows, b_columns),
        };
        let is_small = element_count(&[rows, columns])? <= MAX_ELEMENTS;
        if depth != depth_b || !is_small {
            bail!(
                InvalidInput,
                "{:?} does not fit to {:?}",
                a.shape(),
                b.shape()
            );
        }
        if self.turns_a {
            left = turned(&left, a_rows, a_columns);
        }
        let mut sums = biases(inputs.tensor_opt(6)?, rows, columns)?;
        match self.turns_b {
            true => multiply_turned(&left, &right, depth, columns, &mut sums),
            false => multiply(&left, &right, depth, columns, &mut sums),
        }
        Ok((sums, [rows, columns]))
    }

    fn run(&self, inputs: &Inputs<'_>) -> Result<Tensor> {
        let (sums, shape) = self.sums(inputs)?;
        let a_scale = one_scale(inputs, 1)?;
        let b = Scale::new(inputs.tensor(4)?, &shape, 1)?;
        let factor = |at: usize| self.alpha * a_scale * b.at(at);
        let Some(_) = inputs.tensor_opt(7)? else {
            let mut made = Vec::with_capacity(sums.len());
            scaled(&sums, &[&b], factor, |sums, factor| {
                made.extend(sums.iter().map(|&sum| sum as f32 * factor));
            });
            return Tensor::from_vec(&shape, made);
        };
        let y_scale = one_scale(inputs, 7)?;
        let (dtype, zero) = match inputs.tensor_opt(8)? {
            Some(zero) => (zero.dtype(), only(&small_integers(zero)?, 8)?),
            None => (inputs.tensor(0)?.dtype(), 0),
        };
        if !matches!(dtype, DType::U8 | DType::I8) {
            bail!(UnsupportedDtype, "a result of {dtype}");
        }
        let to = Bytes::new(dtype, zero.into());
        let mut made = Vec::with_capacity(sums.len());
        scaled(&sums, &[&b], factor, |sums, factor| {
            let factor = factor / y_scale;
            made.extend(sums.iter().map(|&sum| to.nearest(sum as f32 * factor)));
        });
        Tensor::from_bytes(dtype, &shape, made)
    }
}

/// What sums begin with: nothing, or a bias that is repeated along rows and columns.
fn biases(bias: Option<&Tensor>, rows: usize, columns: usize) -> Result<Vec<i32>> {
    let mut sums = vec![0; rows * columns];
    let Some(tensor) = bias else {
        return Ok(sums);
    };
    let all = tensor.view::<i32>()?;
    let (high, wide) = match *tensor.shape() {
        [] => (1, 1),
        [wide] => (1, wide),
        [high, wide] => (high, wide),
        _ => (0, 0),
    };
    if !([1, rows].contains(&high) && [1, columns].contains(&wide)) || all.len() != high * wide {
        bail!(
            InvalidInput,
            "biases of {:?} do not fit to {rows} rows and {columns} columns",
            tensor.shape()
        );
    }
    if sums.is_empty() || wide == 0 {
        return Ok(sums);
    }
    let mut lines = all.chunks_exact(wide).cycle();
    for row in sums.chunks_exact_mut(columns) {
        let line = lines.next().unwrap_or_default();
        let mut biases = line.iter().cycle();
        row.fill_with(|| biases.next().copied().unwrap_or(0));
    }
    Ok(sums)
}
