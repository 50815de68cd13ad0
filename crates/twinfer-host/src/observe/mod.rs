//! What can be seen of a running host: metrics, traces, the times of each request.
//!
//! What is counted comes from three places: each request at the door (`request.rs`), the instances
//! (`instance.rs`), and the events of the log (`events.rs`): what is logged is what is counted.

mod events;
mod export;
mod instance;
mod process;
mod request;
mod wall;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response};
use serde_json::Value as Json;
use twinfer_observe::{DeploymentSeen, HostMetrics, Metrics, Sampler, Selection, TraceSettings};

pub(crate) use self::export::Exporting;
use self::export::{Exporter, Spans};
pub(crate) use self::instance::InstanceWatch;
pub(crate) use self::request::{Queue, Waiting};
use crate::config::HostConfig;
use crate::error::HostError;
use crate::log::{Log, LogLevel};
use crate::reply::{Body, Failure, ReplyCode, full};

/// What is observed, and where it goes. Clones are the same observer: one can be given to a
/// configuration and to a [`Log`] of the same process.
#[derive(Clone)]
pub struct Observer(Arc<Inner>);

/// Whether there is `/metrics`, and where traces go.
#[derive(Debug, Clone)]
pub struct ObserveOptions {
    /// Answer `/metrics`.
    pub metrics: bool,
    /// Where traces go; `None`: nowhere. Trace context is taken over and passed on all the same.
    pub traces: Option<TraceSettings>,
}

impl Default for ObserveOptions {
    fn default() -> Self {
        Self {
            metrics: true,
            traces: None,
        }
    }
}

/// How the place of shared state is, at the time of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct StateSeen {
    /// What it is, such as `redis`: one of a few.
    pub place: &'static str,
    /// Whether it answered the last time.
    pub connected: bool,
    /// Counters whose sums wait for its return.
    pub pending: usize,
}

type StateProbe = Box<dyn Fn() -> StateSeen + Send + Sync>;
type DeploymentsProbe = Box<dyn Fn() -> Vec<DeploymentSeen> + Send + Sync>;

struct Inner {
    metrics: Metrics,
    host: HostMetrics,
    expose: bool,
    sampler: Option<Sampler>,
    spans: Option<Spans>,
    state: OnceLock<StateProbe>,
    deployments: OnceLock<DeploymentsProbe>,
    /// Taken by the host that begins first.
    exporter: Mutex<Option<Exporter>>,
}

/// The model that an answer of the component is of, as it says.
pub(crate) fn model(headers: &HeaderMap) -> Option<&str> {
    headers.get(twinfer_observe::MODEL)?.to_str().ok()
}

/// The answer to `/metrics`.
pub(crate) fn expose(
    config: &HostConfig,
    method: &Method,
    query: Option<&str>,
) -> Result<Response<Body>, Failure> {
    let observer = config.observer.as_ref();
    let exposed = observer
        .filter(|observer| observer.0.expose)
        .ok_or_else(|| {
            let message = "metrics are switched off on this server";
            Failure::new(ReplyCode::NotFound, message)
        })?;
    exposed.expose(method, query)
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer")
            .field("metrics", &self.0.expose)
            .field("sampler", &self.0.sampler)
            .finish_non_exhaustive()
    }
}

impl Observer {
    /// An observer that has seen nothing.
    ///
    /// # Errors
    /// An address of a collector that cannot be one.
    pub fn new(options: ObserveOptions) -> Result<Self, HostError> {
        let broken = |e: twinfer_observe::MetricsError| HostError::internal(e.to_string());
        let metrics = Metrics::new().map_err(broken)?;
        let host = HostMetrics::new(&metrics, wall::seconds()).map_err(broken)?;
        let (spans, exporter) = match options.traces {
            Some(settings) => {
                let exporter = Exporter::new(settings)?;
                (Some(exporter.spans()), Some(exporter))
            }
            None => (None, None),
        };
        Ok(Self(Arc::new(Inner {
            metrics,
            host,
            expose: options.metrics,
            sampler: exporter.as_ref().map(Exporter::sampler),
            spans,
            state: OnceLock::new(),
            deployments: OnceLock::new(),
            exporter: Mutex::new(exporter),
        })))
    }

    /// So many instances may serve at once from now on.
    pub(crate) fn limit_instances(&self, most: usize) {
        self.0.host.limit_instances(most);
    }

    /// Other settings were read, and taken or not.
    pub(crate) fn reloaded(&self, taken: bool) {
        self.0.host.reloaded(taken, wall::seconds());
    }

    /// A host begins: exports spans, in the runtime that this is called in. `None` where there is
    /// nothing to export, or another host does it.
    pub(crate) fn begin(&self, config: &HostConfig, log: &Log) -> Option<Exporting> {
        self.limit_instances(config.limits.max_instances);
        self.reloaded(true);
        let mut exporter = self
            .0
            .exporter
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Some(exporter.take()?.begin(self.clone(), log.clone()))
    }

    /// An event of the log, whether or not it is written.
    pub(crate) fn event(&self, level: LogLevel, event: &str, fields: &Json) {
        events::count(&self.0.host, level, event, fields);
    }

    /// Whom to ask, at each scrape, how the place of shared state is. It must not block. The first
    /// one counts.
    pub fn watch_state(&self, probe: impl Fn() -> StateSeen + Send + Sync + 'static) {
        let _ = self.0.state.set(Box::new(probe));
    }

    /// Whom to ask, at each scrape, which deployments there are. It must not block. The first one
    /// counts.
    pub fn watch_deployments(
        &self,
        probe: impl Fn() -> Vec<DeploymentSeen> + Send + Sync + 'static,
    ) {
        let _ = self.0.deployments.set(Box::new(probe));
    }

    fn expose(&self, method: &Method, query: Option<&str>) -> Result<Response<Body>, Failure> {
        if method != Method::GET && method != Method::HEAD {
            let failure = Failure::new(ReplyCode::MethodNotAllowed, "metrics are read with GET");
            let mut answer = failure.into_response();
            let allowed = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(ALLOW, allowed);
            return Ok(answer);
        }
        let wanted = Selection::of_query(query)
            .map_err(|why| Failure::new(ReplyCode::InvalidRequest, why))?;
        if let Some(probe) = self.0.state.get() {
            let seen = probe();
            self.0.host.state(seen.place, seen.connected, seen.pending);
        }
        if let Some(probe) = self.0.deployments.get() {
            self.0.host.releases().show(&probe());
        }
        let process = process::read();
        self.0
            .host
            .process(process.resident, process.open_files, process.max_files);
        let text = self.0.metrics.encode(&wanted).map_err(|e| {
            Failure::new(ReplyCode::Internal, "the metrics cannot be written")
                .because(e.to_string())
        })?;
        let mut answer = Response::new(full(text));
        let headers = answer.headers_mut();
        let kind = HeaderValue::from_static(twinfer_observe::CONTENT_TYPE);
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }

    fn dropped(&self, reason: &str, spans: usize) {
        self.0.host.spans_dropped(reason, spans as u64);
    }

    fn exported(&self, spans: usize) {
        self.0.host.spans_exported(spans as u64);
    }

    fn waited(&self, time: Duration) {
        self.0.host.waited(time);
    }
}
