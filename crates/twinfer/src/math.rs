//! One C math library on both wasm targets.
