//! Sounds: against the reference (see `tests/reference/audio_reference.py`), and what is refused.

mod refused;

use std::sync::OnceLock;

use serde_json::{Value as Json, json};

use super::resample::{needed_length, resample, resampled_length};
use super::*;
use crate::pipeline::tests::{all_of, from_base64, step};

fn reference() -> &'static Json {
    static REFERENCE: OnceLock<Json> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        serde_json::from_str(include_str!("../../../../tests/reference/audio.json")).unwrap()
    })
}

fn floats(base64: &Json) -> Vec<f32> {
    let bytes = from_base64(base64);
    let numbers = bytes.as_chunks().0.iter();
    numbers.map(|b| f32::from_le_bytes(*b)).collect()
}

fn cases(key: &str) -> &'static [Json] {
    reference().pointer(key).unwrap().as_array().unwrap()
}

/// An input at the rate of the reference, with these fields beside.
fn input(more: &Json) -> AudioInput {
    let mut json = json!({
        "name": "audio", "tensor": "x", "sample_rate": reference()["rate"], "features": {"waveform": {}},
    });
    for (key, value) in more.as_object().unwrap() {
        json[key] = value.clone();
    }
    step(&json)
}

fn mono(sample_rate: u32, samples: Vec<f32>) -> Audio {
    Audio::Samples {
        sample_rate,
        channels: 1,
        samples,
    }
}

fn made(step: &AudioInput, audio: Audio) -> Result<Tensor> {
    step.tensor(audio, &Limits::default())
}

/// The file of a case of the reference.
fn file(name: &str) -> Vec<u8> {
    from_base64(
        &cases("/files")
            .iter()
            .find(|case| case["name"] == name)
            .unwrap()["file"],
    )
}

/// The largest difference, as a share of `absolute + relative * |wanted|`.
fn differ(ours: &[f32], wanted: &[f32], absolute: f32, relative: f32) -> Result<(), String> {
    if ours.len() != wanted.len() {
        return Err(format!("{} numbers, not {}", ours.len(), wanted.len()));
    }
    let far = ours.iter().zip(wanted).enumerate().find(|(_, (a, b))| {
        let off = (*a - *b).abs();
        off.is_nan() || off > absolute + relative * b.abs()
    });
    far.map_or(Ok(()), |(at, (a, b))| {
        Err(format!("number {at} is {a}, not {b}"))
    })
}

#[test]
fn wav_files_of_every_kind_have_the_samples_that_libsndfile_reads() {
    all_of(cases("/files"), |case| {
        let file = Audio::Encoded(from_base64(&case["file"]));
        for mix in ["mean", "first"] {
            let step = input(&json!({"channels": mix}));
            let tensor = made(&step, file.clone()).map_err(|e| format!("{}: {e}", case["name"]))?;
            let wanted = floats(&case[mix]);
            // One channel is exact; the reference adds channels in single precision.
            let tolerance = if mix == "first" { 0.0 } else { 1e-7 };
            differ(&tensor.to_vec::<f32>().unwrap(), &wanted, tolerance, 0.0)
                .map_err(|e| format!("{}, {mix}: {e}", case["name"]))?;
            assert_eq!(tensor.shape(), [1, wanted.len()]);
        }
        Ok(())
    });
}

#[test]
fn resampling_is_that_of_torchaudio() {
    let samples = floats(&reference()["resample"]["samples"]);
    all_of(cases("/resample/cases"), |case| {
        let [from, to] = ["from", "to"].map(|key| case[key].as_u64().unwrap() as u32);
        let ours = resample(samples.clone(), from, to).unwrap();
        assert_eq!(ours.len() as u64, resampled_length(300, from, to));
        // Coefficients of the filter in single precision, for samples up to 1.
        differ(&ours, &floats(&case["values"]), 2e-6, 1e-5)
            .map_err(|e| format!("{from} to {to}: {e}"))
    });
}

/// Only as much is read as counts: the samples are those of the whole sound.
#[test]
fn a_fixed_length_is_the_beginning_of_the_whole_sound() {
    let samples = floats(&reference()["resample"]["samples"]);
    for (from, to) in [
        (8000, 16000),
        (44100, 16000),
        (96000, 16000),
        (16000, 16000),
    ] {
        let whole = resample(samples.clone(), from, to).unwrap();
        for length in [1, 7, whole.len() / 2] {
            let needed = needed_length(length, from, to).min(300) as usize;
            let part = resample(samples[..needed].to_vec(), from, to).unwrap();
            assert_eq!(part[..length], whole[..length], "{from} to {to}, {length}");
            let step = input(&json!({"sample_rate": to, "samples": length}));
            let tensor = made(&step, mono(from, samples.clone())).unwrap();
            assert_eq!(tensor.to_vec::<f32>().unwrap(), whole[..length]);
        }
    }
    let step = input(&json!({"samples": 400}));
    let tensor = made(&step, mono(16000, samples.clone())).unwrap();
    let padded = tensor.to_vec::<f32>().unwrap();
    assert_eq!(padded[..300], samples);
    assert_eq!(padded[300..], [0.0; 100]);
}

