//! Convolutions of integers over any number of axes.

use super::super::node::Node;
use super::dots::multiply_turned;
use super::integer::MAX_ELEMENTS;
use crate::{Result, bail, element_count, err};

/// The attributes of a convolution.
pub(super) struct Convolution {
    padding: Padding,
    strides: Option<Vec<i64>>,
    dilations: Option<Vec<i64>>,
    groups: usize,
}

enum Padding {
    /// Before the first place of each axis, then after the last of each.
    Given(Option<Vec<i64>>),
    /// As much as makes the output as long as the strides say; whether the odd one is in front.
    Same(bool),
    Valid,
}

impl Convolution {
    pub(super) fn of(node: &Node<'_>) -> Result<Self> {
        let list = |name: &str| node.ints(name).map(<[i64]>::to_vec);
        let groups = usize::try_from(node.int("group", 1)).unwrap_or(0);
        if groups == 0 {
            bail!(InvalidModel, "`group` is not positive");
        }
        Ok(Self {
            padding: match node.text("auto_pad", "NOTSET")? {
                "" | "NOTSET" => Padding::Given(list("pads")),
                "SAME_UPPER" => Padding::Same(false),
                "SAME_LOWER" => Padding::Same(true),
                "VALID" => Padding::Valid,
                other => bail!(InvalidModel, "`auto_pad` is `{other}`"),
            },
            strides: list("strides"),
            dilations: list("dilations"),
            groups,
        })
    }

    /// One axis of the window: its length in the input, and in the kernel.
    fn axis(&self, at: usize, rank: usize, input: usize, kernel: usize) -> Result<Axis> {
        let positive = |all: &Option<Vec<i64>>| match all {
            None => Ok(1),
            Some(all) => match all.get(at).map(|&n| usize::try_from(n)) {
                Some(Ok(n)) if n > 0 => Ok(n),
                _ => Err(err!(InvalidModel, "{all:?} for axis {at}")),
            },
        };
        let (stride, dilation) = (positive(&self.strides)?, positive(&self.dilations)?);
        let too_large = || err!(InvalidInput, "the window along axis {at} is too large");
        let reach = kernel.checked_sub(1).and_then(|n| n.checked_mul(dilation));
        let reach = reach.and_then(|n| n.checked_add(1)).ok_or_else(too_large)?;
        let (before, after) = match &self.padding {
            Padding::Valid | Padding::Given(None) => (0, 0),
            Padding::Given(Some(pads)) => {
                let pad = |at: usize| pads.get(at).and_then(|&pad| usize::try_from(pad).ok());
                let both = pad(at).zip(pad(at + rank));
                both.ok_or_else(|| err!(InvalidModel, "`pads` are {pads:?}"))?
            }
            Padding::Same(lower) => {
                let output = input.div_ceil(stride);
                let needed = output.saturating_sub(1).saturating_mul(stride);
                let all = needed.saturating_add(reach).saturating_sub(input);
                let half = all / 2;
                if *lower {
                    (all - half, half)
                } else {
                    (half, all - half)
                }
            }
        };
        let padded = input.checked_add(before).and_then(|n| n.checked_add(after));
        let room = padded
            .and_then(|n| n.checked_sub(reach))
            .ok_or_else(too_large)?;
        Ok(Axis {
            input,
            kernel,
            output: room / stride + 1,
            before,
            stride,
            dilation,
        })
    }
}

struct Axis {
    input: usize,
    kernel: usize,
    output: usize,
    before: usize,
    stride: usize,
    dilation: usize,
}

/// A place that is in the padding.
const OUTSIDE: u32 = u32::MAX;

/// For each place of the kernel, where in a plane of the input each place of the output reads.
fn table(axes: &[Axis]) -> Result<Vec<Vec<u32>>> {
    let kernel = element_count(&axes.iter().map(|a| a.kernel).collect::<Vec<_>>())?;
    let output = element_count(&axes.iter().map(|a| a.output).collect::<Vec<_>>())?;
    let input = element_count(&axes.iter().map(|a| a.input).collect::<Vec<_>>())?;
    let all = kernel.checked_mul(output).filter(|&n| n <= MAX_ELEMENTS);
    if all.is_none() || input > MAX_ELEMENTS {
        bail!(InvalidInput, "the planes of this convolution are too large");
    }
    let mut table = vec![vec![0u32]];
    for axis in axes {
        let mut next = Vec::with_capacity(table.len() * axis.kernel);
        for places in &table {
            for k in 0..axis.kernel {
                let mut along = Vec::with_capacity(places.len() * axis.output);
                for &place in places {
                    for at in 0..axis.output {
                        let at = (at * axis.stride + k * axis.dilation).checked_sub(axis.before);
                        along.push(match at.filter(|&at| at < axis.input) {
                            Some(at) if place != OUTSIDE => place * axis.input as u32 + at as u32,
                            _ => OUTSIDE,
                        });
                    }
                }
                next.push(along);
            }
        }
        table = next;
    }
    Ok(table)
}

