//! One request, from its head to its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use serde_json::{Map, Value as Json};
use twinfer_observe::{
    Answered, Asked, Kind, Observation, Outcome, Pending, Raised, Span, SpanId, TraceContext,
    TraceId,
};

use super::{Observer, wall};
use crate::tls::Peer;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// Asked every few seconds by whoever runs the server: no trace worth keeping begins with these.
const PROBES: [&str; 8] = [
    "/healthz",
    "/livez",
    "/readyz",
    "/metrics",
    "/v2/health/live",
    "/v2/health/ready",
    "/ping",
    "/health",
];
/// Longer ones are cut: they are whatever a client sends.
const MAX_AGENT: usize = 200;
const MAX_PATH: usize = 1000;

/// A request that is being answered. When it is dropped before its end, the client went away.
pub(crate) struct RequestWatch {
    observer: Observer,
    method: Method,
    path: String,
    agent: Option<String>,
    scheme: &'static str,
    started: Instant,
    started_at: u64,
    /// Our own span, and the one that it is part of.
    trace: Option<(TraceContext, Option<SpanId>)>,
    queue: Queue,
    principal: Option<String>,
    counted: Option<(Pending, Raised)>,
}

/// How long a request waited for an instance, told by whoever lets it wait. It travels in the
/// extensions of the request.
#[derive(Clone)]
pub(crate) struct Queue {
    observer: Observer,
    /// Nanoseconds; [`UNKNOWN`] until it has ended.
    waited: Arc<AtomicU64>,
}

const UNKNOWN: u64 = u64::MAX;

impl Queue {
    /// The request begins to wait; it ends when what this gives is dropped.
    pub(crate) fn begin(&self) -> Waiting {
        Waiting {
            queue: self.clone(),
            started: Instant::now(),
            _length: self.observer.host().waiting(),
        }
    }

    fn get(&self) -> Option<Duration> {
        let waited = self.waited.load(Ordering::Relaxed);
        (waited != UNKNOWN).then(|| Duration::from_nanos(waited))
    }
}

/// A request that waits for an instance.
pub(crate) struct Waiting {
    queue: Queue,
    started: Instant,
    _length: Raised,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let time = self.started.elapsed();
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(UNKNOWN - 1);
        self.queue.waited.store(nanoseconds, Ordering::Relaxed);
        self.queue.observer.waited(time);
    }
}

impl Observer {
    /// A request has come. What it gives goes through [`RequestWatch::end`]; the request has our
    /// own trace context from now on, and a [`Queue`] among its extensions.
    pub(crate) fn watch<B>(&self, request: &mut Request<B>) -> RequestWatch {
        let queue = Queue {
            observer: self.clone(),
            waited: Arc::new(AtomicU64::new(UNKNOWN)),
        };
        let trace = self.trace(request.headers(), request.uri().path());
        if let Some((own, _)) = &trace {
            own.write(request.headers_mut());
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let agent = request.headers().get(http::header::USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        let agent = agent.map(|agent| agent.chars().take(MAX_AGENT).collect());
        let pending = self.0.metrics.begin(&Asked::new(&method, &path));
        request.extensions_mut().insert(queue.clone());
        RequestWatch {
            counted: Some((pending, self.host().in_flight())),
            observer: self.clone(),
            method,
            path,
            agent,
            scheme: scheme(request.extensions()),
            started: Instant::now(),
            started_at: wall::nanoseconds(),
            trace,
            queue,
            principal: None,
        }
    }

    /// Our own span of a request, and its parent. `None` only where the system has no randomness.
    fn trace(&self, headers: &HeaderMap, path: &str) -> Option<(TraceContext, Option<SpanId>)> {
        let sampler = self.0.sampler;
        if let Some(theirs) = TraceContext::of(headers) {
            let takes = |sampler: twinfer_observe::Sampler| {
                sampler.takes(theirs.trace, Some(theirs.sampled()))
            };
            // Without a collector of ours, others may still record.
            let sampled = sampler.map_or(theirs.sampled(), takes);
            return Some((theirs.child(span_id()?, sampled), Some(theirs.span)));
        }
        let trace = random::<16>().and_then(TraceId::new)?;
        let takes = |sampler: twinfer_observe::Sampler| sampler.takes(trace, None);
        let sampled = !PROBES.contains(&path) && sampler.is_some_and(takes);
        Some((TraceContext::root(trace, span_id()?, sampled), None))
    }
}

/// That of the connection which the request came over; what is before us may have another.
fn scheme(extensions: &Extensions) -> &'static str {
    let peer = extensions.get::<Peer>();
    peer.map_or("http", Peer::scheme)
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok().map(|()| bytes)
}

fn span_id() -> Option<SpanId> {
    random().and_then(SpanId::new)
}

impl RequestWatch {
    /// Who asked, once that is known.
    pub(crate) fn set_principal(&mut self, principal: impl Into<String>) {
        self.principal = Some(principal.into());
    }

    /// The request is answered: counts it, records its spans, adds the host's times to the answer,
    /// and gives what the log says more of it.
    pub(crate) fn end<B>(mut self, answer: &mut Response<B>, id: &str) -> Map<String, Json> {
        let counted = self.counted.take();
        let total = self.started.elapsed();
        let answered = Answered::of(answer.headers());
        let status = answer.status().as_u16();
        if let Some((pending, _in_flight)) = counted {
            let outcome = Outcome::Answer(status, answered.as_ref());
            self.observer
                .0
                .metrics
                .observe(pending, &self.observation(outcome, total));
        }
        self.add_timing(total, answer.headers_mut());
        self.record(answered.as_ref(), status, total, id);
        self.fields(answered)
    }

