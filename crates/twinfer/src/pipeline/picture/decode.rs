//! Encoded pictures to pixels: PNG, JPEG and WebP, the same pixels on every target.
//!
//! What is in the file beside the pixels is ignored (colour profiles, gamma, all frames of an
//! animation but the first), except for the Exif orientation, which is applied: a phone writes
//! an upright photo as a lying one with a note to turn it.

use super::memory::check_size;
use super::orientation::Orientation;
use super::pixels::{PixelFormat, Pixels};
use super::{jpeg, png, webp};
use crate::{Limits, Picture, Result, bail};

/// The pixels of a picture.
///
/// # Errors
/// `invalid_picture`, `picture_too_large`, `out_of_memory`.
pub(crate) fn decode(picture: Picture, limits: &Limits) -> Result<Pixels> {
    match picture {
        Picture::Rgba {
            width,
            height,
            pixels,
        } => from_rgba(width, height, pixels, limits),
        Picture::Encoded(bytes) => from_file(&bytes, limits),
    }
}

fn from_rgba(width: u32, height: u32, data: Vec<u8>, limits: &Limits) -> Result<Pixels> {
    check_size(width, height, limits)?;
    let needed = 4 * u128::from(width) * u128::from(height);
    if data.len() as u128 != needed {
        bail!(
            InvalidPicture,
            "{width} x {height} RGBA pixels are {needed} bytes, got {}",
            data.len()
        );
    }
    Ok(Pixels {
        width,
        height,
        format: PixelFormat::RGBA,
        orientation: Orientation::Upright,
        data,
    })
}

fn from_file(bytes: &[u8], limits: &Limits) -> Result<Pixels> {
    if bytes.len() as u64 > limits.max_bytes {
        bail!(
            PictureTooLarge,
            "the picture file has {} bytes, this model takes at most {}",
            bytes.len(),
            limits.max_bytes
        );
    }
    match kind(bytes) {
        Some("JPEG") => jpeg::decode(bytes, limits),
        Some("PNG") => png::decode(bytes, limits),
        Some("WebP") => webp::decode(bytes, limits),
        other => {
            let what = match other {
                Some(kind) => format!("a {kind} file"),
                None if bytes.is_empty() => "nothing (0 bytes)".into(),
                None => format!("{} bytes that are no known picture format", bytes.len()),
            };
            bail!(
                InvalidPicture,
                "expected a PNG, JPEG or WebP file, got {what}"
            )
        }
    }
}

/// The format, by the first bytes: those that are read here, and those that people try.
fn kind(bytes: &[u8]) -> Option<&'static str> {
    let starts: [(&[u8], _); 8] = [
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"GIF8", "GIF"),
        (b"BM", "BMP"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"%PDF", "PDF"),
        (b"<svg", "SVG"),
    ];
    let start = starts.iter().find(|(start, _)| bytes.starts_with(start));
    let inner = bytes.get(4..12).and_then(|inner| match inner {
        [_, _, _, _, b'W', b'E', b'B', b'P'] if bytes.starts_with(b"RIFF") => Some("WebP"),
        b"ftypavif" | b"ftypavis" => Some("AVIF"),
        b"ftypheic" | b"ftypheix" | b"ftypmif1" => Some("HEIC"),
        _ => None,
    });
    start.map(|(_, kind)| *kind).or(inner)
}
