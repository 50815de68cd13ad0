//! Convolutions of planes (NCHW), without "im2col": the input is copied once with its padding,
//! and the inner loops read their windows from there. Bias and limits are part of it.

pub(crate) use super::source::Geometry;
use super::source::{FEW, Source, along_rows, is_depthwise};
use super::tile::{self, COLUMNS, ROWS, WIDE};

/// Output positions that share their input in the first-level cache, in bytes of input.
const CHUNK_BYTES: usize = 16 << 10;
/// Weights that stay in the second-level cache while the positions pass by.
const WEIGHTS_BYTES: usize = 256 << 10;
/// Planes whose distance is a multiple of this fall into the same few sets of a cache.
const ALIAS_BYTES: usize = 1 << 10;
/// Floats behind a staged input that the last blocks read and do not use.
const SLACK: usize = WIDE;

/// A convolution with its weights, prepared for the inner loops.
#[derive(Debug)]
pub(crate) struct Conv {
    geometry: Geometry,
    /// For each group and each `ROWS` output channels: for each tap, a weight of each channel.
    /// Of a depthwise convolution, and of up to `FEW` channels that are left over: as given.
    weights: Vec<f32>,
    /// Filled up with zeros to `ROWS` for each group.
    bias: Vec<f32>,
    range: (f32, f32),
    source: Source,
    /// Bytes from the position of an output to each tap of a group.
    offsets: Vec<u32>,
    /// Floats from a position to the farthest tap.
    reach: usize,
}

/// A stretch of output positions: where it starts in the source, how long it is, and where
/// its rows go.
struct Run {
    from: usize,
    length: usize,
    /// The output row that it starts with.
    row: usize,
}

