//! Resizing along axes: nearest, linear and cubic, one axis after the other.

use std::iter::Sum;
use std::ops::{AddAssign, Mul};

use super::real::{self, Real, with_real};
use crate::program::inputs::{Inputs, Kernel, axis, tensor_kernel};
use crate::program::node::Node;
use crate::{DType, Result, Tensor, bail};

/// The engine has no `Upsample`.
pub(super) const OPS: super::Table = &[("Upsample", make_upsample)];
/// The engine does the common forms of `Resize` in whole graphs.
pub(super) const FALLBACK: super::Table = &[("Resize", make_resize)];

#[derive(Clone, Copy)]
enum Mode {
    Nearest(Nearest),
    Linear,
    Cubic(f64),
}

#[derive(Clone, Copy)]
enum Nearest {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
    /// Version 10: up where the result is smaller, down otherwise.
    Simple,
}

#[derive(Clone, Copy, PartialEq)]
enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    CropAndResize,
}

#[derive(Clone, Copy, PartialEq)]
enum Aspect {
    Stretch,
    NotLarger,
    NotSmaller,
}

struct Resize {
    mode: Mode,
    coordinates: Coordinates,
    antialias: bool,
    exclude_outside: bool,
    extrapolation: f64,
    axes: Option<Vec<i64>>,
    aspect: Aspect,
    /// Where the factors are; `None` where they are an attribute.
    scales: Option<usize>,
    factors: Vec<f64>,
}

/// What happens along one axis.
struct Line {
    axis: usize,
    scale: f64,
    length: usize,
    /// Begin and end of the part that is seen, from 0 to 1.
    roi: (f64, f64),
}

/// `Upsample` (Operators.md, ai.onnx 7 and 9).
fn make_upsample(node: &Node<'_>) -> Result<Option<Kernel>> {
    let mode = match node.text("mode", "nearest")? {
        "nearest" => Mode::Nearest(Nearest::Floor),
        "linear" | "bilinear" => Mode::Linear,
        other => return node.unsupported(format!("mode `{other}`")),
    };
    let factors = node.floats("scales").unwrap_or_default();
    let has_input = node.version() >= 9;
    if !has_input && factors.is_empty() {
        bail!(InvalidModel, "attribute `scales` is missing");
    }
    let resize = Resize {
        mode,
        coordinates: Coordinates::Asymmetric,
        antialias: false,
        exclude_outside: false,
        extrapolation: 0.0,
        axes: None,
        aspect: Aspect::Stretch,
        scales: has_input.then_some(1),
        factors: factors.iter().map(|&f| f.into()).collect(),
    };
    tensor_kernel(move |inputs| resize.run(inputs)).map(Some)
}

/// `Resize` (Operators.md, ai.onnx 10, 11, 13, 18 and 19).
fn make_resize(node: &Node<'_>) -> Result<Option<Kernel>> {
    let first = node.version() < 11;
    let nearest = match node.text("nearest_mode", "round_prefer_floor")? {
        _ if first => Nearest::Simple,
        "round_prefer_floor" => Nearest::PreferFloor,
        "round_prefer_ceil" => Nearest::PreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        other => bail!(InvalidModel, "`{other}` is no nearest_mode"),
    };
    let mode = match node.text("mode", "nearest")? {
        "nearest" => Mode::Nearest(nearest),
        "linear" => Mode::Linear,
        "cubic" => Mode::Cubic(node.float("cubic_coeff_a", -0.75).into()),
        other => bail!(InvalidModel, "`{other}` is no mode"),
    };
    let coordinates = match node.text("coordinate_transformation_mode", "half_pixel")? {
        _ if first => Coordinates::Asymmetric,
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_crop_and_resize" => Coordinates::CropAndResize,
        other => return node.unsupported(format!("coordinate_transformation_mode `{other}`")),
    };
    let aspect = match node.text("keep_aspect_ratio_policy", "stretch")? {
        "stretch" => Aspect::Stretch,
        "not_larger" => Aspect::NotLarger,
        "not_smaller" => Aspect::NotSmaller,
        other => bail!(InvalidModel, "`{other}` is no keep_aspect_ratio_policy"),
    };
    let resize = Resize {
        mode,
        coordinates,
        antialias: node.flag("antialias", false),
        exclude_outside: node.flag("exclude_outside", false),
        extrapolation: node.float("extrapolation_value", 0.0).into(),
        axes: node.ints("axes").map(<[i64]>::to_vec),
        aspect,
        scales: Some(if first { 1 } else { 2 }),
        factors: Vec::new(),
    };
    tensor_kernel(move |inputs| resize.run(inputs)).map(Some)
}