#[test]
fn spectrograms_are_those_of_librosa_and_whisper() {
    all_of(cases("/mel"), |case| {
        let name = &case["name"];
        let step = input(&json!({"features": {"mel_spectrogram": case["step"]}}));
        check(&step)
            .map_err(|e| format!("{name}: {e}"))
            .or_else(|e| {
                // Of a sound of any length there may be fewer.
                if case["step"]["frames"].is_null() {
                    Err(e)
                } else {
                    Ok(())
                }
            })?;
        let samples = floats(&case["samples"]);
        let tensor = made(&step, mono(16000, samples)).map_err(|e| format!("{name}: {e}"))?;
        let shape: Vec<usize> = step_of(&case["shape"]);
        assert_eq!(tensor.shape()[0], 1);
        assert_eq!(tensor.shape()[1..], shape, "{name}");
        // Both are in double precision: what is left is the rounding to single at the end, and of
        // the normalisation's small divisors.
        differ(
            &tensor.to_vec::<f32>().unwrap(),
            &floats(&case["values"]),
            1e-5,
            1e-5,
        )
        .map_err(|e| format!("{name}: {e}"))
    });
}

fn step_of<T: serde::de::DeserializeOwned>(json: &Json) -> T {
    step(json)
}

#[test]
fn samples_are_normalised_as_transformers_and_librosa_do() {
    let samples = floats(&reference()["normalize"]["samples"]);
    for how in ["zero_mean_unit_variance", "peak"] {
        let step = input(&json!({"normalize": how}));
        let tensor = made(&step, mono(16000, samples.clone())).unwrap();
        let wanted = floats(&reference()["normalize"][how]);
        differ(&tensor.to_vec::<f32>().unwrap(), &wanted, 1e-6, 1e-6).unwrap();
    }
    let silence = made(
        &input(&json!({"normalize": "peak"})),
        mono(16000, vec![0.0; 3]),
    )
    .unwrap();
    assert_eq!(silence.to_vec::<f32>().unwrap(), [0.0; 3]);
    let step = input(&json!({"scale": 32768.0, "samples": 3}));
    let tensor = made(&step, mono(16000, vec![0.5, -1.0])).unwrap();
    assert_eq!(tensor.to_vec::<f32>().unwrap(), [16384.0, -32768.0, 0.0]);
}

#[test]
fn samples_of_a_page_are_those_of_the_file() {
    for mix in ["mean", "first"] {
        let step = input(&json!({"channels": mix}));
        let encoded = made(&step, Audio::Encoded(file("WAV FLOAT 6"))).unwrap();
        let wav = file("WAV FLOAT 6");
        let data = &wav[wav.len() - 60 * 6 * 4..];
        let interleaved: Vec<f32> = (data.as_chunks().0.iter())
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        let channel = |at: usize| interleaved.iter().copied().skip(at).step_by(6);
        let planar = Audio::Samples {
            sample_rate: 16000,
            channels: 6,
            samples: (0..6).flat_map(channel).collect(),
        };
        assert_eq!(made(&step, planar).unwrap(), encoded, "{mix}");
    }
}

#[test]
fn shapes_are_as_declared() {
    let mel = |more: Json| {
        let mut mel = json!({"n_fft": 64, "hop_length": 16, "n_mels": 8});
        for (key, value) in more.as_object().unwrap() {
            mel[key] = value.clone();
        }
        json!({"mel_spectrogram": mel})
    };
    let cases = [
        (json!({"waveform": {}}), vec![1, 160]),
        (json!({"waveform": {"channel_axis": true}}), vec![1, 1, 160]),
        (mel(json!({})), vec![1, 8, 11]),
        (mel(json!({"center": false})), vec![1, 8, 7]),
        (mel(json!({"layout": "frames_mels"})), vec![1, 11, 8]),
        (
            mel(json!({"channel_axis": true, "frames": 10})),
            vec![1, 1, 8, 10],
        ),
    ];
    all_of(&cases, |(features, wanted)| {
        let step = input(&json!({"features": features, "samples": 160}));
        check(&step).map_err(|e| format!("{features}: {e}"))?;
        let declared: Vec<usize> = shape(&step, None).into_iter().flatten().collect();
        let tensor = made(&step, mono(16000, vec![0.25; 100])).unwrap();
        match declared == *wanted && tensor.shape() == wanted {
            true => Ok(()),
            false => Err(format!("{features}: {:?}, {declared:?}", tensor.shape())),
        }
    });
}
