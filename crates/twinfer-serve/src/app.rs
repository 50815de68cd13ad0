//! The application: one request in, one answer out.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::request::Parts;
use http::{Method, Request, Response};
use serde_json::json;
use twinfer::{Error, Result, bail};
use twinfer_package::{Index, Reference, Store};

use crate::catalog::Catalog;
use crate::fused::{Fused, FusedStore};
use crate::models::{Loaded, Models};
use crate::route::{Route, Target};
use crate::timing::Call;
use crate::trust::{Entry, Gate, Trust};
use crate::{infer, metadata, predict, reply};

/// What a shell can choose.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Largest request body in bytes.
    pub max_body: usize,
    /// Most models kept loaded; the least recently used goes first.
    pub max_models: usize,
    /// A clock in milliseconds from any start. Without one, answers carry no
    /// timing: the application has no clock of its own.
    pub clock: Option<fn() -> f64>,
    /// Which packages are loaded.
    pub trust: Trust,
}

impl Default for Options {
    fn default() -> Self {
        // 64 MiB holds any encoded picture and a 4-megapixel float32 tensor;
        // eight of the models that fit into an instance at all fit together.
        Self {
            max_body: 64 << 20,
            max_models: 8,
            clock: None,
            trust: Trust::Everything,
        }
    }
}

/// The serving application. It can be shared between threads.
pub struct App {
    store: Arc<dyn Store>,
    pub(crate) gate: Gate,
    pub(crate) catalog: Catalog,
    pub(crate) models: Models,
    options: Options,
}

impl App {
    /// An application over a registry. Nothing is read yet.
    pub fn new(store: Arc<dyn Store>, options: Options) -> Self {
        Self {
            catalog: Catalog::new(store.clone(), None),
            models: Models::new(store.clone(), options.max_models, None),
            gate: Gate::new(options.trust.clone()),
            store,
            options,
        }
    }

    /// An application that has a package already, beside those of a registry, if there is one.
    /// The trust policy of `options` decides on it like on any other: the signatures that it
    /// asks for are those in the registry.
    pub fn with_fused(
        fused: &Arc<Fused>,
        registry: Option<Arc<dyn Store>>,
        options: Options,
    ) -> Self {
        let store: Arc<dyn Store> = Arc::new(FusedStore::new(fused.clone(), registry));
        Self {
            catalog: Catalog::new(store.clone(), Some(fused.known().clone())),
            models: Models::new(store.clone(), options.max_models, Some(fused.loaded())),
            gate: Gate::new(options.trust.clone()),
            store,
            options,
        }
    }

    /// The options that it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Answers a request. It never fails and never panics on input: what is
    /// wrong with a request is its answer.
    pub fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.handle_since(request, None)
    }

    /// The same, where the shell got the model before: `started` is the time of
    /// [`Options::clock`] at which it began, which the answer counts as loading.
    pub fn handle_since(&self, request: Request<Bytes>, started: Option<f64>) -> Response<Bytes> {
        let (parts, body) = request.into_parts();
        if body.len() > self.options.max_body {
            return reply::body_too_large(self.options.max_body);
        }
        let route = match Route::parse(parts.uri.path()) {
            Ok(route) => route,
            Err(error) => return reply::error(&error),
        };
        if !route.allows(&parts.method) {
            return reply::wrong_method(&parts.method, parts.uri.path(), route.methods());
        }
        check_encoding(&parts)
            .and_then(|()| self.answer(&route, &parts, body, started))
            .unwrap_or_else(|error| reply::error(&error))
    }

    fn answer(
        &self,
        route: &Route,
        parts: &Parts,
        body: Bytes,
        started: Option<f64>,
    ) -> Result<Response<Bytes>> {
        match route {
            Route::Server => Ok(reply::json(&metadata::server())),
            Route::Live => Ok(reply::json(&json!({"live": true}))),
            Route::Ready => Ok(self.ready()),
            Route::Models => Ok(reply::json(&metadata::models(&*self.catalog.index()?))),
            Route::Model(target) => self.model_metadata(target),
            Route::ModelReady(target) => Ok(self.model_ready(target)),
            Route::Infer(target) => {
                let call = Call::new(self.options.clock).since(started);
                let loaded = self.load(target)?;
                infer::infer(&loaded, parts, body, call.loaded())
            }
            Route::Predict(target) => {
                let call = Call::new(self.options.clock).since(started);
                let loaded = self.load(target)?;
                predict::predict(&loaded, parts, body, call.loaded())
            }
        }
    }

    fn load(&self, target: &Target) -> Result<Arc<Loaded>> {
        let reference = target.reference()?;
        let entry = self.admit(&self.catalog.index()?, &reference)?;
        self.models.get(&reference, &entry)
    }

    pub(crate) fn admit(&self, index: &Arc<Index>, reference: &Reference) -> Result<Entry> {
        self.gate.admit(&*self.store, index, reference)
    }

    /// Ready is who can read the registry and has no malformed trust policy; models are loaded on demand.
    fn ready(&self) -> Response<Bytes> {
        // Clients of KServe read `ready`, the text of the protocol says `live`.
        match self.gate.check().and_then(|()| self.catalog.index()) {
            Ok(_) => reply::json(&json!({"live": true, "ready": true})),
            Err(error) => failed(&Route::Ready, &error),
        }
    }

    fn model_ready(&self, target: &Target) -> Response<Bytes> {
        match self.load(target) {
            Ok(_) => reply::json(&json!({"name": target.name, "ready": true})),
            Err(error) => reply::error_with(&error, not_ready(target)),
        }
    }

    fn model_metadata(&self, target: &Target) -> Result<Response<Bytes>> {
        let reference = target.reference()?;
        let index = self.catalog.index()?;
        let entry = self.admit(&index, &reference)?;
        let config = self.models.config(&reference, &entry.descriptor)?;
        let signature = match &config.signature {
            Some(signature) => signature.clone(),
            None => self
                .models
                .get(&reference, &entry)?
                .model
                .signature()
                .clone(),
        };
        Ok(reply::json(&metadata::model(
            &config,
            &signature,
            &index,
            &entry.descriptor.digest,
        )))
    }
}

/// The answer of a route when what it wants is not there.
pub(crate) fn failed(route: &Route, error: &Error) -> Response<Bytes> {
    match route {
        Route::Ready => reply::error_with(error, json!({"live": true, "ready": false})),
        Route::ModelReady(target) => reply::error_with(error, not_ready(target)),
        _ => reply::error(error),
    }
}

fn not_ready(target: &Target) -> serde_json::Value {
    json!({"name": target.name, "ready": false})
}

/// Compressed bodies are not taken: a small one could become any size.
fn check_encoding(parts: &Parts) -> Result<()> {
    match parts.headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => bail!(
            UnsupportedMediaType,
            "the content encoding {encoding:?} is not taken: send the body uncompressed"
        ),
        _ => Ok(()),
    }
}

impl Route {
    pub(crate) fn allows(&self, method: &Method) -> bool {
        self.methods()
            .split(", ")
            .any(|allowed| allowed == method.as_str())
    }

    fn methods(&self) -> &'static str {
        match self {
            Route::Infer(_) | Route::Predict(_) => "POST",
            _ => "GET, HEAD",
        }
    }
}
