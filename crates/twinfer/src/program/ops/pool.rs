//! Pooling and its reverse.

use super::real::{self, Real, next, product, with_real};
use crate::program::inputs::{Inputs, Kernel, tensor_kernel};
use crate::program::node::Node;
use crate::{Result, Tensor, bail};

pub(super) const OPS: super::Table = &[
    ("Col2Im", make_col2im),
    // The engine's gives a mean.
    ("GlobalLpPool", make_global_lp_pool),
    ("LpPool", make_lp_pool),
    ("MaxUnpool", make_max_unpool),
];

/// Windows over the last axes, as the attributes of a node say.
pub(super) struct Windows {
    kernel: Vec<usize>,
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    /// Begins, then ends.
    pads: Option<Vec<i64>>,
    auto: Auto,
    ceil: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Auto {
    Explicit,
    Valid,
    SameUpper,
    SameLower,
}

/// Windows over one axis.
#[derive(Clone, Copy)]
pub(super) struct Line {
    input: usize,
    pub(super) output: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// Before the beginning.
    pad: i64,
}

impl Line {
    /// The place in the input, of a window and a place in it.
    fn place(&self, window: usize, at: usize) -> Option<usize> {
        let place = window
            .checked_mul(self.stride)?
            .checked_add(at.checked_mul(self.dilation)?)?;
        let place = i64::try_from(place).ok()?.checked_sub(self.pad)?;
        usize::try_from(place)
            .ok()
            .filter(|&place| place < self.input)
    }
}

fn positive(values: &[i64], what: &str) -> Result<Vec<usize>> {
    let positive = |&v: &i64| match u32::try_from(v) {
        Ok(v) if v > 0 => Ok(v as usize),
        _ => bail!(InvalidModel, "{v} is none of `{what}`"),
    };
    values.iter().map(positive).collect()
}

impl Windows {
    pub(super) fn new(node: &Node<'_>) -> Result<Self> {
        let kernel = node.required("kernel_shape", node.ints("kernel_shape"))?;
        let list = |name| node.ints(name).map(|v| positive(v, name)).transpose();
        Ok(Self {
            kernel: positive(kernel, "kernel_shape")?,
            strides: list("strides")?,
            dilations: list("dilations")?,
            pads: node.ints("pads").map(<[i64]>::to_vec),
            auto: match node.text("auto_pad", "NOTSET")? {
                "NOTSET" | "" => Auto::Explicit,
                "VALID" => Auto::Valid,
                "SAME_UPPER" => Auto::SameUpper,
                "SAME_LOWER" => Auto::SameLower,
                other => bail!(InvalidModel, "`{other}` is no auto_pad"),
            },
            ceil: node.flag("ceil_mode", false),
        })
    }

    /// The places of a window.
    pub(super) fn size(&self) -> Option<usize> {
        self.kernel
            .iter()
            .try_fold(1usize, |n, &length| n.checked_mul(length))
    }

    /// The windows along each axis behind the first two.
    pub(super) fn lines(&self, shape: &[usize]) -> Result<Vec<Line>> {
        let axes = shape.get(2..).unwrap_or_default();
        let count = axes.len();
        let fits = |list: &Option<Vec<usize>>| list.as_ref().is_none_or(|l| l.len() == count);
        let pads_fit = self.pads.as_ref().is_none_or(|p| p.len() == 2 * count);
        let all_fit = fits(&self.strides) && fits(&self.dilations) && pads_fit;
        if count == 0 || self.kernel.len() != count || !all_fit {
            bail!(
                InvalidInput,
                "the windows do not fit to the shape {shape:?}"
            );
        }
        let line = |axis: usize, input: usize| {
            let of = |list: &Option<Vec<usize>>| {
                list.as_ref()
                    .and_then(|l| l.get(axis))
                    .copied()
                    .unwrap_or(1)
            };
            let pad = |at: usize| {
                let pads = self.pads.as_ref().filter(|_| self.auto == Auto::Explicit);
                pads.and_then(|p| p.get(at)).copied().unwrap_or(0)
            };
            let kernel = self.kernel.get(axis).copied().unwrap_or(1);
            let (stride, dilation) = (of(&self.strides), of(&self.dilations));
            self.line(
                input,
                kernel,
                stride,
                dilation,
                (pad(axis), pad(axis + count)),
            )
        };
        axes.iter()
            .enumerate()
            .map(|(axis, &input)| line(axis, input))
            .collect()
    }