/// The convolution of a batch: sums wrap around at 32 bits. Padding counts as 0.
pub(super) fn convolve(
    convolution: &Convolution,
    (x, x_shape): (&[i16], &[usize]),
    (w, w_shape): (&[i16], &[usize]),
) -> Result<(Vec<i32>, Vec<usize>)> {
    let ([batch, channels, inputs @ ..], [filters, depth, kernels @ ..]) = (x_shape, w_shape)
    else {
        bail!(
            InvalidInput,
            "a convolution of {x_shape:?} with {w_shape:?}"
        );
    };
    let groups = convolution.groups;
    let fits = inputs.len() == kernels.len()
        && depth.checked_mul(groups) == Some(*channels)
        && filters % groups == 0;
    if !fits {
        bail!(
            InvalidInput,
            "weights of {w_shape:?} in {groups} groups do not fit to {x_shape:?}"
        );
    }
    let rank = inputs.len();
    let axes = inputs.iter().zip(kernels).enumerate();
    let axes = axes.map(|(at, (&input, &kernel))| convolution.axis(at, rank, input, kernel));
    let axes = axes.collect::<Result<Vec<_>>>()?;
    let mut shape = vec![*batch, *filters];
    shape.extend(axes.iter().map(|axis| axis.output));
    if element_count(&shape)? > MAX_ELEMENTS {
        bail!(InvalidInput, "a result of the shape {shape:?} is too large");
    }
    let mut made = vec![0i32; shape.iter().product()];
    let (plane, kernel) = (element_count(inputs)?, element_count(kernels)?);
    let size = element_count(shape.get(2..).unwrap_or_default())?;
    if made.is_empty() || kernel == 0 || plane == 0 || *depth == 0 {
        return Ok((made, shape));
    }
    let table = table(&axes)?;
    let together = filters / groups;
    let taps = depth.saturating_mul(kernel);
    if taps > MAX_TAPS {
        bail!(InvalidInput, "a sum of {taps} products is too long");
    }
    // Patches of some places of the output, one after the other, and their sums by place.
    let mut patches = vec![0i16; taps * PLACES.min(size)];
    let mut sums = vec![0i32; together * PLACES.min(size)];
    let samples = x.chunks_exact(channels * plane);
    for (planes, out) in samples.zip(made.chunks_exact_mut(filters * size)) {
        let planes = planes.chunks_exact(depth * plane);
        let weights = w.chunks_exact(together * taps);
        let outs = out.chunks_exact_mut(together * size);
        for ((planes, weights), out) in planes.zip(weights).zip(outs) {
            for first in (0..size).step_by(PLACES) {
                let count = PLACES.min(size - first);
                let patches = patches.get_mut(..count * taps).unwrap_or_default();
                gather(planes, plane, &table, first, patches);
                let sums = sums.get_mut(..count * together).unwrap_or_default();
                sums.fill(0);
                multiply_turned(weights, patches, taps, count, sums);
                for (sums, out) in sums.chunks_exact(count).zip(out.chunks_exact_mut(size)) {
                    if let Some(out) = out.get_mut(first..first + count) {
                        out.copy_from_slice(sums);
                    }
                }
            }
        }
    }
    Ok((made, shape))
}

/// Places of the output that are computed together: their patches stay in the cache.
const PLACES: usize = 64;

/// More than the weights of any real filter.
const MAX_TAPS: usize = 1 << 22;

/// What each place of the output from the first on reads, one place after the other.
fn gather(planes: &[i16], plane: usize, table: &[Vec<u32>], first: usize, patches: &mut [i16]) {
    let taps = planes.len() / plane * table.len();
    for (depth, plane) in planes.chunks_exact(plane).enumerate() {
        for (tap, places) in table.iter().enumerate() {
            let column = depth * table.len() + tap;
            let places = places.get(first..).unwrap_or_default();
            for (patch, &place) in patches.chunks_exact_mut(taps).zip(places) {
                if let Some(to) = patch.get_mut(column) {
                    // Outside is beyond the end of any plane.
                    *to = plane.get(place as usize).copied().unwrap_or(0);
                }
            }
        }
    }
}
