//! JPEG to pixels: those that libjpeg gives, and with it Pillow, OpenCV and the browsers, bit by bit.
//!
//! Sources: ITU T.81 for the format, ITU T.871 (JFIF) and Adobe's Technical Note 5116 for what the
//! components are. Where the standard leaves freedom (the transform, stretching, colours) it is as in
//! libjpeg-turbo 3 with its defaults.

mod bits;
mod color;
mod frame;
mod idct;
mod scan;

use self::bits::{Bits, Codes};
use self::color::Colors;
use self::frame::Frame;
use self::scan::{Part, Scan, ZIGZAG};
use super::memory::check_size;
use super::orientation::Orientation;
use super::pixels::{PixelFormat, Pixels};
use crate::pipeline::memory::zeroed;
use crate::{Error, Limits, Result, bail, err};

/// More scans than any encoder makes: each goes over the whole picture.
const MAX_SCANS: usize = 256;

/// Decodes a JPEG: baseline or progressive, grey, colour or CMYK, 8 bits, with Huffman codes.
///
/// # Errors
/// `invalid_picture`, `picture_too_large`, `out_of_memory`.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Pixels> {
    let mut decoder = Decoder::new(bytes);
    let header = decoder.header();
    if let Some(frame) = &decoder.frame {
        // The format has 16 bits for each.
        check_size(frame.width as u32, frame.height as u32, limits)?;
    }
    if !is_complete(bytes) {
        bail!(
            InvalidPicture,
            "the JPEG file is cut off: its end is missing"
        );
    }
    header?;
    decoder.scans()?;
    decoder.pixels()
}

fn damaged(why: &str) -> Error {
    err!(
        InvalidPicture,
        "the JPEG file cannot be decoded, it may be damaged: {why}"
    )
}

/// What was read of a file.
struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<Frame>,
    /// The steps of coefficients, in rows.
    steps: [Option<[u16; 64]>; 4],
    dc: [Option<Codes>; 4],
    ac: [Option<Codes>; 4],
    restart: usize,
    is_jfif: bool,
    /// What Adobe's segment says of the colours.
    adobe: Option<u8>,
    orientation: Option<Orientation>,
}

