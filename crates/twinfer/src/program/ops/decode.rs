//! Pictures in files to pixels.

use super::real;
use crate::pipeline::picture::stored_rgb;
use crate::program::inputs::{Kernel, tensor_kernel};
use crate::program::node::Node;
use crate::{ErrorCode, Limits, Result, Tensor, bail, err};

pub(super) const OPS: super::Table = &[("ImageDecoder", make_decoder)];

#[derive(Clone, Copy)]
enum Format {
    Rgb,
    Bgr,
    Grey,
}

/// Height, width, and RGB bytes.
type Rgb = (usize, usize, Vec<u8>);

/// `ImageDecoder` (Operators.md, ai.onnx 20), but for JPEG 2000 and compressed TIFF.
fn make_decoder(node: &Node<'_>) -> Result<Option<Kernel>> {
    let format = match node.text("pixel_format", "RGB")? {
        "RGB" => Format::Rgb,
        "BGR" => Format::Bgr,
        "Grayscale" => Format::Grey,
        other => bail!(InvalidModel, "`{other}` is no pixel_format"),
    };
    tensor_kernel(move |inputs| {
        let file = inputs.tensor(0)?.to_vec::<u8>()?;
        let (height, width, rgb) = match decode(file) {
            // A damaged file gives an empty matrix.
            Err(error) if error.code() == ErrorCode::InvalidPicture => (0, 0, Vec::new()),
            decoded => decoded?,
        };
        let (pixels, _) = rgb.as_chunks::<3>();
        match format {
            Format::Rgb => Tensor::from_vec(&[height, width, 3], rgb),
            Format::Bgr => {
                let bgr = pixels.iter().flat_map(|&[r, g, b]| [b, g, r]);
                Tensor::from_vec(&[height, width, 3], bgr.collect())
            }
            Format::Grey => {
                Tensor::from_vec(&[height, width, 1], pixels.iter().map(grey).collect())
            }
        }
    })
    .map(Some)
}

/// ITU-R 601-2, in whole numbers, as Pillow has it.
fn grey(&[r, g, b]: &[u8; 3]) -> u8 {
    let sum = 19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b);
    ((sum + 0x8000) >> 16) as u8
}

fn decode(file: Vec<u8>) -> Result<Rgb> {
    match file.get(..4).unwrap_or_default() {
        [b'B', b'M', ..] => bmp(&file),
        [b'P', kind @ b'1'..=b'6', ..] => pnm(&file, *kind),
        [b'I', b'I', 42, 0] | [b'M', b'M', 0, 42] => tiff(&file),
        [0, 0, 0, 12] | [0xff, 0x4f, 0xff, 0x51] => unsupported("JPEG 2000"),
        _ => stored_rgb(file, &Limits::default()),
    }
}

fn unsupported<T>(what: &str) -> Result<T> {
    bail!(
        UnsupportedOperator,
        "operator `ImageDecoder`: {what} is not supported"
    )
}

fn damaged() -> crate::Error {
    err!(InvalidPicture, "the picture is damaged")
}

/// Room for the pixels of a picture.
fn room(height: usize, width: usize) -> Result<Vec<u8>> {
    let pixels = height as u128 * width as u128;
    if pixels > u128::from(Limits::default().max_pixels) {
        bail!(
            PictureTooLarge,
            "the picture has {pixels} pixels, which are too many"
        );
    }
    if pixels == 0 {
        return Err(damaged());
    }
    real::filled(&[height, width, 3], 0u8)
}

fn u16_at(file: &[u8], at: usize, little: bool) -> Result<u32> {
    let bytes = file
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .ok_or_else(damaged)?;
    Ok(if little {
        u16::from_le_bytes(*bytes)
    } else {
        u16::from_be_bytes(*bytes)
    }
    .into())
}

fn u32_at(file: &[u8], at: usize, little: bool) -> Result<u32> {
    let bytes = file
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .ok_or_else(damaged)?;
    Ok(if little {
        u32::from_le_bytes(*bytes)
    } else {
        u32::from_be_bytes(*bytes)
    })
}