impl Resize {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Tensor> {
        let x = inputs.tensor(0)?;
        let lines = self.lines(inputs, x.shape())?;
        let shape = resized(x.shape(), &lines);
        if crate::element_count(&shape)? == 0 {
            return crate::program::arrange::empty(x.dtype(), &shape);
        }
        if x.is_empty() {
            bail!(InvalidInput, "nothing cannot be resized to {shape:?}");
        }
        match (self.mode, x.dtype()) {
            (Mode::Nearest(mode), DType::String) => {
                let strings = x.strings().unwrap_or_default();
                let (shape, all) = self.nearest(mode, strings, x.shape(), &lines, String::new())?;
                Tensor::from_strings(&shape, all)
            }
            (Mode::Nearest(mode), DType::Bool) => {
                let (shape, all) =
                    self.nearest(mode, &x.view::<bool>()?, x.shape(), &lines, false)?;
                Tensor::from_vec(&shape, all)
            }
            (Mode::Nearest(mode), dtype) => with_real!(dtype, T => {
                let fill = T::of_f64(self.extrapolation);
                let (shape, all) = self.nearest(mode, &x.view::<T>()?, x.shape(), &lines, fill)?;
                Tensor::from_vec(&shape, all)
            }),
            (_, DType::F64 | DType::I32 | DType::I64 | DType::U32 | DType::U64) => {
                with_real!(x.dtype(), T => self.interpolated::<T, f64>(x, &lines))
            }
            (_, dtype) => with_real!(dtype, T => self.interpolated::<T, f32>(x, &lines)),
        }
    }

    /// The axes that change, and how.
    fn lines(&self, inputs: &Inputs<'_>, shape: &[usize]) -> Result<Vec<Line>> {
        let rank = shape.len();
        let axes: Vec<usize> = match &self.axes {
            None => (0..rank).collect(),
            Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<_>>()?,
        };
        let factors = match self.scales {
            None => self.factors.clone(),
            Some(at) => match inputs.tensor_opt(at)? {
                Some(scales) => crate::program::cast::to_f64(scales)?,
                None => Vec::new(),
            },
        };
        let lengths = inputs.ints_opt(3)?.filter(|_| factors.is_empty());
        let given = lengths.as_ref().map_or(factors.len(), Vec::len);
        if given != axes.len() {
            bail!(
                InvalidInput,
                "{given} sizes or factors for {} axes",
                axes.len()
            );
        }
        let roi = match inputs.tensor_opt(1)? {
            Some(roi) if self.coordinates == Coordinates::CropAndResize => {
                crate::program::cast::to_f64(roi)?
            }
            _ => Vec::new(),
        };
        let mut lines = Vec::with_capacity(axes.len());
        for (i, &axis) in axes.iter().enumerate() {
            let before = shape.get(axis).copied().unwrap_or(0);
            let (scale, length) = match &lengths {
                Some(lengths) => {
                    let length = real::size(lengths.get(i).copied().unwrap_or(0))?;
                    (length as f64 / before.max(1) as f64, length)
                }
                None => {
                    let scale = factors.get(i).copied().unwrap_or(1.0);
                    (scale, product(before, scale)?)
                }
            };
            let end = roi.get(axes.len() + i).copied();
            lines.push(Line {
                axis,
                scale,
                length,
                roi: (roi.get(i).copied().unwrap_or(0.0), end.unwrap_or(1.0)),
            });
        }
        if lengths.is_some() && self.aspect != Aspect::Stretch {
            let scales = lines.iter().map(|line| line.scale);
            let scale = match self.aspect {
                Aspect::NotSmaller => scales.fold(0.0, f64::max),
                _ => scales.fold(f64::INFINITY, f64::min),
            };
            for line in &mut lines {
                line.scale = scale;
                let before = shape.get(line.axis).copied().unwrap_or(0);
                line.length = (scale * before as f64 + 0.5) as usize;
            }
        }
        // An axis that stays as it is needs no work.
        lines.retain(|line| {
            let same = shape.get(line.axis) == Some(&line.length);
            !(same && (line.scale - 1.0).abs() < 1e-9 && line.roi == (0.0, 1.0))
        });
        Ok(lines)
    }

