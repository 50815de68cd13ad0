//! What the types of an audio input cannot say.

use super::mel::frames;
use super::{AudioFeatures, AudioInput, LogReference, MAX_RATE, MelLayout, MelSpectrogram};
use crate::pipeline::check::finite;
use crate::{Result, bail};

/// Samples of a fixed length at the most: 64 MiB.
const MAX_SAMPLES: u32 = 1 << 24;
/// Samples of a transform at the most.
const MAX_FFT: u32 = 1 << 16;
/// Mel bands at the most.
const MAX_MELS: u32 = 1 << 10;
/// Frames that a sample is in at the most: each costs a transform.
const MAX_OVERLAP: u32 = 256;

/// # Errors
/// `invalid_package`.
pub(crate) fn check(step: &AudioInput) -> Result<()> {
    if step.sample_rate == 0 || step.sample_rate > MAX_RATE {
        bail!(
            InvalidPackage,
            "sample_rate must be from 1 to {MAX_RATE} Hz, got {}",
            step.sample_rate
        );
    }
    if let Some(samples) = step.samples
        && (samples == 0 || samples > MAX_SAMPLES)
    {
        bail!(
            InvalidPackage,
            "samples must be from 1 to {MAX_SAMPLES}, got {samples}"
        );
    }
    finite("scale", step.scale.into())?;
    match &step.features {
        AudioFeatures::Waveform(_) => Ok(()),
        AudioFeatures::MelSpectrogram(mel) => {
            check_mel(mel, step.sample_rate)?;
            check_frames(mel, step.samples)
        }
    }
}

fn check_mel(mel: &MelSpectrogram, rate: u32) -> Result<()> {
    let window = mel.win_length.unwrap_or(mel.n_fft);
    if mel.n_fft < 2 || mel.n_fft > MAX_FFT || window == 0 || window > mel.n_fft {
        bail!(
            InvalidPackage,
            "n_fft must be from 2 to {MAX_FFT}, and win_length from 1 to n_fft; got {} and {window}",
            mel.n_fft
        );
    }
    if mel.hop_length == 0 || mel.hop_length < mel.n_fft / MAX_OVERLAP {
        bail!(
            InvalidPackage,
            "hop_length must be at least 1, and n_fft / {MAX_OVERLAP}; got {}",
            mel.hop_length
        );
    }
    if mel.n_mels == 0 || mel.n_mels > MAX_MELS {
        bail!(
            InvalidPackage,
            "n_mels must be from 1 to {MAX_MELS}, got {}",
            mel.n_mels
        );
    }
    if !matches!(mel.power, 1 | 2) {
        bail!(
            InvalidPackage,
            "power must be 1 (magnitude) or 2 (power), got {}",
            mel.power
        );
    }
    let half = rate as f32 / 2.0;
    let highest = mel.f_max.unwrap_or(half);
    if !(mel.f_min >= 0.0 && mel.f_min < highest && highest <= half) {
        bail!(
            InvalidPackage,
            "f_min and f_max must be 0 <= f_min < f_max <= {half} (half of sample_rate), got {} and {highest}",
            mel.f_min
        );
    }
    check_numbers(mel)
}

fn check_numbers(mel: &MelSpectrogram) -> Result<()> {
    if let Some(log) = &mel.log {
        finite("log: offset", log.offset.into())?;
        if !(log.floor > 0.0 && log.floor.is_finite()) {
            bail!(
                InvalidPackage,
                "log: floor must be over 0, got {}; nothing has a logarithm there",
                log.floor
            );
        }
        if let LogReference::Value(value) = log.reference
            && !(value > 0.0 && value.is_finite())
        {
            bail!(
                InvalidPackage,
                "log: reference must be over 0, got {value}; nothing has a logarithm there"
            );
        }
        if let Some(range) = log.range
            && !(range >= 0.0 && range.is_finite())
        {
            bail!(
                InvalidPackage,
                "log: range must not be negative, got {range}"
            );
        }
    }
    let Some(by) = &mel.normalize else {
        return Ok(());
    };
    for (what, numbers) in [("mean", &by.mean), ("std", &by.std)] {
        if numbers.len() != 1 && numbers.len() != mel.n_mels as usize {
            bail!(
                InvalidPackage,
                "normalize: {what} must have 1 or {} numbers, got {}",
                mel.n_mels,
                numbers.len()
            );
        }
        for number in numbers {
            finite(&format!("normalize: {what}"), (*number).into())?;
        }
    }
    if by.std.contains(&0.0) {
        bail!(
            InvalidPackage,
            "normalize: std is divided by and must not be 0"
        );
    }
    Ok(())
}

fn check_frames(mel: &MelSpectrogram, samples: Option<u32>) -> Result<()> {
    let Some(samples) = samples else {
        return match mel.frames {
            Some(_) => bail!(
                InvalidPackage,
                "frames needs `samples`: of a sound of any length there may be fewer"
            ),
            None => Ok(()),
        };
    };
    let Some(made) = frames(mel, samples as usize) else {
        bail!(
            InvalidPackage,
            "{samples} samples are no frame of {} (n_fft)",
            mel.n_fft
        );
    };
    match mel.frames {
        Some(wanted) if wanted == 0 || wanted as usize > made => bail!(
            InvalidPackage,
            "{samples} samples are {made} frames, frames says {wanted}"
        ),
        _ => Ok(()),
    }
}

/// The shape of the tensor; `None` for what depends on the sound, of which `length` is known where
/// there is one: its samples, or its frames.
pub(crate) fn shape(step: &AudioInput, length: Option<usize>) -> Vec<Option<usize>> {
    let fixed = step.samples.map(|samples| samples as usize);
    match &step.features {
        AudioFeatures::Waveform(waveform) => {
            let length = length.or(fixed);
            match waveform.channel_axis {
                true => vec![Some(1), Some(1), length],
                false => vec![Some(1), length],
            }
        }
        AudioFeatures::MelSpectrogram(mel) => {
            let frames = length.or_else(|| fixed.and_then(|samples| frames(mel, samples)));
            let bands = Some(mel.n_mels as usize);
            let mut shape = vec![Some(1)];
            shape.extend(mel.channel_axis.then_some(Some(1)));
            shape.extend(match mel.layout {
                MelLayout::MelsFrames => [bands, frames],
                MelLayout::FramesMels => [frames, bands],
            });
            shape
        }
    }
}