impl Conv {
    /// `weights` are `[c_out, c_in / group, height, width]`, `bias` has `c_out` numbers or is
    /// empty; results are limited to `range`. `None` when the lengths do not fit, or the
    /// input is too large for offsets of 32 bits.
    pub(crate) fn new(
        g: Geometry,
        weights: &[f32],
        bias: &[f32],
        range: (f32, f32),
    ) -> Option<Self> {
        let axes = [g.input, g.output, g.kernel, g.stride, g.dilation];
        if axes.iter().flatten().any(|n| *n == 0) {
            return None;
        }
        let g = along_rows(g);
        let (c_in, c_out) = (g.c_in.checked_div(g.group)?, g.c_out.checked_div(g.group)?);
        let taps = c_in * g.kernel[0] * g.kernel[1];
        let fits = weights.len() == g.c_out * taps
            && (bias.is_empty() || bias.len() == g.c_out)
            && c_in * g.group == g.c_in
            && c_out * g.group == g.c_out
            && taps > 0;
        let source = Source::new(&g);
        let channel = source.channel(&g);
        if !fits || (channel + SLACK).checked_mul(c_in)? > (u32::MAX / 8) as usize {
            return None;
        }
        let mut offsets = Vec::with_capacity(taps);
        for c in 0..c_in {
            for y in 0..g.kernel[0] {
                for x in 0..g.kernel[1] {
                    let at = c * channel + source.tap(&g, [y, x]);
                    offsets.push(u32::try_from(4 * at).ok()?);
                }
            }
        }
        let (weights, bias) = if is_depthwise(&g) {
            let bias = if bias.is_empty() {
                &vec![0.0; g.c_out]
            } else {
                bias
            };
            (weights.to_vec(), bias.to_vec())
        } else {
            pack(&g, weights, bias)
        };
        Some(Self {
            geometry: g,
            weights,
            bias,
            range,
            source,
            reach: offsets.iter().max().map_or(0, |far| *far as usize / 4),
            offsets,
        })
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Computes all images of `input` (`[n, c_in, height, width]`) into `output`.
    ///
    /// # Panics
    /// When the lengths are not those of the geometry.
    pub(crate) fn run(&self, input: &[f32], output: &mut [f32]) {
        let g = &self.geometry;
        let image_in = g.c_in * g.input[0] * g.input[1];
        let image_out = g.c_out * g.output[0] * g.output[1];
        assert_eq!(input.len() / image_in, output.len() / image_out);
        let images = input.chunks_exact(image_in);
        let mut work = Work::default();
        for (input, output) in images.zip(output.chunks_exact_mut(image_out)) {
            if is_depthwise(g) {
                self.depthwise(input, output, &mut work);
            } else {
                self.image(input, output, &mut work);
            }
        }
    }

    fn image(&self, input: &[f32], output: &mut [f32], work: &mut Work) {
        let g = &self.geometry;
        let group_in = input.len() / g.group;
        for (group, output) in output.chunks_exact_mut(output.len() / g.group).enumerate() {
            let input = &input[group * group_in..][..group_in];
            if self.source.direct {
                self.group(group, input, output, &mut work.chunk);
            } else {
                let channels = g.c_in / g.group;
                let size = channels * self.source.channel(g) + SLACK;
                let staged = grown(&mut work.staged, size);
                let plane = g.input[0] * g.input[1];
                for (from, to) in input
                    .chunks_exact(plane)
                    .zip(staged.chunks_exact_mut(self.source.channel(g)))
                {
                    self.source.stage(g, from, to);
                }
                self.group(group, staged, output, &mut work.chunk);
            }
        }
    }

    fn runs(&self, chunk: usize) -> Vec<Run> {
        let g = &self.geometry;
        let [height, width] = g.output;
        let (pitch, rows) = if self.source.direct {
            (width, 1)
        } else if self.source.flat {
            (self.source.plane[1], 1)
        } else {
            (self.source.plane[1], height)
        };
        let length = if rows == 1 {
            (height - 1) * pitch + width
        } else {
            width
        };
        let chunk = chunk.min(length.next_multiple_of(COLUMNS));
        (0..rows)
            .flat_map(|row| {
                (0..length).step_by(chunk).map(move |start| Run {
                    from: row * pitch + start,
                    length: chunk.min(length - start),
                    row,
                })
            })
            .collect()
    }

    /// All output channels of a group.
    fn group(&self, group: usize, input: &[f32], output: &mut [f32], chunk: &mut Vec<f32>) {
        let g = &self.geometry;
        let (channels, taps) = (g.c_out / g.group, self.offsets.len());
        let panels = channels.div_ceil(ROWS);
        let bytes = 4 * g.c_in / g.group * g.kernel[0];
        let columns = (CHUNK_BYTES / bytes / COLUMNS * COLUMNS).clamp(COLUMNS, 512);
        let runs = self.runs(columns);
        let gather_all =
            self.source.direct && (self.source.channel(g) * 4).is_multiple_of(ALIAS_BYTES);
        let together = (WEIGHTS_BYTES / (4 * ROWS * taps)).max(1);
        for first in (0..panels).step_by(together) {
            for run in &runs {
                // The input of a kernel of one point ends where the last block still reads.
                let gather = gather_all || self.source.direct && run.length % COLUMNS != 0;
                let pitch = run.length.next_multiple_of(COLUMNS);
                let (source, offsets) = if gather {
                    self.gather(input, run, pitch, chunk)
                } else {
                    (&input[run.from..], None)
                };
                let offsets = offsets.as_ref().unwrap_or(&self.offsets);
                for panel in first..panels.min(first + together) {
                    let at = group * panels + panel;
                    let weights = &self.weights[at * ROWS * taps..][..ROWS * taps];
                    let bias = &self.bias[at * ROWS..][..ROWS];
                    self.panel(weights, bias, source, offsets, run, panel * ROWS, output);
                }
            }
        }
    }

    /// Copies the input of a run of a kernel of one point, so that it is dense.
    fn gather<'a>(
        &self,
        input: &[f32],
        run: &Run,
        pitch: usize,
        chunk: &'a mut Vec<f32>,
    ) -> (&'a [f32], Option<Vec<u32>>) {
        let channel = self.source.channel(&self.geometry);
        let taps = self.offsets.len();
        let dense = grown(chunk, taps * pitch);
        for (to, from) in dense
            .chunks_exact_mut(pitch)
            .zip(input.chunks_exact(channel))
        {
            to[..run.length].copy_from_slice(&from[run.from..][..run.length]);
            to[run.length..].fill(0.0);
        }
        (
            dense,
            Some((0..taps).map(|t| (4 * t * pitch) as u32).collect()),
        )
    }

