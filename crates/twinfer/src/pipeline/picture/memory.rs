//! Large buffers, whose size follows from what the caller gave.

use crate::{Limits, Result, bail, err};

/// A zeroed buffer of the product of these sizes. Running out of memory is an error rather
/// than the end of the process.
pub(crate) fn zeroed<T: Clone + Default>(sizes: &[usize], what: &str) -> Result<Vec<T>> {
    let mut buffer = Vec::new();
    let length = sizes
        .iter()
        .try_fold(1usize, |n, &size| n.checked_mul(size));
    let reserved = length.filter(|&length| buffer.try_reserve_exact(length).is_ok());
    let length = reserved.ok_or_else(|| {
        err!(
            OutOfMemory,
            "there is no memory for {what} ({sizes:?} elements); give a smaller picture"
        )
    })?;
    buffer.resize(length, T::default());
    Ok(buffer)
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
