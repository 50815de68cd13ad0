//! Change of size: one separable loop, and a table of weights for each filter.
//!
//! Everything is computed in single precision in one fixed order (across, then down), so that
//! every target gives the same bits. Source rows are read once, from top to bottom, and only
//! those that count.

use crate::pipeline::memory::zeroed;
use crate::{Filter, Result};

/// Something that gives rows of pixels as floats, the channels of a pixel side by side.
pub(crate) trait Rows {
    /// Width and height; neither is 0.
    fn size(&self) -> (usize, usize);
    /// Values of a pixel.
    fn channels(&self) -> usize;
    /// Writes row `y`; `row` has `width * channels` elements.
    fn read(&self, y: usize, row: &mut [f32]);
}

/// A picture of floats, row by row, the channels of a pixel side by side.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Floats {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub data: Vec<f32>,
}

impl Rows for Floats {
    fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn read(&self, y: usize, row: &mut [f32]) {
        row.copy_from_slice(&self.data[y * row.len()..(y + 1) * row.len()]);
    }
}

/// All rows as they are.
pub(crate) fn copy(source: &dyn Rows) -> Result<Floats> {
    let ((width, height), channels) = (source.size(), source.channels());
    let mut data = zeroed(&[width, height, channels], "a picture of floats")?;
    for (y, row) in data.chunks_exact_mut(width * channels).enumerate() {
        source.read(y, row);
    }
    Ok(Floats {
        width,
        height,
        channels,
        data,
    })
}

/// The picture at another size. `width` and `height` are not 0.
pub(crate) fn resize(
    source: &dyn Rows,
    width: usize,
    height: usize,
    filter: Filter,
) -> Result<Floats> {
    let ((from_width, from_height), channels) = (source.size(), source.channels());
    let across = Weights::new(from_width, width, filter);
    let down = Weights::new(from_height, height, filter);
    let stride = width * channels;
    let mut data = zeroed(&[height, stride], "a resized picture")?;
    let mut row = vec![0f32; from_width * channels];
    let mut narrow = vec![0f32; stride];
    // Both ends of a target row's range of source rows only ever grow.
    let mut first = 0;
    for y in 0..from_height {
        while first < height && down.end(first) <= y {
            first += 1;
        }
        if first == height || down.start(first) > y {
            continue;
        }
        source.read(y, &mut row);
        across.apply(&row, &mut narrow, channels);
        for target in first..height {
            let Some(at) = y.checked_sub(down.start(target)) else {
                break;
            };
            let Some(&weight) = down.of(target).get(at) else {
                continue;
            };
            let out = &mut data[target * stride..(target + 1) * stride];
            out.iter_mut()
                .zip(&narrow)
                .for_each(|(out, value)| *out += weight * value);
        }
    }
    Ok(Floats {
        width,
        height,
        channels,
        data,
    })
}

/// For each target pixel along an axis: the first source pixel, and the weights from there on.
struct Weights {
    starts: Vec<usize>,
    /// Where the weights of a pixel begin in `weights`; one more than there are pixels.
    offsets: Vec<usize>,
    weights: Vec<f32>,
}

impl Weights {
    fn new(from: usize, to: usize, filter: Filter) -> Self {
        let mut table = Self {
            starts: Vec::with_capacity(to),
            offsets: Vec::with_capacity(to + 1),
            weights: Vec::with_capacity(2 * to),
        };
        table.offsets.push(0);
        for i in 0..to {
            let start = match filter {
                Filter::Nearest => nearest(i, from, to, &mut table.weights),
                Filter::Bilinear => bilinear(i, from, to, &mut table.weights),
                Filter::Triangle => triangle(i, from, to, &mut table.weights),
            };
            table.starts.push(start);
            table.offsets.push(table.weights.len());
        }
        table
    }

    fn start(&self, target: usize) -> usize {
        self.starts[target]
    }

    fn of(&self, target: usize) -> &[f32] {
        &self.weights[self.offsets[target]..self.offsets[target + 1]]
    }

    fn end(&self, target: usize) -> usize {
        self.start(target) + self.of(target).len()
    }

    fn apply(&self, row: &[f32], out: &mut [f32], channels: usize) {
        match channels {
            1 => self.apply_to::<1>(row, out),
            _ => self.apply_to::<3>(row, out),
        }
    }

    fn apply_to<const CHANNELS: usize>(&self, row: &[f32], out: &mut [f32]) {
        let pixels = row.as_chunks::<CHANNELS>().0;
        for (target, out) in out.as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
            let mut sums = [0f32; CHANNELS];
            for (weight, pixel) in self.of(target).iter().zip(&pixels[self.start(target)..]) {
                sums.iter_mut()
                    .zip(pixel)
                    .for_each(|(sum, value)| *sum += weight * value);
            }
            *out = sums;
        }
    }
}

/// The pixel that the centre of target pixel `i` falls into, in whole numbers.
fn nearest(i: usize, from: usize, to: usize, weights: &mut Vec<f32>) -> usize {
    weights.push(1.0);
    let centre = (2 * i as u64 + 1) * from as u64 / (2 * to as u64);
    (centre as usize).min(from - 1)
}

/// The two neighbours of the centre, as OpenCV's `INTER_LINEAR` chooses and weighs them: the
/// edge is repeated, and nothing is smoothed.
fn bilinear(i: usize, from: usize, to: usize, weights: &mut Vec<f32>) -> usize {
    let scale = 1.0 / (to as f64 / from as f64);
    let centre = ((i as f64 + 0.5) * scale - 0.5) as f32;
    let start = centre.floor();
    let part = centre - start;
    if start < 0.0 {
        weights.push(1.0);
        0
    } else if start as usize >= from - 1 {
        weights.push(1.0);
        from - 1
    } else {
        weights.extend([1.0 - part, part]);
        start as usize
    }
}

/// Pillow's `BILINEAR`: a triangle around the centre, as wide as a target pixel when shrinking.
fn triangle(i: usize, from: usize, to: usize, weights: &mut Vec<f32>) -> usize {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    let centre = (i as f64 + 0.5) * scale;
    let start = ((centre - support + 0.5) as usize).min(from - 1);
    let end = ((centre + support + 0.5) as usize).clamp(start + 1, from);
    let raw = |k: usize| (1.0 - ((k as f64 - centre + 0.5) / support).abs()).max(0.0);
    let sum: f64 = (start..end).map(raw).sum();
    weights.extend((start..end).map(|k| {
        if sum > 0.0 {
            (raw(k) / sum) as f32
        } else {
            1.0
        }
    }));
    start
}
