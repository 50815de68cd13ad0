//! Another sample rate.

use std::f64::consts::PI;

use crate::Result;
use crate::pipeline::memory::reserved;

/// Zero crossings of the filter on each side, and where it cuts off, as a share of half the lower
/// rate: the defaults of torchaudio.
const WIDTH: f64 = 6.0;
const ROLLOFF: f64 = 0.99;

/// How many samples a sound of `length` has at another rate.
pub(super) fn resampled_length(length: u64, from: u32, to: u32) -> u64 {
    length
        .saturating_mul(to.into())
        .div_ceil(from.max(1).into())
}

/// How many samples at the rate `from` the first `length` at the rate `to` are made of.
pub(super) fn needed_length(length: usize, from: u32, to: u32) -> u64 {
    let reach = WIDTH / ROLLOFF * f64::from(from) / f64::from(from.min(to)) + 2.0;
    (length as u64 * u64::from(from)).div_ceil(u64::from(to.max(1))) + reach as u64
}

/// Resamples with a sinc filter under a window of Hann: `torchaudio.functional.resample` with
/// `sinc_interp_hann`, `lowpass_filter_width` 6 and `rolloff` 0.99. Sums are in double precision.
///
/// The filter has one phase for each output sample that has another place between its input
/// samples: no more than 12.2 coefficients for each Hz of the higher rate.
///
/// # Errors
/// `out_of_memory`.
pub(super) fn resample(samples: Vec<f32>, from: u32, to: u32) -> Result<Vec<f32>> {
    if from == to {
        return Ok(samples);
    }
    // Its length was compared with the limit before.
    let length = resampled_length(samples.len() as u64, from, to) as usize;
    let divisor = gcd(from, to);
    let (from, to) = (from / divisor, to / divisor);
    let needed = (to as usize).min(length);
    let mut phases: Vec<Phase> = reserved(&[needed], "the filter")?;
    phases.extend((0..needed).map(|at| Phase::new(at, from.into(), to.into())));
    let mut resampled: Vec<f32> = reserved(&[length], "the resampled sound")?;
    // The input sample at which the phases begin.
    let mut before = 0i64;
    while resampled.len() < length {
        let left = length - resampled.len();
        let outputs = phases.iter().map(|phase| phase.apply(&samples, before));
        resampled.extend(outputs.take(left));
        before += i64::from(from);
    }
    Ok(resampled)
}

/// The coefficients of the output samples at one place between input samples.
struct Phase {
    /// The first input sample that counts, from the one before the output sample.
    begin: i64,
    taps: Vec<f32>,
}

impl Phase {
    /// Output sample `at` of `to` samples for `from` ones.
    fn new(at: usize, from: f64, to: f64) -> Self {
        let cutoff = from.min(to) * ROLLOFF;
        let middle = at as f64 / to;
        let reach = WIDTH / cutoff;
        let begin = ((middle - reach) * from).ceil() as i64;
        let end = ((middle + reach) * from).floor() as i64;
        let tap = |index: i64| {
            let place = ((index as f64 / from - middle) * cutoff).clamp(-WIDTH, WIDTH);
            let window = (place * PI / WIDTH / 2.0).cos();
            let sinc = match place * PI {
                0.0 => 1.0,
                angle => angle.sin() / angle,
            };
            (sinc * window * window * cutoff / from) as f32
        };
        Self {
            begin,
            taps: (begin..=end).map(tap).collect(),
        }
    }

    /// The output sample, with zeros around the sound.
    fn apply(&self, samples: &[f32], before: i64) -> f32 {
        let begin = before + self.begin;
        let skip = usize::try_from(-begin).unwrap_or(0);
        let here = usize::try_from(begin.max(0)).unwrap_or(usize::MAX);
        let samples = samples.get(here..).unwrap_or_default();
        let taps = self.taps.get(skip..).unwrap_or_default();
        let products = samples.iter().zip(taps);
        let sum: f64 = products
            .map(|(sample, tap)| f64::from(*sample) * f64::from(*tap))
            .sum();
        sum as f32
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}
