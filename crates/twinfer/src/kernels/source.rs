//! The input of a convolution as its inner loops read it.

use super::tile::{COLUMNS, ROWS, WIDE};
use super::vector;

/// Output channels that are computed one by one, since a block would be half empty.
pub(super) const FEW: usize = 2;

/// Shapes of a convolution; axes of the plane are height, width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub group: usize,
    /// All channels, of all groups.
    pub c_in: usize,
    pub c_out: usize,
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Zeros before the first row and column.
    pub before: [usize; 2],
}

/// Where the inner loops read.
#[derive(Debug)]
pub(super) struct Source {
    /// The input itself, in one row: kernels of one point.
    pub direct: bool,
    /// Which rows and columns, modulo the stride, any tap reads. Each is a plane of its own,
    /// so that neighbours in the output are neighbours in memory.
    pub phases: [Vec<usize>; 2],
    /// Rows and columns of such a plane.
    pub plane: [usize; 2],
    /// Rows of output in one go, with what is computed between them thrown away.
    pub flat: bool,
}

impl Source {
    pub(super) fn new(g: &Geometry) -> Self {
        let phases = [0, 1].map(|axis| {
            let mut all: Vec<usize> = (0..g.kernel[axis])
                .map(|k| k * g.dilation[axis] % g.stride[axis])
                .collect();
            all.sort_unstable();
            all.dedup();
            all
        });
        let plane = [0, 1]
            .map(|axis| g.output[axis] + (g.kernel[axis] - 1) * g.dilation[axis] / g.stride[axis]);
        let direct = g.kernel == [1, 1] && g.stride == [1, 1] && g.input == g.output;
        // What is thrown away: the ends of rows that do not fill a block, or the columns
        // between rows.
        let step = if is_depthwise(g) { WIDE } else { COLUMNS };
        let few = g.c_out / g.group % ROWS;
        let flat = plane[1] < g.output[1].next_multiple_of(step)
            && (is_depthwise(g) || !(1..=FEW).contains(&few));
        Self {
            direct,
            phases,
            plane,
            flat,
        }
    }

    fn planes(&self) -> usize {
        self.phases[0].len() * self.phases[1].len()
    }

    /// Floats of a channel.
    pub(super) fn channel(&self, g: &Geometry) -> usize {
        if self.direct {
            g.input[0] * g.input[1]
        } else {
            self.planes() * self.plane[0] * self.plane[1]
        }
    }

    /// Floats from a position to a tap of a channel.
    pub(super) fn tap(&self, g: &Geometry, at: [usize; 2]) -> usize {
        let [row, column] = [0, 1].map(|axis| {
            let away = at[axis] * g.dilation[axis];
            let phase = self.phases[axis]
                .iter()
                .position(|p| *p == away % g.stride[axis]);
            (phase.unwrap_or(0), away / g.stride[axis])
        });
        let plane = row.0 * self.phases[1].len() + column.0;
        (plane * self.plane[0] + row.1) * self.plane[1] + column.1
    }

    /// Copies a channel with its padding, its columns and rows sorted by phase.
    pub(super) fn stage(&self, g: &Geometry, from: &[f32], to: &mut [f32]) {
        let (phases, [rows, columns]) = (&self.phases, self.plane);
        let mut planes = to.chunks_exact_mut(rows * columns);
        for row_phase in &phases[0] {
            for phase in &phases[1] {
                let Some(plane) = planes.next() else { return };
                // Columns of the output whose tap is inside of the input.
                let first = g.before[1].saturating_sub(*phase).div_ceil(g.stride[1]);
                let first = first.min(columns);
                let end = (g.input[1] + g.before[1]).saturating_sub(*phase);
                let end = end.div_ceil(g.stride[1]).clamp(first, columns);
                for (y, line) in plane.chunks_exact_mut(columns).enumerate() {
                    let at = (y * g.stride[0] + row_phase).checked_sub(g.before[0]);
                    let Some(at) = at.filter(|at| *at < g.input[0]) else {
                        line.fill(0.0);
                        continue;
                    };
                    line[..first].fill(0.0);
                    line[end..].fill(0.0);
                    if first == end {
                        continue;
                    }
                    let row = &from[at * g.input[1]..][..g.input[1]];
                    let row = &row[first * g.stride[1] + phase - g.before[1]..];
                    vector::every(row, g.stride[1], &mut line[first..end]);
                }
            }
        }
    }
}

/// A picture of one column is one of one row: the inner loops go along rows.
pub(super) fn along_rows(mut g: Geometry) -> Geometry {
    if g.input[1] == 1 && g.output[1] == 1 && g.kernel[1] == 1 && g.before[1] == 0 {
        for pair in [&mut g.input, &mut g.output, &mut g.kernel] {
            pair.swap(0, 1);
        }
        for pair in [&mut g.stride, &mut g.dilation, &mut g.before] {
            pair.swap(0, 1);
        }
    }
    g
}

/// Whether every output channel is made from its own input channel alone.
pub(super) fn is_depthwise(g: &Geometry) -> bool {
    g.group == g.c_in && g.group == g.c_out && g.group > 1
}
