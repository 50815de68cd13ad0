//! Elements of any numeric type as numbers of one, and back.

use half::{bf16, f16};

use super::small::{Format, Round, decode_power, encode_power, pack, unpack};
use crate::{DType, Element, Result, Tensor, bail, err};

/// Elements in the smallest of a few types that holds all of them exactly.
pub(crate) enum Numbers {
    /// Booleans and integers but UINT64.
    Ints(Vec<i64>),
    /// UINT64.
    Longs(Vec<u64>),
    /// Floating point of 32 bits and fewer.
    Singles(Vec<f32>),
    /// FP64.
    Doubles(Vec<f64>),
}

/// What to do with numbers that a type does not have (Operators.md, Cast).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Whether 8-bit floating point ends at its largest number, or goes on to infinity or NaN.
    pub(crate) saturate: bool,
    /// How numbers become powers of two in FP8E8M0.
    pub(crate) round: Round,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            saturate: true,
            round: Round::Up,
        }
    }
}

/// The same expression for each type of numbers.
macro_rules! each {
    ($numbers:expr, $x:ident => $value:expr) => {
        match $numbers {
            Numbers::Ints(all) => all.iter().map(|&$x| $value).collect(),
            Numbers::Longs(all) => all.iter().map(|&$x| $value).collect(),
            Numbers::Singles(all) => all.iter().map(|&$x| $value).collect(),
            Numbers::Doubles(all) => all.iter().map(|&$x| $value).collect(),
        }
    };
}

