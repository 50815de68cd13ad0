//! Parts of a picture, taken at places that are no whole ones.

use super::real::{self, Real, rounded, with_real};
use crate::program::cast::to_f64;
use crate::program::inputs::{Inputs, Kernel, tensor_kernel};
use crate::program::node::Node;
use crate::{Result, Tensor, bail};

pub(super) const OPS: super::Table = &[
    ("DeformConv", make_deform),
    ("MaxRoiPool", make_max_roi_pool),
    ("RoiAlign", make_roi_align),
];

/// What of a plane a place between its elements is made of: elements and weights. All weights are
/// 0 outside.
type Corners = [(usize, f64); 4];

fn corner(y: usize, x: usize, width: usize, weight: f64) -> (usize, f64) {
    (y * width + x, weight)
}

fn at_corners<T: Real>(plane: &[T], corners: &Corners) -> [f64; 4] {
    corners.map(|(at, weight)| plane.get(at).map_or(0.0, |x| weight * x.to_f64()))
}

#[derive(Clone, Copy)]
struct RoiAlign {
    half_pixel: bool,
    max: bool,
    height: usize,
    width: usize,
    sampling: usize,
    scale: f64,
}

/// `RoiAlign` (Operators.md, ai.onnx 10, 16 and 22).
fn make_roi_align(node: &Node<'_>) -> Result<Option<Kernel>> {
    let half_pixel = match node.text("coordinate_transformation_mode", "half_pixel")? {
        // Version 10 has no such attribute, and no half pixels.
        _ if node.version() < 16 => false,
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => bail!(
            InvalidModel,
            "`{other}` is no coordinate_transformation_mode"
        ),
    };
    let max = match node.text("mode", "avg")? {
        "avg" => false,
        "max" => true,
        other => bail!(InvalidModel, "`{other}` is no mode"),
    };
    let align = RoiAlign {
        half_pixel,
        max,
        height: real::size(node.int("output_height", 1))?,
        width: real::size(node.int("output_width", 1))?,
        sampling: real::size(node.int("sampling_ratio", 0))?,
        scale: node.float("spatial_scale", 1.0).into(),
    };
    tensor_kernel(move |inputs| align.run(inputs)).map(Some)
}

/// The planes of a batch of pictures.
fn planes(x: &Tensor) -> Result<[usize; 4]> {
    match x.shape()[..] {
        [batch, channels, height, width] => Ok([batch, channels, height, width]),
        _ => bail!(
            InvalidInput,
            "there are to be 4 axes, and there are {}",
            x.shape().len()
        ),
    }
}

impl RoiAlign {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Tensor> {
        let x = inputs.tensor(0)?;
        let [batch, channels, height, width] = planes(x)?;
        let rois = to_f64(inputs.tensor(1)?)?;
        let items = inputs.ints(2)?;
        if rois.len() != items.len().saturating_mul(4) {
            bail!(
                InvalidInput,
                "{} numbers for {} regions of 4",
                rois.len(),
                items.len()
            );
        }
        let shape = [items.len(), channels, self.height, self.width];
        with_real!(x.dtype(), T => {
            let values = x.view::<T>()?;
            let mut made = real::filled(&shape, T::default())?;
            if made.is_empty() {
                return Tensor::from_vec(&shape, made);
            }
            let bins = self.height * self.width;
            let plane = real::product(&[height, width]);
            let regions = made.chunks_exact_mut(channels * bins);
            for ((roi, item), made) in rois.as_chunks().0.iter().zip(&items).zip(regions) {
                let item = usize::try_from(*item).ok().filter(|&item| item < batch);
                let Some(item) = item else {
                    bail!(InvalidInput, "a region is in none of {batch} pictures");
                };
                let (samples, count) = self.samples(roi, height, width)?;
                for (channel, made) in made.chunks_exact_mut(bins).enumerate() {
                    let start = (item * channels + channel) * plane;
                    let from = values.get(start..start + plane).unwrap_or_default();
                    for (bin, made) in made.iter_mut().enumerate() {
                        let samples = samples.get(bin * count..(bin + 1) * count);
                        *made = T::of_f64(self.pool(from, samples.unwrap_or_default()));
                    }
                }
            }
            Tensor::from_vec(&shape, made)
        })
    }

