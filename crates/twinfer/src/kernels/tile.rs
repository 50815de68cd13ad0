//! The inner loops: a block of output computed in registers.
//!
//! Those of a convolution read the input through a table of offsets (in bytes), one for each tap, so a window over several
//! rows and channels needs no copy (no "im2col"): neighbours in the output are neighbours in
//! the input for every tap.

use std::array::from_fn;

use super::vector::F4;

/// Runs the body for each tap in order, eight in one turn of the loop.
///
/// For wasmtime: with epoch interruption it looks at a clock at each turn, and Cranelift keeps no
/// vector in a register across that, so each turn stores and loads all sums. And after each tap
/// there is a branch that needs the sums: without one, Cranelift would first do all loads of a
/// turn and then one sum after the other, and LLVM would gather the loads before it does.
macro_rules! each_tap {
    ($taps:expr, $tap:ident => $body:expr) => {{
        let (taps, mut $tap) = ($taps, 0);
        if taps > 0 {
            loop {
                each_tap!(@tap taps, $tap => $body);
                each_tap!(@tap taps, $tap => $body);
                each_tap!(@tap taps, $tap => $body);
                each_tap!(@tap taps, $tap => $body);
                each_tap!(@tap taps, $tap => $body);
                each_tap!(@tap taps, $tap => $body);
                each_tap!(@tap taps, $tap => $body);
                each_tap!(@tap taps, $tap => $body);
            }
        }
    }};
    (@tap $taps:ident, $tap:ident => $body:expr) => {
        $body;
        $tap += 1;
        if $tap == $taps {
            break;
        }
    };
}

/// Output channels of a block.
pub(crate) const ROWS: usize = 4;
/// Output positions of a block: with four channels eight accumulators, which with their
/// operands fit the sixteen vector registers of x86-64. (Sixteen accumulators do not: 17 %
/// slower in V8, measured.)
pub(crate) const COLUMNS: usize = 8;
/// Output positions of a block of a depthwise convolution.
pub(crate) const WIDE: usize = 32;

/// `ROWS` channels at `COLUMNS` positions: `out[r][x] = bias[r] + sum(weights[t][r] *
/// input[x + offsets[t]])`, limited to `low..=high`, in the order of the taps.
///
/// # Safety
/// `weights` has `ROWS` floats for each tap, `bias` has `ROWS`; `input` is readable for
/// `COLUMNS` floats from each offset on; `out` has room for `ROWS` rows of `COLUMNS` at a
/// distance of `stride`.
#[inline(never)] // As the others: inlined, their addresses lack registers in Cranelift.
pub(crate) unsafe fn block(
    weights: *const f32,
    bias: *const f32,
    input: *const f32,
    offsets: &[u32],
    (low, high): (f32, f32),
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's promises, tap by tap and row by row.
    unsafe {
        let mut sums = [[F4::splat(0.0); 2]; ROWS];
        for (r, sum) in sums.iter_mut().enumerate() {
            *sum = [F4::load_splat(bias.add(r)); 2];
        }
        each_tap!(offsets.len(), tap => {
            let from = input.byte_add(*offsets.get_unchecked(tap) as usize);
            let x = [F4::load(from), F4::load(from.add(4))];
            let weights = F4::load_splats(weights.add(tap * ROWS));
            for (sum, w) in sums.iter_mut().zip(weights) {
                sum[0] = sum[0].add_product(w, x[0]);
                sum[1] = sum[1].add_product(w, x[1]);
            }
        });
        let (low, high) = (F4::splat(low), F4::splat(high));
        for (r, sum) in sums.iter().enumerate() {
            let to = out.add(r * stride);
            sum[0].clamp(low, high).store(to);
            sum[1].clamp(low, high).store(to.add(4));
        }
    }
}

/// One channel at `4 * N` positions, as [`block`].
///
/// # Safety
/// `weights` has as many floats as there are offsets; `input` is readable for `4 * N` floats
/// from each offset on; `out` has room for `4 * N`.
#[inline(never)]
pub(crate) unsafe fn line<const N: usize>(
    weights: &[f32],
    bias: f32,
    input: *const f32,
    offsets: &[u32],
    (low, high): (f32, f32),
    out: *mut f32,
) {
    // SAFETY: the caller's promises, tap by tap.
    unsafe {
        let mut sums = [F4::splat(bias); N];
        each_tap!(offsets.len().min(weights.len()), tap => {
            let from = input.byte_add(*offsets.get_unchecked(tap) as usize);
            let w = F4::load_splat(weights.as_ptr().add(tap));
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add_product(w, F4::load(from.add(4 * i)));
            }
        });
        let (low, high) = (F4::splat(low), F4::splat(high));
        for (i, sum) in sums.iter().enumerate() {
            sum.clamp(low, high).store(out.add(4 * i));
        }
    }
}

/// `R` floats, each in all lanes of its own vector.
///
/// # Safety
/// `from` is readable for `R` floats.
#[inline(always)]
unsafe fn splats<const R: usize>(from: *const f32) -> [F4; R] {
    // SAFETY: the caller's promise; four are read where there are four.
    unsafe {
        if R == 4
            && let Some(all) = F4::load_splats(from).first_chunk()
        {
            return *all;
        }
        from_fn(|r| F4::load_splat(from.add(r)))
    }
}

/// `R` rows at `P` times `COLUMNS` columns of a matrix product: `out[r][x] = bias[x] +
/// sum(rows[t][r] * weights[t][x])`, limited to `low..=high`, in the order of the taps.
///
/// # Safety
/// `rows` has `R` floats for each tap, `weights` has `P` panels of `COLUMNS` for each tap, `bias`
/// has `P * COLUMNS`; `out` has room for `R` rows of `P * COLUMNS` at a distance of `stride`.
#[inline(never)]
pub(crate) unsafe fn rows<const R: usize, const P: usize>(
    rows: *const f32,
    taps: usize,
    weights: &[f32],
    bias: &[f32],
    (low, high): (f32, f32),
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's promises, tap by tap and row by row.
    unsafe {
        let (weights, bias) = (weights.as_ptr(), bias.as_ptr());
        let mut sums = [[[F4::splat(0.0); 2]; P]; R];
        for row in &mut sums {
            for (p, sum) in row.iter_mut().enumerate() {
                let bias = bias.add(p * COLUMNS);
                *sum = [F4::load(bias), F4::load(bias.add(4))];
            }
        }
        each_tap!(taps, tap => {
            let x = splats::<R>(rows.add(tap * R));
            for p in 0..P {
                let from = weights.add((p * taps + tap) * COLUMNS);
                let w = [F4::load(from), F4::load(from.add(4))];
                for (row, x) in sums.iter_mut().zip(x) {
                    row[p][0] = row[p][0].add_product(x, w[0]);
                    row[p][1] = row[p][1].add_product(x, w[1]);
                }
            }
        });
        let (low, high) = (F4::splat(low), F4::splat(high));
        for (r, row) in sums.iter().enumerate() {
            for (p, sum) in row.iter().enumerate() {
                let to = out.add(r * stride + p * COLUMNS);
                sum[0].clamp(low, high).store(to);
                sum[1].clamp(low, high).store(to.add(4));
            }
        }
    }
}
