//! Errors on their way to JavaScript.

use js_sys::Reflect;
use twinfer::Error;
use wasm_bindgen::JsValue;

/// An `Error` with a `code`, so that it is useful even where nothing wraps it.
pub(super) fn to_js(error: Error) -> JsValue {
    let thrown = js_sys::Error::new(error.message());
    thrown.set_name("TwinferError");
    // A fresh object takes any property; if it ever did not, the message is still there.
    let _ = Reflect::set(&thrown, &"code".into(), &error.code().as_str().into());
    thrown.into()
}

/// A result of ours as one that throws.
pub(super) fn or_throw<T>(result: Result<T, Error>) -> Result<T, JsValue> {
    result.map_err(to_js)
}
