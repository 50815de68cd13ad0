//! A sound to the tensor of a model.

mod check;
mod mel;
mod resample;
mod source;
pub(super) mod spec;
#[cfg(test)]
mod tests;
mod wav;

pub(crate) use check::{check, shape};
pub use spec::*;

use mel::mel;
use resample::{needed_length, resample, resampled_length};
use source::Source;

use crate::{Limits, Result, Tensor, bail};

/// Samples a second at the most: twice what the fastest converters of sound give. The filter of a
/// resampling grows with it.
pub(crate) const MAX_RATE: u32 = 768_000;

/// A sound: encoded, or as samples.
#[derive(Debug, Clone, PartialEq)]
pub enum Audio {
    /// The bytes of a WAV file: whole samples of 8, 16, 24 or 32 bits, or floats of 32 or 64, of any
    /// number of channels.
    Encoded(Vec<u8>),
    /// Samples from -1 to 1, as an `AudioBuffer` has them.
    Samples {
        /// Samples a second (Hz).
        sample_rate: u32,
        /// How many channels there are.
        channels: u32,
        /// One channel after the other, all of the same length.
        samples: Vec<f32>,
    },
}

impl AudioInput {
    /// What the model takes of a sound: FP32, `[1, samples]`, `[1, n_mels, frames]` or as declared.
    ///
    /// # Errors
    /// `invalid_audio`, `audio_too_large`; `body_too_large` for more bytes than the limit;
    /// `out_of_memory`.
    pub fn tensor(&self, audio: Audio, limits: &Limits) -> Result<Tensor> {
        let (rate, samples) = decode(self, &audio, limits)?;
        drop(audio);
        let mut samples = resample(samples, rate, self.sample_rate)?;
        let fixed = self.samples.map(|samples| samples as usize);
        samples.truncate(fixed.unwrap_or(usize::MAX));
        scale(self, &mut samples);
        if let Some(length) = fixed {
            samples.resize(length, 0.0);
        }
        let (numbers, length) = match &self.features {
            AudioFeatures::Waveform(_) => {
                let length = samples.len();
                (samples, length)
            }
            AudioFeatures::MelSpectrogram(features) => mel(features, self.sample_rate, &samples)?,
        };
        let shape = shape(self, Some(length));
        let shape: Vec<usize> = shape.into_iter().flatten().collect();
        Tensor::from_vec(&shape, numbers)
    }
}

/// The sample rate, and as much of the sound as is needed, as one channel.
fn decode(step: &AudioInput, audio: &Audio, limits: &Limits) -> Result<(u32, Vec<f32>)> {
    let source = Source::open(audio, limits)?;
    let rate = source.sample_rate();
    if rate == 0 || rate > MAX_RATE {
        bail!(
            InvalidAudio,
            "the sound has a sample rate of {rate} Hz; from 1 to {MAX_RATE} are taken"
        );
    }
    if source.frames() == 0 {
        bail!(InvalidAudio, "the sound has no samples");
    }
    let needed = match step.samples {
        Some(length) => needed_length(length as usize, rate, step.sample_rate),
        None => u64::MAX,
    };
    let frames = (source.frames() as u64).min(needed);
    let made = resampled_length(frames, rate, step.sample_rate);
    let most = limits.max_samples;
    if frames > most || made > most {
        bail!(
            AudioTooLarge,
            "the sound has {frames} samples at {rate} Hz, {made} at {} Hz; this model takes at most {most}: make it shorter first",
            step.sample_rate
        );
    }
    // No more than there are.
    let samples = source.mono(frames as usize, step.channels)?;
    Ok((rate, samples))
}

/// Loudness: sums in double precision, one after the other.
fn scale(step: &AudioInput, samples: &mut [f32]) {
    let count = samples.len().max(1) as f64;
    let numbers = samples.iter().map(|sample| f64::from(*sample));
    let (shift, divisor) = match step.normalize {
        AudioNormalize::None => (0.0, 1.0),
        AudioNormalize::Peak => {
            let peak = numbers.fold(0.0, |peak: f64, number| peak.max(number.abs()));
            (0.0, if peak == 0.0 { 1.0 } else { peak })
        }
        AudioNormalize::ZeroMeanUnitVariance => {
            let mean = numbers.clone().sum::<f64>() / count;
            let squares = numbers.map(|number| (number - mean) * (number - mean));
            (mean, (squares.sum::<f64>() / count + 1e-7).sqrt())
        }
    };
    let scale = f64::from(step.scale);
    for sample in samples {
        *sample = ((f64::from(*sample) - shift) / divisor * scale) as f32;
    }
}
