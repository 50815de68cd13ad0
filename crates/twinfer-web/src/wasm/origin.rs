//! Registries over `fetch`: what `web/src/origin.ts` makes of them.

use js_sys::JsString;
use twinfer::{ErrorCode, Result};
use twinfer_cache::{Asked, Body, Freshness, Opened, Origin, Wanted};
use twinfer_package::Reference;
use wasm_bindgen::prelude::*;

use super::backend::to_bytes;
use super::error::from_js;

#[wasm_bindgen]
extern "C" {
    /// `Origin` of `web/src/origin.ts`.
    pub type Registry;

    #[wasm_bindgen(method, structural, getter)]
    fn id(this: &Registry) -> String;
    #[wasm_bindgen(method, structural, js_name = indexKey)]
    fn index_key(this: &Registry, reference: &str) -> String;
    #[wasm_bindgen(method, structural, catch)]
    async fn index(
        this: &Registry,
        reference: &str,
        validator: Option<String>,
    ) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural)]
    fn open(
        this: &Registry,
        digest: &str,
        size: Option<f64>,
        name: &str,
        manifest: bool,
        offset: f64,
        anew: bool,
    ) -> Transfer;

    /// `Answer` there.
    type Answer;

    #[wasm_bindgen(method, structural, getter)]
    fn index(this: &Answer) -> JsValue;
    #[wasm_bindgen(method, structural, getter)]
    fn validator(this: &Answer) -> Option<String>;
    #[wasm_bindgen(method, structural)]
    fn header(this: &Answer, name: &str) -> Option<JsString>;

    /// `Transfer` there.
    type Transfer;

    #[wasm_bindgen(method, structural, catch)]
    async fn begin(this: &Transfer) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    async fn next(this: &Transfer) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, structural)]
    fn cancel(this: &Transfer);
}

pub(super) struct JsOrigin {
    registry: Registry,
    id: String,
}

impl From<Registry> for JsOrigin {
    fn from(registry: Registry) -> Self {
        let id = registry.id();
        Self { registry, id }
    }
}

fn failed(thrown: JsValue) -> twinfer::Error {
    from_js(&thrown, ErrorCode::Network)
}

impl Origin for JsOrigin {
    type Body = JsBody;

    fn id(&self) -> &str {
        &self.id
    }

    fn index_key(&self, reference: &Reference) -> String {
        self.registry.index_key(&reference.to_string())
    }

    async fn index(&self, reference: &Reference, validator: Option<&str>) -> Result<Asked> {
        let asked = self
            .registry
            .index(&reference.to_string(), validator.map(Into::into))
            .await;
        let answer: Answer = asked.map_err(failed)?.unchecked_into();
        let headers: Vec<(&str, String)> = ["cache-control", "expires", "date", "age"]
            .into_iter()
            .filter_map(|name| Some((name, answer.header(name)?.into())))
            .collect();
        let freshness = Freshness::of_headers(|name| {
            let mut found = headers.iter().filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| value.as_str())
        });
        let index = answer.index();
        Ok(match index.is_undefined() {
            true => Asked::Unchanged(freshness),
            false => Asked::Changed {
                index: to_bytes(index)?,
                validator: answer.validator(),
                freshness,
            },
        })
    }

    async fn open(&self, wanted: &Wanted, offset: u64, anew: bool) -> Result<Opened<JsBody>> {
        // Sizes and offsets are below 2^53.
        let transfer = self.registry.open(
            &wanted.digest.to_string(),
            wanted.size.map(|size| size as f64),
            &wanted.name,
            wanted.manifest,
            offset as f64,
            anew,
        );
        // Dropped while it waits, it is cancelled.
        let body = JsBody { transfer };
        let begun = body.transfer.begin().await.map_err(failed)?;
        let offset = begun.as_f64().unwrap_or_default() as u64;
        Ok(Opened { body, offset })
    }
}

pub(super) struct JsBody {
    transfer: Transfer,
}

impl Body for JsBody {
    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let next = self.transfer.next().await.map_err(failed)?;
        match next.is_undefined() {
            true => Ok(None),
            false => to_bytes(next).map(Some),
        }
    }
}

impl Drop for JsBody {
    fn drop(&mut self) {
        self.transfer.cancel();
    }
}
