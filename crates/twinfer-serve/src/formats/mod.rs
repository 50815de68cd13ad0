//! Forms in which values come and go beside JSON.

#[cfg(feature = "arrow")]
pub(crate) mod arrow;
pub(crate) mod csv;
pub(crate) mod lines;
pub(crate) mod multipart;
pub(crate) mod packed;
pub(crate) mod table;
