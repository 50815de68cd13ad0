//! Errors on their way to JavaScript and back.

use js_sys::Reflect;
use twinfer::{Error, ErrorCode};
use wasm_bindgen::{JsCast, JsValue};

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

/// What JavaScript threw: its `code` where it has one of ours, else this one.
pub(super) fn from_js(thrown: &JsValue, otherwise: ErrorCode) -> Error {
    let code = Reflect::get(thrown, &"code".into())
        .ok()
        .and_then(|code| code.as_string());
    let code = ErrorCode::ALL
        .iter()
        .find(|known| code.as_deref() == Some(known.as_str()));
    let message = match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => format!("{thrown:?}"),
    };
    Error::new(code.copied().unwrap_or(otherwise), message)
}