    fn line(
        &self,
        input: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
        pads: (i64, i64),
    ) -> Result<Line> {
        // All are below 2^32 but the product, and pads.
        let wide = |n: usize| n as i128;
        let span = (wide(kernel) - 1) * wide(dilation) + 1;
        let (begin, end) = (i128::from(pads.0), i128::from(pads.1));
        let (output, pad) = match self.auto {
            Auto::SameUpper | Auto::SameLower => {
                let output = (wide(input) + wide(stride) - 1) / wide(stride);
                let pad = ((output - 1) * wide(stride) + span - wide(input)).max(0);
                let odd = if self.auto == Auto::SameLower {
                    pad % 2
                } else {
                    0
                };
                (output, pad / 2 + odd)
            }
            _ => {
                let room = wide(input) + begin + end - span;
                let up = if self.ceil { wide(stride) - 1 } else { 0 };
                let mut output = (room + up).div_euclid(wide(stride)) + 1;
                // The last window begins inside.
                if self.ceil && (output - 1) * wide(stride) >= wide(input) + begin {
                    output -= 1;
                }
                (output, begin)
            }
        };
        match (usize::try_from(output), i64::try_from(pad)) {
            (Ok(output), Ok(pad)) if output > 0 || input == 0 => Ok(Line {
                input,
                output,
                kernel,
                stride,
                dilation,
                pad,
            }),
            _ => bail!(
                InvalidInput,
                "the windows are larger than the axis of {input}"
            ),
        }
    }
}

/// The places in the input of a window, flat.
pub(super) fn window(lines: &[Line], of: &[usize], place: &mut [usize], places: &mut Vec<usize>) {
    places.clear();
    place.fill(0);
    let kernel: Vec<usize> = lines.iter().map(|line| line.kernel).collect();
    for _ in 0..kernel.iter().product() {
        let mut flat = Some(0usize);
        for ((line, &at), &inside) in lines.iter().zip(of).zip(&*place) {
            let here = line.place(at, inside);
            flat = flat.zip(here).map(|(flat, here)| flat * line.input + here);
        }
        places.extend(flat);
        next(place, &kernel);
    }
}

/// `LpPool` (Operators.md, ai.onnx 1, 2, 11, 18 and 22).
fn make_lp_pool(node: &Node<'_>) -> Result<Option<Kernel>> {
    let windows = Windows::new(node)?;
    let p = norm(node);
    tensor_kernel(move |inputs| {
        let x = inputs.tensor(0)?;
        lp_pool(x, &windows.lines(x.shape())?, p)
    })
    .map(Some)
}

/// `GlobalLpPool` (Operators.md, ai.onnx 1, 2 and 22): one window over all.
fn make_global_lp_pool(node: &Node<'_>) -> Result<Option<Kernel>> {
    let p = norm(node);
    tensor_kernel(move |inputs| {
        let x = inputs.tensor(0)?;
        if x.shape().len() < 2 {
            bail!(InvalidInput, "{:?} has no batch and channels", x.shape());
        }
        let sizes = x.shape().iter().skip(2);
        let lines = sizes.map(|&size| Line {
            input: size,
            output: 1,
            kernel: size,
            stride: 1,
            dilation: 1,
            pad: 0,
        });
        lp_pool(x, &lines.collect::<Vec<_>>(), p)
    })
    .map(Some)
}

/// The norm that is pooled.
fn norm(node: &Node<'_>) -> f64 {
    match node.version() {
        // A number, of any kind.
        1 => f64::from(node.float("p", 2.0)),
        _ => node.int("p", 2) as f64,
    }
}

fn lp_pool(x: &Tensor, lines: &[Line], p: f64) -> Result<Tensor> {
    let kernel = lines
        .iter()
        .try_fold(1usize, |n, line| n.checked_mul(line.kernel));
    if kernel.is_none_or(|kernel| kernel > 1 << 24) {
        bail!(InvalidInput, "the windows are too large");
    }
    let outputs: Vec<usize> = lines.iter().map(|line| line.output).collect();
    let mut shape: Vec<usize> = x.shape().iter().take(2).copied().collect();
    shape.extend(&outputs);
    let power = |x: f64| match p {
        2.0 => x * x,
        1.0 => x.abs(),
        p => x.abs().powf(p),
    };
    let root = |x: f64| match p {
        2.0 => x.sqrt(),
        1.0 => x,
        p => x.powf(1.0 / p),
    };
    with_real!(x.dtype(), T => {
        let values = x.view::<T>()?;
        let mut made = real::filled(&shape, T::default())?;
        let input = product(x.shape().get(2..).unwrap_or_default());
        let output = if made.is_empty() { 0 } else { product(&outputs) };
        let mut of = vec![0; lines.len()];
        let (mut inside, mut places) = (of.clone(), Vec::new());
        for at in 0..output {
            window(lines, &of, &mut inside, &mut places);
            // The places are the same in each plane.
            let planes = values.chunks_exact(input.max(1));
            for (plane, made) in planes.zip(made.chunks_exact_mut(output)) {
                let parts = places.iter().filter_map(|&p| plane.get(p));
                let sum = parts.map(|x| power(x.to_f64())).sum();
                if let Some(made) = made.get_mut(at) {
                    *made = T::of_f64(root(sum));
                }
            }
            next(&mut of, &outputs);
        }
        Tensor::from_vec(&shape, made)
    })
}

/// `MaxUnpool` (Operators.md, ai.onnx 9, 11 and 22).
fn make_max_unpool(node: &Node<'_>) -> Result<Option<Kernel>> {
    let kernel = positive(
        node.required("kernel_shape", node.ints("kernel_shape"))?,
        "kernel_shape",
    )?;
    let strides = node
        .ints("strides")
        .map(|s| positive(s, "strides"))
        .transpose()?;
    let strides = strides.unwrap_or_else(|| vec![1; kernel.len()]);
    let pads = node
        .ints("pads")
        .map_or_else(|| vec![0; 2 * kernel.len()], <[i64]>::to_vec);
    tensor_kernel(move |inputs| unpool(inputs, &kernel, &strides, &pads)).map(Some)
}

fn unpool(
    inputs: &Inputs<'_>,
    kernel: &[usize],
    strides: &[usize],
    pads: &[i64],
) -> Result<Tensor> {
    let x = inputs.tensor(0)?;
    let indices = inputs.tensor(1)?.to_vec::<i64>()?;
    let axes = x.shape().get(2..).unwrap_or_default();
    let fits = strides.len() == kernel.len() && pads.len() == 2 * kernel.len();
    if axes.len() != kernel.len() || !fits || indices.len() != x.len() {
        bail!(
            InvalidInput,
            "windows, indices and the shape {:?} do not fit",
            x.shape()
        );
    }
    let mut inferred: Vec<usize> = x.shape().iter().take(2).copied().collect();
    for (axis, &length) in axes.iter().enumerate() {
        let of = |list: &[usize]| list.get(axis).copied().unwrap_or(1) as i128;
        let pad = |at: usize| i128::from(pads.get(at).copied().unwrap_or(0));
        let size = (length as i128 - 1) * of(strides) + of(kernel);
        let size = size - pad(axis) - pad(axis + axes.len());
        match usize::try_from(size) {
            Ok(size) => inferred.push(size),
            Err(_) => bail!(InvalidInput, "an axis would have the size {size}"),
        }
    }
    let shape = match inputs.ints_opt(2)? {
        Some(shape) => real::sizes(&shape)?,
        None => inferred.clone(),
    };
    let smaller = shape
        .iter()
        .zip(&inferred)
        .any(|(size, inferred)| size < inferred);
    if shape.len() != inferred.len() || smaller {
        bail!(
            InvalidInput,
            "the output shape {shape:?} is too small for {inferred:?}"
        );
    }
    with_real!(x.dtype(), T => {
        let mut made = real::filled(&shape, T::default())?;
        let count = crate::element_count(&inferred)?;
        for (&x, &index) in x.view::<T>()?.iter().zip(&indices) {
            let index = usize::try_from(index).ok().filter(|&index| index < count);
            let Some(mut rest) = index else {
                bail!(InvalidInput, "an index is outside of {inferred:?}");
            };
            // The index counts in the shape without the room that the output shape adds.
            let (mut flat, mut step) = (0, 1);
            for (&size, &axis) in inferred.iter().zip(&shape).rev() {
                flat += rest % size * step;
                rest /= size;
                step *= axis;
            }
            if let Some(made) = made.get_mut(flat) {
                *made = x;
            }
        }
        Tensor::from_vec(&shape, made)
    })
}

/// `Col2Im` (Operators.md, ai.onnx 18).
fn make_col2im(node: &Node<'_>) -> Result<Option<Kernel>> {
    let list = |name| node.ints(name).map(|v| positive(v, name)).transpose();
    let (strides, dilations) = (list("strides")?, list("dilations")?);
    let pads = node.ints("pads").map(<[i64]>::to_vec);
    tensor_kernel(move |inputs| {
        let windows = Windows {
            kernel: positive(&inputs.ints(2)?, "block_shape")?,
            strides: strides.clone(),
            dilations: dilations.clone(),
            pads: pads.clone(),
            auto: Auto::Explicit,
            ceil: false,
        };
        col2im(inputs, &windows)
    })
    .map(Some)
}

fn col2im(inputs: &Inputs<'_>, windows: &Windows) -> Result<Tensor> {
    let x = inputs.tensor(0)?;
    let image = real::sizes(&inputs.ints(1)?)?;
    let [batch, rows, columns] = x.shape()[..] else {
        bail!(
            InvalidInput,
            "there are to be 3 axes, and there are {}",
            x.shape().len()
        );
    };
    let lines = windows.lines(&[&[1, 1], &image[..]].concat())?;
    let size = |of: fn(&Line) -> usize| lines.iter().try_fold(1usize, |n, l| n.checked_mul(of(l)));
    let (kernel, blocks) = (size(|l| l.kernel), size(|l| l.output));
    let kernel = kernel.filter(|kernel| rows % kernel == 0);
    let (Some(kernel), Some(_)) = (kernel, blocks.filter(|&blocks| blocks == columns)) else {
        bail!(
            InvalidInput,
            "the blocks do not fit to {rows} rows and {columns} columns"
        );
    };
    let shape = [&[batch, rows / kernel], &image[..]].concat();
    let outputs: Vec<usize> = lines.iter().map(|line| line.output).collect();
    let plane = crate::element_count(&image)?;
    with_real!(x.dtype(), T => {
        let mut sums = real::filled(&shape, 0f64)?;
        let values = x.view::<T>()?;
        let mut of = vec![0; lines.len()];
        let mut inside = of.clone();
        for block in 0..columns {
            inside.fill(0);
            for at in 0..kernel {
                let mut here = lines.iter().zip(&of).zip(&inside);
                let flat = here.try_fold(0usize, |flat, ((line, &of), &inside)| {
                    Some(flat * line.input + line.place(of, inside)?)
                });
                if let Some(flat) = flat {
                    let from = values.chunks_exact((kernel * columns).max(1));
                    for (from, sums) in from.zip(sums.chunks_exact_mut(plane.max(1))) {
                        let x = from.get(at * columns + block);
                        if let (Some(sum), Some(x)) = (sums.get_mut(flat), x) {
                            *sum += x.to_f64();
                        }
                    }
                }
                let kernel: &[usize] = &windows.kernel;
                next(&mut inside, kernel);
            }
            next(&mut of, &outputs);
        }
        Tensor::from_vec(&shape, sums.into_iter().map(T::of_f64).collect())
    })
}
