//! Requests that the host hands over together.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Response};
use twinfer_serve::{App, refused};

use crate::environment::variable;

/// Whether a request is a bundle of the host's: it has the secret that nobody else knows.
pub(crate) fn is_bundle(parts: &Parts) -> bool {
    let Some(token) = parts.headers.get(twinfer_bundle::TOKEN) else {
        return false;
    };
    variable("TWINFER_BUNDLE").is_some_and(|secret| !secret.is_empty() && token == secret.as_str())
}

/// The answers to the requests of a bundle, as one.
pub(crate) fn answer(app: &App, body: Bytes) -> Response<Bytes> {
    let requests = match twinfer_bundle::requests(body) {
        Ok(requests) => requests,
        Err(error) => return refused(&error),
    };
    let all = app.handle_all(requests);
    let mut response = Response::new(twinfer_bundle::of_responses(&all.answers));
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(twinfer_bundle::CONTENT_TYPE);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(twinfer_bundle::JOINED, HeaderValue::from(all.joined));
    response
}