    fn observation<'a>(&'a self, outcome: Outcome<'a>, total: Duration) -> Observation<'a> {
        Observation {
            asked: Asked::new(&self.method, &self.path),
            outcome,
            queue: self.queue.get(),
            total,
        }
    }

    /// Server Timing (W3C), section 3: what the component says, between what we know.
    fn add_timing(&self, total: Duration, headers: &mut HeaderMap) {
        let Some(queue) = self.queue.get() else {
            return;
        };
        let theirs = headers
            .get(SERVER_TIMING)
            .and_then(|timing| timing.to_str().ok());
        let theirs = theirs
            .map(|timing| format!("{timing}, "))
            .unwrap_or_default();
        let (queue, total) = (milliseconds(queue), milliseconds(total));
        let timing = format!("queue;dur={queue}, {theirs}total;dur={total}");
        if let Ok(value) = HeaderValue::from_str(&timing) {
            headers.insert(SERVER_TIMING, value);
        }
    }

    fn fields(&self, answered: Option<Answered>) -> Map<String, Json> {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Option<Json>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        };
        let trace = self.trace.as_ref().map(|(own, _)| own);
        set("trace_id", trace.map(|own| own.trace.to_string().into()));
        set("span_id", trace.map(|own| own.span.to_string().into()));
        set("principal", self.principal.clone().map(Into::into));
        let queue = self.queue.get().map(milliseconds);
        set("queue_ms", queue.map(Into::into));
        if let Some(by) = answered {
            set("model", Some(by.model.into()));
            set("version", Some(by.version.into()));
            set("digest", by.digest.map(Into::into));
            set("load_ms", by.load_ms.map(Into::into));
            set("predict_ms", by.predict_ms.map(Into::into));
        }
        fields
    }

    /// The spans of the request, where its trace is recorded: by the semantic conventions of
    /// OpenTelemetry for HTTP servers.
    fn record(&self, answered: Option<&Answered>, status: u16, total: Duration, id: &str) {
        let Some(spans) = &self.observer.0.spans else {
            return;
        };
        let Some((own, parent)) = self.trace.as_ref().filter(|(own, _)| own.sampled()) else {
            return;
        };
        let end = self.started_at.saturating_add(nanoseconds(total));
        let asked = Asked::new(&self.method, &self.path);
        let method = asked.method_label();
        let mut attributes = vec![
            ("http.request.method", method.into()),
            ("http.route", asked.matched.route.into()),
            ("http.response.status_code", i64::from(status).into()),
            (
                "url.path",
                self.path.chars().take(MAX_PATH).collect::<String>().into(),
            ),
            ("url.scheme", self.scheme.into()),
            ("twinfer.request_id", id.into()),
        ];
        if let Some(agent) = &self.agent {
            attributes.push(("user_agent.original", agent.as_str().into()));
        }
        if let Some(principal) = &self.principal {
            attributes.push(("enduser.id", principal.as_str().into()));
        }
        if status >= 500 {
            attributes.push(("error.type", status.to_string().into()));
        }
        if let Some(by) = answered {
            attributes.push(("twinfer.model", by.model.as_str().into()));
            attributes.push(("twinfer.version", by.version.as_str().into()));
            if let Some(digest) = &by.digest {
                attributes.push(("twinfer.digest", digest.as_str().into()));
            }
        }
        let mut all = vec![Span {
            context: own.clone(),
            parent: *parent,
            parent_is_remote: parent.is_some(),
            name: format!("{method} {}", asked.matched.route),
            kind: Kind::Server,
            start: self.started_at,
            end,
            attributes,
            failed: status >= 500,
        }];
        all.extend(self.parts(own, answered, end));
        let lost = spans.offer(all);
        if lost > 0 {
            self.observer.dropped("queue_full", lost);
        }
    }

    /// Queue, load and predict. The component says how long the last two took, up to its answer: so
    /// they are laid from its end backwards.
    fn parts(&self, own: &TraceContext, answered: Option<&Answered>, end: u64) -> Vec<Span> {
        let mut parts = Vec::new();
        let mut part = |name: &str, start: u64, end: u64| {
            let Some(span) = span_id() else { return };
            parts.push(Span {
                context: own.child(span, own.sampled()),
                parent: Some(own.span),
                parent_is_remote: false,
                name: name.to_owned(),
                kind: Kind::Internal,
                start: start.max(self.started_at),
                end: end.max(self.started_at),
                attributes: Vec::new(),
                failed: false,
            });
        };
        let of = |ms: f64| nanoseconds(Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default());
        if let Some(by) = answered
            && let (Some(load), Some(predict)) = (by.load_ms.map(of), by.predict_ms.map(of))
        {
            let loaded = end.saturating_sub(predict);
            let began = loaded.saturating_sub(load);
            if let Some(queue) = self.queue.get().map(nanoseconds) {
                part("queue", began.saturating_sub(queue), began);
            }
            part("load", began, loaded);
            part("predict", loaded, end);
        } else if let Some(queue) = self.queue.get().map(nanoseconds) {
            part(
                "queue",
                self.started_at,
                self.started_at.saturating_add(queue),
            );
        }
        parts
    }
}

impl Drop for RequestWatch {
    fn drop(&mut self) {
        if let Some((pending, _in_flight)) = self.counted.take() {
            let seen = self.observation(Outcome::Canceled, self.started.elapsed());
            self.observer.0.metrics.observe(pending, &seen);
        }
    }
}

/// With microseconds behind the point.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_that_of_the_connection() {
        let address = ([127, 0, 0, 1], 80).into();
        let mut extensions = Extensions::new();
        assert_eq!(scheme(&extensions), "http");
        extensions.insert(Peer::plain(address));
        assert_eq!(scheme(&extensions), "http");
        extensions.insert(Peer::secured(address, None).unwrap());
        assert_eq!(scheme(&extensions), "https");
    }
}
