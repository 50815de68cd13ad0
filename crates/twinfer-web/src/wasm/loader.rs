//! [`Loader`] for JavaScript.

use serde::Serialize;
use twinfer_package::{Seen, Verdict};
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

    /// Begins to read under a trust policy: see [`Loader::trusted`]. `now` is in seconds since
    /// 1970; `last_counter` is what `decision` gave the last time.
    ///
    /// # Errors
    /// Those of [`Loader::trusted`].
    pub fn trusted(
        reference: &str,
        index: &[u8],
        policy: &str,
        now: f64,
        last_counter: Option<f64>,
    ) -> Result<WebLoader, JsValue> {
        // Counters and times are whole numbers under 2^53; a cast saturates.
        let seen = Seen {
            now: now as u64,
            last_counter: last_counter.map(|counter| counter as u64),
        };
        let loader = Loader::trusted(reference, index, policy.as_bytes(), seen).map_err(thrown)?;
        Ok(Self { loader })
    }

    /// What the trust policy decided: `{verdict, keys, reason?, counter?}`; `undefined`
    /// without a policy.
    ///
    /// # Errors
    /// None that can happen.
    pub fn decision(&self) -> Result<JsValue, JsValue> {
        #[derive(Serialize)]
        struct Decided<'a> {
            verdict: &'a str,
            keys: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            counter: Option<u64>,
        }
        let Some(decision) = self.loader.decision() else {
            return Ok(JsValue::UNDEFINED);
        };
        let counter = decision.counter;
        to_js(&match &decision.verdict {
            Verdict::Allowed { keys } => Decided {
                verdict: "allowed",
                keys,
                reason: None,
                counter,
            },
            Verdict::Warned { reason } => Decided {
                verdict: "warned",
                keys: &[],
                reason: Some(reason),
                counter,
            },
        })
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
