//! Any bytes as a sound: read, resampled, and made into features.

use twinfer::{Audio, AudioInput, Limits};

/// What packages may declare, as in `twinfer.json`.
const INPUTS: [&str; 3] = [
    r#"{"name": "a", "tensor": "x", "sample_rate": 16000, "features": {"waveform": {}}}"#,
    r#"{"name": "a", "tensor": "x", "sample_rate": 8000, "channels": "first", "samples": 500,
        "normalize": "zero_mean_unit_variance", "features": {"waveform": {"channel_axis": true}}}"#,
    r#"{"name": "a", "tensor": "x", "sample_rate": 11025, "normalize": "peak", "features": {
        "mel_spectrogram": {"n_fft": 64, "hop_length": 16, "n_mels": 8, "power": 1,
        "log": {"scale": "decibel", "reference": "max", "range": 80.0}}}}"#,
];

/// The tensors that become of it, as a file and as samples. Never panics, and takes no more memory
/// than the limits say.
///
/// # Errors
/// A declaration that cannot be read.
pub fn everything(data: &[u8]) -> Result<usize, serde_json::Error> {
    let limits = Limits {
        max_samples: 100_000,
        ..Limits::default()
    };
    let samples = data.chunks_exact(4);
    let samples = samples.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let audio = [
        Audio::Encoded(data.to_vec()),
        Audio::Samples {
            sample_rate: data.first().map_or(0, |byte| u32::from(*byte) * 500),
            channels: data.last().map_or(1, |byte| u32::from(byte % 4)),
            samples: samples.collect(),
        },
    ];
    let mut taken = 0;
    for input in INPUTS {
        let input: AudioInput = serde_json::from_str(input)?;
        for audio in &audio {
            taken += usize::from(input.tensor(audio.clone(), &limits).is_ok());
        }
    }
    Ok(taken)
}
