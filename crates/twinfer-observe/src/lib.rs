//! What can be seen of serving: metrics, traces, times.
//!
//! It has no host in it: no clock, no sockets, no randomness, no environment. Whoever uses it hands
//! in what happened (an [`Observation`] for each request), when, and random identifiers; it gives
//! back text for Prometheus ([`Metrics::encode`]), headers of W3C Trace Context ([`TraceContext`])
//! and the bytes of an OTLP export ([`otlp::encode`]). So the wasmtime host and the component
//! itself count the same things under the same names.
//!
//! | module | what |
//! |---|---|
//! | [`catalogue`] | every metric: name, kind, labels, meaning |
//! | [`Metrics`], [`HostMetrics`], [`ReleaseMetrics`] | counting; what only a host can know |
//! | [`Matched`] | the route of a path: a label with few values |
//! | [`Answered`] | what the component says in headers about its answer |
//! | [`TraceContext`], [`Sampler`] | `traceparent`, `tracestate`, which traces are recorded |
//! | [`Span`], [`otlp`] | spans, and their form on the wire |
//! | [`TraceSettings`] | the standard `OTEL_` variables |
#![deny(missing_docs)]

mod answered;
pub mod catalogue;
mod host_metrics;
mod labels;
mod metrics;
mod names;
mod observation;
pub mod otlp;
mod release_metrics;
mod route;
mod sampler;
mod settings;
mod span;
mod trace;

pub use answered::{Answered, MODEL};
pub use host_metrics::{HostMetrics, Lowered, Memory, Raised};
pub use metrics::{CONTENT_TYPE, Metrics, MetricsError, Pending};
pub use names::{Names, Selection};
pub use observation::{Asked, Observation, Outcome};
pub use release_metrics::{DeploymentSeen, InForceSeen, ReleaseMetrics, VariantSeen};
pub use route::Matched;
pub use sampler::Sampler;
pub use settings::{SettingsError, TraceSettings};
pub use span::{Kind, Span, Value};
pub use trace::{SpanId, TraceContext, TraceId};
