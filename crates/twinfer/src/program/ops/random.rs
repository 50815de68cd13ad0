//! Random numbers: the same for the same model, in each run and in every place.
//!
//! ONNX leaves open which numbers a seed gives ("non-deterministic, and may not produce the same values in
//! different implementations"); here an answer is to be the same in page and server, today and tomorrow.
//! So the numbers of a node follow from its `seed`; where it has none, from its name. A run does not
//! remember the one before, and a node in a loop gives the same numbers in each turn.
//!
//! The generator is SplitMix64 (G. Steele, D. Lea, C. Flood, Fast splittable pseudorandom number
//! generators, 2014); normal numbers are made of pairs of uniform ones (G. Box, M. Muller, 1958).

use super::super::cast::{Rules, convert, to_f64};
use super::super::inputs::{Kernel, tensor_kernel};
use super::super::node::Node;
use super::real;
use crate::session::onnx_dtype;
use crate::{DType, Result, Tensor, bail};

pub(super) const OPS: super::Table = &[
    ("Bernoulli", bernoulli),
    ("Multinomial", multinomial),
    ("RandomNormal", random),
    ("RandomNormalLike", random),
    ("RandomUniform", random),
    ("RandomUniformLike", random),
];

/// What the numbers of nodes without a seed begin with.
const UNSEEDED: u64 = 0x7477_696e_6665_7221;

/// The step of the sequence: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sequence of random bits.
#[derive(Clone, Copy)]
struct Random(u64);

impl Random {
    /// Where the sequence of a node begins.
    fn of(node: &Node<'_>) -> Self {
        let mut random = match node.float_opt("seed").filter(|seed| !seed.is_nan()) {
            Some(seed) => Self(seed.to_bits().into()),
            // FNV-1a of its name.
            None => Self(node.name().bytes().fold(UNSEEDED, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })),
        };
        Self(random.bits())
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, and without, 1, of so many bits.
    fn uniform(&mut self, bits: u32) -> f64 {
        (self.bits() >> (64 - bits)) as f64 / (1u64 << bits) as f64
    }

    /// A number of mean 0 and deviation 1.
    fn normal(&mut self) -> f64 {
        // Not 0, of which there is no logarithm.
        let radius = (-2.0 * (1.0 - self.uniform(53)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform(53)).cos()
    }
}

/// The bits of the numbers of a type from 0.5 to 1: with more, some would become 1.
fn precision(dtype: DType) -> u32 {
    match dtype {
        DType::F64 => 53,
        DType::F16 => 11,
        DType::BF16 => 8,
        _ => 24,
    }
}

/// The type that a node names.
fn dtype(node: &Node<'_>) -> Result<Option<DType>> {
    let Some(code) = node.int_opt("dtype") else {
        return Ok(None);
    };
    match i32::try_from(code).ok().and_then(onnx_dtype) {
        Some(DType::String | DType::Complex64 | DType::Complex128) | None => {
            bail!(InvalidModel, "`dtype` {code} is no type of numbers")
        }
        known => Ok(known),
    }
}

/// Numbers of a type: as many as the shape needs, one by one.
fn filled(shape: &[usize], dtype: DType, mut next: impl FnMut() -> f64) -> Result<Tensor> {
    let mut made = real::filled(shape, 0.0f64)?;
    made.iter_mut().for_each(|place| *place = next());
    convert(&Tensor::from_vec(shape, made)?, dtype, Rules::default())
}

/// `RandomUniform`, `RandomNormal`, and those of the shape of an input (Operators.md, ai.onnx 1 and 22).
fn random(node: &Node<'_>) -> Result<Option<Kernel>> {
    let random = Random::of(node);
    let is_normal = node.operator().starts_with("RandomNormal");
    let (low, high) = (node.float("low", 0.0), node.float("high", 1.0));
    let (low, range) = (f64::from(low), f64::from(high) - f64::from(low));
    let (mean, scale) = (node.float("mean", 0.0), node.float("scale", 1.0));
    let (mean, scale) = (f64::from(mean), f64::from(scale));
    let named = dtype(node)?;
    let shape = match node.operator().ends_with("Like") {
        true => None,
        false => {
            let shape = node.required("shape", node.ints("shape"))?;
            let shape = shape.iter().map(|&axis| usize::try_from(axis).ok());
            let Some(shape) = shape.collect::<Option<Vec<_>>>() else {
                bail!(InvalidModel, "`shape` has an axis below 0");
            };
            Some(shape)
        }
    };
    tensor_kernel(move |inputs| {
        let mut random = random;
        let (shape, dtype) = match &shape {
            Some(shape) => (shape.clone(), named.unwrap_or(DType::F32)),
            None => {
                let like = inputs.tensor(0)?;
                (like.shape().to_vec(), named.unwrap_or(like.dtype()))
            }
        };
        if !matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64) {
            bail!(InvalidInput, "random numbers of type {dtype}");
        }
        let bits = precision(dtype);
        filled(&shape, dtype, || match is_normal {
            true => mean + scale * random.normal(),
            false => low + range * random.uniform(bits),
        })
    })
    .map(Some)
}

