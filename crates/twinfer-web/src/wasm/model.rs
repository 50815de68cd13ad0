//! A loaded model for JavaScript.

use js_sys::{Array, Date, Function, Promise};
use serde::Serialize;
use twinfer::{Model, ModelConfig, Result, Signature, Value, err};
use twinfer_package::{CaseReport, Descriptor, Golden, Package, SelfTestReport};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::error::or_throw;
use super::{TensorList, WebInput, input, tensors, to_js};
use crate::loader::need;

/// How long the self-test computes before it lets other work of its thread run.
const SLICE_MS: f64 = 30.0;

/// A model that is ready to predict.
#[wasm_bindgen]
pub struct WebModel {
    model: Model,
    layers: Vec<Descriptor>,
    golden_layer: Option<Descriptor>,
    golden: Option<Golden>,
}

#[derive(Serialize)]
struct Info<'a> {
    name: &'a str,
    version: &'a str,
    digest: &'a str,
    signature: &'a Signature,
    config: &'a ModelConfig,
    layers: &'a [Descriptor],
}

impl WebModel {
    /// Loads the model; the bytes of the package are dropped.
    pub(super) fn load(package: Package) -> Result<Self> {
        let model = package.load()?;
        let golden_layer = package.golden_descriptor().cloned();
        Ok(Self {
            model,
            layers: package.layers().to_vec(),
            golden_layer,
            golden: None,
        })
    }

    fn golden(&self) -> Result<Option<&Golden>> {
        match (&self.golden, &self.golden_layer) {
            (Some(golden), _) => Ok(Some(golden)),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(err!(MissingBlob, "the golden examples were not supplied")),
        }
    }
}

#[wasm_bindgen]
impl WebModel {
    /// `{name, version, digest, signature, config, layers}`.
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
        let values: Vec<(String, Value)> = made
            .into_iter()
            .map(|(name, t)| (name, Value::Tensor(t)))
            .collect();
        tensors::to_js(values.iter().map(|(name, value)| (name.as_str(), value)))
    }

    /// Named tensors in, named values out: `{name, dtype, shape, data, keys?}[]`.
    ///
    /// # Errors
    /// Those of [`Model::run`].
    pub fn run(&self, inputs: TensorList) -> Result<Array, JsValue> {
        let values = or_throw(self.model.run(inputs.tensors))?;
        tensors::to_js(values.iter().map(|(name, value)| (name.as_str(), value)))
    }

    /// The layer with the golden examples, where there is one and it was not yet supplied:
    /// `{digest, size, name}`.
    ///
    /// # Errors
    /// None that can happen.
    #[wasm_bindgen(js_name = goldenNeed)]
    pub fn golden_need(&self) -> Result<JsValue, JsValue> {
        match (&self.golden, &self.golden_layer) {
            (None, Some(layer)) => to_js(&need(layer)),
            _ => Ok(JsValue::UNDEFINED),
        }
    }

    /// Takes the golden examples, after checking their size and digest.
    ///
    /// # Errors
    /// `size_mismatch`, `digest_mismatch`; those of [`Golden::from_json`];
    /// `invalid_request` for a package that has none.
    #[wasm_bindgen(js_name = supplyGolden)]
    pub fn supply_golden(&mut self, json: &[u8]) -> Result<(), JsValue> {
        let golden = (|| {
            let layer = self.golden_layer.as_ref();
            let layer =
                layer.ok_or_else(|| err!(InvalidRequest, "the package has no golden examples"))?;
            layer.verify(json)?;
            Golden::from_json(json)
        })();
        self.golden = Some(or_throw(golden)?);
        Ok(())
    }

    /// The golden examples as JSON text; `undefined` for a package without any.
    ///
    /// # Errors
    /// `missing_blob` when they were not supplied.
    #[wasm_bindgen(js_name = goldenJson)]
    pub fn golden_json(&self) -> Result<Option<String>, JsValue> {
        let golden = or_throw(self.golden())?;
        let text = golden
            .map(|g| serde_json::to_string(g).map_err(|e| err!(Internal, "golden examples: {e}")));
        or_throw(text.transpose())
    }

    /// Runs the golden examples and reports. In between it lets its thread do other work, so
    /// that a page stays alive; `progress` is called with the number of cases done and of all,
    /// and ends it by returning `false`.
    ///
    /// # Errors
    /// `aborted`; `missing_blob` when the examples were not supplied; what `progress` throws.
    #[wasm_bindgen(js_name = selfTest)]
    pub async fn self_test(&self, progress: Option<Function>) -> Result<JsValue, JsValue> {
        let none = Golden {
            cases: Vec::new(),
            reference: String::new(),
        };
        let golden = or_throw(self.golden())?.unwrap_or(&none);
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
                pause().await?;
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

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, milliseconds: u32) -> JsValue;
}

/// Comes back after everything else that waits for this thread.
async fn pause() -> Result<(), JsValue> {
    let promise = Promise::new(&mut |resolve, _reject| {
        set_timeout(&resolve, 0);
    });
    JsFuture::from(promise).await.map(drop)
}
