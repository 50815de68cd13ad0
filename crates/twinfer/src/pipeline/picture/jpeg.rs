//! JPEG to pixels.

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::memory::{check_size, zeroed};
use super::orientation::Orientation;
use super::pixels::{PixelFormat, Pixels};
use crate::{Limits, Result, bail, err};

/// Decodes a JPEG: baseline or progressive, grey, colour or CMYK, 8 bits.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Pixels> {
    let mut decoder = decoder(bytes, ColorSpace::RGB);
    let headers = decoder.decode_headers();
    let (width, height) = decoder.dimensions().unwrap_or((0, 0));
    if headers.is_ok() {
        // The format has 16 bits for each.
        check_size(width as u32, height as u32, limits)?;
    }
    if !is_complete(bytes) {
        bail!(
            InvalidPicture,
            "the JPEG file is cut off: its end is missing"
        );
    }
    headers.map_err(failed)?;
    let orientation = decoder
        .exif()
        .map(|exif| Orientation::from_exif(exif))
        .unwrap_or_default();
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (color, format) = if grey {
        (
            ColorSpace::Luma,
            PixelFormat {
                samples: 1,
                wide: false,
            },
        )
    } else {
        (ColorSpace::RGB, PixelFormat::RGB)
    };
    let mut decoder = self::decoder(bytes, color);
    let mut data = zeroed(&[width, height, format.bytes()], "the pixels")?;
    decoder.decode_into(&mut data).map_err(failed)?;
    Ok(Pixels {
        width: width as u32,
        height: height as u32,
        format,
        orientation,
        data,
    })
}

fn decoder(bytes: &[u8], color: ColorSpace) -> JpegDecoder<ZCursor<&[u8]>> {
    // No SIMD, whatever features another crate switches on: the same pixels on every target.
    // Not strict: cameras write bytes between segments that every viewer skips. Files that are
    // cut off, which the decoder would fill up with grey, are refused before.
    let options = DecoderOptions::new_safe()
        .set_strict_mode(false)
        .set_max_width(u16::MAX.into())
        .set_max_height(u16::MAX.into())
        .jpeg_set_out_colorspace(color);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

fn failed(error: DecodeErrors) -> crate::Error {
    err!(
        InvalidPicture,
        "the JPEG file cannot be decoded, it may be damaged: {error}"
    )
}

/// Whether the end marker is there, found by walking over the segments and the compressed
/// data between them: a preview inside the Exif segment has an end marker of its own.
fn is_complete(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        // In compressed data FF 00 stands for FF, and FF D0 to FF D7 are restart markers.
        let Some(at) = rest
            .windows(2)
            .position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff | 0x01 | 0xd0..=0xd8))
        else {
            return false;
        };
        if rest[at + 1] == 0xd9 {
            return true;
        }
        let Some(&length) = rest[at + 2..].first_chunk() else {
            return false;
        };
        let length = usize::from(u16::from_be_bytes(length)).max(2);
        let Some(next) = rest.get(at + 2 + length..) else {
            return false;
        };
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::is_complete;

    #[test]
    fn the_end_is_looked_for_outside_of_segments() {
        let cases: &[(&str, &[u8], bool)] = &[
            ("empty", &[], false),
            ("only a start", &[0xff, 0xd8], false),
            ("start and end", &[0xff, 0xd8, 0xff, 0xd9], true),
            (
                "end inside a segment",
                &[0xff, 0xd8, 0xff, 0xe1, 0, 4, 0xff, 0xd9],
                false,
            ),
            (
                "data with FF 00 and a restart",
                &[
                    0xff, 0xd8, 0xff, 0xda, 0, 2, 1, 0xff, 0, 0xff, 0xd0, 0xff, 0xd9,
                ],
                true,
            ),
            (
                "data that stops",
                &[0xff, 0xd8, 0xff, 0xda, 0, 2, 1, 2, 3, 0xff],
                false,
            ),
            (
                "fill bytes before the end",
                &[0xff, 0xd8, 0xff, 0xff, 0xff, 0xd9, 7],
                true,
            ),
            (
                "segment longer than the file",
                &[0xff, 0xd8, 0xff, 0xe1, 0xff, 0xff, 0xff, 0xd9],
                false,
            ),
            (
                "segment of length 0",
                &[0xff, 0xd8, 0xff, 0xe1, 0, 0, 0xff, 0xd9],
                true,
            ),
        ];
        let failed: Vec<_> = cases
            .iter()
            .filter(|(_, bytes, want)| is_complete(bytes) != *want)
            .map(|c| c.0)
            .collect();
        assert_eq!(failed, [""; 0]);
    }
}
