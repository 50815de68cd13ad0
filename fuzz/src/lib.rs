//! What the fuzz targets call. Tests of the workspace call the same functions.

pub mod audio;
pub mod session;
pub mod trust;
