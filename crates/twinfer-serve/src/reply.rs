//! Answers and errors as HTTP.

use std::fmt::Display;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use twinfer::{Error, ErrorCode, err};

/// An answer in JSON.
pub(crate) fn json(value: &impl Serialize) -> Response<Bytes> {
    match serde_json::to_vec(value) {
        Ok(body) => with_type(StatusCode::OK, "application/json", body.into()),
        Err(e) => error(&err!(Internal, "the answer cannot be written as JSON: {e}")),
    }
}

pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An error in the shape of the protocol, with its code.
pub(crate) fn error(error: &Error) -> Response<Bytes> {
    error_with(error, Value::Null)
}

/// An error with more fields.
pub(crate) fn error_with(error: &Error, more: Value) -> Response<Bytes> {
    let mut body = Map::new();
    body.insert("error".into(), error.message().into());
    body.insert("code".into(), error.code().as_str().into());
    if let Value::Object(more) = more {
        body.extend(more);
    }
    let status = StatusCode::from_u16(error.code().http_status())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_type(
        status,
        "application/json",
        Value::Object(body).to_string().into(),
    )
}

pub(crate) fn wrong_method(method: &Method, path: &str, allowed: &'static str) -> Response<Bytes> {
    let message = format!("{method} is not possible at {path}: use {allowed}");
    let mut response = error(&Error::new(ErrorCode::MethodNotAllowed, message));
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The answer to a body of more than `limit` bytes, for shells that read it.
pub fn body_too_large(limit: usize) -> Response<Bytes> {
    error(&err!(
        BodyTooLarge,
        "the request body is larger than {limit} bytes: send less, or raise the limit of the server"
    ))
}

/// The answer to a body that is not what it should be, for shells that read it.
pub fn refused(cause: &dyn Display) -> Response<Bytes> {
    error(&err!(InvalidRequest, "{cause}"))
}

/// The answer to a body that ended before its time, for shells that read it.
pub fn broken_body(cause: &dyn Display) -> Response<Bytes> {
    let body = json!({"error": format!("the request body broke off: {cause}"), "code": ErrorCode::InvalidRequest.as_str()});
    with_type(
        StatusCode::BAD_REQUEST,
        "application/json",
        body.to_string().into(),
    )
}
