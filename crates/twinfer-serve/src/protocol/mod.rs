//! The protocols: each turns its own requests into calls of one core ([`crate::App::load`],
//! [`crate::rows`]), and what comes out into its own answers.

mod azure_ml;
mod cloud_events;
mod invocations;
mod mlflow;
mod open_inference;
mod repository;
mod sagemaker;
mod site;
mod tensorflow;
mod torch_serve;
mod vertex_ai;

use std::cell::OnceCell;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use twinfer::{Error, Result};

use crate::app::Options;
use crate::deployments::Assigned;
use crate::models::Loaded;
use crate::openapi::Document;
use crate::query::percent_decode;
use crate::run::{Executed, Run};
use crate::statistics::Outcome;
use crate::target::Target;
use crate::timing::Call;
use crate::{App, reply};

/// What must be there before a route can answer.
#[derive(Debug)]
pub(crate) enum Need<'a> {
    /// Nothing.
    Nothing,
    /// The index of the registry.
    Index,
    /// The index, and a model.
    Model(&'a Target),
}

/// A request, with what a route needs of it.
#[derive(Clone)]
pub(crate) struct Request<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) body: Bytes,
    /// When the shell began with it, by [`crate::Options::clock`].
    pub(crate) started: Option<f64>,
    /// Takes which model it is for, once that is known.
    pub(crate) asked: &'a Asked,
    /// Runs the model: what comes between the steps before it and those after it.
    pub(crate) run: &'a dyn Run,
}

/// The model that a request turned out to be for, for the headers of the answer.
#[derive(Default)]
pub(crate) struct Asked {
    model: OnceCell<(Arc<Loaded>, Call)>,
    assigned: OnceCell<Assigned>,
}

/// What the answer to a request took.
pub(crate) struct Took {
    /// When the model began to run, and for how long; `None` without a clock.
    pub(crate) ran: Option<(f64, f64)>,
    /// What the cache of predictions said, if it was asked.
    pub(crate) cache: Option<&'static str>,
    pub(crate) executed: Executed,
}

impl Asked {
    pub(crate) fn set(&self, loaded: &Arc<Loaded>, call: Call) {
        // A request that asks several models is none of one of them: the first stands.
        let _ = self.model.set((loaded.clone(), call));
    }

    /// Says which variant of a deployment answers.
    pub(crate) fn set_assigned(&self, assigned: Assigned) {
        let _ = self.assigned.set(assigned);
    }

    /// What came of the request, where it came as far as a model: for its statistics.
    pub(crate) fn outcome(&self, took: &Took) -> Option<Outcome> {
        let (loaded, call) = self.model.get()?;
        let config = loaded.model.config();
        let timing = call.timing();
        Some(Outcome {
            name: config.name.clone(),
            version: config.version.clone(),
            timing,
            parts: timing
                .zip(took.ran)
                .map(|(timing, ran)| call.parts(timing, ran)),
            cache: took.cache,
            executed: took.executed,
        })
    }

    /// Says in headers which package answered, and how long that took: for clients, for a proxy,
    /// and for whoever counts requests without reading bodies.
    pub(crate) fn describe(&self, took: &Took, headers: &mut HeaderMap) {
        let mut set = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        if let Some(assigned) = self.assigned.get() {
            let variant = assigned.variant();
            set("x-twinfer-deployment", &assigned.revision().to_string());
            set("x-twinfer-variant", &variant.name);
            set("x-twinfer-digest", &variant.digest.to_string());
        }
        let Some((loaded, call)) = self.model.get() else {
            return;
        };
        let config = loaded.model.config();
        set("x-twinfer-model", &config.name);
        set("x-twinfer-version", &config.version);
        set("x-twinfer-digest", loaded.model.digest());
        let Executed {
            inferences,
            executions,
        } = took.executed;
        set("x-twinfer-inferences", &inferences.to_string());
        set("x-twinfer-executions", &executions.to_string());
        if let Some(cache) = took.cache {
            set("x-twinfer-cache", cache);
        }
        if let Some(timing) = call.server_timing(took.ran) {
            set("server-timing", &timing);
        }
    }
}

/// A route of a protocol: what is asked for, as the path alone tells.
pub(crate) trait Route: Debug {
    /// The methods that it has, with `, ` between.
    fn methods(&self) -> &'static str;

    /// What must be there before it can answer.
    fn needs(&self) -> Need<'_>;

    /// The answer.
    ///
    /// # Errors
    /// What is wrong with the request, or with what it asks for.
    fn answer(&self, app: &App, request: Request<'_>) -> Result<Response<Bytes>>;

    /// An error in the form of the protocol. Every form has the code of [`twinfer::ErrorCode`] in it,
    /// beside what the protocol demands.
    fn failed(&self, error: &Error) -> Response<Bytes> {
        reply::error(error)
    }
}

impl dyn Route {
    pub(crate) fn allows(&self, method: &Method) -> bool {
        self.methods()
            .split(", ")
            .any(|allowed| allowed == method.as_str())
    }
}

/// The route of the decoded segments of a path, if it is one of this protocol.
type Find = fn(&[&str]) -> Option<Box<dyn Route>>;

/// In the order in which they are asked. No two of them have a path in common.
const PROTOCOLS: &[Find] = &[
    open_inference::find,
    repository::find,
    mlflow::find,
    invocations::find,
    sagemaker::find,
    vertex_ai::find,
    azure_ml::find,
    torch_serve::find,
    cloud_events::find,
    tensorflow::find,
    site::find,
];

/// What a protocol adds to the OpenAPI document: its operations, and schemas for them.
pub(crate) type Describe = fn(&mut Document<'_>);

/// In the order in which the document has them. Every protocol is in it.
pub(crate) const DESCRIPTIONS: &[Describe] = &[
    open_inference::describe,
    repository::describe,
    tensorflow::describe,
    invocations::describe,
    mlflow::describe,
    sagemaker::describe,
    vertex_ai::describe,
    azure_ml::describe,
    torch_serve::describe,
    cloud_events::describe,
    site::describe,
];

/// The route of a request: of its path, and of the headers of protocols that name the model there.
pub(crate) fn find(parts: &Parts, options: &Options) -> Option<Box<dyn Route>> {
    let path = parts.uri.path();
    if let Some(route) = vertex_ai::of_options(path, options) {
        return Some(route);
    }
    let trimmed = path.strip_prefix('/').unwrap_or(path);
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    let segments: Option<Vec<String>> = trimmed.split('/').map(percent_decode).collect();
    let segments = segments.unwrap_or_default();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if segments == ["invocations"]
        && let Some(target) = sagemaker::targeted(&parts.headers)
    {
        return Some(invocations::of(target));
    }
    PROTOCOLS.iter().find_map(|find| find(&segments))
}
