//! The convolution beside a naive one, over shapes that take each way through it.

use super::conv::{Conv, Geometry};

/// Numbers that differ and repeat nowhere near.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn naive(g: &Geometry, x: &[f32], w: &[f32], bias: &[f32], range: (f32, f32)) -> Vec<f32> {
    let (c_in, c_out) = (g.c_in / g.group, g.c_out / g.group);
    let images = x.len() / (g.c_in * g.input[0] * g.input[1]);
    let mut out = Vec::new();
    for n in 0..images {
        for o in 0..g.c_out {
            for y in 0..g.output[0] {
                for z in 0..g.output[1] {
                    let mut sum = bias.get(o).map_or(0.0, |b| f64::from(*b));
                    for i in 0..c_in {
                        let channel = o / c_out * c_in + i;
                        for ky in 0..g.kernel[0] {
                            for kx in 0..g.kernel[1] {
                                let row = y * g.stride[0] + ky * g.dilation[0];
                                let column = z * g.stride[1] + kx * g.dilation[1];
                                let (Some(row), Some(column)) = (
                                    row.checked_sub(g.before[0]),
                                    column.checked_sub(g.before[1]),
                                ) else {
                                    continue;
                                };
                                if row >= g.input[0] || column >= g.input[1] {
                                    continue;
                                }
                                let at = ((n * g.c_in + channel) * g.input[0] + row) * g.input[1];
                                let weight = ((o * c_in + i) * g.kernel[0] + ky) * g.kernel[1] + kx;
                                sum += f64::from(x[at + column]) * f64::from(w[weight]);
                            }
                        }
                    }
                    out.push((sum as f32).clamp(range.0, range.1));
                }
            }
        }
    }
    out
}

/// Runs both and compares; `[group, c_in, c_out]`, `[height, width]` of the input, then for
/// each axis kernel, stride, dilation, zeros before and after.
fn compare(channels: [usize; 3], input: [usize; 2], axes: [[usize; 5]; 2]) {
    let [group, c_in, c_out] = channels;
    let out = |a: usize| {
        let [kernel, stride, dilation, before, after] = axes[a];
        (input[a] + before + after - (kernel - 1) * dilation - 1) / stride + 1
    };
    let g = Geometry {
        group,
        c_in,
        c_out,
        input,
        output: [out(0), out(1)],
        kernel: [axes[0][0], axes[1][0]],
        stride: [axes[0][1], axes[1][1]],
        dilation: [axes[0][2], axes[1][2]],
        before: [axes[0][3], axes[1][3]],
    };
    let images = 2;
    let x = numbers(images * c_in * input[0] * input[1], 1);
    let w = numbers(c_out * c_in / group * g.kernel[0] * g.kernel[1], 2);
    for (bias, range) in [
        (numbers(c_out, 3), (f32::NEG_INFINITY, f32::INFINITY)),
        (Vec::new(), (0.0, 0.5)),
    ] {
        let want = naive(&g, &x, &w, &bias, range);
        let conv = Conv::new(g.clone(), &w, &bias, range).unwrap();
        let mut got = vec![f32::NAN; want.len()];
        conv.run(&x, &mut got);
        for (at, (got, want)) in got.iter().zip(&want).enumerate() {
            let close = (got - want).abs() <= 1e-5 * (1.0 + want.abs());
            assert!(
                close,
                "{channels:?} {input:?} {axes:?} at {at}: {got}, not {want}"
            );
        }
    }
}

const POINT: [usize; 5] = [1, 1, 1, 0, 0];
const THREE: [usize; 5] = [3, 1, 1, 1, 1];

#[test]
fn kernels_of_one_point() {
    for positions in [[1, 1], [1, 7], [3, 8], [5, 13], [16, 16], [2, 600]] {
        for channels in [[1, 1, 1], [1, 3, 4], [1, 16, 5], [1, 40, 18], [2, 8, 6]] {
            compare(channels, positions, [POINT, POINT]);
        }
    }
}

#[test]
fn windows_of_any_stride_dilation_and_padding() {
    let axes = [
        THREE,
        [3, 2, 1, 1, 1],
        [3, 2, 1, 0, 1],
        [5, 1, 1, 2, 2],
        [2, 2, 1, 0, 0],
        [3, 1, 2, 2, 2],
        [3, 2, 3, 3, 0],
        [7, 3, 1, 3, 3],
        [1, 2, 1, 0, 0],
        [1, 3, 1, 1, 2],
    ];
    for input in [[9, 7], [8, 16], [11, 33], [7, 40]] {
        for (at, rows) in axes.iter().enumerate() {
            for columns in [*rows, axes[(at + 1) % axes.len()]] {
                compare([1, 3, 6], input, [*rows, columns]);
                compare([2, 4, 8], input, [*rows, columns]);
                compare([5, 5, 5], input, [*rows, columns]);
            }
        }
    }
}

#[test]
fn depthwise_rows_of_every_length() {
    for width in (1..12).chain([31, 32, 33, 36, 63, 64, 65, 100]) {
        compare([3, 3, 3], [4, width], [THREE, THREE]);
    }
}

#[test]
fn many_channels_in_blocks() {
    compare([1, 700, 9], [3, 19], [POINT, POINT]);
    compare([1, 64, 130], [6, 10], [THREE, THREE]);
    compare([1, 300, 260], [1, 64], [POINT, POINT]);
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let g = Geometry {
        group: 1,
        c_in: 2,
        c_out: 2,
        input: [3, 3],
        output: [3, 3],
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        before: [0, 0],
    };
    let range = (f32::NEG_INFINITY, f32::INFINITY);
    assert!(Conv::new(g.clone(), &[0.0; 3], &[], range).is_none());
    assert!(Conv::new(g.clone(), &[0.0; 4], &[0.0; 1], range).is_none());
    let odd = Geometry {
        stride: [0, 1],
        ..g.clone()
    };
    assert!(Conv::new(odd, &[0.0; 4], &[], range).is_none());
    assert!(Conv::new(Geometry { group: 0, ..g }, &[0.0; 4], &[], range).is_none());
}