    /// Where a place of the result is in what is resized.
    fn origin(&self, line: &Line, before: usize, at: usize) -> Option<f64> {
        let (at, before) = (at as f64, before as f64);
        let after = line.scale * before;
        Some(match self.coordinates {
            Coordinates::HalfPixel => (at + 0.5) / line.scale - 0.5,
            Coordinates::HalfPixelSymmetric => {
                let offset = before / 2.0 * (1.0 - line.length as f64 / after);
                offset + (at + 0.5) / line.scale - 0.5
            }
            Coordinates::PytorchHalfPixel if after == 1.0 => -0.5,
            Coordinates::PytorchHalfPixel => (at + 0.5) / line.scale - 0.5,
            Coordinates::AlignCorners if after == 1.0 => 0.0,
            Coordinates::AlignCorners => at * (before - 1.0) / (after - 1.0),
            Coordinates::Asymmetric => at / line.scale,
            Coordinates::CropAndResize => {
                let (start, end) = line.roi;
                let size = (end - start) * (before - 1.0);
                let inside = match after == 1.0 {
                    true => size / 2.0,
                    false => at * size / (after - 1.0),
                };
                let at = inside + start * (before - 1.0);
                return (at >= 0.0 && at <= before - 1.0).then_some(at);
            }
        })
    }

    fn nearest<T: Clone>(
        &self,
        mode: Nearest,
        data: &[T],
        shape: &[usize],
        lines: &[Line],
        fill: T,
    ) -> Result<(Vec<usize>, Vec<T>)> {
        let mut shape = shape.to_vec();
        let mut data = data.to_vec();
        for line in lines {
            let before = shape.get(line.axis).copied().unwrap_or(0);
            let place = |at| {
                self.origin(line, before, at)
                    .map(|x| mode.pick(x, line.scale, before))
            };
            let inner: usize = shape.iter().skip(line.axis + 1).product();
            set(&mut shape, line.axis, line.length);
            let mut next = real::filled(&shape, fill.clone())?;
            let places: Vec<Option<usize>> = (0..line.length).map(place).collect();
            let blocks = data.chunks_exact((before * inner).max(1));
            let made = next.chunks_exact_mut((line.length * inner).max(1));
            for (block, made) in blocks.zip(made) {
                for (row, place) in made.chunks_exact_mut(inner.max(1)).zip(&places) {
                    let from = place.and_then(|at| block.get(at * inner..(at + 1) * inner));
                    if let Some(from) = from {
                        row.clone_from_slice(from);
                    }
                }
            }
            data = next;
        }
        Ok((shape, data))
    }

    fn interpolated<T: Real, A: Accumulator>(&self, x: &Tensor, lines: &[Line]) -> Result<Tensor> {
        let mut data: Vec<A> = x.view::<T>()?.iter().map(|&x| A::of(x.to_f64())).collect();
        let mut shape = x.shape().to_vec();
        for line in lines {
            let before = shape.get(line.axis).copied().unwrap_or(0);
            let inner: usize = shape.iter().skip(line.axis + 1).product();
            set(&mut shape, line.axis, line.length);
            let mut next = real::filled(&shape, A::default())?;
            let taps = self.taps::<A>(line, before);
            let blocks = data.chunks_exact((before * inner).max(1));
            let made = next.chunks_exact_mut((line.length * inner).max(1));
            for (block, made) in blocks.zip(made) {
                for (row, taps) in made.chunks_exact_mut(inner.max(1)).zip(&taps) {
                    match taps {
                        None => row.fill(A::of(self.extrapolation)),
                        Some(taps) => add_up(block, row, inner, taps),
                    }
                }
            }
            data = next;
        }
        Tensor::from_vec(&shape, data.iter().map(|x| T::of_f64(x.get())).collect())
    }

