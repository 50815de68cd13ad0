//! PNG to pixels.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Transformations};

use super::memory::check_size;
use super::orientation::Orientation;
use super::pixels::{PixelFormat, Pixels};
use crate::pipeline::memory::zeroed;
use crate::{Limits, Result, bail, err};

/// What the decoder may allocate beside the pixels: Exif data, a palette, its own tables. Far
/// more than cameras write, and too little to hurt.
const BESIDE_THE_PIXELS: u64 = 16 << 20;

/// Decodes a PNG: every kind of pixel, the still picture of an animation.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Pixels> {
    let (width, height) = check(bytes, limits)?;
    let widest_pixel = 8;
    let most = (u64::from(width) * u64::from(height))
        .saturating_mul(widest_pixel)
        .saturating_add(BESIDE_THE_PIXELS);
    let most = png::Limits {
        bytes: usize::try_from(most).unwrap_or(usize::MAX),
    };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), most);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // Palettes to colours, 1, 2 and 4 bits to 8, a transparent colour to an alpha channel.
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(failed)?;
    let (color, depth) = reader.output_color_type();
    let format = PixelFormat {
        samples: match color {
            ColorType::Grayscale => 1,
            ColorType::GrayscaleAlpha => 2,
            ColorType::Rgb => 3,
            ColorType::Rgba => 4,
            // Expanded above.
            ColorType::Indexed => bail!(InvalidPicture, "the PNG file has colours without names"),
        },
        wide: depth == BitDepth::Sixteen,
    };
    let exif = reader.info().exif_metadata.as_deref();
    let orientation = exif.map(Orientation::from_exif).unwrap_or_default();
    let mut data = zeroed(
        &[width as usize, height as usize, format.bytes()],
        "the pixels",
    )?;
    reader.next_frame(&mut data).map_err(failed)?;
    Ok(Pixels {
        width,
        height,
        format,
        orientation,
        data,
    })
}

fn failed(error: DecodingError) -> crate::Error {
    match error {
        DecodingError::LimitsExceeded => err!(
            PictureTooLarge,
            "the PNG file needs more than {} MiB beside its pixels",
            BESIDE_THE_PIXELS >> 20
        ),
        _ => err!(
            InvalidPicture,
            "the PNG file cannot be decoded, it may be damaged or cut off: {error}"
        ),
    }
}

/// Width and height. Refuses files on which the decoder would allocate too much or panic;
/// everything else about the format is left to the decoder.
fn check(bytes: &[u8], limits: &Limits) -> Result<(u32, u32)> {
    let number = |at: usize| {
        bytes
            .get(at..)?
            .first_chunk()
            .copied()
            .map(u32::from_be_bytes)
    };
    let (Some(b"IHDR"), Some(width), Some(height)) = (bytes.get(12..16), number(16), number(20))
    else {
        bail!(
            InvalidPicture,
            "the PNG file is damaged: it does not begin with a header"
        );
    };
    // The decoder allocates rows of this width while it reads the header.
    check_size(width, height, limits)?;
    let mut at = 8;
    while let (Some(size), Some(name)) = (number(at), bytes.get(at + 4..at + 8)) {
        // image-rs/image-png#694: a palette of another length than whole colours ends in a
        // panic in png 0.18.1.
        if name == b"PLTE" && !size.is_multiple_of(3) {
            bail!(
                InvalidPicture,
                "the PNG file is damaged: its palette has {size} bytes, not three to a colour"
            );
        }
        // Length, name and checksum. Sizes add up to no more than the bytes that are there.
        let next = (size as usize)
            .checked_add(at + 12)
            .filter(|&next| next < bytes.len());
        let Some(next) = next.filter(|_| name != b"IDAT") else {
            break;
        };
        at = next;
    }
    Ok((width, height))
}