    /// Where a region is sampled, bin by bin, and how often in each.
    fn samples(
        &self,
        roi: &[f64; 4],
        height: usize,
        width: usize,
    ) -> Result<(Vec<Corners>, usize)> {
        let offset = if self.half_pixel { 0.5 } else { 0.0 };
        let [left, top, right, bottom] = roi.map(|x| x * self.scale - offset);
        let least = if self.half_pixel {
            f64::NEG_INFINITY
        } else {
            1.0
        };
        let bin = |start: f64, end: f64, bins: usize| {
            let size = (end - start).max(least) / bins as f64;
            let count = match self.sampling {
                0 => size.ceil().max(0.0),
                n => n as f64,
            };
            (size, count)
        };
        let (bin_height, rows) = bin(top, bottom, self.height);
        let (bin_width, columns) = bin(left, right, self.width);
        let all = rows * columns * (self.height * self.width) as f64;
        if all.is_nan() || all > f64::from(1 << 24) {
            bail!(InvalidInput, "a region is too large to be sampled: {roi:?}");
        }
        let (rows, columns) = (rows as usize, columns as usize);
        let mut samples = Vec::with_capacity(all as usize);
        for y in 0..self.height {
            for x in 0..self.width {
                for row in 0..rows {
                    let inside = y as f64 + (row as f64 + 0.5) / rows as f64;
                    let at_y = top + inside * bin_height;
                    for column in 0..columns {
                        let inside = x as f64 + (column as f64 + 0.5) / columns as f64;
                        samples.push(clamped(at_y, left + inside * bin_width, height, width));
                    }
                }
            }
        }
        Ok((samples, rows * columns))
    }

    fn pool<T: Real>(&self, plane: &[T], samples: &[Corners]) -> f64 {
        let parts = samples.iter().map(|corners| at_corners(plane, corners));
        if self.max {
            // Of the weighted corners, as the reference has it.
            parts.flatten().reduce(f64::max).unwrap_or(0.0)
        } else {
            let sum: f64 = parts.flatten().sum();
            sum / samples.len().max(1) as f64
        }
    }
}

/// The corners of a place, that within one element of the border counts as on it.
fn clamped(y: f64, x: f64, height: usize, width: usize) -> Corners {
    let outside = |at: f64, size: usize| !(at >= -1.0 && at <= size as f64) || size == 0;
    if outside(y, height) || outside(x, width) {
        return [(0, 0.0); 4];
    }
    let split = |at: f64, size: usize| {
        let low = at.max(0.0) as usize;
        match low + 1 < size {
            true => (low, low + 1, at.max(0.0) - low as f64),
            false => (size - 1, size - 1, 0.0),
        }
    };
    let (top, bottom, down) = split(y, height);
    let (left, right, along) = split(x, width);
    [
        corner(top, left, width, (1.0 - down) * (1.0 - along)),
        corner(top, right, width, (1.0 - down) * along),
        corner(bottom, left, width, down * (1.0 - along)),
        corner(bottom, right, width, down * along),
    ]
}

/// The corners of a place; those outside of the plane have no weight.
fn unclamped(y: f64, x: f64, height: usize, width: usize) -> Corners {
    let inside = |at: f64, size: usize| at > -1.0 && at < size as f64;
    if !inside(y, height) || !inside(x, width) {
        return [(0, 0.0); 4];
    }
    let (top, left) = (y.floor(), x.floor());
    let (down, along) = (y - top, x - left);
    let one = |y: f64, x: f64, weight: f64| {
        let there = y >= 0.0 && x >= 0.0 && y < height as f64 && x < width as f64;
        match there {
            true => corner(y as usize, x as usize, width, weight),
            false => (0, 0.0),
        }
    };
    [
        one(top, left, (1.0 - down) * (1.0 - along)),
        one(top, left + 1.0, (1.0 - down) * along),
        one(top + 1.0, left, down * (1.0 - along)),
        one(top + 1.0, left + 1.0, down * along),
    ]
}

/// `MaxRoiPool` (Operators.md, ai.onnx 1 and 22).
fn make_max_roi_pool(node: &Node<'_>) -> Result<Option<Kernel>> {
    let pooled = real::sizes(node.required("pooled_shape", node.ints("pooled_shape"))?)?;
    let [rows, columns] = pooled[..] else {
        bail!(InvalidModel, "`pooled_shape` is to have two sizes");
    };
    let scale = node.float("spatial_scale", 1.0);
    tensor_kernel(move |inputs| max_roi_pool(inputs, rows, columns, scale)).map(Some)
}

