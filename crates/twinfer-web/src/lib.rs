#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod wasm;

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub use wasm::{TensorList, WebCache, WebInput, WebModel, WebPackage, WebSession};