impl Numbers {
    /// The elements of a tensor.
    ///
    /// # Errors
    /// `wrong_dtype` for strings and complex numbers.
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        fn all<T: Element, N>(tensor: &Tensor, number: impl Fn(T) -> N) -> Result<Vec<N>> {
            Ok(tensor.view::<T>()?.iter().copied().map(number).collect())
        }
        let bytes = tensor.as_bytes().unwrap_or_default();
        Ok(match tensor.dtype() {
            DType::Bool => Self::Ints(all(tensor, |x: bool| x.into())?),
            DType::U8 => Self::Ints(all(tensor, |x: u8| x.into())?),
            DType::U16 => Self::Ints(all(tensor, |x: u16| x.into())?),
            DType::U32 => Self::Ints(all(tensor, |x: u32| x.into())?),
            DType::U64 => Self::Longs(tensor.to_vec()?),
            DType::I8 => Self::Ints(all(tensor, |x: i8| x.into())?),
            DType::I16 => Self::Ints(all(tensor, |x: i16| x.into())?),
            DType::I32 => Self::Ints(all(tensor, |x: i32| x.into())?),
            DType::I64 => Self::Ints(tensor.to_vec()?),
            DType::F16 => Self::Singles(all(tensor, |x: f16| x.into())?),
            DType::BF16 => Self::Singles(all(tensor, |x: bf16| x.into())?),
            DType::F32 => Self::Singles(tensor.to_vec()?),
            DType::F64 => Self::Doubles(tensor.to_vec()?),
            DType::F8E8M0 => Self::Singles(bytes.iter().map(|&x| decode_power(x)).collect()),
            dtype @ (DType::U4 | DType::I4 | DType::U2 | DType::I2) => {
                Self::Ints(few_bits(bytes, dtype, tensor.len()))
            }
            dtype => Self::Singles(small(bytes, dtype, tensor.len())?),
        })
    }

    /// As FP64. Integers beyond 2^53 are rounded.
    pub(crate) fn doubles(&self) -> Vec<f64> {
        each!(self, x => x as f64)
    }

    /// As FP32, rounded.
    pub(crate) fn singles(&self) -> Vec<f32> {
        each!(self, x => x as f32)
    }

    /// As INT64: without what is behind the point; larger ones of UINT64 wrap around.
    pub(crate) fn ints(&self) -> Vec<i64> {
        each!(self, x => x as i64)
    }

    /// As elements of a tensor.
    ///
    /// # Errors
    /// `wrong_dtype` for complex numbers; `wrong_shape`.
    pub(crate) fn into_tensor(self, dtype: DType, shape: &[usize], rules: Rules) -> Result<Tensor> {
        match dtype {
            DType::F32 => Tensor::from_vec(shape, self.into_singles()),
            DType::F64 => Tensor::from_vec(shape, self.doubles()),
            DType::F16 => match self {
                Self::Singles(all) => halves(shape, &all, f16::from_f32),
                other => sixteen::<f16>(shape, &other, DType::F16, f16::from_bits),
            },
            DType::BF16 => match self {
                Self::Singles(all) => halves(shape, &all, bf16::from_f32),
                other => sixteen::<bf16>(shape, &other, DType::BF16, bf16::from_bits),
            },
            DType::String => Tensor::from_strings(shape, self.texts()),
            DType::F8E8M0 => {
                let Rules { saturate, round } = rules;
                let all = self.into_singles();
                let codes = all.iter().map(|&x| encode_power(x, saturate, round));
                Tensor::from_bytes(dtype, shape, codes.collect())
            }
            _ => match Format::of(dtype) {
                Some(format) => {
                    let codes = |x: f64| format.encode(x, rules.saturate) as u8;
                    let codes: Vec<u8> = each!(&self, x => codes(x as f64));
                    let is_packed = dtype == DType::F4E2M1;
                    let bytes = if is_packed { pack(&codes, 4) } else { codes };
                    Tensor::from_bytes(dtype, shape, bytes)
                }
                None => self.into_integers(dtype, shape),
            },
        }
    }

    fn into_singles(self) -> Vec<f32> {
        match self {
            Self::Singles(all) => all,
            other => other.singles(),
        }
    }

    /// Bits that do not fit are left away, as NumPy does it.
    fn into_integers(self, dtype: DType, shape: &[usize]) -> Result<Tensor> {
        let packed = |bits: usize| {
            let codes: Vec<u8> = each!(&self, x => x as i64 as u8);
            Tensor::from_bytes(dtype, shape, pack(&codes, bits))
        };
        match dtype {
            DType::Bool => {
                let yes: Vec<bool> = match &self {
                    Self::Ints(all) => all.iter().map(|&x| x != 0).collect(),
                    Self::Longs(all) => all.iter().map(|&x| x != 0).collect(),
                    Self::Singles(all) => all.iter().map(|&x| x != 0.0).collect(),
                    Self::Doubles(all) => all.iter().map(|&x| x != 0.0).collect(),
                };
                Tensor::from_vec(shape, yes)
            }
            DType::U8 => Tensor::from_vec::<u8>(shape, each!(&self, x => x as i64 as u8)),
            DType::I8 => Tensor::from_vec::<i8>(shape, each!(&self, x => x as i64 as i8)),
            DType::U16 => Tensor::from_vec::<u16>(shape, each!(&self, x => x as i64 as u16)),
            DType::I16 => Tensor::from_vec::<i16>(shape, each!(&self, x => x as i64 as i16)),
            DType::U32 => Tensor::from_vec::<u32>(shape, each!(&self, x => x as i64 as u32)),
            DType::I32 => Tensor::from_vec::<i32>(shape, each!(&self, x => x as i64 as i32)),
            DType::I64 => Tensor::from_vec::<i64>(shape, self.ints()),
            DType::U64 => Tensor::from_vec::<u64>(
                shape,
                match self {
                    Self::Longs(all) => all,
                    Self::Ints(all) => all.iter().map(|&x| x as u64).collect(),
                    Self::Singles(all) => all.iter().map(|&x| unsigned(x.into())).collect(),
                    Self::Doubles(all) => all.iter().map(|&x| unsigned(x)).collect(),
                },
            ),
            DType::U4 | DType::I4 => packed(4),
            DType::U2 | DType::I2 => packed(2),
            other => bail!(WrongDtype, "numbers cannot be made {other}"),
        }
    }

    /// As text, in the plain form.
    fn texts(&self) -> Vec<String> {
        fn text(x: impl std::fmt::Display, as_double: f64) -> String {
            match as_double {
                x if x.is_nan() => "NaN".to_owned(),
                f64::INFINITY => "INF".to_owned(),
                f64::NEG_INFINITY => "-INF".to_owned(),
                _ => x.to_string(),
            }
        }
        each!(self, x => text(x, x as f64))
    }
}

fn unsigned(x: f64) -> u64 {
    if x < 0.0 { x as i64 as u64 } else { x as u64 }
}

