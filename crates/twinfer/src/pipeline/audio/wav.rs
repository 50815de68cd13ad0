//! WAV files: RIFF and RF64 with whole or floating-point samples (Microsoft, "Multimedia
//! Programming Interface and Data Specifications 1.0" and "Multiple Channel Audio Data and WAVE
//! Files"; EBU Tech 3306).

use crate::{Result, bail, err};

const PCM: u16 = 1;
const FLOAT: u16 = 3;
const EXTENSIBLE: u16 = 0xfffe;
/// What follows the two bytes of the format in the identifier of an extensible one.
const SUBFORMAT: [u8; 14] = [0, 0, 0, 0, 16, 0, 128, 0, 0, 170, 0, 56, 155, 113];
/// A size that the writer did not know: one that writes into a pipe, or of more than 4 GiB.
const UNKNOWN: u32 = u32::MAX;

/// What a file has, before its samples are read.
#[derive(Debug)]
pub(super) struct Wav<'a> {
    pub sample_rate: u32,
    pub channels: usize,
    pub frames: usize,
    sample: Sample,
    data: &'a [u8],
}

/// How a sample is written, little-endian.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sample {
    U8,
    I16,
    I24,
    I32,
    F32,
    F64,
}

impl Sample {
    fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::I16 => 2,
            Self::I24 => 3,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// From -1 to 1; floats are what they are. Of bytes that are as many as [`Sample::bytes`].
    fn value(self, bytes: &[u8]) -> f64 {
        match (self, bytes) {
            (Self::U8, [a]) => (f64::from(*a) - 128.0) / 128.0,
            (Self::I16, [a, b]) => f64::from(i16::from_le_bytes([*a, *b])) / 32768.0,
            (Self::I24, [a, b, c]) => {
                f64::from(i32::from_le_bytes([0, *a, *b, *c])) / 2_147_483_648.0
            }
            (Self::I32, [a, b, c, d]) => {
                f64::from(i32::from_le_bytes([*a, *b, *c, *d])) / 2_147_483_648.0
            }
            (Self::F32, [a, b, c, d]) => f32::from_le_bytes([*a, *b, *c, *d]).into(),
            (Self::F64, bytes) => bytes.try_into().map_or(0.0, f64::from_le_bytes),
            _ => 0.0,
        }
    }
}

impl<'a> Wav<'a> {
    /// The bytes of each frame.
    pub fn frames_of_bytes(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.data.chunks_exact(self.sample.bytes() * self.channels)
    }

    /// The samples of a frame, channel by channel.
    pub fn samples_of(&self, frame: &[u8]) -> impl Iterator<Item = f64> {
        let sample = self.sample;
        let samples = frame.chunks_exact(sample.bytes());
        samples.map(move |bytes| sample.value(bytes))
    }
}

/// Reads the head of a file.
///
/// # Errors
/// `invalid_audio`.
pub(super) fn read(file: &[u8]) -> Result<Wav<'_>> {
    let kind = file.get(..4).zip(file.get(8..12));
    match kind {
        Some((b"RIFF" | b"RF64", b"WAVE")) => {}
        Some((b"RIFX", b"WAVE")) => bail!(
            InvalidAudio,
            "this is a big-endian WAV file (RIFX); only little-endian ones are read"
        ),
        _ => bail!(
            InvalidAudio,
            "this is not a WAV file{}",
            looks_like(file).map_or_else(
                || "; convert it to one".into(),
                |what| format!(" but {what}: convert it to one")
            )
        ),
    }
    let mut rest = &file[12..];
    let mut format = None;
    while let Some((id, size, body)) = chunk(rest) {
        match id {
            b"fmt " => format = Some(read_format(whole("fmt ", size, body)?)?),
            b"data" => {
                let Some(format) = format else {
                    bail!(
                        InvalidAudio,
                        "the WAV file has its samples before their format"
                    );
                };
                let data = match size {
                    UNKNOWN => body,
                    _ => whole("data", size, body)?,
                };
                return with_data(format, data, size == UNKNOWN);
            }
            _ => {}
        }
        // Chunks begin at even places.
        let next = (size as usize).saturating_add(size as usize & 1);
        rest = body.get(next..).unwrap_or_default();
    }
    bail!(
        InvalidAudio,
        "the WAV file ends before its samples; is it cut off?"
    )
}

