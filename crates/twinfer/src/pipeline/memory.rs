//! Large buffers, whose size follows from what the caller gave.

use crate::{Result, err};

/// A zeroed buffer of the product of these sizes. Running out of memory is an error rather
/// than the end of the process.
pub(crate) fn zeroed<T: Clone + Default>(sizes: &[usize], what: &str) -> Result<Vec<T>> {
    let mut buffer: Vec<T> = reserved(sizes, what)?;
    buffer.resize(sizes.iter().product(), T::default());
    Ok(buffer)
}

/// The same with nothing in it yet, but the memory.
pub(crate) fn reserved<T>(sizes: &[usize], what: &str) -> Result<Vec<T>> {
    let mut buffer = Vec::new();
    let length = sizes
        .iter()
        .try_fold(1usize, |n, &size| n.checked_mul(size));
    let reserved = length.filter(|&length| buffer.try_reserve_exact(length).is_ok());
    match reserved {
        Some(_) => Ok(buffer),
        None => Err(err!(
            OutOfMemory,
            "there is no memory for {what} ({sizes:?} elements); give a smaller input"
        )),
    }
}