    /// For each place of the result what of the source it is made of; `None` is outside.
    fn taps<A: Accumulator>(&self, line: &Line, before: usize) -> Vec<Option<Vec<(usize, A)>>> {
        let last = before.saturating_sub(1) as f64;
        let one = |at| {
            let x = self.origin(line, before, at)?;
            // The place before, so that a place that is one exactly is the second.
            let base = x.ceil() - 1.0;
            let (start, mut weights) = self.weights(x - base, line.scale);
            let place = |i: usize| base + start + i as f64;
            if self.exclude_outside {
                for (i, weight) in weights.iter_mut().enumerate() {
                    if place(i) < 0.0 || place(i) > last {
                        *weight = 0.0;
                    }
                }
                let sum: f64 = weights.iter().sum();
                let sum = if sum == 0.0 { 1.0 } else { sum };
                weights.iter_mut().for_each(|weight| *weight /= sum);
            }
            let taps = weights.iter().enumerate().filter(|(_, w)| **w != 0.0);
            let taps = taps.map(|(i, &w)| (place(i).clamp(0.0, last) as usize, A::of(w)));
            Some(taps.collect())
        };
        (0..line.length).map(one).collect()
    }

    /// Weights of the neighbours of a place, and how far from it they begin.
    fn weights(&self, ratio: f64, scale: f64) -> (f64, Vec<f64>) {
        let scale = if self.antialias { scale.min(1.0) } else { 1.0 };
        let (reach, a) = match self.mode {
            Mode::Cubic(a) => (2.0, Some(a)),
            _ => (1.0, None),
        };
        let start = (-reach / scale).floor() + 1.0;
        let count = (2.0 - 2.0 * start) as usize;
        let weight = |i: usize| {
            let x = ((start + i as f64 - ratio) * scale).abs();
            match a {
                None => (1.0 - x).max(0.0),
                Some(a) if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
                Some(a) if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
                Some(_) => 0.0,
            }
        };
        let mut weights: Vec<f64> = (0..count).map(weight).collect();
        if self.antialias {
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        (start, weights)
    }
}

impl Nearest {
    fn pick(self, x: f64, scale: f64, before: usize) -> usize {
        let at = match self {
            Nearest::PreferFloor => (x - 0.5).ceil(),
            Nearest::PreferCeil => (x + 0.5).floor(),
            Nearest::Simple if scale < 1.0 => x.ceil(),
            Nearest::Floor | Nearest::Simple => x.floor(),
            Nearest::Ceil => x.ceil(),
        };
        at.clamp(0.0, before.saturating_sub(1) as f64) as usize
    }
}

/// A number to add up weighted ones in: FP32, or FP64 where that has too few digits.
trait Accumulator: Copy + Default + Mul<Output = Self> + AddAssign + Sum {
    fn of(value: f64) -> Self;
    fn get(self) -> f64;
}

impl Accumulator for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
    fn get(self) -> f64 {
        self.into()
    }
}

impl Accumulator for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn get(self) -> f64 {
        self
    }
}

fn add_up<A: Accumulator>(block: &[A], row: &mut [A], inner: usize, taps: &[(usize, A)]) {
    if let ([out], 1) = (&mut *row, inner) {
        let parts = taps.iter().filter_map(|&(at, w)| Some(*block.get(at)? * w));
        *out = parts.sum();
        return;
    }
    for &(at, weight) in taps {
        let from = block.get(at * inner..(at + 1) * inner).unwrap_or_default();
        for (out, &x) in row.iter_mut().zip(from) {
            *out += x * weight;
        }
    }
}

/// The whole places of an axis times a factor.
fn product(length: usize, factor: f64) -> Result<usize> {
    if !(factor.is_finite() && factor > 0.0) {
        bail!(InvalidInput, "{factor} is no factor to resize by");
    }
    Ok((length as f64 * factor) as usize)
}

fn resized(shape: &[usize], lines: &[Line]) -> Vec<usize> {
    let mut shape = shape.to_vec();
    for line in lines {
        set(&mut shape, line.axis, line.length);
    }
    shape
}

fn set(shape: &mut [usize], axis: usize, length: usize) {
    if let Some(place) = shape.get_mut(axis) {
        *place = length;
    }
}
