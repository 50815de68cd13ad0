//! Mel spectrograms: the formulas of librosa 0.11 (`librosa/feature/spectral.py`,
//! `librosa/filters.py`, `librosa/core/convert.py`, `librosa/core/spectrum.py`).

use std::f64::consts::PI;

use rustfft::FftPlannerScalar;
use rustfft::num_complex::Complex64;

use super::{
    LogReference, LogScale, Logarithm, MelLayout, MelNorm, MelScale, MelSpectrogram, PadMode,
    WindowFunction,
};
use crate::pipeline::memory::{reserved, zeroed};
use crate::{Normalize, Result, bail};

/// Numbers of a spectrogram at the most: 64 MiB. Twenty minutes of 128 bands, 100 times a second.
const MAX_NUMBERS: usize = 1 << 24;

/// How many frames a sound has; `None` for one that is shorter than a frame.
pub(crate) fn frames(step: &MelSpectrogram, samples: usize) -> Option<usize> {
    let (n_fft, hop) = (step.n_fft as usize, step.hop_length.max(1) as usize);
    let padded = match step.center {
        true => samples.checked_add(n_fft / 2 * 2)?,
        false => samples,
    };
    let all = padded.checked_sub(n_fft)? / hop + 1;
    Some(step.frames.map_or(all, |most| all.min(most as usize)))
}

/// The spectrogram in the layout of the tensor, and how many frames it has.
///
/// # Errors
/// `invalid_audio` for a sound that is too short, `audio_too_large`.
pub(super) fn mel(step: &MelSpectrogram, rate: u32, samples: &[f32]) -> Result<(Vec<f32>, usize)> {
    let Some(frames) = frames(step, samples.len()).filter(|_| !samples.is_empty()) else {
        bail!(
            InvalidAudio,
            "the sound has {} samples at {rate} Hz; this model needs at least {}",
            samples.len(),
            if step.center { 1 } else { step.n_fft }
        );
    };
    let bands = step.n_mels as usize;
    if frames.saturating_mul(bands) > MAX_NUMBERS {
        bail!(
            AudioTooLarge,
            "the sound is too long: {frames} frames of {bands} bands, at most {MAX_NUMBERS} numbers are made"
        );
    }
    let mut values = bands_of(step, rate, samples, frames)?;
    if let Some(log) = &step.log {
        logarithm(log, step.power, &mut values);
    }
    if let Some(by) = &step.normalize {
        normalize(by, bands, &mut values);
    }
    let mut numbers: Vec<f32> = reserved(&[bands, frames], "the spectrogram")?;
    match step.layout {
        MelLayout::FramesMels => numbers.extend(values.iter().map(|value| *value as f32)),
        MelLayout::MelsFrames => {
            for band in 0..bands {
                let row = values.iter().skip(band).step_by(bands);
                numbers.extend(row.map(|value| *value as f32));
            }
        }
    }
    Ok((numbers, frames))
}

/// Frame by frame, the bands of each.
///
/// # Errors
/// `out_of_memory`.
fn bands_of(step: &MelSpectrogram, rate: u32, samples: &[f32], frames: usize) -> Result<Vec<f64>> {
    let n_fft = step.n_fft as usize;
    let window = window(step);
    let filters = filters(step, rate);
    let plan = FftPlannerScalar::new().plan_fft_forward(n_fft);
    let mut scratch = vec![Complex64::default(); plan.get_inplace_scratch_len()];
    let mut spectrum = vec![Complex64::default(); n_fft];
    let mut magnitudes = vec![0.0; n_fft / 2 + 1];
    let before = if step.center { n_fft as i64 / 2 } else { 0 };
    let mut values: Vec<f64> = zeroed(&[frames, filters.len()], "the spectrogram")?;
    for (frame, bands) in values.chunks_exact_mut(filters.len()).enumerate() {
        let begin = frame as i64 * i64::from(step.hop_length) - before;
        for (at, (number, weight)) in spectrum.iter_mut().zip(&window).enumerate() {
            let sample = sample_at(samples, begin + at as i64, step.pad_mode);
            *number = Complex64::new(f64::from(sample) * weight, 0.0);
        }
        plan.process_with_scratch(&mut spectrum, &mut scratch);
        for (magnitude, number) in magnitudes.iter_mut().zip(&spectrum) {
            *magnitude = number.norm_sqr();
            if step.power == 1 {
                *magnitude = magnitude.sqrt();
            }
        }
        for (band, filter) in bands.iter_mut().zip(&filters) {
            *band = filter.apply(&magnitudes);
        }
    }
    Ok(values)
}

/// A sample; before the first and after the last one what is put there.
fn sample_at(samples: &[f32], at: i64, pad: PadMode) -> f32 {
    let length = samples.len() as i64;
    let at = match (0..length).contains(&at) {
        true => at,
        false if pad == PadMode::Constant => return 0.0,
        false if length == 1 => 0,
        // There and back again, as often as it takes.
        false => {
            let period = 2 * (length - 1);
            let place = at.rem_euclid(period);
            place.min(period - place)
        }
    };
    samples[at as usize]
}

