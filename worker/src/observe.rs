//! `/metrics` of this instance, for hosts that know nothing of models.
//!
//! It counts what this instance answered since its start, and nothing else: with several instances
//! each scrape meets one of them. Off unless `TWINFER_METRICS=1`.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use twinfer::{Result, err};
use twinfer_observe::{
    Answered, Asked, CONTENT_TYPE as TEXT, Metrics, Observation, Outcome, Pending, Selection,
};

use crate::environment::variable;

static METRICS: OnceLock<Option<Metrics>> = OnceLock::new();

/// The metrics, where they are switched on.
fn metrics() -> Option<&'static Metrics> {
    let made = METRICS.get_or_init(|| {
        let on = variable("TWINFER_METRICS").is_some_and(|value| value == "1");
        let metrics = on.then(Metrics::new)?;
        metrics
            .inspect_err(|error| eprintln!("TWINFER_METRICS: {error}; nothing is counted"))
            .ok()
    });
    made.as_ref()
}

/// A request that is counted when it is answered.
pub(crate) struct Seen {
    metrics: &'static Metrics,
    method: Method,
    path: String,
    pending: Pending,
    started: f64,
}

/// A request begins, at this time in milliseconds. `None` where nothing is counted.
pub(crate) fn begin(parts: &Parts, now: f64) -> Option<Seen> {
    let metrics = metrics()?;
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let pending = metrics.begin(&Asked::new(&method, &path));
    Some(Seen {
        metrics,
        method,
        path,
        pending,
        started: now,
    })
}

impl Seen {
    /// The answer, if the request is for the metrics themselves.
    pub(crate) fn exposition(&self, query: Option<&str>) -> Option<Response<Bytes>> {
        let asked = self.path == "/metrics" && matches!(self.method, Method::GET | Method::HEAD);
        asked.then(|| self.encode(query).unwrap_or_else(|error| failed(&error)))
    }

    fn encode(&self, query: Option<&str>) -> Result<Response<Bytes>> {
        let wanted = Selection::of_query(query).map_err(|why| err!(InvalidParameter, "{why}"))?;
        let text = self.metrics.encode(&wanted);
        let text = text.map_err(|e| err!(Internal, "{e}"))?;
        let mut answer = Response::new(Bytes::from(text));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
        Ok(answer)
    }

    /// The request is answered, at this time.
    pub(crate) fn end(self, answer: &Response<Bytes>, now: f64) {
        let answered = Answered::of(answer.headers());
        let total = Duration::try_from_secs_f64((now - self.started) / 1e3);
        let seen = Observation {
            asked: Asked::new(&self.method, &self.path),
            outcome: Outcome::Answer(answer.status().as_u16(), answered.as_ref()),
            queue: None,
            total: total.unwrap_or_default(),
        };
        self.metrics.observe(self.pending, &seen);
    }
}

fn failed(error: &twinfer::Error) -> Response<Bytes> {
    let code = error.code();
    let body = serde_json::json!({"error": error.message(), "code": code.as_str()});
    let mut answer = Response::new(Bytes::from(body.to_string()));
    *answer.status_mut() =
        StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}
