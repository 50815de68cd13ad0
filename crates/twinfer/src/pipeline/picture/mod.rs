//! A picture to the tensor of a model.

mod decode;
mod geometry;
mod jpeg;
mod memory;
mod orientation;
mod pixels;
mod png;
mod resize;
#[cfg(test)]
mod tests;
mod webp;

pub(crate) use geometry::{Geometry, fixed_size};
pub(crate) use pixels::channel_count;

use decode::decode;
use geometry::crop_origin;
use pixels::{Pixels, Window};
use resize::{Floats, copy, resize};

use super::PictureSize;
use crate::{
    DType, Layout, Limits, Normalize, Picture, PictureInput, PictureStep, Result, Size, Tensor,
};

/// The tensor, and the size of the upright picture.
///
/// # Errors
/// `invalid_picture`, `picture_too_large`, `out_of_memory`.
pub(crate) fn before(
    step: &PictureInput,
    picture: Picture,
    limits: &Limits,
) -> Result<(Tensor, PictureSize)> {
    let pixels = decode(picture, limits)?;
    let size = pixels.size();
    let floats = apply(step, &pixels)?;
    drop(pixels);
    Ok((to_tensor(step, floats)?, size))
}

/// The pixels of a PNG, JPEG or WebP file as RGB bytes, as they are stored: height, width and bytes.
///
/// # Errors
/// `invalid_picture`, `picture_too_large`, `out_of_memory`.
pub(crate) fn stored_rgb(file: Vec<u8>, limits: &Limits) -> Result<(usize, usize, Vec<u8>)> {
    let mut pixels = decode(Picture::Encoded(file), limits)?;
    pixels.orientation = orientation::Orientation::Upright;
    Ok((
        pixels.height as usize,
        pixels.width as usize,
        pixels.to_rgb(),
    ))
}

/// The picture while the steps are done: in its pixels as long as possible, because a picture
/// of floats takes four times their memory.
enum Stage<'a> {
    Pixels(Window<'a>),
    Floats(Floats),
}

impl Stage<'_> {
    fn resize(self, to: &crate::Resize) -> Result<Self> {
        let (width, height) = (to.width as usize, to.height as usize);
        Ok(Stage::Floats(match self {
            Stage::Pixels(window) => resize(&window, width, height, to.filter)?,
            Stage::Floats(floats) => resize(&floats, width, height, to.filter)?,
        }))
    }

    fn crop(self, to: Size) -> Result<Self> {
        Ok(match self {
            Stage::Pixels(window) => {
                let (x, y) = crop_origin(window.size, to)?;
                let origin = (window.origin.0 + x, window.origin.1 + y);
                Stage::Pixels(Window {
                    origin,
                    size: (to.width, to.height),
                    ..window
                })
            }
            Stage::Floats(floats) => {
                let (x, y) = crop_origin((floats.width as u32, floats.height as u32), to)?;
                Stage::Floats(cut(&floats, x as usize, y as usize, to))
            }
        })
    }

    fn into_floats(self) -> Result<Floats> {
        match self {
            Stage::Pixels(window) => copy(&window),
            Stage::Floats(floats) => Ok(floats),
        }
    }
}

fn apply(step: &PictureInput, pixels: &Pixels) -> Result<Floats> {
    let mut stage = Stage::Pixels(Window {
        pixels,
        channels: step.channels,
        origin: (0, 0),
        size: pixels.size(),
    });
    for step in &step.steps {
        stage = match step {
            PictureStep::Resize(to) => stage.resize(to)?,
            PictureStep::CenterCrop(to) => stage.crop(*to)?,
            PictureStep::Normalize(by) => {
                let mut floats = stage.into_floats()?;
                normalize(&mut floats, by);
                Stage::Floats(floats)
            }
        };
    }
    stage.into_floats()
}

fn cut(from: &Floats, x: usize, y: usize, to: Size) -> Floats {
    let (width, height) = (to.width as usize, to.height as usize);
    let rows = from
        .data
        .chunks_exact(from.width * from.channels)
        .skip(y)
        .take(height);
    let part = x * from.channels..(x + width) * from.channels;
    let data = rows.flat_map(|row| &row[part.clone()]).copied().collect();
    Floats {
        width,
        height,
        channels: from.channels,
        data,
    }
}

fn normalize(floats: &mut Floats, by: &Normalize) {
    for pixel in floats.data.chunks_exact_mut(floats.channels) {
        // Lists of one number count for all channels.
        let mean = by.mean.iter().cycle();
        let std = by.std.iter().cycle();
        for ((value, mean), std) in pixel.iter_mut().zip(mean).zip(std) {
            *value = (*value - mean) / std;
        }
    }
}

fn to_tensor(step: &PictureInput, floats: Floats) -> Result<Tensor> {
    let Floats {
        width,
        height,
        channels,
        data,
    } = floats;
    let (shape, data) = match step.layout {
        Layout::Nhwc => ([1, height, width, channels], data),
        Layout::Nchw => {
            let mut planes = Vec::with_capacity(data.len());
            for channel in 0..channels {
                planes.extend(data.iter().skip(channel).step_by(channels));
            }
            ([1, channels, height, width], planes)
        }
    };
    match step.dtype {
        // `as` clamps, and makes NaN 0.
        DType::U8 => {
            let bytes = data.into_iter().map(|value| value.round_ties_even() as u8);
            Tensor::from_bytes(DType::U8, &shape, bytes.collect())
        }
        _ => Tensor::from_vec(&shape, data),
    }
}
