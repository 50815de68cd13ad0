//! A bare ONNX file for JavaScript.

use js_sys::{Array, Uint8Array};
use serde::Serialize;
use twinfer::{NoWeights, Result, Session, Signature};
use wasm_bindgen::prelude::*;

use super::backend::to_bytes;
use super::error::or_throw;
use super::{TensorList, tensors, to_js};

/// A model file that is ready to run.
#[wasm_bindgen]
pub struct WebSession {
    session: Session,
}

#[derive(Serialize)]
struct Info<'a> {
    signature: &'a Signature,
    opsets: &'a [String],
}

#[wasm_bindgen]
impl WebSession {
    /// Loads an ONNX file that has its weights in it.
    ///
    /// # Errors
    /// Those of [`Session::load`]; `out_of_memory`.
    #[wasm_bindgen(constructor)]
    pub fn new(onnx: Uint8Array) -> Result<WebSession, JsValue> {
        let load = || {
            let bytes = to_bytes(onnx.into())?;
            let parsed = Session::parse(&bytes, &NoWeights)?;
            // Not both at the same time: what the engine prepares, and the file.
            drop(bytes);
            parsed.optimise()
        };
        let session = or_throw(load())?;
        Ok(Self { session })
    }

    /// `{signature, opsets}`.
    ///
    /// # Errors
    /// None that can happen.
    pub fn info(&self) -> Result<JsValue, JsValue> {
        to_js(&Info {
            signature: self.session.signature(),
            opsets: self.session.opsets(),
        })
    }

    /// Named values in, named values out, as [`super::WebModel::run`].
    ///
    /// # Errors
    /// Those of [`Session::run_values`].
    pub fn run(&self, inputs: TensorList) -> Result<Array, JsValue> {
        let values = or_throw(self.session.run_values(inputs.into_values()))?;
        tensors::to_js(values.iter().map(|(name, value)| (name.as_str(), value)))
    }
}