/// The window, in the middle of the transform.
fn window(step: &MelSpectrogram) -> Vec<f64> {
    let n_fft = step.n_fft as usize;
    let length = step.win_length.unwrap_or(step.n_fft) as usize;
    let (mean, swing) = match step.window {
        WindowFunction::Hann => (0.5, 0.5),
        WindowFunction::Hamming => (0.54, 0.46),
    };
    let mut window = vec![0.0; n_fft];
    let begin = (n_fft - length) / 2;
    for (at, weight) in window[begin..begin + length].iter_mut().enumerate() {
        *weight = mean - swing * (2.0 * PI * at as f64 / length as f64).cos();
    }
    window
}

/// The weights of a band, from its first frequency that counts.
struct Filter {
    begin: usize,
    weights: Vec<f64>,
}

impl Filter {
    fn apply(&self, magnitudes: &[f64]) -> f64 {
        let products = magnitudes[self.begin..].iter().zip(&self.weights);
        products.map(|(magnitude, weight)| magnitude * weight).sum()
    }
}

/// `librosa.filters.mel`.
fn filters(step: &MelSpectrogram, rate: u32) -> Vec<Filter> {
    let (n_fft, bands) = (step.n_fft as usize, step.n_mels as usize);
    let half = f64::from(rate) / 2.0;
    let lowest = to_mel(step.f_min.into(), step.mel_scale);
    let highest = to_mel(step.f_max.map_or(half, f64::from), step.mel_scale);
    let distance = (highest - lowest) / (bands + 1) as f64;
    let edge = |at: usize| to_hertz(lowest + distance * at as f64, step.mel_scale);
    let filter = |band: usize| {
        let [low, middle, high] = [edge(band), edge(band + 1), edge(band + 2)];
        let scale = match step.norm {
            MelNorm::Slaney => 2.0 / (high - low),
            MelNorm::None => 1.0,
        };
        let weight = |bin: usize| {
            let frequency = bin as f64 * f64::from(rate) / n_fft as f64;
            let rising = (frequency - low) / (middle - low);
            let falling = (high - frequency) / (high - middle);
            rising.min(falling).max(0.0) * scale
        };
        let all: Vec<f64> = (0..=n_fft / 2).map(weight).collect();
        let begin = all.iter().position(|weight| *weight > 0.0).unwrap_or(0);
        let end = all.iter().rposition(|weight| *weight > 0.0);
        let weights = end.map_or_else(Vec::new, |end| all[begin..=end].to_vec());
        Filter { begin, weights }
    };
    (0..bands).map(filter).collect()
}

/// Slaney's scale is linear up to here, 15 mel.
const CORNER: f64 = 1000.0;
const PER_MEL: f64 = 200.0 / 3.0;
/// From there on 27 mel are a factor of 6.4.
const STEPS: f64 = 27.0;
const FACTOR: f64 = 6.4;

fn to_mel(hertz: f64, scale: MelScale) -> f64 {
    match scale {
        MelScale::Htk => 2595.0 * (1.0 + hertz / 700.0).log10(),
        MelScale::Slaney if hertz < CORNER => hertz / PER_MEL,
        MelScale::Slaney => CORNER / PER_MEL + (hertz / CORNER).ln() / (FACTOR.ln() / STEPS),
    }
}

fn to_hertz(mel: f64, scale: MelScale) -> f64 {
    let corner = CORNER / PER_MEL;
    match scale {
        MelScale::Htk => 700.0 * (10f64.powf(mel / 2595.0) - 1.0),
        MelScale::Slaney if mel < corner => mel * PER_MEL,
        MelScale::Slaney => CORNER * ((mel - corner) * (FACTOR.ln() / STEPS)).exp(),
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn logarithm(by: &Logarithm, power: u32, values: &mut [f64]) {
    let log = |value: f64| {
        let value = value.max(by.floor.into());
        match by.scale {
            LogScale::Natural => value.ln(),
            LogScale::Log10 => value.log10(),
            // Decibels are of power: the square of a magnitude.
            LogScale::Decibel => value.log10() * if power == 1 { 20.0 } else { 10.0 },
        }
    };
    let reference = log(match by.reference {
        LogReference::Value(value) => value.into(),
        LogReference::Max => largest(values) + f64::from(by.offset),
    });
    for value in values.iter_mut() {
        *value = log(*value + f64::from(by.offset)) - reference;
    }
    if let Some(range) = by.range {
        let least = largest(values) - f64::from(range);
        values
            .iter_mut()
            .for_each(|value| *value = value.max(least));
    }
}

fn normalize(by: &Normalize, bands: usize, values: &mut [f64]) {
    let of = |numbers: &[f32], band: usize| -> f64 {
        let number = numbers.get(band).or(numbers.first());
        number.copied().unwrap_or_default().into()
    };
    for (at, value) in values.iter_mut().enumerate() {
        let band = at % bands;
        *value = (*value - of(&by.mean, band)) / of(&by.std, band);
    }
}
