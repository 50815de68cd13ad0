//! Sums of products of small integers, on flat slices: the inner loops of quantised products and
//! convolutions.

/// Rows of the left factor from which on it pays to turn the right one.
const ROWS_TO_TURN: usize = 4;

/// Adds the product of `[rows, depth]` and `[depth, columns]` to `[rows, columns]`. Sums wrap around
/// at 32 bits.
pub(super) fn multiply(a: &[i16], b: &[i16], depth: usize, columns: usize, out: &mut [i32]) {
    if depth == 0 || columns == 0 {
        return;
    }
    let rows = out.len() / columns;
    if rows >= ROWS_TO_TURN {
        return multiply_turned(a, &turned(b, depth, columns), depth, columns, out);
    }
    let lines = a.chunks_exact(depth).zip(out.chunks_exact_mut(columns));
    for (row, out) in lines {
        for (&x, line) in row.iter().zip(b.chunks_exact(columns)) {
            if x != 0 {
                add_scaled(x, line, out);
            }
        }
    }
}

/// The same with a right factor of `[columns, depth]`.
pub(super) fn multiply_turned(a: &[i16], b: &[i16], depth: usize, columns: usize, out: &mut [i32]) {
    if depth == 0 || columns == 0 {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { multiply_turned_avx2(a, b, depth, columns, out) };
    }
    rows_by_columns(a, b, depth, columns, out);
}

/// [`rows_by_columns`], compiled for vectors of 32 bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn multiply_turned_avx2(a: &[i16], b: &[i16], depth: usize, columns: usize, out: &mut [i32]) {
    rows_by_columns(a, b, depth, columns, out);
}

/// Four columns at a time, so that what is read of a row is used four times.
#[inline(always)]
fn rows_by_columns(a: &[i16], b: &[i16], depth: usize, columns: usize, out: &mut [i32]) {
    // As many rows as stay in the cache while all columns go by.
    const ROWS: usize = 16;
    let blocks = a.chunks(ROWS * depth).zip(out.chunks_mut(ROWS * columns));
    for (a, out) in blocks {
        let mut first = 0;
        let mut groups = b.chunks_exact(4 * depth);
        for group in &mut groups {
            let (b01, b23) = group.split_at(2 * depth);
            let ((b0, b1), (b2, b3)) = (b01.split_at(depth), b23.split_at(depth));
            for (row, out) in a.chunks_exact(depth).zip(out.chunks_exact_mut(columns)) {
                let sums = [b0, b1, b2, b3].map(|column| dot(row, column));
                let places = out.get_mut(first..first + 4).unwrap_or_default();
                for (place, sum) in places.iter_mut().zip(sums) {
                    *place = place.wrapping_add(sum);
                }
            }
            first += 4;
        }
        for (at, column) in groups.remainder().chunks_exact(depth).enumerate() {
            for (row, out) in a.chunks_exact(depth).zip(out.chunks_exact_mut(columns)) {
                if let Some(place) = out.get_mut(first + at) {
                    *place = place.wrapping_add(dot(row, column));
                }
            }
        }
    }
}

#[inline(always)]
fn dot(a: &[i16], b: &[i16]) -> i32 {
    let products = a.iter().zip(b).map(|(&x, &y)| i32::from(x) * i32::from(y));
    products.fold(0, i32::wrapping_add)
}

/// The sum of products of floats, in 16 parts: the order of sums that vectors have.
pub(super) fn dot_floats(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { dot_floats_avx2(a, b) };
    }
    dot_in_parts(a, b)
}

/// [`dot_in_parts`], compiled for vectors of 32 bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_floats_avx2(a: &[f32], b: &[f32]) -> f32 {
    dot_in_parts(a, b)
}

#[inline(always)]
fn dot_in_parts(a: &[f32], b: &[f32]) -> f32 {
    const PARTS: usize = 16;
    let mut sums = [0f32; PARTS];
    let (mut left, mut right) = (a.chunks_exact(PARTS), b.chunks_exact(PARTS));
    for (a, b) in left.by_ref().zip(right.by_ref()) {
        for ((sum, x), y) in sums.iter_mut().zip(a).zip(b) {
            *sum += x * y;
        }
    }
    let rest = left.remainder().iter().zip(right.remainder());
    let rest: f32 = rest.map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

#[inline(always)]
fn add_scaled(x: i16, line: &[i16], out: &mut [i32]) {
    let x = i32::from(x);
    for (out, &y) in out.iter_mut().zip(line) {
        *out = out.wrapping_add(x * i32::from(y));
    }
}

/// `[rows, columns]` as `[columns, rows]`.
pub(super) fn turned<T: Copy + Default>(from: &[T], rows: usize, columns: usize) -> Vec<T> {
    // A square of this length stays in the cache, whichever way it is read.
    const BLOCK: usize = 32;
    let mut to = vec![T::default(); rows * columns];
    for first_row in (0..rows).step_by(BLOCK) {
        let last_row = rows.min(first_row + BLOCK);
        for first in (0..columns).step_by(BLOCK) {
            for column in first..columns.min(first + BLOCK) {
                let line = to.get_mut(column * rows + first_row..column * rows + last_row);
                let line = line.unwrap_or_default();
                for (place, row) in line.iter_mut().zip(first_row..) {
                    *place = from
                        .get(row * columns + column)
                        .copied()
                        .unwrap_or_default();
                }
            }
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::{multiply, multiply_turned, turned};

    #[test]
    fn every_size_is_the_plain_sum() {
        for (rows, depth, columns) in [(1, 7, 5), (3, 40, 9), (4, 33, 4), (21, 19, 11), (2, 1, 1)] {
            let number = |at: usize| ((at * 7919 % 511) as i16) - 255;
            let a: Vec<i16> = (0..rows * depth).map(number).collect();
            let b: Vec<i16> = (0..depth * columns).map(|at| number(at + 3)).collect();
            let mut wanted = vec![1i32; rows * columns];
            for (at, sum) in wanted.iter_mut().enumerate() {
                let (row, column) = (at / columns, at % columns);
                *sum += (0..depth)
                    .map(|k| i32::from(a[row * depth + k]) * i32::from(b[k * columns + column]))
                    .sum::<i32>();
            }
            let mut made = vec![1i32; rows * columns];
            multiply(&a, &b, depth, columns, &mut made);
            assert_eq!(made, wanted, "{rows} x {depth} x {columns}");
            let mut made = vec![1i32; rows * columns];
            multiply_turned(&a, &turned(&b, depth, columns), depth, columns, &mut made);
            assert_eq!(made, wanted, "turned, {rows} x {depth} x {columns}");
        }
    }
}