fn halves<T: Element>(shape: &[usize], all: &[f32], half: impl Fn(f32) -> T) -> Result<Tensor> {
    Tensor::from_vec(shape, all.iter().map(|&x| half(x)).collect())
}

/// From FP64 and integers in one step: FP32 in between would be rounded twice.
fn sixteen<T: Element>(
    shape: &[usize],
    numbers: &Numbers,
    dtype: DType,
    of_bits: impl Fn(u16) -> T,
) -> Result<Tensor> {
    let Some(format) = Format::of(dtype) else {
        bail!(Internal, "{dtype} has no format");
    };
    let all: Vec<T> = each!(numbers, x => of_bits(format.encode(x as f64, false)));
    Tensor::from_vec(shape, all)
}

/// Integers of 4 and 2 bits.
fn few_bits(bytes: &[u8], dtype: DType, count: usize) -> Vec<i64> {
    let (bits, signed) = match dtype {
        DType::U4 => (4, false),
        DType::I4 => (4, true),
        DType::U2 => (2, false),
        _ => (2, true),
    };
    let half = 1i64 << (bits - 1);
    let number = |code: u8| match i64::from(code) {
        code if signed && code >= half => code - 2 * half,
        code => code,
    };
    let codes = unpack(bytes, bits, count);
    codes.into_iter().map(number).collect()
}

/// Floating point of 8 and 4 bits.
fn small(bytes: &[u8], dtype: DType, count: usize) -> Result<Vec<f32>> {
    let Some(format) = Format::of(dtype) else {
        bail!(WrongDtype, "{dtype} is no type of numbers here");
    };
    if dtype == DType::F4E2M1 {
        let codes = unpack(bytes, 4, count);
        return Ok(codes.iter().map(|&x| format.decode(x.into())).collect());
    }
    let table: Vec<f32> = (0..256).map(|code| format.decode(code)).collect();
    let number = |&code: &u8| table.get(usize::from(code)).copied().unwrap_or(f32::NAN);
    Ok(bytes.iter().map(number).collect())
}

/// A tensor with elements of another type.
///
/// # Errors
/// `wrong_dtype` for complex numbers; `invalid_input` for text that is no number.
pub(crate) fn convert(tensor: &Tensor, dtype: DType, rules: Rules) -> Result<Tensor> {
    if tensor.dtype() == dtype {
        return Ok(tensor.clone());
    }
    let numbers = match tensor.strings() {
        Some(texts) => read(texts, dtype)?,
        None => Numbers::of(tensor)?,
    };
    numbers.into_tensor(dtype, tensor.shape(), rules)
}

/// Text as numbers for a type.
fn read(texts: &[String], dtype: DType) -> Result<Numbers> {
    fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
        let short: String = text.chars().take(40).collect();
        (text.trim().parse()).map_err(|_| err!(InvalidInput, "`{short}` is no number"))
    }
    // "INF" and "NaN" in any case, with or without a sign, are numbers for Rust, too.
    Ok(match dtype {
        DType::F64 => Numbers::Doubles(texts.iter().map(|t| number(t)).collect::<Result<_>>()?),
        DType::U64 => {
            let whole = |t: &String| match t.trim().parse() {
                Ok(whole) => Ok(whole),
                Err(_) => number::<f64>(t).map(unsigned),
            };
            Numbers::Longs(texts.iter().map(whole).collect::<Result<_>>()?)
        }
        _ if Format::of(dtype).is_some() || matches!(dtype, DType::F32 | DType::F8E8M0) => {
            Numbers::Singles(texts.iter().map(|t| number(t)).collect::<Result<_>>()?)
        }
        DType::Bool => Numbers::Doubles(texts.iter().map(|t| number(t)).collect::<Result<_>>()?),
        _ => {
            let whole = |t: &String| match t.trim().parse() {
                Ok(whole) => Ok(whole),
                Err(_) => number::<f64>(t).map(|x| x as i64),
            };
            Numbers::Ints(texts.iter().map(whole).collect::<Result<_>>()?)
        }
    })
}

/// The elements as FP64. Integers beyond 2^53 are rounded.
///
/// # Errors
/// `wrong_dtype` for strings and complex numbers.
pub(crate) fn to_f64(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(Numbers::of(tensor)?.doubles())
}