/// The identifier of a chunk, its size, and all that follows.
fn chunk(rest: &[u8]) -> Option<(&[u8; 4], u32, &[u8])> {
    let (id, rest) = rest.split_first_chunk()?;
    let (size, rest) = rest.split_first_chunk()?;
    Some((id, u32::from_le_bytes(*size), rest))
}

fn whole<'a>(name: &str, size: u32, body: &'a [u8]) -> Result<&'a [u8]> {
    body.get(..size as usize).ok_or_else(|| {
        err!(
            InvalidAudio,
            "the WAV file is cut off: its part `{name}` has {size} bytes, {} are there",
            body.len()
        )
    })
}

struct Format {
    sample_rate: u32,
    channels: usize,
    sample: Sample,
}

fn read_format(body: &[u8]) -> Result<Format> {
    let [
        t0,
        t1,
        c0,
        c1,
        r0,
        r1,
        r2,
        r3,
        _,
        _,
        _,
        _,
        a0,
        a1,
        b0,
        b1,
        more @ ..,
    ] = body
    else {
        bail!(
            InvalidAudio,
            "the WAV file says of its format {} bytes, there must be 16",
            body.len()
        );
    };
    let channels = usize::from(u16::from_le_bytes([*c0, *c1]));
    let align = usize::from(u16::from_le_bytes([*a0, *a1]));
    let bits = u16::from_le_bytes([*b0, *b1]);
    let mut tag = u16::from_le_bytes([*t0, *t1]);
    if tag == EXTENSIBLE {
        tag = match more {
            [_, _, _, _, _, _, _, _, s0, s1, tail @ ..] if tail.starts_with(&SUBFORMAT) => {
                u16::from_le_bytes([*s0, *s1])
            }
            _ => bail!(
                InvalidAudio,
                "the WAV file has an extensible format that is not one of samples"
            ),
        };
    }
    let sample = match (tag, bits) {
        (PCM, 8) => Sample::U8,
        (PCM, 16) => Sample::I16,
        (PCM, 24) => Sample::I24,
        (PCM, 32) => Sample::I32,
        (FLOAT, 32) => Sample::F32,
        (FLOAT, 64) => Sample::F64,
        _ => bail!(
            InvalidAudio,
            "the WAV file has samples of the format {tag} ({}) with {bits} bits; whole ones of 8, 16, 24 or 32 bits and floats of 32 or 64 are read",
            format_name(tag)
        ),
    };
    if channels == 0 || align != channels * sample.bytes() {
        bail!(
            InvalidAudio,
            "the WAV file has {channels} channels of {bits} bits in {align} bytes, which cannot be"
        );
    }
    Ok(Format {
        sample_rate: u32::from_le_bytes([*r0, *r1, *r2, *r3]),
        channels,
        sample,
    })
}

fn with_data(format: Format, data: &[u8], may_end_anywhere: bool) -> Result<Wav<'_>> {
    let Format {
        sample_rate,
        channels,
        sample,
    } = format;
    let frame = channels * sample.bytes();
    if !data.len().is_multiple_of(frame) && !may_end_anywhere {
        bail!(
            InvalidAudio,
            "the WAV file has {} bytes of samples, which are no whole frames of {frame}",
            data.len()
        );
    }
    Ok(Wav {
        sample_rate,
        channels,
        frames: data.len() / frame,
        sample,
        data,
    })
}

fn format_name(tag: u16) -> &'static str {
    match tag {
        PCM => "PCM",
        2 | 0x11 => "ADPCM",
        FLOAT => "IEEE float",
        6 => "A-law",
        7 => "mu-law",
        0x50 | 0x55 => "MPEG",
        _ => "unknown",
    }
}

/// What people give instead.
fn looks_like(file: &[u8]) -> Option<&'static str> {
    match file {
        [b'f', b'L', b'a', b'C', ..] => Some("FLAC"),
        [b'O', b'g', b'g', b'S', ..] => Some("Ogg"),
        [b'I', b'D', b'3', ..] | [0xff, 0xe2..=0xff, ..] => Some("MP3 or AAC"),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some("WebM or Matroska"),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some("MP4"),
        [b'F', b'O', b'R', b'M', ..] => Some("AIFF"),
        _ => None,
    }
}