    /// `ROWS` output channels from `channel` on, at the positions of a run.
    #[allow(clippy::too_many_arguments)]
    fn panel(
        &self,
        weights: &[f32],
        bias: &[f32],
        source: &[f32],
        offsets: &[u32],
        run: &Run,
        channel: usize,
        output: &mut [f32],
    ) {
        let g = &self.geometry;
        let plane = g.output[0] * g.output[1];
        let rows = ROWS.min(g.c_out / g.group - channel);
        let dense = self.source.direct || !self.source.flat;
        let start = if self.source.direct {
            run.from
        } else {
            self.out_start(run)
        };
        if rows <= FEW && dense {
            let weights = weights.chunks_exact(offsets.len());
            for (r, (weights, bias)) in weights.zip(bias).take(rows).enumerate() {
                let to = &mut output[(channel + r) * plane + start..][..run.length];
                self.line(weights, *bias, source, offsets, to, run.length);
            }
            return;
        }
        // Gathered taps are in order; those of several phases are not.
        let last = offsets.last().map_or(0, |last| *last as usize / 4);
        let reach = COLUMNS
            + if dense && self.source.direct {
                last
            } else {
                self.reach
            };
        for x in (0..run.length).step_by(COLUMNS) {
            let input = &source[x..];
            assert!(input.len() >= reach);
            let full = dense && rows == ROWS && x + COLUMNS <= run.length;
            if full {
                let to = &mut output[channel * plane + start + x..];
                assert!(to.len() >= (ROWS - 1) * plane + COLUMNS);
                // SAFETY: the lengths were checked for the tap that reaches farthest.
                unsafe {
                    tile::block(
                        weights.as_ptr(),
                        bias.as_ptr(),
                        input.as_ptr(),
                        offsets,
                        self.range,
                        to.as_mut_ptr(),
                        plane,
                    );
                }
                continue;
            }
            let mut some = [0.0; ROWS * COLUMNS];
            // SAFETY: as above; `some` has room for a block.
            unsafe {
                tile::block(
                    weights.as_ptr(),
                    bias.as_ptr(),
                    input.as_ptr(),
                    offsets,
                    self.range,
                    some.as_mut_ptr(),
                    COLUMNS,
                );
            }
            let length = COLUMNS.min(run.length - x);
            for (r, row) in some.chunks_exact(COLUMNS).take(rows).enumerate() {
                let to = &mut output[(channel + r) * plane..][..plane];
                if dense {
                    to[start + x..][..length].copy_from_slice(&row[..length]);
                } else {
                    self.spread(run.from + x, &row[..length], to);
                }
            }
        }
    }

    /// Where a run of a single row begins in the output.
    fn out_start(&self, run: &Run) -> usize {
        run.row * self.geometry.output[1] + run.from - run.row * self.source.plane[1]
    }

    /// Puts positions of flat rows where they belong; those between rows are dropped.
    fn spread(&self, from: usize, values: &[f32], plane: &mut [f32]) {
        let (pitch, width) = (self.source.plane[1], self.geometry.output[1]);
        let (mut y, mut x) = (from / pitch, from % pitch);
        let mut values = values;
        while !values.is_empty() {
            let length = values.len().min(pitch - x);
            let (now, rest) = values.split_at(length);
            let used = length.min(width.saturating_sub(x));
            if used > 0 {
                plane[y * width + x..][..used].copy_from_slice(&now[..used]);
            }
            (values, x, y) = (rest, 0, y + 1);
        }
    }

