//! Clock, timer and randomness of JavaScript.

use js_sys::{Date, Function, Math, Promise};
use twinfer_cache::Env;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, milliseconds: f64) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);
}

/// Longer timers fire at once: their number of milliseconds has 31 bits.
const LONGEST: u64 = i32::MAX as u64;

/// A timer that is taken back when nobody waits for it any more: in Node a program lives as
/// long as one runs.
pub(super) struct Timer {
    id: JsValue,
    promise: Promise,
}

impl Timer {
    pub(super) fn new(milliseconds: u64) -> Self {
        let mut id = JsValue::UNDEFINED;
        let promise = Promise::new(&mut |resolve, _reject| {
            // Less than 2^31: exact.
            id = set_timeout(&resolve, milliseconds.min(LONGEST) as f64);
        });
        Self { id, promise }
    }

    pub(super) async fn wait(self) {
        // A timer does not fail.
        let _ = JsFuture::from(self.promise.clone()).await;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.id);
    }
}

pub(super) struct JsEnv;

impl Env for JsEnv {
    fn now(&self) -> u64 {
        // Milliseconds since 1970: a whole number far below 2^53.
        Date::now() as u64
    }

    async fn sleep(&self, milliseconds: u64) {
        Timer::new(milliseconds).wait().await;
    }

    fn random(&self) -> f64 {
        Math::random()
    }
}
