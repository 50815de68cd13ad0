//! Inner loops of our own, for wasm: see docs/engine-notes.md, "Speed in wasm".

pub(crate) mod conv;
pub(crate) mod product;
mod source;
mod tile;
mod vector;

#[cfg(test)]
mod conv_tests;
