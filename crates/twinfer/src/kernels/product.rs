//! Products of rows with a matrix of constant weights, which are packed once, at load.

use super::tile::{self, COLUMNS, ROWS};

/// Packed rows that stay in the second-level cache while the weights pass by, in bytes.
const ROWS_BYTES: usize = 256 << 10;

/// `rows * weights + bias`, limited to a range.
#[derive(Debug)]
pub(crate) struct Product {
    /// Numbers of a row, and of a row of results.
    pub taps: usize,
    pub columns: usize,
    /// For each `COLUMNS` columns: for each tap, a weight of each column. Filled up with zeros.
    weights: Vec<f32>,
    bias: Vec<f32>,
    range: (f32, f32),
}

impl Product {
    /// `weights` are `[columns, taps]`, `bias` has `columns` numbers. `None` when the lengths
    /// do not fit.
    pub(crate) fn new(
        [columns, taps]: [usize; 2],
        weights: &[f32],
        bias: &[f32],
        range: (f32, f32),
    ) -> Option<Self> {
        let fits = taps > 0 && columns > 0 && bias.len() == columns;
        if !fits || columns.checked_mul(taps)? != weights.len() {
            return None;
        }
        let width = columns.next_multiple_of(COLUMNS);
        let mut packed = vec![0.0; width.checked_mul(taps)?];
        for (column, weights) in weights.chunks_exact(taps).enumerate() {
            let panel = &mut packed[column / COLUMNS * COLUMNS * taps..];
            let places = panel.iter_mut().skip(column % COLUMNS).step_by(COLUMNS);
            places.zip(weights).for_each(|(to, from)| *to = *from);
        }
        let mut bias = bias.to_vec();
        bias.resize(width, 0.0);
        Some(Self {
            taps,
            columns,
            weights: packed,
            bias,
            range,
        })
    }

    /// Computes all rows of `input` (`[rows, taps]`) into `output` (`[rows, columns]`).
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub(crate) fn run(&self, input: &[f32], output: &mut [f32]) {
        let rows = input.len() / self.taps;
        assert!(input.len() == rows * self.taps && output.len() == rows * self.columns);
        let together = (ROWS_BYTES / (4 * self.taps) / ROWS * ROWS).max(ROWS);
        let mut packed = Vec::new();
        let inputs = input.chunks(together * self.taps);
        for (input, output) in inputs.zip(output.chunks_mut(together * self.columns)) {
            packed.resize(input.len(), 0.0);
            let blocks = packed.chunks_mut(ROWS * self.taps);
            for (input, packed) in input.chunks(ROWS * self.taps).zip(blocks) {
                self.pack(input, packed);
            }
            self.rows(&packed, output);
        }
    }

    /// Up to `ROWS` rows, tap by tap.
    fn pack(&self, input: &[f32], packed: &mut [f32]) {
        let rows = input.len() / self.taps;
        if rows == ROWS {
            let (a, rest) = input.split_at(self.taps);
            let (b, rest) = rest.split_at(self.taps);
            let (c, d) = rest.split_at(self.taps);
            let columns = a.iter().zip(b).zip(c).zip(d);
            for (to, (((a, b), c), d)) in packed.chunks_exact_mut(ROWS).zip(columns) {
                to.copy_from_slice(&[*a, *b, *c, *d]);
            }
            return;
        }
        for (r, row) in input.chunks_exact(self.taps).enumerate() {
            let places = packed.iter_mut().skip(r).step_by(rows);
            places.zip(row).for_each(|(to, from)| *to = *from);
        }
    }

    /// All columns of packed rows. One or two rows have too few sums for a panel of weights to
    /// fill the processor's registers: they take several panels at once.
    fn rows(&self, packed: &[f32], output: &mut [f32]) {
        let panels = self.bias.len() / COLUMNS;
        let rows = output.len() / self.columns;
        let step = match rows {
            1 => 4,
            2 => 2,
            _ => 1,
        };
        let mut panel = 0;
        while panel < panels {
            let full = (panel + step) * COLUMNS <= self.columns;
            let wide = if full { step } else { 1 };
            let blocks = packed.chunks(ROWS * self.taps);
            for (rows, out) in blocks.zip(output.chunks_mut(ROWS * self.columns)) {
                match (rows.len() / self.taps, wide) {
                    (1, 4) => self.block::<1, 4>(panel, rows, out),
                    (1, _) => self.block::<1, 1>(panel, rows, out),
                    (2, 2) => self.block::<2, 2>(panel, rows, out),
                    (2, _) => self.block::<2, 1>(panel, rows, out),
                    (3, _) => self.block::<3, 1>(panel, rows, out),
                    _ => self.block::<ROWS, 1>(panel, rows, out),
                }
            }
            panel += wide;
        }
    }

    /// `R` rows at `P` panels of columns.
    fn block<const R: usize, const P: usize>(&self, panel: usize, rows: &[f32], out: &mut [f32]) {
        let (first, size) = (panel * COLUMNS, COLUMNS * self.taps);
        let weights = &self.weights[panel * size..][..P * size];
        let bias = &self.bias[first..][..P * COLUMNS];
        assert!(rows.len() == R * self.taps && out.len() == R * self.columns);
        let (rows, taps) = (rows.as_ptr(), self.taps);
        if first + P * COLUMNS <= self.columns {
            let out = out[first..].as_mut_ptr();
            // SAFETY: the lengths were checked above; each row of `out` has room from `first` on.
            unsafe {
                tile::rows::<R, P>(rows, taps, weights, bias, self.range, out, self.columns);
            }
            return;
        }
        let mut some = [0.0; ROWS * COLUMNS];
        // SAFETY: as above; only a single panel can be at the end, and `some` has room for it.
        unsafe {
            let out = some.as_mut_ptr();
            tile::rows::<R, 1>(rows, taps, weights, bias, self.range, out, COLUMNS);
        }
        let outputs = out.chunks_exact_mut(self.columns);
        for (out, some) in outputs.zip(some.chunks_exact(COLUMNS)) {
            let out = &mut out[first..];
            out.copy_from_slice(&some[..out.len()]);
        }
    }
}