fn max_roi_pool(inputs: &Inputs<'_>, rows: usize, columns: usize, scale: f32) -> Result<Tensor> {
    let x = inputs.tensor(0)?;
    let [batch, channels, height, width] = planes(x)?;
    let rois = to_f64(inputs.tensor(1)?)?;
    let (rois, rest) = rois.as_chunks::<5>();
    if !rest.is_empty() {
        bail!(InvalidInput, "a region has 5 numbers");
    }
    let shape = [rois.len(), channels, rows, columns];
    let mut made = real::filled(&shape, 0.0f64)?;
    if made.is_empty() {
        return rounded(x.dtype(), &shape, &made);
    }
    let values = to_f64(x)?;
    let plane = real::product(&[height, width]);
    for (roi, made) in rois
        .iter()
        .zip(made.chunks_exact_mut(channels * rows * columns))
    {
        let [item, left, top, right, bottom] = *roi;
        if !(item >= 0.0 && item < batch as f64) {
            bail!(InvalidInput, "a region is in none of {batch} pictures");
        }
        // Whole places, the last one inside. In FP32, as others do: much is half way between two.
        let [left, top, right, bottom] =
            [left, top, right, bottom].map(|x| (x as f32 * scale).round());
        let part = |start: f32, end: f32, at: usize, parts: usize, size: usize| {
            let bin = (end - start + 1.0).max(1.0) / parts as f32;
            let inside = |x: f32| (start + x).clamp(0.0, size as f32) as usize;
            let at = at as f32;
            inside((at * bin).floor())..inside(((at + 1.0) * bin).ceil())
        };
        for (channel, made) in made.chunks_exact_mut(rows * columns).enumerate() {
            let start = (item as usize * channels + channel) * plane;
            let from = values.get(start..start + plane).unwrap_or_default();
            for (at, made) in made.iter_mut().enumerate() {
                let xs = part(left, right, at % columns, columns, width);
                let lines = part(top, bottom, at / columns, rows, height);
                let parts = lines.flat_map(|y| {
                    let line = from.get(y * width..(y + 1) * width).unwrap_or_default();
                    line.get(xs.clone()).unwrap_or_default()
                });
                *made = parts.copied().reduce(f64::max).unwrap_or(0.0);
            }
        }
    }
    rounded(x.dtype(), &shape, &made)
}

/// A convolution whose places are moved.
struct DeformConv {
    group: usize,
    offset_group: usize,
    strides: [i64; 2],
    dilations: [i64; 2],
    pads: [i64; 4],
}

/// `DeformConv` (Operators.md, ai.onnx 19 and 22), with two axes.
fn make_deform(node: &Node<'_>) -> Result<Option<Kernel>> {
    fn list<const N: usize>(node: &Node<'_>, name: &str, default: i64) -> Result<[i64; N]> {
        match node.ints(name) {
            None => Ok([default; N]),
            Some(ints) => match ints.try_into() {
                Ok(ints) => Ok(ints),
                Err(_) => node.unsupported(format!("`{name}` of {} numbers", ints.len())),
            },
        }
    }
    let conv = DeformConv {
        group: real::size(node.int("group", 1))?,
        offset_group: real::size(node.int("offset_group", 1))?,
        strides: list(node, "strides", 1)?,
        dilations: list(node, "dilations", 1)?,
        pads: list(node, "pads", 0)?,
    };
    if conv.group == 0 || conv.offset_group == 0 {
        bail!(InvalidModel, "there are no 0 groups");
    }
    tensor_kernel(move |inputs| conv.run(inputs)).map(Some)
}

impl DeformConv {
    /// Where a tap of the kernel is along an axis, before its offset.
    fn start(&self, axis: usize, place: usize, tap: usize) -> f64 {
        let of = |list: &[i64]| list.get(axis).copied().unwrap_or(0) as f64;
        place as f64 * of(&self.strides) - of(&self.pads) + tap as f64 * of(&self.dilations)
    }

