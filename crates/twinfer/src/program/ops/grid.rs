//! Grids of places, determinants, and a slope for what is below 0.

use super::real::{self, Real, next, rounded, with_real};
use crate::program::cast::to_f64;
use crate::program::inputs::{Inputs, Kernel, tensor_kernel};
use crate::program::node::Node;
use crate::{Result, Tensor, bail};

/// Those that the engine lacks.
pub(super) const OPS: super::Table = &[("AffineGrid", make_affine_grid), ("Det", make_det)];
/// It has this one for some shapes.
pub(super) const FALLBACK: super::Table = &[("PRelu", make_prelu)];

/// `AffineGrid` (Operators.md, ai.onnx 20).
fn make_affine_grid(node: &Node<'_>) -> Result<Option<Kernel>> {
    let corners = node.flag("align_corners", false);
    tensor_kernel(move |inputs| affine_grid(inputs, corners)).map(Some)
}

fn affine_grid(inputs: &Inputs<'_>, corners: bool) -> Result<Tensor> {
    let theta = inputs.tensor(0)?;
    let size = real::sizes(&inputs.ints(1)?)?;
    let axes = size.get(2..).unwrap_or_default();
    let rank = axes.len();
    let batch = size.first().copied().unwrap_or(0);
    if !matches!(rank, 2 | 3) || theta.shape() != [batch, rank, rank + 1] {
        bail!(
            InvalidInput,
            "the matrices {:?} do not fit to {size:?}",
            theta.shape()
        );
    }
    let shape = [&[batch], axes, &[rank]].concat();
    let mut made = real::filled(&shape, 0.0f64)?;
    if made.is_empty() {
        return rounded(theta.dtype(), &shape, &made);
    }
    // From -1 to 1: between the corners, or the middles of the outermost elements.
    let coordinate = |at: usize, size: usize| match corners {
        true if size == 1 => -1.0,
        true => 2.0 * at as f64 / (size as f64 - 1.0) - 1.0,
        false => (2.0 * at as f64 + 1.0) / size as f64 - 1.0,
    };
    let theta_values = to_f64(theta)?;
    let matrices = theta_values.chunks_exact(rank * (rank + 1));
    let of_item = made.len() / batch;
    for (matrix, made) in matrices.zip(made.chunks_exact_mut(of_item)) {
        let mut place = vec![0; rank];
        for made in made.chunks_exact_mut(rank) {
            for (row, made) in matrix.chunks_exact(rank + 1).zip(made) {
                // x comes first, and is the last axis.
                let places = place
                    .iter()
                    .zip(axes)
                    .rev()
                    .map(|(&at, &size)| coordinate(at, size));
                *made = row
                    .iter()
                    .zip(places.chain([1.0]))
                    .map(|(a, b)| a * b)
                    .sum();
            }
            next(&mut place, axes);
        }
    }
    rounded(theta.dtype(), &shape, &made)
}

/// `Det` (Operators.md, ai.onnx 11 and 22).
fn make_det(_: &Node<'_>) -> Result<Option<Kernel>> {
    tensor_kernel(|inputs| {
        let x = inputs.tensor(0)?;
        let [outer @ .., rows, columns] = x.shape() else {
            bail!(InvalidInput, "there are to be two axes at least");
        };
        if rows != columns {
            bail!(
                InvalidInput,
                "{rows} rows and {columns} columns have no determinant"
            );
        }
        let mut made = real::filled(outer, 1.0f64)?;
        let mut values = to_f64(x)?;
        let matrices = values.chunks_exact_mut(real::product(&[*rows, *rows]).max(1));
        for (matrix, made) in matrices.zip(&mut made) {
            *made = determinant(matrix, *rows);
        }
        rounded(x.dtype(), outer, &made)
    })
    .map(Some)
}

/// By elimination, with the largest element of a column as the pivot.
fn determinant(matrix: &mut [f64], size: usize) -> f64 {
    let mut product = 1.0;
    for column in 0..size {
        let size_at = |row: usize| matrix.get(row * size + column).map_or(0.0, |x| x.abs());
        let pivot = (column..size).reduce(|a, b| if size_at(b) > size_at(a) { b } else { a });
        let pivot = pivot.unwrap_or(column);
        if pivot != column {
            for i in 0..size {
                matrix.swap(pivot * size + i, column * size + i);
            }
            product = -product;
        }
        let (above, below) = matrix.split_at_mut((column + 1) * size);
        let Some(row) = above.get(column * size..) else {
            return 0.0;
        };
        let head = row.get(column).copied().unwrap_or(0.0);
        product *= head;
        if head == 0.0 {
            return 0.0;
        }
        for other in below.chunks_exact_mut(size) {
            let factor = other.get(column).copied().unwrap_or(0.0) / head;
            for (x, y) in other.iter_mut().zip(row).skip(column) {
                *x -= factor * y;
            }
        }
    }
    product
}

/// `PRelu` (Operators.md, ai.onnx 1, 6, 7, 9 and 16).
fn make_prelu(node: &Node<'_>) -> Result<Option<Kernel>> {
    // Before, a slope of one axis was one for each channel.
    let channels = node.version() < 7;
    tensor_kernel(move |inputs| prelu(inputs, channels)).map(Some)
}

fn prelu(inputs: &Inputs<'_>, channels: bool) -> Result<Tensor> {
    let (x, slope) = (inputs.tensor(0)?, inputs.tensor(1)?);
    let mut shape = slope.shape().to_vec();
    let rank = x.shape().len();
    let fits = |shape: &[usize]| {
        let pairs = shape.iter().rev().zip(x.shape().iter().rev());
        shape.len() <= rank && pairs.into_iter().all(|(&s, &x)| s == 1 || s == x)
    };
    if let [only] = shape[..]
        && (channels || !fits(&shape))
        && (only == 1 || x.shape().get(1) == Some(&only))
    {
        shape.resize(rank.saturating_sub(1).max(1), 1);
    }
    if !fits(&shape) || slope.is_empty() {
        bail!(
            InvalidInput,
            "a slope of {:?} does not fit to {:?}",
            slope.shape(),
            x.shape()
        );
    }
    // The last axes that the slope does not have are one run.
    let run = shape.iter().rev().take_while(|&&axis| axis == 1).count();
    let split = rank - if run == shape.len() { rank } else { run };
    let (outer, inner) = x.shape().split_at(split);
    let mut steps = vec![0; split];
    let mut step = 1;
    let behind = shape.len().saturating_sub(rank - split);
    for (at, &axis) in steps.iter_mut().rev().zip(shape.iter().take(behind).rev()) {
        *at = if axis == 1 { 0 } else { step };
        step *= axis;
    }
    with_real!(x.dtype(), T => {
        let slopes = slope.view::<T>()?;
        let mut made = x.to_vec::<T>()?;
        let mut place = vec![0; split];
        for run in made.chunks_exact_mut(real::product(inner).max(1)) {
            let at = place.iter().zip(&steps).map(|(p, s)| p * s).sum::<usize>();
            let slope = slopes.get(at).map_or(0.0, |s| s.to_f64());
            for x in run.iter_mut().filter(|x| **x < T::default()) {
                *x = T::of_f64(x.to_f64() * slope);
            }
            next(&mut place, outer);
        }
        Tensor::from_vec(x.shape(), made)
    })
}
