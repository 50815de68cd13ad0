//! Over windows and axes: `QLinearAveragePool`, `QLinearGlobalAveragePool`, `QLinearReduceMean`,
//! `QLinearSoftmax`.

use super::super::dots::turned;
use super::super::integer::MAX_ELEMENTS;
use super::super::pool::{Windows, window};
use super::super::real::{next, product};
use super::{Point, Quantised};
use crate::program::inputs::{self, Inputs, Kernel, tensor_kernel};
use crate::program::node::Node;
use crate::{Result, Tensor, bail, element_count};

pub(in super::super) const OPS: super::super::Table = &[
    ("QLinearAveragePool", average_pool),
    ("QLinearGlobalAveragePool", global_average_pool),
    ("QLinearReduceMean", reduce_mean),
    ("QLinearSoftmax", softmax),
];

/// A batch with the channels behind the places as one with the channels in front of them.
pub(in super::super) fn channels_first(bytes: &[u8], shape: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let [batch, places @ .., channels] = shape else {
        return (bytes.to_vec(), shape.to_vec());
    };
    let plane = product(places);
    let turned = of_samples(bytes, *batch, |sample| turned(sample, plane, *channels));
    (turned, [&[*batch, *channels], places].concat())
}

/// The reverse of [`channels_first`].
pub(in super::super) fn channels_last(bytes: &[u8], shape: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let [batch, channels, places @ ..] = shape else {
        return (bytes.to_vec(), shape.to_vec());
    };
    let plane = product(places);
    let turned = of_samples(bytes, *batch, |sample| turned(sample, *channels, plane));
    (turned, [&[*batch], places, &[*channels]].concat())
}

fn of_samples(bytes: &[u8], batch: usize, turn: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let size = bytes.len() / batch.max(1);
    bytes.chunks_exact(size.max(1)).flat_map(turn).collect()
}

/// `QLinearAveragePool` (ContribOperators.md, com.microsoft 1).
fn average_pool(node: &Node<'_>) -> Result<Option<Kernel>> {
    let windows = Windows::new(node)?;
    let counts_pads = node.flag("count_include_pad", false);
    let is_last = node.flag("channels_last", false);
    tensor_kernel(move |inputs| {
        let x = Quantised::of(inputs, [0, 1, 2])?;
        let to = Point::of(inputs, 3, 4, x.point.dtype)?;
        if !is_last {
            let (made, shape) = averages(x.bytes, x.shape, (x.point, to), &windows, counts_pads)?;
            return Tensor::from_bytes(to.dtype, &shape, made);
        }
        let (bytes, shape) = channels_first(x.bytes, x.shape);
        let (made, shape) = averages(&bytes, &shape, (x.point, to), &windows, counts_pads)?;
        let (made, shape) = channels_last(&made, &shape);
        Tensor::from_bytes(to.dtype, &shape, made)
    })
    .map(Some)
}

/// The mean of what is inside of each window, in each plane.
fn averages(
    bytes: &[u8],
    shape: &[usize],
    (from, to): (Point, Point),
    windows: &Windows,
    counts_pads: bool,
) -> Result<(Vec<u8>, Vec<usize>)> {
    let lines = windows.lines(shape)?;
    let kernel = windows.size().filter(|&kernel| kernel <= 1 << 24);
    let Some(kernel) = kernel else {
        bail!(InvalidInput, "the windows are too large");
    };
    let outputs: Vec<usize> = lines.iter().map(|line| line.output).collect();
    let mut made_shape: Vec<usize> = shape.iter().take(2).copied().collect();
    made_shape.extend(&outputs);
    if element_count(&made_shape)? > MAX_ELEMENTS {
        bail!(
            InvalidInput,
            "a result of the shape {made_shape:?} is too large"
        );
    }
    let plane = product(shape.get(2..).unwrap_or_default());
    let mut made = vec![0u8; product(&made_shape)];
    let output = if made.is_empty() {
        0
    } else {
        product(&outputs)
    };
    let (values, bytes_of) = (from.values(1.0 / to.scale), to.bytes());
    let mut of = vec![0; lines.len()];
    let (mut inside, mut places) = (of.clone(), Vec::new());
    for at in 0..output {
        window(&lines, &of, &mut inside, &mut places);
        let count = if counts_pads { kernel } else { places.len() };
        // The places are the same in each plane.
        let planes = bytes.chunks_exact(plane.max(1));
        for (plane, made) in planes.zip(made.chunks_exact_mut(output)) {
            let parts = places.iter().filter_map(|&place| plane.get(place));
            let sum: f32 = parts.map(|&x| values[usize::from(x)]).sum();
            if let Some(made) = made.get_mut(at) {
                *made = bytes_of.nearest(sum / count as f32);
            }
        }
        next(&mut of, &outputs);
    }
    Ok((made, made_shape))
}

/// `QLinearGlobalAveragePool` (ContribOperators.md, com.microsoft 1).
fn global_average_pool(node: &Node<'_>) -> Result<Option<Kernel>> {
    let is_last = node.flag("channels_last", false);
    tensor_kernel(move |inputs| {
        let x = Quantised::of(inputs, [0, 1, 2])?;
        let to = Point::of(inputs, 3, 4, x.point.dtype)?;
        let (bytes, shape) = match is_last {
            true => channels_first(x.bytes, x.shape),
            false => (x.bytes.to_vec(), x.shape.to_vec()),
        };
        let [batch, channels, places @ ..] = &shape[..] else {
            bail!(InvalidInput, "there are no channels in {:?}", x.shape);
        };
        let made = means(&bytes, product(places), (x.point, to));
        let ones = vec![1; places.len()];
        let shape = match is_last {
            true => [&[*batch], &ones[..], &[*channels]].concat(),
            false => [&[*batch, *channels], &ones[..]].concat(),
        };
        Tensor::from_bytes(to.dtype, &shape, made)
    })
    .map(Some)
}

