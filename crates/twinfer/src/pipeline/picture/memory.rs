//! How large a picture may be.

use crate::{Limits, Result, bail};

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
