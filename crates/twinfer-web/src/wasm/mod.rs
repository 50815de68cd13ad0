//! What JavaScript sees.

mod backend;
mod cache;
mod env;
mod error;
mod fuse;
mod input;
mod memory;
mod model;
mod onnx;
mod origin;
mod stop;
mod tensors;

pub use cache::{WebCache, WebPackage};
pub use input::WebInput;
pub use model::WebModel;
pub use onnx::WebSession;
pub use tensors::TensorList;

use serde::Serialize;
use wasm_bindgen::prelude::*;

unsafe extern "C" {
    /// Made by the linker: runs the constructors with which the engine registers its kernels
    /// and operators.
    fn __wasm_call_ctors();
}

/// Runs once, when the module is instantiated. In a fused engine it ran at build time: what it
/// does is in the memory that the instance begins with.
#[wasm_bindgen(start)]
fn start() {
    if !fuse::first_start() {
        return;
    }
    // SAFETY: the linker gives every module this function, and it is called once, before
    // anything else. Calling it ourselves also keeps the linker from wrapping every export
    // in another call of it.
    unsafe { __wasm_call_ctors() };
    stop::install();
}

/// The version of this crate.
#[wasm_bindgen(js_name = engineVersion)]
pub fn engine_version() -> String {
    env!("CARGO_PKG_VERSION").into()
}

/// A value as plain JavaScript objects, in the form that its JSON has.
fn to_js(value: &impl Serialize) -> Result<JsValue, JsValue> {
    value
        .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
        .map_err(|e| {
            error::to_js(twinfer::err!(
                Internal,
                "an answer has no form in JavaScript: {e}"
            ))
        })
}
