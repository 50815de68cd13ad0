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

/// One transform of 8 numbers, of which all from `COUNT` on are 0, scaled by 2^13, and rounded to `shift`
/// bits fewer.
#[inline(always)]
fn pass<const COUNT: usize>(x: [Int; COUNT], shift: usize) -> [Int; 8] {
    let x: [Int; 8] = std::array::from_fn(|i| x.get(i).copied().unwrap_or_default());
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
    let any = |range: std::ops::Range<usize>| coefficients[range].iter().fold(0, |all, c| all | c);
    let right = any(4..8) | any(12..16) | any(20..24) | any(28..32);
    if any(32..64) | right != 0 {
        whole::<8>(coefficients, steps, put);
    } else if any(1..4) | any(8..12) | any(16..20) | any(24..28) != 0 {
        // Most blocks have nothing but low frequencies.
        whole::<4>(coefficients, steps, put);
    } else {
        // Both passes of a lone first coefficient.
        let first = Wrapping(i32::from(coefficients[0])) * Wrapping(i32::from(steps[0]));
        let shift = MORE + 3;
        let flat = ((first << MORE) + Wrapping(1 << (shift - 1))) >> shift;
        (0..8).for_each(|row| put(row, [sample(flat); 8]));
    }
}

/// Both passes, where only the first `COUNT` rows and columns have coefficients.
fn whole<const COUNT: usize>(
    coefficients: &[i16; 64],
    steps: &[u16; 64],
    mut put: impl FnMut(usize, [u8; 8]),
) {
    let mut between = [[Wrapping(0); COUNT]; 8];
    for column in 0..COUNT {
        let numbers: [Int; COUNT] = std::array::from_fn(|row| {
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