    fn run(&self, inputs: &Inputs<'_>) -> Result<Tensor> {
        let (x, w, offset) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
        let [batch, channels, height, width] = planes(x)?;
        let [out, per_group, rows, columns] = planes(w)?;
        let [_, _, out_height, out_width] = planes(offset)?;
        let kernel = real::product(&[rows, columns]);
        let groups = real::product(&[self.offset_group, kernel]);
        let fits = per_group.checked_mul(self.group) == Some(channels)
            && out % self.group == 0
            && channels % self.offset_group == 0
            && offset.shape() == [batch, groups.saturating_mul(2), out_height, out_width];
        let bias = inputs.tensor_opt(3)?;
        let mask = inputs.tensor_opt(4)?;
        let mask_fits = mask.is_none_or(|m| m.shape() == [batch, groups, out_height, out_width]);
        if !fits || !mask_fits || bias.is_some_and(|b| b.shape() != [out]) {
            bail!(
                InvalidInput,
                "the shapes do not fit: {:?}, {:?}",
                x.shape(),
                w.shape()
            );
        }
        let shape = [batch, out, out_height, out_width];
        let mut made = real::filled(&shape, 0.0f64)?;
        if made.is_empty() {
            return rounded(x.dtype(), &shape, &made);
        }
        let bias = bias.map(to_f64).transpose()?;
        let weights = to_f64(w)?;
        let view = View {
            conv: self,
            values: to_f64(x)?,
            offsets: to_f64(offset)?,
            mask: mask.map(to_f64).transpose()?,
            input: [channels, height, width],
            kernel: [rows, columns],
            output: [out_height, out_width],
        };
        let places = out_height * out_width;
        // What the kernel sees at one place: a row for each input channel.
        let mut seen = real::filled(&[channels, kernel], 0.0f64)?;
        let row = per_group * kernel;
        for item in 0..batch {
            for place in 0..places {
                view.fill(item, place, &mut seen);
                for channel in 0..out {
                    let group = channel / (out / self.group);
                    let seen = seen.iter().skip(group * row).take(row);
                    let weights = weights.iter().skip(channel * row).take(row);
                    let sum: f64 = seen.zip(weights).map(|(x, w)| x * w).sum();
                    let bias = bias.as_ref().map_or(0.0, |bias| get(bias, channel));
                    if let Some(made) = made.get_mut((item * out + channel) * places + place) {
                        *made = sum + bias;
                    }
                }
            }
        }
        rounded(x.dtype(), &shape, &made)
    }
}

fn get(list: &[f64], at: usize) -> f64 {
    list.get(at).copied().unwrap_or(0.0)
}

/// What a kernel with offsets sees of a batch of pictures.
struct View<'a> {
    conv: &'a DeformConv,
    values: Vec<f64>,
    offsets: Vec<f64>,
    mask: Option<Vec<f64>>,
    /// Channels, height and width.
    input: [usize; 3],
    kernel: [usize; 2],
    output: [usize; 2],
}

impl View<'_> {
    fn fill(&self, item: usize, place: usize, seen: &mut [f64]) {
        let ([channels, height, width], [rows, columns]) = (self.input, self.kernel);
        let [out_height, out_width] = self.output;
        let (kernel, places) = (rows * columns, out_height * out_width);
        let of_group = channels / self.conv.offset_group;
        for tap in 0..self.conv.offset_group * kernel {
            let (group, tap) = (tap / kernel, tap % kernel);
            let first = (item * self.conv.offset_group + group) * kernel + tap;
            let offset = |axis| get(&self.offsets, (first * 2 + axis) * places + place);
            let y = self.conv.start(0, place / out_width, tap / columns) + offset(0);
            let x = self.conv.start(1, place % out_width, tap % columns) + offset(1);
            let corners = unclamped(y, x, height, width);
            let factor = match &self.mask {
                Some(mask) => get(mask, first * places + place),
                None => 1.0,
            };
            for channel in group * of_group..(group + 1) * of_group {
                let from = (item * channels + channel) * height * width;
                let from = self.values.get(from..from + height * width);
                let sum: f64 = at_corners(from.unwrap_or_default(), &corners).iter().sum();
                if let Some(seen) = seen.get_mut(channel * kernel + tap) {
                    *seen = sum * factor;
                }
            }
        }
    }
}
