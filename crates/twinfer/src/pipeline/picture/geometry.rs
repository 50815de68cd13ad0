//! What the steps do to sizes: the way back from the model's input to the caller's picture.

use crate::pipeline::PictureSize;
use crate::{PictureStep, Result, Size, bail};

/// Where the model's input lies in the caller's picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Geometry {
    /// Width and height of the model's input.
    pub input: PictureSize,
    /// Width and height of the caller's picture.
    pub picture: PictureSize,
    /// Left and upper edge of the part of the picture that the model sees, in its pixels.
    pub origin: (f64, f64),
    /// Width and height of that part, in pixels of the picture.
    pub seen: (f64, f64),
}

impl Geometry {
    /// Follows the steps from a picture of this size.
    ///
    /// # Errors
    /// `invalid_picture` when it is smaller than the part to be cut out.
    pub(crate) fn new(steps: &[PictureStep], picture: PictureSize) -> Result<Self> {
        let mut input = picture;
        let mut origin = (0.0, 0.0);
        let mut seen = (f64::from(picture.0), f64::from(picture.1));
        for step in steps {
            match step {
                PictureStep::Resize(to) => input = (to.width, to.height),
                PictureStep::CenterCrop(size) => {
                    let (left, top) = crop_origin(input, *size)?;
                    let pixel = (seen.0 / f64::from(input.0), seen.1 / f64::from(input.1));
                    origin.0 += f64::from(left) * pixel.0;
                    origin.1 += f64::from(top) * pixel.1;
                    seen = (
                        f64::from(size.width) * pixel.0,
                        f64::from(size.height) * pixel.1,
                    );
                    input = (size.width, size.height);
                }
                PictureStep::Normalize(_) => {}
            }
        }
        Ok(Self {
            input,
            picture,
            origin,
            seen,
        })
    }
}

/// Left and upper edge of the middle part of this size; half pixels are rounded down.
pub(crate) fn crop_origin(from: PictureSize, to: Size) -> Result<PictureSize> {
    match (from.0.checked_sub(to.width), from.1.checked_sub(to.height)) {
        (Some(x), Some(y)) => Ok((x / 2, y / 2)),
        _ => bail!(
            InvalidPicture,
            "the picture is {} x {} where the middle {} x {} pixels are cut out: give a larger one",
            from.0,
            from.1,
            to.width,
            to.height
        ),
    }
}

/// The size that the steps give to every picture; `None` when it depends on the picture.
pub(crate) fn fixed_size(steps: &[PictureStep]) -> Option<PictureSize> {
    steps.iter().rev().find_map(|step| match step {
        PictureStep::Resize(to) => Some((to.width, to.height)),
        PictureStep::CenterCrop(to) => Some((to.width, to.height)),
        PictureStep::Normalize(_) => None,
    })
}
