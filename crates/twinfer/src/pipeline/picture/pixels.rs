//! A decoded picture, read row by row: upright, in the channels that a model wants.
//!
//! The pixels stay as the decoder wrote them. Turning, converting and resizing read from
//! them, so that a large picture needs the memory of its pixels and of one row.

use super::orientation::Orientation;
use super::resize::Rows;
use crate::Channels;
use crate::pipeline::PictureSize;

/// How the decoder wrote a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PixelFormat {
    /// Samples of a pixel: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
    pub samples: usize,
    /// Whether a sample is 16 bits wide, its high byte first, rather than 8.
    pub wide: bool,
}

impl PixelFormat {
    pub(crate) const RGB: Self = Self {
        samples: 3,
        wide: false,
    };
    pub(crate) const RGBA: Self = Self {
        samples: 4,
        wide: false,
    };

    pub(crate) fn bytes(self) -> usize {
        self.samples * if self.wide { 2 } else { 1 }
    }
}

/// A decoded picture. Sizes are those of the stored pixels, before they are turned upright.
#[derive(Debug)]
pub(crate) struct Pixels {
    pub width: u32,
    pub height: u32,
    pub format: PixelFormat,
    pub orientation: Orientation,
    /// `width * height * format.bytes()` bytes.
    pub data: Vec<u8>,
}

impl Pixels {
    /// Width and height when upright.
    pub(crate) fn size(&self) -> PictureSize {
        use Orientation::*;
        match self.orientation {
            Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (self.height, self.width),
            _ => (self.width, self.height),
        }
    }

    /// Where row `y` of the upright picture lies in the stored one: the index of its first
    /// pixel, and the distance from one to the next.
    fn walk(&self, y: usize) -> (usize, isize) {
        use Orientation::*;
        let (w, h) = (self.width as usize, self.height as usize);
        let down = w as isize;
        match self.orientation {
            Upright => (y * w, 1),
            FlipHorizontal => (y * w + w - 1, -1),
            Rotate180 => ((h - 1 - y) * w + w - 1, -1),
            FlipVertical => ((h - 1 - y) * w, 1),
            Rotate90 => ((h - 1) * w + y, -down),
            Rotate270 => (w - 1 - y, down),
            Rotate90FlipH => (y, down),
            Rotate270FlipH => ((h - 1) * w + w - 1 - y, -down),
        }
    }

    /// One pixel as RGB. Alpha is dropped, grey repeated, 16 bits rounded to 8.
    fn rgb(&self, index: usize) -> [u8; 3] {
        let PixelFormat { samples, wide } = self.format;
        let at = index * self.format.bytes();
        let sample = |i: usize| {
            if wide {
                let value = u16::from_be_bytes([self.data[at + 2 * i], self.data[at + 2 * i + 1]]);
                // 65535 is 255 * 257; at most 255, so that nothing is cut off.
                ((u32::from(value) + 128) / 257) as u8
            } else {
                self.data[at + i]
            }
        };
        if samples < 3 {
            [sample(0); 3]
        } else {
            [sample(0), sample(1), sample(2)]
        }
    }

    /// Row `y` of the upright picture as RGB.
    fn rgb_row(&self, y: usize) -> impl Iterator<Item = [u8; 3]> {
        let (first, step) = self.walk(y);
        let width = self.size().0 as usize;
        (0..width).map(move |x| self.rgb(first.wrapping_add_signed(step * x as isize)))
    }

    /// The upright picture as RGB bytes.
    pub(crate) fn to_rgb(&self) -> Vec<u8> {
        (0..self.size().1 as usize)
            .flat_map(|y| self.rgb_row(y))
            .flatten()
            .collect()
    }
}

/// Number of values of a pixel in these channels.
pub(crate) fn channel_count(channels: Channels) -> usize {
    match channels {
        Channels::Rgb | Channels::Bgr => 3,
        Channels::Grey => 1,
    }
}

/// A part of a decoded picture, as rows of floats from 0 to 255.
pub(crate) struct Window<'a> {
    pub pixels: &'a Pixels,
    pub channels: Channels,
    /// Left and upper edge, in the upright picture.
    pub origin: PictureSize,
    pub size: PictureSize,
}

impl Rows for Window<'_> {
    fn size(&self) -> (usize, usize) {
        (self.size.0 as usize, self.size.1 as usize)
    }

    fn channels(&self) -> usize {
        channel_count(self.channels)
    }

    fn read(&self, y: usize, row: &mut [f32]) {
        let pixels = self
            .pixels
            .rgb_row(y + self.origin.1 as usize)
            .skip(self.origin.0 as usize)
            .map(|rgb| rgb.map(f32::from));
        match self.channels {
            Channels::Rgb => {
                row.as_chunks_mut()
                    .0
                    .iter_mut()
                    .zip(pixels)
                    .for_each(|(out, rgb)| *out = rgb);
            }
            Channels::Bgr => {
                let out = row.as_chunks_mut().0.iter_mut();
                out.zip(pixels)
                    .for_each(|(out, [r, g, b])| *out = [b, g, r]);
            }
            Channels::Grey => {
                let out = row.iter_mut();
                out.zip(pixels)
                    .for_each(|(out, [r, g, b])| *out = 0.299 * r + 0.587 * g + 0.114 * b);
            }
        }
    }
}