/// A BMP without compression: 1, 4 or 8 bits with colours, 24 or 32 bits.
fn bmp(file: &[u8]) -> Result<Rgb> {
    let number = |at| u32_at(file, at, true);
    let (start, header) = (number(10)? as usize, number(14)? as usize);
    if header < 40 {
        return unsupported("BMP of OS/2");
    }
    let (width, height) = (number(18)? as i32, number(22)? as i32);
    let width = usize::try_from(width).map_err(|_| damaged())?;
    let (bits, packed) = (u16_at(file, 28, true)? as usize, number(30)?);
    // Masks are taken where they say what is usual.
    let usual = packed == 3 && bits == 32 && number(54)? == 0x00ff_0000;
    if !matches!(bits, 1 | 4 | 8 | 24 | 32) || (packed != 0 && !usual) {
        return unsupported("compressed BMP");
    }
    let colors = 14usize.saturating_add(header);
    let rows = height.unsigned_abs() as usize;
    let mut rgb = room(rows, width)?;
    let stride = (width * bits).div_ceil(32) * 4;
    for (row, out) in rgb.chunks_exact_mut(width * 3).enumerate() {
        // The last row is first, where the height is above 0.
        let row = if height > 0 { rows - 1 - row } else { row };
        let from = row.checked_mul(stride).and_then(|at| at.checked_add(start));
        let line = from
            .and_then(|from| file.get(from..)?.get(..stride))
            .ok_or_else(damaged)?;
        for (x, out) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let bgr = match bits {
                24 | 32 => line.get(x * bits / 8..),
                _ => {
                    let byte = line.get(x * bits / 8).copied().ok_or_else(damaged)?;
                    let shift = 8 - bits - x * bits % 8;
                    let color = (usize::from(byte) >> shift) & ((1 << bits) - 1);
                    file.get(colors.saturating_add(color * 4)..)
                }
            };
            let [b, g, r] = *bgr.and_then(|bgr| bgr.first_chunk()).ok_or_else(damaged)?;
            *out = [r, g, b];
        }
    }
    Ok((rows, width, rgb))
}

/// A word of the header of a PNM, and what is behind the white space after it.
fn word(mut file: &[u8]) -> Result<(usize, &[u8])> {
    loop {
        file = file.trim_ascii_start();
        if file.first() != Some(&b'#') {
            break;
        }
        let end = file.iter().position(|&b| b == b'\n');
        file = file.get(end.unwrap_or(file.len())..).unwrap_or_default();
    }
    let end = file
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(file.len());
    let (digits, rest) = file.split_at(end);
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    Ok((number.ok_or_else(damaged)?, rest))
}

/// A PBM, PGM or PPM, of text or of bytes.
fn pnm(file: &[u8], kind: u8) -> Result<Rgb> {
    let (text, channels, bits) = match kind {
        b'1' => (true, 1, true),
        b'2' => (true, 1, false),
        b'3' => (true, 3, false),
        b'4' => (false, 1, true),
        b'5' => (false, 1, false),
        _ => (false, 3, false),
    };
    let (width, rest) = word(file.get(2..).unwrap_or_default())?;
    let (height, rest) = word(rest)?;
    let (most, mut rest) = if bits { (1, rest) } else { word(rest)? };
    if !(1..=65535).contains(&most) {
        return Err(damaged());
    }
    let mut rgb = room(height, width)?;
    if !text {
        // One character of white space ends the header.
        rest = rest.get(1..).unwrap_or_default();
    }
    let wide = if most > 255 { 2 } else { 1 };
    let stride = if bits {
        width.div_ceil(8)
    } else {
        width * channels * wide
    };
    let data = rest;
    for (at, out) in rgb.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (row, x) = (at / width, at % width);
        let mut samples = [0usize; 3];
        for (channel, sample) in samples.iter_mut().take(channels).enumerate() {
            *sample = match (text, bits) {
                (true, true) => {
                    rest = rest.trim_ascii_start();
                    let (digit, behind) = rest.split_first().ok_or_else(damaged)?;
                    rest = behind;
                    usize::from(*digit == b'0')
                }
                (true, false) => {
                    let (number, behind) = word(rest)?;
                    rest = behind;
                    number
                }
                (false, true) => {
                    let byte = data.get(row * stride + x / 8).ok_or_else(damaged)?;
                    // 1 is black.
                    usize::from(byte >> (7 - x % 8) & 1 == 0)
                }
                (false, false) => {
                    let at = row * stride + (x * channels + channel) * wide;
                    match wide {
                        1 => (*data.get(at).ok_or_else(damaged)?).into(),
                        _ => u16_at(data, at, false)? as usize,
                    }
                }
            };
        }
        let bytes = samples.map(|s| ((s.min(most) * 255 + most / 2) / most) as u8);
        *out = if channels == 1 { [bytes[0]; 3] } else { bytes };
    }
    Ok((height, width, rgb))
}

