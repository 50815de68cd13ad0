//! [`Loader`] for JavaScript.

use wasm_bindgen::prelude::*;

use super::error::to_js as thrown;
use super::{WebModel, to_js};
use crate::Loader;

/// Reads a package without any I/O.
#[wasm_bindgen]
pub struct WebLoader {
    loader: Loader,
}

#[wasm_bindgen]
impl WebLoader {
    /// Begins to read: see [`Loader::new`].
    ///
    /// # Errors
    /// Those of [`Loader::new`].
    #[wasm_bindgen(constructor)]
    pub fn new(reference: &str, index: Option<Vec<u8>>) -> Result<WebLoader, JsValue> {
        let loader = Loader::new(reference, index.as_deref()).map_err(thrown)?;
        Ok(Self { loader })
    }

    /// What must still be supplied: `{digest, size: number | null, name}[]`.
    ///
    /// # Errors
    /// None that can happen.
    pub fn needs(&self) -> Result<JsValue, JsValue> {
        to_js(&self.loader.needs())
    }

    /// Bytes of all layers that are wanted; `undefined` before the manifest is there.
    #[wasm_bindgen(js_name = totalSize)]
    pub fn total_size(&self) -> Option<f64> {
        // Sizes are limited to far less than the 2^53 that a number holds exactly.
        self.loader.total_size().map(|size| size as f64)
    }

    /// Takes what was needed, after checking its size and digest.
    ///
    /// # Errors
    /// Those of [`Loader::supply`].
    pub fn supply(&mut self, digest: &str, bytes: Vec<u8>) -> Result<(), JsValue> {
        self.loader.supply(digest, bytes).map_err(thrown)
    }

    /// Loads the model. The loader is used up.
    ///
    /// # Errors
    /// Those of [`Loader::finish`] and of [`twinfer::Model::load`].
    pub fn finish(self) -> Result<WebModel, JsValue> {
        let package = self.loader.finish().map_err(thrown)?;
        WebModel::load(package).map_err(thrown)
    }
}