/// `Bernoulli` (Operators.md, ai.onnx 15 and 22): 1 with the probability that is given.
fn bernoulli(node: &Node<'_>) -> Result<Option<Kernel>> {
    let random = Random::of(node);
    let named = dtype(node)?;
    tensor_kernel(move |inputs| {
        let mut random = random;
        let given = inputs.tensor(0)?;
        let probabilities = to_f64(given)?;
        let mut probabilities = probabilities.into_iter();
        filled(given.shape(), named.unwrap_or(given.dtype()), || {
            let drawn = random.uniform(53);
            f64::from(u8::from(drawn < probabilities.next().unwrap_or(0.0)))
        })
    })
    .map(Some)
}

/// `Multinomial` (Operators.md, ai.onnx 7 and 22): classes by the logarithms of their probabilities, of
/// which the sum need not be 1.
fn multinomial(node: &Node<'_>) -> Result<Option<Kernel>> {
    let random = Random::of(node);
    let dtype = match dtype(node)?.unwrap_or(DType::I32) {
        dtype @ (DType::I32 | DType::I64) => dtype,
        dtype => bail!(InvalidModel, "classes of type {dtype}"),
    };
    let Ok(samples) = usize::try_from(node.int("sample_size", 1)) else {
        bail!(InvalidModel, "`sample_size` is below 0");
    };
    tensor_kernel(move |inputs| {
        let mut random = random;
        let given = inputs.tensor(0)?;
        let &[batch, classes] = given.shape() else {
            bail!(
                InvalidInput,
                "a table of classes has two axes, got {:?}",
                given.shape()
            );
        };
        if classes == 0 && batch * samples > 0 {
            bail!(InvalidInput, "there are no classes to draw from");
        }
        let logarithms = to_f64(given)?;
        let mut made = real::filled(&[batch, samples], 0i64)?;
        let rows = logarithms.chunks_exact(classes.max(1));
        for (row, places) in rows.zip(made.chunks_exact_mut(samples.max(1))) {
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let mut sum = 0.0;
            let sums: Vec<f64> = (row.iter())
                .map(|logarithm| {
                    sum += (logarithm - most).exp();
                    sum
                })
                .collect();
            for place in places {
                let drawn = random.uniform(53) * sum;
                let class = sums.partition_point(|&sum| sum <= drawn);
                *place = class.min(classes - 1) as i64;
            }
        }
        let made = Tensor::from_vec(&[batch, samples], made)?;
        convert(&made, dtype, Rules::default())
    })
    .map(Some)
}

#[cfg(test)]
mod tests {
    use super::Random;

    fn moments(mut next: impl FnMut() -> f64) -> (f64, f64) {
        let numbers: Vec<f64> = (0..100_000).map(|_| next()).collect();
        let mean = numbers.iter().sum::<f64>() / 1e5;
        let squares = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        (mean, (squares / 1e5).sqrt())
    }

    #[test]
    fn the_numbers_are_of_their_distributions() {
        let mut random = Random(7);
        let (mean, deviation) = moments(|| random.uniform(24));
        assert!((mean - 0.5).abs() < 5e-3, "{mean}");
        assert!(
            (deviation - 12f64.sqrt().recip()).abs() < 5e-3,
            "{deviation}"
        );
        let (mean, deviation) = moments(|| random.normal());
        assert!(
            mean.abs() < 0.02 && (deviation - 1.0).abs() < 0.02,
            "{mean} {deviation}"
        );
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // The first numbers of the reference (S. Vigna, splitmix64.c) for the seed 1234567.
        let mut random = Random(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }
}
