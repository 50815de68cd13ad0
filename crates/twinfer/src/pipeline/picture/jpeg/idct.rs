//! The inverse discrete cosine transform in whole numbers, with the roundings of libjpeg's `islow`
//! (`jidctint.c`; C. Loeffler, A. Ligtenberg, G. Moschytz, Practical fast 1-D DCT algorithms with 11
//! multiplications, 1989), which is what Pillow and OpenCV decode with.

use std::num::Wrapping;

/// Fixed point with 13 bits behind the point.
const BITS: usize = 13;
/// More bits that are kept between the passes.
const MORE: usize = 2;

type Int = Wrapping<i32>;

const fn fixed(number: i32) -> Int {
    Wrapping(number)
}

const F_0_298631336: Int = fixed(2446);
const F_0_390180644: Int = fixed(3196);
const F_0_541196100: Int = fixed(4433);
const F_0_765366865: Int = fixed(6270);
const F_0_899976223: Int = fixed(7373);
const F_1_175875602: Int = fixed(9633);
const F_1_501321110: Int = fixed(12299);
const F_1_847759065: Int = fixed(15137);
const F_1_961570560: Int = fixed(16069);
const F_2_053119869: Int = fixed(16819);
const F_2_562915447: Int = fixed(20995);
const F_3_072711026: Int = fixed(25172);

/// One transform of 8 numbers, scaled by 2^13, and rounded to `shift` bits fewer.
fn pass(x: [Int; 8], shift: usize) -> [Int; 8] {
    let z1 = (x[2] + x[6]) * F_0_541196100;
    let t2 = z1 - x[6] * F_1_847759065;
    let t3 = z1 + x[2] * F_0_765366865;
    let t0 = (x[0] + x[4]) << BITS;
    let t1 = (x[0] - x[4]) << BITS;
    let even = [t0 + t3, t1 + t2, t1 - t2, t0 - t3];

    let z1 = x[7] + x[1];
    let z2 = x[5] + x[3];
    let z3 = x[7] + x[3];
    let z4 = x[5] + x[1];
    let z5 = (z3 + z4) * F_1_175875602;
    let z1 = -z1 * F_0_899976223;
    let z2 = -z2 * F_2_562915447;
    let z3 = z5 - z3 * F_1_961570560;
    let z4 = z5 - z4 * F_0_390180644;
    let odd = [
        x[1] * F_1_501321110 + z1 + z4,
        x[3] * F_3_072711026 + z2 + z3,
        x[5] * F_2_053119869 + z2 + z4,
        x[7] * F_0_298631336 + z1 + z3,
    ];

    let half = Wrapping(1 << (shift - 1));
    let mut made = [Wrapping(0); 8];
    for i in 0..4 {
        made[i] = (even[i] + odd[i] + half) >> shift;
        made[7 - i] = (even[i] - odd[i] + half) >> shift;
    }
    made
}

fn sample(number: Int) -> u8 {
    number.0.saturating_add(128).clamp(0, 255) as u8
}

/// The samples of a block of coefficients (in rows, not in zigzag), of which each is multiplied with its
/// step; `put` gets each row.
pub(super) fn block(
    coefficients: &[i16; 64],
    steps: &[u16; 64],
    mut put: impl FnMut(usize, [u8; 8]),
) {
    if coefficients[1..].iter().all(|&c| c == 0) {
        // Both passes of a lone first coefficient.
        let first = Wrapping(i32::from(coefficients[0])) * Wrapping(i32::from(steps[0]));
        let shift = MORE + 3;
        let flat = ((first << MORE) + Wrapping(1 << (shift - 1))) >> shift;
        (0..8).for_each(|row| put(row, [sample(flat); 8]));
        return;
    }
    let mut between = [[Wrapping(0); 8]; 8];
    for column in 0..8 {
        let numbers = std::array::from_fn(|row| {
            let at = row * 8 + column;
            Wrapping(i32::from(coefficients[at])) * Wrapping(i32::from(steps[at]))
        });
        let made = pass(numbers, BITS - MORE);
        for (row, number) in between.iter_mut().zip(made) {
            row[column] = number;
        }
    }
    for (row, numbers) in between.into_iter().enumerate() {
        put(row, pass(numbers, BITS + MORE + 3).map(sample));
    }
}