/// The mean of each run of so many elements.
fn means(bytes: &[u8], run: usize, (from, to): (Point, Point)) -> Vec<u8> {
    let factor = f64::from(from.scale) / f64::from(to.scale) / run as f64;
    let bytes_of = to.bytes();
    let mean = |run: &[u8]| {
        let sum: i64 = run
            .iter()
            .map(|&x| i64::from(from.integer(x) - from.zero))
            .sum();
        bytes_of.nearest((sum as f64 * factor) as f32)
    };
    bytes.chunks_exact(run.max(1)).map(mean).collect()
}

/// `QLinearReduceMean` (ContribOperators.md, com.microsoft 1).
fn reduce_mean(node: &Node<'_>) -> Result<Option<Kernel>> {
    let axes = node.ints("axes").unwrap_or_default().to_vec();
    let keeps = node.flag("keepdims", true);
    tensor_kernel(move |inputs| mean_along(inputs, &axes, keeps)).map(Some)
}

/// The mean along some axes; along all where none are named.
fn mean_along(inputs: &Inputs<'_>, axes: &[i64], keeps: bool) -> Result<Tensor> {
    let x = Quantised::of(inputs, [0, 1, 2])?;
    let to = Point::of(inputs, 3, 4, x.point.dtype)?;
    let rank = x.shape.len();
    let mut reduced = vec![axes.is_empty(); rank];
    for &axis in axes {
        if let Some(place) = reduced.get_mut(inputs::axis(axis, rank)?) {
            *place = true;
        }
    }
    let steps_of = |keep: bool| {
        let mut step = 1usize;
        let mut steps = vec![0; rank];
        let mut lengths = vec![1; rank];
        for at in (0..rank).rev() {
            let length = x.shape.get(at).copied().unwrap_or(1);
            if reduced.get(at) == Some(&!keep)
                && let (Some(to), Some(own)) = (steps.get_mut(at), lengths.get_mut(at))
            {
                *to = step;
                *own = length;
            }
            step = step.saturating_mul(length);
        }
        super::super::plain::places(&lengths, &steps)
    };
    // Where each mean begins, and what belongs to it from there.
    let (starts, parts) = (steps_of(true), steps_of(false));
    let turned = starts
        .iter()
        .flat_map(|start| parts.iter().map(move |part| start + part));
    let turned = turned.filter_map(|at| x.bytes.get(at).copied());
    let made = means(&turned.collect::<Vec<_>>(), parts.len(), (x.point, to));
    let mut shape = Vec::with_capacity(rank);
    for (&length, &reduced) in x.shape.iter().zip(&reduced) {
        match (reduced, keeps) {
            (false, _) => shape.push(length),
            (true, true) => shape.push(1),
            (true, false) => {}
        }
    }
    Tensor::from_bytes(to.dtype, &shape, made)
}

/// `QLinearSoftmax` (ContribOperators.md, com.microsoft 1): along one axis as of version 13 of the
/// standard operator, and over all axes from one on before.
fn softmax(node: &Node<'_>) -> Result<Option<Kernel>> {
    let is_flat = node.required("opset", node.int_opt("opset"))? < 13;
    let axis = node.int("axis", if is_flat { 1 } else { -1 });
    tensor_kernel(move |inputs| {
        let x = Quantised::of(inputs, [0, 1, 2])?;
        let to = Point::of(inputs, 3, 4, x.point.dtype)?;
        let at = inputs::axis(axis, x.shape.len())?;
        let behind = x.shape.get(at..).unwrap_or_default();
        let (length, inner) = match (is_flat, behind) {
            (false, [length, inner @ ..]) => (*length, product(inner)),
            _ => (product(behind), 1),
        };
        let mut made = vec![0; x.bytes.len()];
        let size = length.saturating_mul(inner).max(1);
        for (from, to_) in x.bytes.chunks_exact(size).zip(made.chunks_exact_mut(size)) {
            for first in 0..inner {
                probabilities(from, to_, (first, inner), (x.point, to));
            }
        }
        Tensor::from_bytes(to.dtype, x.shape, made)
    })
    .map(Some)
}

/// Those of the elements from the first on, so far apart.
fn probabilities(
    x: &[u8],
    y: &mut [u8],
    (first, step): (usize, usize),
    (from, to): (Point, Point),
) {
    let x = x.iter().skip(first).step_by(step);
    let largest = x.clone().map(|&x| from.integer(x)).max().unwrap_or(0);
    let power = |x: u8| (f64::from(from.integer(x) - largest) * f64::from(from.scale)).exp() as f32;
    let sum: f32 = x.clone().map(|&x| power(x)).sum();
    // The reference takes a whole number of steps for 1.
    let steps = 1.0 / to.scale;
    let steps = if steps >= 1.0 { steps.floor() } else { steps };
    let bytes = to.bytes();
    for (y, &x) in y.iter_mut().skip(first).step_by(step).zip(x) {
        *y = bytes.nearest(power(x) * steps / sum);
    }
}
