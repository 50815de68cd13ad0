//! How sounds are prepared: what stands under `pipeline.input` of the kind `audio`.

use serde::{Deserialize, Serialize};

use crate::Normalize;

/// A sound becomes one tensor of FP32: its samples, or its mel spectrogram.
///
/// In this order: all channels become one; it is resampled to `sample_rate`; cut to `samples`;
/// multiplied by `scale`; normalised; padded to `samples`; made into features. Samples go from -1 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct AudioInput {
    /// The caller's name for it.
    pub name: String,
    /// The model input that it becomes.
    pub tensor: String,
    /// Samples a second that the model was trained with (Hz). A sound with another rate is resampled
    /// with a windowed sinc filter, that of `torchaudio.functional.resample` with its defaults.
    pub sample_rate: u32,
    /// How several channels become one.
    #[serde(default)]
    pub channels: MonoMix,
    /// How many samples there are, at `sample_rate`: a longer sound loses its end, a shorter one gets
    /// zeros at its end. Absent where the model takes any length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub samples: Option<u32>,
    /// What samples are multiplied by: 32768 for models that want the numbers of 16 bits.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub scale: f32,
    /// What is done to the samples as a whole.
    #[serde(default, skip_serializing_if = "is_default")]
    pub normalize: AudioNormalize,
    /// What the tensor has.
    pub features: AudioFeatures,
}

fn one() -> f32 {
    1.0
}

fn is_one(scale: &f32) -> bool {
    *scale == 1.0
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How several channels become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum MonoMix {
    /// Their mean: `librosa.to_mono`.
    #[default]
    Mean,
    /// The first one.
    First,
}

/// What is done to the samples as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum AudioNormalize {
    /// Nothing.
    #[default]
    None,
    /// `(x - mean) / sqrt(variance + 1e-7)`: `Wav2Vec2FeatureExtractor` of transformers.
    ZeroMeanUnitVariance,
    /// Divided by the largest absolute value; silence stays silence.
    Peak,
}

/// What the tensor of a sound has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum AudioFeatures {
    /// The samples.
    Waveform(Waveform),
    /// A mel spectrogram.
    MelSpectrogram(MelSpectrogram),
}

/// The samples as they are: `[1, samples]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Waveform {
    /// Whether there is an axis of one channel: `[1, 1, samples]`.
    #[serde(default)]
    pub channel_axis: bool,
}

/// A mel spectrogram: `[1, n_mels, frames]`. Names, defaults and formulas are those of
/// `librosa.feature.melspectrogram` 0.11, but for `pad_mode`, whose default is that of torchaudio and
/// transformers. Computed in double precision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct MelSpectrogram {
    /// Samples of a transform (FFT).
    pub n_fft: u32,
    /// Samples from one frame to the next.
    pub hop_length: u32,
    /// Samples of the window, which is in the middle of `n_fft`; absent for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub win_length: Option<u32>,
    /// The window, in its periodic form.
    #[serde(default)]
    pub window: WindowFunction,
    /// Whether the first frame has its middle at the first sample, with `n_fft / 2` samples put at
    /// both ends; otherwise it begins there.
    #[serde(default = "yes")]
    pub center: bool,
    /// What is put at both ends.
    #[serde(default)]
    pub pad_mode: PadMode,
    /// The exponent of the magnitude: 1, or 2 for power.
    #[serde(default = "two")]
    pub power: u32,
    /// Mel bands.
    pub n_mels: u32,
    /// The lowest frequency, in Hz.
    #[serde(default)]
    pub f_min: f32,
    /// The highest frequency, in Hz; absent for half the sample rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub f_max: Option<f32>,
    /// The scale.
    #[serde(default)]
    pub mel_scale: MelScale,
    /// What a band is divided by.
    #[serde(default)]
    pub norm: MelNorm,
    /// The logarithm; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub log: Option<Logarithm>,
    /// `(value - mean) / std` at last: one number for all, or one for each band.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub normalize: Option<Normalize>,
    /// Frames at the most, those after them are left out (Whisper drops the last one). Only with
    /// `samples`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub frames: Option<u32>,
    /// Order of the axes.
    #[serde(default)]
    pub layout: MelLayout,
    /// Whether there is an axis of one channel after the first: `[1, 1, n_mels, frames]`.
    #[serde(default)]
    pub channel_axis: bool,
}

fn yes() -> bool {
    true
}

fn two() -> u32 {
    2
}

/// A window, periodic (`scipy.signal.get_window` with `fftbins`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum WindowFunction {
    /// `0.5 - 0.5 cos(2 pi n / N)`.
    #[default]
    Hann,
    /// `0.54 - 0.46 cos(2 pi n / N)`.
    Hamming,
}

/// What is put at both ends of a sound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum PadMode {
    /// The sound itself, backwards, without its last sample again: `numpy.pad` with `reflect`.
    #[default]
    Reflect,
    /// Zeros.
    Constant,
}

/// A mel scale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum MelScale {
    /// Linear up to 1000 Hz, then logarithmic (Slaney's Auditory Toolbox): librosa's default.
    #[default]
    Slaney,
    /// `2595 log10(1 + f / 700)`: torchaudio's default.
    Htk,
}

/// What a mel band is divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum MelNorm {
    /// Half its width in Hz, so that all have the same area: librosa's default.
    #[default]
    Slaney,
    /// Nothing: torchaudio's default.
    None,
}

/// A logarithm: `log(max(x + offset, floor))`, less that of the reference, kept within a range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Logarithm {
    /// Which one.
    pub scale: LogScale,
    /// Added first.
    #[serde(default)]
    pub offset: f32,
    /// Smaller values count as this one: `amin` of librosa.
    #[serde(default = "floor")]
    pub floor: f32,
    /// What is 0 afterwards: `ref` of librosa.
    #[serde(default)]
    pub reference: LogReference,
    /// Values further than this below the largest are raised to that: `top_db` of librosa, 8 for
    /// Whisper. In the unit of the logarithm. Absent for no such limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub range: Option<f32>,
}

fn floor() -> f32 {
    1e-10
}

/// Which logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum LogScale {
    /// To the base e.
    Natural,
    /// To the base 10.
    Log10,
    /// `10 log10` of power, `20 log10` of magnitude: `librosa.power_to_db`, `amplitude_to_db`.
    Decibel,
}

/// What is 0 after a logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum LogReference {
    /// This value.
    Value(f32),
    /// The largest of the spectrogram.
    Max,
}

impl Default for LogReference {
    fn default() -> Self {
        Self::Value(1.0)
    }
}

/// Order of the axes of a mel spectrogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum MelLayout {
    /// Bands, then frames: `[1, n_mels, frames]`.
    #[default]
    MelsFrames,
    /// Frames, then bands: `[1, frames, n_mels]`.
    FramesMels,
}