impl<'a> Decoder<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 2,
            frame: None,
            steps: [None; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart: 0,
            is_jfif: false,
            adobe: None,
            orientation: None,
        }
    }

    /// The next marker and its segment. Bytes in between are skipped: cameras write some.
    fn segment(&mut self) -> Result<(u8, &'a [u8])> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let marker = rest
                .windows(2)
                .position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff));
            let Some(marker) = marker else {
                return Err(damaged("its end is missing"));
            };
            let (code, rest) = (rest[marker + 1], &rest[marker + 2..]);
            self.at += marker + 2;
            match code {
                0x01 | 0xd0..=0xd8 => continue,
                0xd9 => return Ok((code, &[])),
                _ => {}
            }
            let length = rest.first_chunk().map_or(0, |&l| u16::from_be_bytes(l));
            let Some(segment) = rest.get(2..length.into()) else {
                return Err(damaged("a segment is cut off"));
            };
            self.at += usize::from(length);
            return Ok((code, segment));
        }
    }

    /// Reads until the frame is known.
    fn header(&mut self) -> Result<()> {
        while self.frame.is_none() {
            match self.segment()? {
                (0xd9, _) => return Err(damaged("it has no frame")),
                (0xda, _) => return Err(damaged("a scan comes before the frame")),
                (code, segment) => self.take(code, segment)?,
            }
        }
        Ok(())
    }

    /// Reads all scans.
    fn scans(&mut self) -> Result<()> {
        let Some(mut frame) = self.frame.take() else {
            return Err(damaged("it has no frame"));
        };
        frame.make_room()?;
        let mut count = 0;
        loop {
            match self.segment()? {
                (0xd9, _) => break,
                (0xda, segment) => {
                    count += 1;
                    if count > MAX_SCANS {
                        return Err(damaged("it has too many scans"));
                    }
                    let scan = self.scan(segment, &mut frame)?;
                    let mut bits = Bits::new(self.bytes, self.at);
                    scan.read(&mut frame, &mut bits)?;
                    self.at = bits.position();
                }
                (0xc0..=0xc3 | 0xc5..=0xc7, _) => return Err(damaged("it has two frames")),
                (code, segment) => self.take(code, segment)?,
            }
        }
        if count == 0 {
            return Err(damaged("it has no scan"));
        }
        if frame.progressive {
            for component in &mut frame.components {
                component.put_all();
            }
        }
        self.frame = Some(frame);
        Ok(())
    }

    /// Remembers what a segment says.
    fn take(&mut self, code: u8, segment: &[u8]) -> Result<()> {
        match code {
            0xc0..=0xc2 => self.frame = Some(Frame::read(segment, code == 0xc2)?),
            0xc4 => self.codes(segment)?,
            0xc3 | 0xc5..=0xcf => bail!(
                InvalidPicture,
                "a JPEG file of this kind (lossless, hierarchical or arithmetic coding) cannot be decoded"
            ),
            0xdb => self.steps(segment)?,
            0xdd => {
                let interval = segment.first_chunk().map_or(0, |&i| u16::from_be_bytes(i));
                self.restart = interval.into();
            }
            0xe0 => self.is_jfif |= segment.starts_with(b"JFIF\0"),
            0xe1 => {
                if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
                    self.orientation
                        .get_or_insert_with(|| Orientation::from_exif(exif));
                }
            }
            0xee if segment.starts_with(b"Adobe") => self.adobe = segment.get(11).copied(),
            _ => {}
        }
        Ok(())
    }

    /// Tables of steps (B.2.4.1).
    fn steps(&mut self, mut segment: &[u8]) -> Result<()> {
        while let Some((&kind, rest)) = segment.split_first() {
            let wide = usize::from(kind >> 4 > 0);
            let (Some(place), Some((numbers, rest))) = (
                self.steps.get_mut(usize::from(kind & 15)),
                rest.split_at_checked(64 << wide),
            ) else {
                return Err(damaged("a table of steps is cut off"));
            };
            let mut steps = [0; 64];
            for (number, at) in numbers.chunks_exact(1 << wide).zip(ZIGZAG) {
                steps[at] = number.iter().fold(0, |n, &byte| n << 8 | u16::from(byte));
            }
            *place = Some(steps);
            segment = rest;
        }
        Ok(())
    }

    /// Tables of codes (B.2.4.2).
    fn codes(&mut self, mut segment: &[u8]) -> Result<()> {
        while let Some((&kind, rest)) = segment.split_first() {
            let tables = if kind >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            let cut = || damaged("a table of codes is cut off");
            let place = tables.get_mut(usize::from(kind & 15)).ok_or_else(cut)?;
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(cut)?;
            let count = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(count).ok_or_else(cut)?;
            *place = Some(Codes::new(counts, symbols)?);
            segment = rest;
        }
        Ok(())
    }

    /// The header of a scan (B.2.3).
    fn scan(&self, segment: &[u8], frame: &mut Frame) -> Result<Scan<'_>> {
        let cut = || damaged("the header of a scan is cut off");
        let (&count, rest) = segment.split_first().ok_or_else(cut)?;
        let (entries, rest) = rest
            .split_at_checked(2 * usize::from(count))
            .ok_or_else(cut)?;
        let &[first, last, bits] = rest.first_chunk().ok_or_else(cut)?;
        let mut parts = Vec::new();
        for &[id, tables] in entries.as_chunks::<2>().0 {
            let component = frame.components.iter().position(|c| c.id == id);
            let known = |at: usize| parts.iter().any(|part: &Part<'_>| part.component == at);
            let Some(component) = component.filter(|&at| !known(at)) else {
                return Err(damaged("a scan is of a component that is not in the frame"));
            };
            if let Some(one) = frame.components.get_mut(component)
                && one.steps.is_none()
            {
                let steps = self.steps.get(one.table).copied().flatten();
                one.steps = Some(steps.ok_or_else(|| damaged("a table of steps is missing"))?);
            }
            parts.push(Part {
                component,
                dc: self
                    .dc
                    .get(usize::from(tables >> 4))
                    .and_then(Option::as_ref),
                ac: self
                    .ac
                    .get(usize::from(tables & 15))
                    .and_then(Option::as_ref),
            });
        }
        let band = (usize::from(first), usize::from(last));
        let bits = (u32::from(bits >> 4), u32::from(bits & 15));
        // A band is of one component, and the first coefficient comes alone.
        let is_band = match band {
            (0, last) => last == 0 && !parts.is_empty(),
            (first, last) => first <= last && last < 64 && parts.len() == 1,
        };
        let units = parts
            .iter()
            .filter_map(|part| frame.components.get(part.component));
        let blocks: usize = units.map(|c| c.sampling.0 * c.sampling.1).sum();
        let fits = parts.len() == 1 || (!parts.is_empty() && blocks <= 10);
        if !fits || (frame.progressive && (!is_band || bits.1 > 13)) {
            return Err(damaged("the header of a scan is impossible"));
        }
        Ok(Scan {
            parts,
            band,
            bits,
            restart: self.restart,
        })
    }

    /// What the components are, as libjpeg decides it (`jdapimin.c`, `default_decompress_parms`).
    fn colors(&self, frame: &Frame) -> Colors {
        let ids = frame.components.iter().map(|c| c.id);
        match (frame.components.len(), self.adobe) {
            (1, _) => Colors::Grey,
            (4, None | Some(0)) => Colors::Cmyk,
            (4, Some(_)) => Colors::Ycck,
            (_, _) if self.is_jfif => Colors::YCbCr,
            (_, Some(0)) => Colors::Rgb,
            (_, None) if ids.eq(*b"RGB") => Colors::Rgb,
            _ => Colors::YCbCr,
        }
    }

    fn pixels(self) -> Result<Pixels> {
        let Some(frame) = &self.frame else {
            return Err(damaged("it has no frame"));
        };
        let colors = self.colors(frame);
        let format = PixelFormat {
            samples: colors.samples(),
            wide: false,
        };
        let mut data = zeroed(&[frame.width, frame.height, format.bytes()], "the pixels")?;
        color::pixels(frame, colors, &mut data)?;
        Ok(Pixels {
            width: frame.width as u32,
            height: frame.height as u32,
            format,
            orientation: self.orientation.unwrap_or_default(),
            data,
        })
    }
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
