//! The frame of a PNG file: checked before the decoder sees it.

use super::decode::check_size;
use crate::{Limits, Result, bail};

/// Refuses files on which the decoder would allocate too much or panic. Everything else about
/// the format is left to the decoder.
pub(super) fn check(bytes: &[u8], limits: &Limits) -> Result<(u32, u32)> {
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