/// The fields of a TIFF that are looked at.
struct Fields<'a> {
    file: &'a [u8],
    little: bool,
    first: usize,
    count: usize,
}

impl Fields<'_> {
    /// The numbers of a field; none where it is not there.
    fn get(&self, tag: u32) -> Result<Vec<usize>> {
        let entries = self.file.get(self.first..).unwrap_or_default();
        for entry in entries.as_chunks::<12>().0.iter().take(self.count) {
            if u16_at(entry, 0, self.little)? != tag {
                continue;
            }
            let size = match u16_at(entry, 2, self.little)? {
                3 => 2,
                4 => 4,
                _ => return Err(damaged()),
            };
            let count = u32_at(entry, 4, self.little)? as usize;
            let numbers = match count.saturating_mul(size) {
                0..=4 => entry.get(8..),
                _ => self.file.get(u32_at(entry, 8, self.little)? as usize..),
            };
            let numbers = numbers.ok_or_else(damaged)?;
            if count > numbers.len() / size {
                return Err(damaged());
            }
            let number = |i| match size {
                2 => u16_at(numbers, i * size, self.little),
                _ => u32_at(numbers, i * size, self.little),
            };
            return (0..count).map(|i| number(i).map(|n| n as usize)).collect();
        }
        Ok(Vec::new())
    }

    fn one(&self, tag: u32, default: usize) -> Result<usize> {
        Ok(self.get(tag)?.first().copied().unwrap_or(default))
    }
}

/// A TIFF of bytes, grey or RGB, in strips without compression.
fn tiff(file: &[u8]) -> Result<Rgb> {
    let little = file.starts_with(b"II");
    let directory = u32_at(file, 4, little)? as usize;
    let fields = Fields {
        file,
        little,
        first: directory.saturating_add(2),
        count: u16_at(file, directory, little)? as usize,
    };
    let (width, height) = (fields.one(256, 0)?, fields.one(257, 0)?);
    let channels = fields.one(277, 1)?;
    let plain = fields.one(259, 1)? == 1 && fields.one(284, 1)? == 1;
    let bytes = fields.get(258)?.iter().all(|&bits| bits == 8) && fields.one(258, 1)? == 8;
    // 0 is white, 0 is black, RGB.
    let colors = fields.one(262, 2)?;
    let known = matches!((colors, channels), (0 | 1, 1 | 2) | (2, 3 | 4));
    if !plain || !bytes || !known {
        return unsupported("TIFF that is compressed, or not of 8 bits grey or RGB,");
    }
    let mut rgb = room(height, width)?;
    let mut rows = rgb.chunks_exact_mut(width * 3);
    let per_strip = fields.one(278, height)?.min(height).max(1);
    for start in fields.get(273)? {
        let lines = file
            .get(start..)
            .ok_or_else(damaged)?
            .chunks_exact(width * channels);
        let mut lines = lines.take(per_strip);
        for row in rows.by_ref().take(per_strip) {
            let line = lines.next().ok_or_else(damaged)?;
            let pixels = line.chunks_exact(channels);
            for (out, pixel) in row.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                *out = match *pixel {
                    [r, g, b, ..] => [r, g, b],
                    [grey, ..] if colors == 0 => [255 - grey; 3],
                    [grey, ..] => [grey; 3],
                    [] => [0; 3],
                };
            }
        }
    }
    match rows.next() {
        None => Ok((height, width, rgb)),
        Some(_) => Err(damaged()),
    }
}