    fn depthwise(&self, input: &[f32], output: &mut [f32], work: &mut Work) {
        let g = &self.geometry;
        let taps = self.offsets.len();
        let [height, width] = g.output;
        let pitch = self.source.plane[1];
        let flat = self.source.flat;
        let size = self.source.channel(g);
        let staged = grown(&mut work.staged, size + SLACK);
        let (rows, length) = if flat {
            (1, (height - 1) * pitch + width)
        } else {
            (height, width)
        };
        let lines = grown(&mut work.chunk, length.next_multiple_of(4));
        let planes = input.chunks_exact(g.input[0] * g.input[1]);
        let outputs = output.chunks_exact_mut(height * width);
        for (c, (from, to)) in planes.zip(outputs).enumerate() {
            self.source.stage(g, from, &mut staged[..size]);
            let weights = &self.weights[c * taps..][..taps];
            for y in 0..rows {
                let source = &staged[y * pitch..];
                if flat {
                    self.line(weights, self.bias[c], source, &self.offsets, lines, length);
                    for (to, from) in to.chunks_exact_mut(width).zip(lines.chunks(pitch)) {
                        to.copy_from_slice(&from[..width]);
                    }
                } else {
                    let to = &mut to[y * width..][..width];
                    self.line(weights, self.bias[c], source, &self.offsets, to, length);
                }
            }
        }
    }

    /// `length` positions of one channel, into the start of `to`.
    fn line(
        &self,
        weights: &[f32],
        bias: f32,
        source: &[f32],
        offsets: &[u32],
        to: &mut [f32],
        length: usize,
    ) {
        let last = offsets.last().map_or(0, |last| *last as usize / 4);
        let reach = if self.source.direct { last } else { self.reach };
        let mut x = 0;
        while x < length {
            let (input, left) = (&source[x..], length - x);
            let step = if left >= WIDE { WIDE } else { 4 };
            let mut some = [0.0; 4];
            let own = to[x..].len() < step;
            let out = if own {
                some.as_mut_ptr()
            } else {
                to[x..].as_mut_ptr()
            };
            assert!(input.len() >= reach + step);
            // SAFETY: input and output have room for a step, as was checked.
            unsafe {
                let (input, range) = (input.as_ptr(), self.range);
                if step == WIDE {
                    tile::line::<{ WIDE / 4 }>(weights, bias, input, offsets, range, out);
                } else {
                    tile::line::<1>(weights, bias, input, offsets, range, out);
                }
            }
            if own {
                to[x..][..left].copy_from_slice(&some[..left]);
            }
            x += step;
        }
    }
}

/// Memory that is used again for the next channel or image of a run.
#[derive(Default)]
struct Work {
    staged: Vec<f32>,
    chunk: Vec<f32>,
}

/// At least this many floats, whatever is in them.
fn grown(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

fn pack(g: &Geometry, weights: &[f32], bias: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let channels = g.c_out / g.group;
    let taps = weights.len() / g.c_out;
    let panels = channels.div_ceil(ROWS);
    let mut packed = vec![0.0; g.group * panels * ROWS * taps];
    let mut padded = vec![0.0; g.group * panels * ROWS];
    for o in 0..g.c_out {
        let (group, channel) = (o / channels, o % channels);
        let panel = group * panels + channel / ROWS;
        let row = channel % ROWS;
        let few = channels - channel / ROWS * ROWS <= FEW;
        for t in 0..taps {
            let at = if few { row * taps + t } else { t * ROWS + row };
            packed[panel * taps * ROWS + at] = weights[o * taps + t];
        }
        padded[panel * ROWS + row] = bias.get(o).copied().unwrap_or(0.0);
    }
    (packed, padded)
}
