//! Sounds that are none, that are damaged, or that are over a limit.

use serde_json::json;

use super::{cases, file, input, made, mono};
use crate::pipeline::audio::{Audio, MAX_RATE};
use crate::pipeline::tests::{all_of, from_base64};
use crate::{ErrorCode, Limits};

/// A file with these bytes at a place of it.
fn with(name: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file(name);
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// A WAV file of chunks.
fn wav(chunks: &[Vec<u8>]) -> Vec<u8> {
    [b"RIFF\0\0\0\0WAVE".to_vec(), chunks.concat()].concat()
}

fn chunk(id: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
    [&id[..], &size.to_le_bytes(), body].concat()
}

/// 16 bits, one channel, 16 kHz.
const FORMAT: &[u8] = &[1, 0, 1, 0, 0x80, 0x3e, 0, 0, 0, 0x7d, 0, 0, 2, 0, 16, 0];

#[test]
fn sounds_that_are_none_or_too_large_are_refused_with_their_code() {
    use ErrorCode::{AudioTooLarge, BodyTooLarge, InvalidAudio};
    let pcm = "WAV PCM_16 1";
    // The format is at 20: tag, channels, rate, bytes a second, bytes of a frame, bits.
    assert_eq!(file(pcm)[12..16], *b"fmt ");
    let samples = [1u8, 0, 2, 0, 3, 0];
    let refused = [
        (Vec::new(), InvalidAudio, "not a WAV file"),
        (
            b"<!doctype html><title>no</title>".to_vec(),
            InvalidAudio,
            "not a WAV file",
        ),
        (
            b"fLaC\0\0\0\x22............".to_vec(),
            InvalidAudio,
            "but FLAC",
        ),
        (b"ID3\x04............".to_vec(), InvalidAudio, "but MP3"),
        (b"RIFX\0\0\0\0WAVEfmt ".to_vec(), InvalidAudio, "big-endian"),
        (
            b"RIFF\0\0\0\0AVI fmt ".to_vec(),
            InvalidAudio,
            "not a WAV file",
        ),
        (
            b"RIFF\0\0\0\0WAVE".to_vec(),
            InvalidAudio,
            "before its samples",
        ),
        (
            wav(&[chunk(b"data", 6, &samples)]),
            InvalidAudio,
            "before their format",
        ),
        (
            wav(&[chunk(b"fmt ", 16, FORMAT)]),
            InvalidAudio,
            "before its samples",
        ),
        (
            wav(&[chunk(b"fmt ", 12, &FORMAT[..12])]),
            InvalidAudio,
            "there must be 16",
        ),
        (
            wav(&[chunk(b"fmt ", u32::MAX, FORMAT)]),
            InvalidAudio,
            "cut off",
        ),
        (
            wav(&[chunk(b"fmt ", 16, FORMAT), chunk(b"data", 0, &[])]),
            InvalidAudio,
            "no samples",
        ),
        (
            wav(&[chunk(b"fmt ", 16, FORMAT), chunk(b"data", 8, &samples)]),
            InvalidAudio,
            "cut off",
        ),
        (
            wav(&[chunk(b"fmt ", 16, FORMAT), chunk(b"data", 5, &samples)]),
            InvalidAudio,
            "no whole frames",
        ),
        (
            wav(&[
                chunk(b"fmt ", 16, FORMAT),
                chunk(b"LIST", u32::MAX - 1, &samples),
            ]),
            InvalidAudio,
            "before its samples",
        ),
        (with(pcm, 20, &[6, 0]), InvalidAudio, "A-law"),
        (with(pcm, 20, &[0xfe, 0xff]), InvalidAudio, "extensible"),
        (with(pcm, 22, &[0, 0]), InvalidAudio, "0 channels"),
        (with(pcm, 22, &[0xff, 0xff]), InvalidAudio, "65535 channels"),
        (with(pcm, 24, &[0; 4]), InvalidAudio, "0 Hz"),
        (with(pcm, 24, &[0xff; 4]), InvalidAudio, "4294967295 Hz"),
        (with(pcm, 32, &[0, 0]), InvalidAudio, "in 0 bytes"),
        (with(pcm, 34, &[12, 0]), InvalidAudio, "12 bits"),
        // From 1 Hz the sound of 60 samples is a minute, and from there 960,000 samples.
        (
            with(pcm, 24, &[1, 0, 0, 0]),
            AudioTooLarge,
            "960000 at 16000 Hz",
        ),
    ];
    let limits = Limits {
        max_samples: 100_000,
        max_bytes: 10_000,
        ..Limits::default()
    };
    let step = input(&json!({}));
    all_of(&refused, |(file, code, text)| {
        let error = match step.tensor(Audio::Encoded(file.clone()), &limits) {
            Ok(tensor) => return Err(format!("{text}: {:?}", tensor.shape())),
            Err(error) => error,
        };
        match error.code() == *code && error.message().contains(text) {
            true => Ok(()),
            false => Err(format!("{text}: {}: {error}", error.code())),
        }
    });
    let large = step
        .tensor(Audio::Encoded(vec![0; 10_001]), &limits)
        .unwrap_err();
    assert_eq!(large.code(), BodyTooLarge);
    let long = step
        .tensor(mono(16000, vec![0.0; 100_001]), &limits)
        .unwrap_err();
    assert_eq!(long.code(), AudioTooLarge);
    // What a fixed length does not need is not looked at.
    let fixed = input(&json!({"samples": 50}));
    assert!(
        fixed
            .tensor(mono(16000, vec![0.0; 100_001]), &limits)
            .is_ok()
    );
}

#[test]
fn files_that_are_odd_but_whole_are_read() {
    let samples = [1u8, 0, 2, 0, 3, 0];
    let odd = [
        wav(&[
            chunk(b"LIST", 3, b"abc\0"),
            chunk(b"fmt ", 16, FORMAT),
            chunk(b"data", 6, &samples),
        ]),
        // A writer into a pipe, that was ended in the middle of a sample.
        wav(&[
            chunk(b"fmt ", 16, FORMAT),
            chunk(b"data", u32::MAX, &[1, 0, 2, 0, 3, 0, 4]),
        ]),
        wav(&[
            chunk(b"fmt ", 18, &[FORMAT, &[0, 0]].concat()),
            chunk(b"data", 6, &samples),
            chunk(b"id3 ", 900, &[]),
        ]),
        [
            &b"RF64"[..],
            &wav(&[
                chunk(b"ds64", 4, &[0; 4]),
                chunk(b"fmt ", 16, FORMAT),
                chunk(b"data", 6, &samples),
            ])[4..],
        ]
        .concat(),
    ];
    for file in odd {
        let tensor = made(&input(&json!({})), Audio::Encoded(file)).unwrap();
        let wanted = [1.0, 2.0, 3.0].map(|n: f32| n / 32768.0);
        assert_eq!(tensor.to_vec::<f32>().unwrap(), wanted);
    }
}

#[test]
fn samples_that_are_no_numbers_are_refused() {
    for (bad, bits) in [(f32::NAN, 32), (f32::INFINITY, 32), (f32::NAN, 64)] {
        let mut file = file(if bits == 32 {
            "WAV FLOAT 1"
        } else {
            "WAV DOUBLE 1"
        });
        let end = file.len();
        match bits {
            32 => file[end - 4..].copy_from_slice(&bad.to_le_bytes()),
            _ => file[end - 8..].copy_from_slice(&f64::from(bad).to_le_bytes()),
        }
        let error = made(&input(&json!({})), Audio::Encoded(file)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidAudio);
        assert!(error.message().contains("sample 59"), "{error}");
        let error = made(&input(&json!({})), mono(16000, vec![0.0, bad])).unwrap_err();
        assert!(error.message().contains("sample 1 "), "{error}");
    }
    // A double that is none in single precision.
    let mut file = file("WAV DOUBLE 1");
    let end = file.len();
    file[end - 8..].copy_from_slice(&1e300f64.to_le_bytes());
    let error = made(&input(&json!({})), Audio::Encoded(file)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidAudio);
}

#[test]
fn samples_in_no_channels_or_at_no_rate_are_refused() {
    let samples = |sample_rate, channels, length| Audio::Samples {
        sample_rate,
        channels,
        samples: vec![0.0; length],
    };
    for audio in [
        samples(16000, 0, 4),
        samples(16000, 3, 4),
        samples(16000, 1, 0),
        samples(0, 1, 4),
        samples(MAX_RATE + 1, 1, 4),
        samples(16000, u32::MAX, 4),
    ] {
        let error = made(&input(&json!({})), audio.clone()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidAudio, "{audio:?}");
    }
}

#[test]
fn sounds_that_are_shorter_than_a_frame_are_refused_where_nothing_is_put_around_them() {
    let mel = |center| json!({"features": {"mel_spectrogram": {"n_fft": 64, "hop_length": 8, "n_mels": 4, "center": center}}});
    let error = made(&input(&mel(false)), mono(16000, vec![0.5; 63])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidAudio);
    assert!(error.message().contains("at least 64"), "{error}");
    assert!(made(&input(&mel(false)), mono(16000, vec![0.5; 64])).is_ok());
    assert!(made(&input(&mel(true)), mono(16000, vec![0.5])).is_ok());
}

#[test]
fn a_spectrogram_is_bounded() {
    // A package may ask for a frame at each sample; a caller must not get gigabytes of them.
    let step = input(
        &json!({"features": {"mel_spectrogram": {"n_fft": 2, "hop_length": 1, "n_mels": 1000}}}),
    );
    let error = made(&step, mono(16000, vec![0.5; 20_000])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::AudioTooLarge);
}

/// A part of a file is never taken for the whole.
#[test]
fn sounds_that_are_cut_off_are_refused() {
    let step = input(&json!({}));
    all_of(cases("/files"), |case| {
        let file = from_base64(&case["file"]);
        let whole = made(&step, Audio::Encoded(file.clone())).unwrap();
        // libsndfile writes parts after the samples into some.
        let taken = (0..file.len()).find(|end| {
            let cut = made(&step, Audio::Encoded(file[..*end].to_vec()));
            cut.is_ok_and(|cut| cut != whole)
        });
        taken.map_or(Ok(()), |end| Err(format!("{}: {end}", case["name"])))
    });
}
