#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod loader;
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod wasm;

pub use loader::{Loader, Need};
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub use wasm::{TensorList, WebInput, WebLoader, WebModel};
