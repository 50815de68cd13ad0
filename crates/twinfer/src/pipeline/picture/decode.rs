//! Encoded pictures to pixels: PNG, JPEG and WebP, the same pixels on every target.
//!
//! What is in the file beside the pixels is ignored (colour profiles, gamma, all frames of an
//! animation but the first), except for the Exif orientation, which is applied: a phone writes
//! an upright photo as a lying one with a note to turn it.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat};

use super::jpeg;
use super::memory::zeroed;
use super::pixels::{PixelFormat, Pixels};
use super::png;
use super::webp;
use crate::{Limits, Picture, Result, bail, err};

/// What a decoder may allocate beside the pixels: a colour profile, Exif data, text, its own
/// tables. Far more than cameras write, and too little to hurt.
const BESIDE_THE_PIXELS: u64 = 16 << 20;

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

/// Refuses a picture by its size, before anything of that size is allocated.
pub(super) fn check_size(width: u32, height: u32, limits: &Limits) -> Result<()> {
    if width == 0 || height == 0 {
        bail!(
            InvalidPicture,
            "the picture has no pixels: {width} x {height}"
        );
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        bail!(
            PictureTooLarge,
            "the picture has {pixels} pixels ({width} x {height}), this model takes at most {}: make it smaller first",
            limits.max_pixels
        );
    }
    Ok(())
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
        orientation: Orientation::NoTransforms,
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
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg::decode(bytes, limits),
        Ok(ImageFormat::Png) => from_png(bytes, limits),
        Ok(ImageFormat::WebP) => from_webp(bytes, limits),
        other => {
            let what = match other {
                Ok(format) => format!("a {} file", format!("{format:?}").to_uppercase()),
                Err(_) if bytes.is_empty() => "nothing (0 bytes)".into(),
                Err(_) => format!("{} bytes that are no known picture format", bytes.len()),
            };
            bail!(
                InvalidPicture,
                "expected a PNG, JPEG or WebP file, got {what}"
            )
        }
    }
}

fn from_png(bytes: &[u8], limits: &Limits) -> Result<Pixels> {
    let (width, height) = png::check(bytes, limits)?;
    let mut decoder_limits = image::Limits::no_limits();
    let widest_pixel = 8;
    let pixels = u64::from(width) * u64::from(height);
    decoder_limits.max_alloc = Some(
        pixels
            .saturating_mul(widest_pixel)
            .saturating_add(BESIDE_THE_PIXELS),
    );
    let decoder = PngDecoder::with_limits(Cursor::new(bytes), decoder_limits)
        .map_err(|e| failed("PNG", &e))?;
    from_decoder("PNG", decoder, limits)
}

fn from_webp(bytes: &[u8], limits: &Limits) -> Result<Pixels> {
    let file = webp::checked(bytes, limits)?;
    let decoder = WebPDecoder::new(Cursor::new(file)).map_err(|e| failed("WebP", &e))?;
    from_decoder("WebP", decoder, limits)
}

fn from_decoder(name: &str, mut decoder: impl ImageDecoder, limits: &Limits) -> Result<Pixels> {
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    let format = match decoder.color_type() {
        ColorType::L8 => PixelFormat {
            samples: 1,
            wide: false,
        },
        ColorType::La8 => PixelFormat {
            samples: 2,
            wide: false,
        },
        ColorType::Rgb8 => PixelFormat::RGB,
        ColorType::Rgba8 => PixelFormat::RGBA,
        ColorType::L16 => PixelFormat {
            samples: 1,
            wide: true,
        },
        ColorType::La16 => PixelFormat {
            samples: 2,
            wide: true,
        },
        ColorType::Rgb16 => PixelFormat {
            samples: 3,
            wide: true,
        },
        ColorType::Rgba16 => PixelFormat {
            samples: 4,
            wide: true,
        },
        other => bail!(
            InvalidPicture,
            "the {name} file has pixels of an unknown kind: {other:?}"
        ),
    };
    // A picture whose Exif data is broken is shown as it is stored, by browsers too.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut data = zeroed(
        &[width as usize, height as usize, format.bytes()],
        "the pixels",
    )?;
    decoder
        .read_image(&mut data)
        .map_err(|e| failed(name, &e))?;
    Ok(Pixels {
        width,
        height,
        format,
        orientation,
        data,
    })
}

fn failed(name: &str, error: &ImageError) -> crate::Error {
    match error {
        ImageError::Limits(_) => err!(
            PictureTooLarge,
            "the {name} file needs more than {} MiB beside its pixels: {error}",
            BESIDE_THE_PIXELS >> 20
        ),
        _ => err!(
            InvalidPicture,
            "the {name} file cannot be decoded, it may be damaged or cut off: {error}"
        ),
    }
}
