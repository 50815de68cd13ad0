//! Numbers of 16, 8, 4 and 2 bits: floating point with few bits, and several elements to a byte.

use crate::DType;

/// How a floating-point type with few bits is laid out, after its sign.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    mantissa: u32,
    bias: i32,
    /// The code of the largest finite number.
    max: u16,
    sign: u16,
    special: Special,
}

/// What a type has beside finite numbers.
#[derive(Clone, Copy, PartialEq)]
enum Special {
    /// Infinities, and NaNs above them.
    Ieee,
    /// One NaN of each sign, the code after the largest number.
    NanOnly,
    /// One NaN, in the place of -0.
    NanForMinusZero,
    Nothing,
}

impl Format {
    /// The layout of a type, where it is floating point of 16 bits or fewer with a sign.
    pub(crate) fn of(dtype: DType) -> Option<Self> {
        let (mantissa, bias, max, sign, special) = match dtype {
            DType::F16 => (10, 15, 0x7bff, 0x8000, Special::Ieee),
            DType::BF16 => (7, 127, 0x7f7f, 0x8000, Special::Ieee),
            DType::F8E4M3FN => (3, 7, 0x7e, 0x80, Special::NanOnly),
            DType::F8E4M3FNUZ => (3, 8, 0x7f, 0x80, Special::NanForMinusZero),
            DType::F8E5M2 => (2, 15, 0x7b, 0x80, Special::Ieee),
            DType::F8E5M2FNUZ => (2, 16, 0x7f, 0x80, Special::NanForMinusZero),
            DType::F4E2M1 => (1, 1, 0x7, 0x8, Special::Nothing),
            _ => return None,
        };
        Some(Self {
            mantissa,
            bias,
            max,
            sign,
            special,
        })
    }

    /// The code of the nearest number, of two as near the one whose last bit is 0. What is beyond
    /// the largest becomes the largest with `saturate`, and infinity or NaN without.
    pub(crate) fn encode(self, value: f64, saturate: bool) -> u16 {
        let sign = if value.is_sign_negative() {
            self.sign
        } else {
            0
        };
        if value.is_nan() {
            return self.nan(sign);
        }
        let absolute = value.abs();
        let code = match absolute.is_finite() {
            true => self.finite(absolute),
            false => u64::MAX,
        };
        let zero_has_no_sign = self.special == Special::NanForMinusZero;
        match u16::try_from(code).ok().filter(|&code| code <= self.max) {
            Some(0) if zero_has_no_sign => 0,
            Some(code) => code | sign,
            None if saturate => self.max | sign,
            None if self.special == Special::Ieee => (self.max + 1) | sign,
            None => self.nan(sign),
        }
    }

    /// The code of a number that is neither negative nor infinite; it may be beyond the largest.
    fn finite(self, value: f64) -> u64 {
        let exponent = (value.to_bits() >> 52) as i32 - 1023;
        let exponent = exponent.max(1 - self.bias);
        // Exact: a power of two.
        let steps = value * power(self.mantissa as i32 - exponent);
        // A mantissa that is rounded up to the next power of two carries into the exponent.
        let base = ((exponent + self.bias - 1) as u64) << self.mantissa;
        base + steps.round_ties_even() as u64
    }

    fn nan(self, sign: u16) -> u16 {
        match self.special {
            // The quiet one: the highest bit of the mantissa.
            Special::Ieee => (self.max + 1) | (1 << (self.mantissa - 1)) | sign,
            Special::NanOnly => (self.max + 1) | sign,
            // A type without a NaN has -0, as NumPy's.
            Special::NanForMinusZero | Special::Nothing => self.sign,
        }
    }

    /// The number of a code.
    pub(crate) fn decode(self, code: u16) -> f32 {
        let sign = if code & self.sign == 0 { 1.0 } else { -1.0 };
        if self.special == Special::NanForMinusZero && code == self.sign {
            return f32::NAN;
        }
        let code = code & (self.sign - 1);
        if code > self.max {
            return match self.special == Special::Ieee && code == self.max + 1 {
                true => sign * f32::INFINITY,
                false => f32::NAN,
            };
        }
        let exponent = i32::from(code >> self.mantissa);
        let mantissa = f64::from(code & ((1 << self.mantissa) - 1));
        let one = f64::from(1u16 << self.mantissa);
        let (steps, exponent) = match exponent {
            0 => (mantissa, 1),
            _ => (mantissa + one, exponent),
        };
        sign * (steps * power(exponent - self.bias - self.mantissa as i32)) as f32
    }
}

