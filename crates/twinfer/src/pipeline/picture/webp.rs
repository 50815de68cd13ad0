//! WebP to pixels.

use std::io::Cursor;

use image_webp::WebPDecoder;

use super::memory::check_size;
use super::orientation::Orientation;
use super::pixels::{PixelFormat, Pixels};
use crate::pipeline::PictureSize;
use crate::pipeline::memory::zeroed;
use crate::{Limits, Result, bail, err};

/// A side at the most. The format has room for one more, at which the decoder wraps around.
const MAX_SIDE: u32 = 16_383;

/// Decodes a WebP: lossy or lossless, the first frame of an animation.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Pixels> {
    let file = checked(bytes, limits)?;
    let failed = |error| {
        err!(
            InvalidPicture,
            "the WebP file cannot be decoded, it may be damaged or cut off: {error}"
        )
    };
    let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    let format = if decoder.has_alpha() {
        PixelFormat::RGBA
    } else {
        PixelFormat::RGB
    };
    let exif = decoder.exif_metadata().ok().flatten();
    let orientation = exif
        .map(|exif| Orientation::from_exif(&exif))
        .unwrap_or_default();
    let mut data = zeroed(
        &[width as usize, height as usize, format.bytes()],
        "the pixels",
    )?;
    decoder.read_image(&mut data).map_err(failed)?;
    Ok(Pixels {
        width,
        height,
        format,
        orientation,
        data,
    })
}

/// The part of the bytes that is the file, with sizes that agree, within the limits, and with
/// nothing cut off. The decoder allocates what the sizes in the file say before it looks whether
/// they agree with each other, or whether the file is that long.
fn checked<'a>(bytes: &'a [u8], limits: &Limits) -> Result<&'a [u8]> {
    let end = little_endian(bytes, 4, 4).and_then(|size| 8usize.checked_add(size as usize));
    let file = end.and_then(|end| bytes.get(..end));
    let Some(file @ [_, _, _, _, _, _, _, _, _, _, _, _, chunks @ ..]) = file else {
        bail!(
            InvalidPicture,
            "the WebP file is cut off: its end is missing"
        );
    };
    let mut canvas = None;
    for chunk in Chunks(chunks) {
        let (name, data) = chunk?;
        let Some(size) = size(name, data)? else {
            continue;
        };
        check_frame(size, limits)?;
        match canvas {
            // The first one is the canvas, or the only picture.
            None => canvas = Some(size),
            Some((width, height)) if name == b"ANMF" && size.0 <= width && size.1 <= height => {
                check_frames_inside(data, size)?;
            }
            Some(canvas) if name != b"ANMF" && size == canvas => {}
            Some(canvas) => disagree(size, canvas)?,
        }
    }
    Ok(file)
}

fn check_frames_inside(data: &[u8], frame: PictureSize) -> Result<()> {
    for chunk in Chunks(data.get(16..).unwrap_or_default()) {
        let (name, data) = chunk?;
        match size(name, data)? {
            Some(size) if size != frame => disagree(size, frame)?,
            _ => {}
        }
    }
    Ok(())
}

fn disagree(a: PictureSize, b: PictureSize) -> Result<()> {
    bail!(
        InvalidPicture,
        "the WebP file is damaged: it says {} x {} pixels and {} x {}",
        a.0,
        a.1,
        b.0,
        b.1
    )
}

fn check_frame((width, height): PictureSize, limits: &Limits) -> Result<()> {
    check_size(width, height, limits)?;
    if width > MAX_SIDE || height > MAX_SIDE {
        bail!(
            InvalidPicture,
            "a WebP picture has at most {MAX_SIDE} pixels to a side, this one is {width} x {height}"
        );
    }
    Ok(())
}

/// The chunks of a file, or of an animation frame: name and content.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<(&'a [u8; 4], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.0.split_first_chunk()?;
        let (size, rest) = rest
            .split_first_chunk()
            .map(|(size, rest)| (u32::from_le_bytes(*size), rest))?;
        let Some((data, rest)) = rest.split_at_checked(size as usize) else {
            self.0 = &[];
            return Some(cut_off());
        };
        // Chunks of odd size are followed by a byte of padding.
        self.0 = rest.get(data.len() % 2..).unwrap_or_default();
        Some(Ok((name, data)))
    }
}

fn cut_off<T>() -> Result<T> {
    bail!(
        InvalidPicture,
        "the WebP file is damaged: a part of it is longer than the whole"
    )
}

/// Width and height that a chunk states; `None` for chunks that state none.
fn size(name: &[u8; 4], data: &[u8]) -> Result<Option<PictureSize>> {
    let number = |at, bytes| little_endian(data, at, bytes);
    let size = match name {
        b"VP8X" => number(4, 3).zip(number(7, 3)).map(|(w, h)| (w + 1, h + 1)),
        b"ANMF" => number(6, 3).zip(number(9, 3)).map(|(w, h)| (w + 1, h + 1)),
        b"VP8 " => number(6, 2)
            .zip(number(8, 2))
            .map(|(w, h)| (w & 0x3fff, h & 0x3fff)),
        b"VP8L" => number(1, 4).map(|bits| ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)),
        _ => return Ok(None),
    };
    match size {
        Some(size) => Ok(Some(size)),
        None => bail!(
            InvalidPicture,
            "the WebP file is damaged: a part of it is too short"
        ),
    }
}

/// The number in up to four bytes at this place.
fn little_endian(data: &[u8], at: usize, bytes: usize) -> Option<u32> {
    let bytes = data.get(at..at + bytes)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u32::from(*byte)),
    )
}
