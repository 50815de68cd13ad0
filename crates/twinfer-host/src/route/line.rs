//! What the log says of one request.

use std::time::Instant;

use http::Request;
use hyper::body::Incoming;
use serde_json::json;

use crate::log::{Log, LogLevel};
use crate::tls::Peer;

/// The line of the log about one request, which is written in any case: a client that goes before
/// it has its answer is one too.
pub(super) struct RequestLine<'a> {
    log: &'a Log,
    started: Instant,
    fields: Option<serde_json::Value>,
}

impl<'a> RequestLine<'a> {
    pub(super) fn new(
        log: &'a Log,
        id: &str,
        request: &Request<Incoming>,
        started: Instant,
    ) -> Self {
        let mut fields = json!({"request": id, "method": request.method().as_str(), "path": request.uri().path()});
        let peer = request.extensions().get::<Peer>();
        if let Some(certificate) = peer.and_then(|peer| peer.certificate.as_ref()) {
            fields["client"] = json!({
                "name": certificate.common_name, "subject": certificate.subject,
                "alternative_names": certificate.alternative_names, "fingerprint": certificate.fingerprint,
            });
        }
        Self {
            log,
            started,
            fields: Some(fields),
        }
    }

    /// `seen`: what the observer has to say of it.
    pub(super) fn answered(
        mut self,
        status: u16,
        bytes: Option<u64>,
        failure: Option<serde_json::Value>,
        seen: Option<serde_json::Map<String, serde_json::Value>>,
    ) {
        let fields = self
            .fields
            .as_mut()
            .and_then(serde_json::Value::as_object_mut);
        if let (Some(fields), Some(seen)) = (fields, seen) {
            fields.extend(seen);
        }
        let level = if status >= 500 {
            LogLevel::Error
        } else {
            LogLevel::Info
        };
        self.write(level, json!(status), json!(bytes), json!(failure));
    }

    fn write(
        &mut self,
        level: LogLevel,
        status: serde_json::Value,
        bytes: serde_json::Value,
        failure: serde_json::Value,
    ) {
        let Some(mut fields) = self.fields.take() else {
            return;
        };
        fields["status"] = status;
        fields["ms"] = json!(self.started.elapsed().as_secs_f64() * 1e3);
        fields["bytes"] = bytes;
        fields["failure"] = failure;
        self.log.event(level, "request", fields);
    }
}

impl Drop for RequestLine<'_> {
    fn drop(&mut self) {
        let failure =
            json!({"code": "aborted", "error": "the client went before it had its answer"});
        // No status was sent; this is what the code has.
        self.write(LogLevel::Info, json!(499), json!(null), failure);
    }
}
