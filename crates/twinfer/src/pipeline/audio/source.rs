//! Where samples come from.

use super::wav::{self, Wav};
use super::{Audio, MonoMix};
use crate::pipeline::memory::reserved;
use crate::{Limits, Result, bail};

/// A sound of which the samples were not looked at yet.
pub(super) enum Source<'a> {
    Wav(Wav<'a>),
    /// One channel after the other.
    Planar {
        sample_rate: u32,
        channels: usize,
        samples: &'a [f32],
    },
}

impl<'a> Source<'a> {
    /// # Errors
    /// `invalid_audio`, `body_too_large`.
    pub fn open(audio: &'a Audio, limits: &Limits) -> Result<Self> {
        match audio {
            Audio::Encoded(file) => {
                if file.len() as u64 > limits.max_bytes {
                    bail!(
                        BodyTooLarge,
                        "the sound has {} bytes, this model takes at most {}",
                        file.len(),
                        limits.max_bytes
                    );
                }
                wav::read(file).map(Self::Wav)
            }
            Audio::Samples {
                sample_rate,
                channels,
                samples,
            } => {
                let channels = *channels as usize;
                if channels == 0 || !samples.len().is_multiple_of(channels) {
                    bail!(
                        InvalidAudio,
                        "the sound has {} samples in {channels} channels; all channels must have the same length",
                        samples.len()
                    );
                }
                Ok(Self::Planar {
                    sample_rate: *sample_rate,
                    channels,
                    samples,
                })
            }
        }
    }

    /// Hz.
    pub fn sample_rate(&self) -> u32 {
        match self {
            Self::Wav(wav) => wav.sample_rate,
            Self::Planar { sample_rate, .. } => *sample_rate,
        }
    }

    /// Samples of each channel.
    pub fn frames(&self) -> usize {
        match self {
            Self::Wav(wav) => wav.frames,
            Self::Planar {
                channels, samples, ..
            } => samples.len() / channels,
        }
    }

    /// The first so many of them as one channel.
    ///
    /// # Errors
    /// `invalid_audio` for a sample that is not finite, `out_of_memory`.
    pub fn mono(&self, frames: usize, mono: MonoMix) -> Result<Vec<f32>> {
        let used = |channels: usize| match mono {
            MonoMix::Mean => channels,
            MonoMix::First => 1,
        };
        match self {
            Self::Wav(wav) => {
                let used = used(wav.channels);
                let sum = |frame: &[u8]| wav.samples_of(frame).take(used).sum::<f64>();
                mean(frames, used, wav.frames_of_bytes().map(sum))
            }
            Self::Planar {
                channels, samples, ..
            } => {
                let (used, length) = (used(*channels), samples.len() / channels);
                let sum = |at: usize| {
                    let here = samples.iter().skip(at).step_by(length).take(used);
                    here.map(|sample| f64::from(*sample)).sum::<f64>()
                };
                mean(frames, used, (0..frames).map(sum))
            }
        }
    }
}

/// Of sums over `channels`.
fn mean(frames: usize, channels: usize, sums: impl Iterator<Item = f64>) -> Result<Vec<f32>> {
    let mut samples: Vec<f32> = reserved(&[frames], "the sound")?;
    for (at, sum) in sums.take(frames).enumerate() {
        let mean = (sum / channels as f64) as f32;
        if !mean.is_finite() {
            bail!(
                InvalidAudio,
                "sample {at} of the sound is not a finite number"
            );
        }
        samples.push(mean);
    }
    Ok(samples)
}