/// 2 to this power, within the normal range of FP64.
fn power(exponent: i32) -> f64 {
    f64::from_bits(((exponent.clamp(-1022, 1023) + 1023) as u64) << 52)
}

/// How a number becomes a power of two.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Round {
    Up,
    Down,
    /// Of two as near the upper.
    Nearest,
}

/// The code of FP8E8M0, a power of two without a sign (Operators.md, Cast).
pub(crate) fn encode_power(value: f32, saturate: bool, round: Round) -> u8 {
    let bits = value.to_bits();
    let (exponent, mantissa) = ((bits >> 23) as u8, bits & 0x007f_ffff);
    match (value.is_nan(), value == 0.0 || value.is_infinite()) {
        (true, _) => return 0xff,
        (_, true) if !saturate => return 0xff,
        (_, true) => return if value == 0.0 { 0 } else { 0xfe },
        _ => {}
    }
    let up = match round {
        Round::Up => mantissa > 0,
        Round::Down => false,
        // Below the normal numbers the step from 0 is no power of two.
        Round::Nearest if exponent == 0 => mantissa > 0x0040_0000,
        Round::Nearest => mantissa >= 0x0040_0000,
    };
    match exponent + u8::from(up) {
        0xff if saturate => 0xfe,
        code => code,
    }
}

/// The number of a code of FP8E8M0.
pub(crate) fn decode_power(code: u8) -> f32 {
    match code {
        0xff => f32::NAN,
        _ => power(i32::from(code) - 127) as f32,
    }
}

/// Elements of 2 or 4 bits, each in the lowest bits of a byte, from several to a byte.
pub(crate) fn unpack(bytes: &[u8], bits: usize, count: usize) -> Vec<u8> {
    let mask = (1u8 << bits) - 1;
    let each = (bytes.iter()).flat_map(|&byte| (0..8).step_by(bits).map(move |at| byte >> at));
    each.take(count).map(|code| code & mask).collect()
}

/// Several elements of 2 or 4 bits to a byte, the first in the lowest bits.
pub(crate) fn pack(codes: &[u8], bits: usize) -> Vec<u8> {
    let mask = (1u8 << bits) - 1;
    let together = codes.chunks(8 / bits).map(|chunk| {
        let each = chunk.iter().enumerate();
        each.fold(0, |byte, (at, code)| byte | (code & mask) << (at * bits))
    });
    together.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back() {
        for &dtype in DType::ALL {
            let Some(format) = Format::of(dtype) else {
                continue;
            };
            let bits = dtype.bits().unwrap();
            for code in 0..1u32 << bits {
                let code = code as u16;
                let value = format.decode(code);
                if !value.is_nan() {
                    let back = format.encode(value.into(), false);
                    assert_eq!(back, code, "{dtype} {value}");
                } else {
                    let back = format.decode(format.encode(f64::NAN, false));
                    assert!(back.is_nan(), "{dtype}");
                }
            }
        }
        for code in 0..0xff {
            let back = encode_power(decode_power(code), true, Round::Nearest);
            assert_eq!(back, code);
        }
    }

    #[test]
    fn halves_of_16_bits_are_those_of_the_crate() {
        let half = Format::of(DType::F16).unwrap();
        let brain = Format::of(DType::BF16).unwrap();
        for bits in (0..u32::MAX - 9973).step_by(9973) {
            let value = f32::from_bits(bits);
            if value.is_nan() {
                continue;
            }
            let exact = f64::from(value);
            let expected = half::f16::from_f32(value).to_bits();
            assert_eq!(half.encode(exact, false), expected, "{value}");
            let expected = half::bf16::from_f32(value).to_bits();
            assert_eq!(brain.encode(exact, false), expected, "{value}");
        }
    }

    #[test]
    fn elements_of_few_bits_are_packed_lowest_first() {
        assert_eq!(pack(&[1, 2, 3, 0, 1], 2), [0b00_11_10_01, 1]);
        assert_eq!(unpack(&[0b00_11_10_01, 1], 2, 5), [1, 2, 3, 0, 1]);
        assert_eq!(pack(&[0xf1, 2, 3], 4), [0x21, 3]);
        assert_eq!(unpack(&[0x21, 3], 4, 3), [1, 2, 3]);
    }
}
