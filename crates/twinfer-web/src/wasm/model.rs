//! A loaded model for JavaScript.

use std::cell::OnceCell;
use std::rc::Rc;

use js_sys::{Array, Date, Function};
use serde::Serialize;
use twinfer::{Model, ModelConfig, Result, Signature, err};
use twinfer_package::{CaseReport, Descriptor, Golden, Package, SelfTestReport};
use wasm_bindgen::prelude::*;

use super::cache::{Decided, Provenance, Shared};
use super::env::Timer;
use super::error::or_throw;
use super::fuse::Fused;
use super::{TensorList, WebInput, input, tensors, to_js};

/// How long the self-test computes before it lets other work of its thread run.
const SLICE_MS: f64 = 30.0;

/// A model that is ready to predict.
#[wasm_bindgen]
pub struct WebModel {
    model: Rc<Model>,
    layers: Rc<[Descriptor]>,
    golden_layer: Option<Descriptor>,
    golden: OnceCell<Golden>,
    origin: Provenance,
}

#[derive(Serialize)]
struct Info<'a> {
    name: &'a str,
    version: &'a str,
    digest: &'a str,
    signature: &'a Signature,
    config: &'a ModelConfig,
    layers: &'a [Descriptor],
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'a Decided>,
}

impl WebModel {
    /// Loads the model; the bytes of the package are dropped.
    pub(super) fn load(mut package: Package, origin: Provenance) -> Result<Self> {
        let model = package.take_model()?;
        let golden_layer = package.golden_descriptor().cloned();
        Ok(Self {
            model: Rc::new(model),
            layers: package.layers().into(),
            golden_layer,
            golden: OnceCell::new(),
            origin,
        })
    }

    /// The model that the engine has in it.
    pub(super) fn fused(fused: Fused, origin: Provenance) -> Self {
        Self {
            model: fused.model,
            layers: fused.layers,
            golden_layer: fused.golden,
            golden: OnceCell::new(),
            origin,
        }
    }

    /// The golden examples, which come with the first call; `None` for a package without any.
    async fn golden(&self) -> Result<Option<&Golden>> {
        let Some(layer) = &self.golden_layer else {
            return Ok(None);
        };
        if self.golden.get().is_none() {
            let Provenance {
                shared,
                digest,
                policy,
                ..
            } = &self.origin;
            let Shared { cache, origins } = &**shared;
            let content = cache.part(origins, digest, layer, *policy, &|_| {}).await?;
            // Of two calls at the same time the first one's stay.
            let _ = self.golden.set(Golden::from_json(content.bytes())?);
        }
        Ok(self.golden.get())
    }
}

#[wasm_bindgen]
impl WebModel {
    /// `{name, version, digest, signature, config, layers, source, decision?}`.
    ///
    /// # Errors
    /// None that can happen.
    pub fn info(&self) -> Result<JsValue, JsValue> {
        let config = self.model.config();
        to_js(&Info {
            name: &config.name,
            version: &config.version,
            digest: self.model.digest(),
            signature: self.model.signature(),
            config,
            layers: &self.layers,
            source: self.origin.source,
            decision: self.origin.decision.as_ref(),
        })
    }

    /// Input in, answer out, as the JSON text of a prediction: the very text of numbers that
    /// the server sends.
    ///
    /// # Errors
    /// Those of [`Model::predict`].
    pub fn predict(&self, input: WebInput, parameters: JsValue) -> Result<String, JsValue> {
        or_throw((|| {
            let prediction = self
                .model
                .predict(input.input, &input::parameters(parameters)?)?;
            serde_json::to_string(&prediction)
                .map_err(|e| err!(Internal, "the answer has no JSON form: {e}"))
        })())
    }

    /// The tensors that the pipeline makes of an input: `{name, dtype, shape, data}[]`.
    ///
    /// # Errors
    /// Those of [`Model::preprocess`].
    pub fn preprocess(&self, input: WebInput) -> Result<Array, JsValue> {
        let made = or_throw(self.model.preprocess(input.input))?;
        tensors::to_js(made.iter().map(|(name, value)| (name.as_str(), value)))
    }

    /// Named tensors in, named values out: `{name, dtype, shape, data, keys?}[]`.
    ///
    /// # Errors
    /// Those of [`Model::run`].
    pub fn run(&self, inputs: TensorList) -> Result<Array, JsValue> {
        let values = or_throw(self.model.run_values(inputs.into_values()))?;
        tensors::to_js(values.iter().map(|(name, value)| (name.as_str(), value)))
    }

    /// The golden examples as JSON text; `undefined` for a package without any.
    ///
    /// # Errors
    /// Those of fetching them, and of [`Golden::from_json`].
    #[wasm_bindgen(js_name = goldenJson)]
    pub async fn golden_json(&self) -> Result<Option<String>, JsValue> {
        let golden = or_throw(self.golden().await)?;
        let text = golden
            .map(|g| serde_json::to_string(g).map_err(|e| err!(Internal, "golden examples: {e}")));
        or_throw(text.transpose())
    }

    /// Runs the golden examples and reports. In between it lets its thread do other work, so
    /// that a page stays alive; `progress` is called with the number of cases done and of all,
    /// and ends it by returning `false`.
    ///
    /// # Errors
    /// `aborted`; those of [`Self::golden_json`]; what `progress` throws.
    #[wasm_bindgen(js_name = selfTest)]
    pub async fn self_test(&self, progress: Option<Function>) -> Result<JsValue, JsValue> {
        let none = Golden {
            cases: Vec::new(),
            reference: String::new(),
        };
        let golden = or_throw(self.golden().await)?.unwrap_or(&none);
        let mut cases: Vec<CaseReport> = Vec::with_capacity(golden.cases.len());
        let mut since = Date::now();
        for case in &golden.cases {
            cases.push(case.run(&self.model));
            if let Some(progress) = &progress {
                let go_on = progress.call2(
                    &JsValue::NULL,
                    &cases.len().into(),
                    &golden.cases.len().into(),
                )?;
                if go_on == JsValue::FALSE {
                    return or_throw(Err(err!(Aborted, "the caller cancelled the self-test")));
                }
            }
            if Date::now() - since > SLICE_MS {
                Timer::new(0).wait().await;
                since = Date::now();
            }
        }
        let passed = cases.iter().filter(|case| case.passed).count();
        let failed = cases.len() - passed;
        to_js(&SelfTestReport {
            digest: self.model.digest().into(),
            passed,
            failed,
            cases,
        })
    }
}
