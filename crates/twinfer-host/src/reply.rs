//! Answers that the host gives by itself, in the shape that the component's
//! errors have: `{"error": "...", "code": "..."}`.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

/// The body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The error codes that the host itself answers with. They are a subset of
/// the codes of the inference crate, and have the same names and statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyCode {
    /// The request cannot be understood as HTTP for this host.
    InvalidRequest,
    /// No such file or route.
    NotFound,
    /// Credentials are wanted, or these do not count.
    Unauthorized,
    /// The credentials count, and may not do this.
    Forbidden,
    /// Too many requests of one client.
    RateLimited,
    /// A content type that is malformed or not taken here.
    UnsupportedMediaType,
    /// Only GET and HEAD are served here.
    MethodNotAllowed,
    /// The request body is larger than the limit.
    BodyTooLarge,
    /// The guest (or the client, while sending) took too long.
    Timeout,
    /// Too many requests are waiting.
    Overloaded,
    /// The request needs more memory than an instance may have.
    OutOfMemory,
    /// The guest is slim, lacks a function that the request needs, and there is no full one.
    EngineFunctionMissing,
    /// The guest trapped, or the host failed.
    Internal,
}

impl ReplyCode {
    /// Every code, for tests and documentation.
    pub const ALL: &[Self] = &[
        Self::InvalidRequest,
        Self::NotFound,
        Self::Unauthorized,
        Self::Forbidden,
        Self::RateLimited,
        Self::UnsupportedMediaType,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::Timeout,
        Self::Overloaded,
        Self::OutOfMemory,
        Self::EngineFunctionMissing,
        Self::Internal,
    ];

    /// The stable name, as in the `code` of an error body.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::NotFound => "not_found",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::OutOfMemory => "out_of_memory",
            Self::EngineFunctionMissing => "engine_function_missing",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    pub fn http_status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::NotFound => 404,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::RateLimited => 429,
            Self::UnsupportedMediaType => 415,
            Self::MethodNotAllowed => 405,
            Self::BodyTooLarge => 413,
            Self::Timeout => 504,
            Self::Overloaded => 503,
            Self::OutOfMemory => 507,
            Self::EngineFunctionMissing | Self::Internal => 500,
        }
    }
}

/// A request that failed: what the client is told, and what only the log is.
#[derive(Debug)]
pub(crate) struct Failure {
    code: ReplyCode,
    message: String,
    cause: Option<String>,
    /// When it is worth while to try again.
    after: Duration,
}

impl Failure {
    pub(crate) fn new(code: ReplyCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            cause: None,
            after: Duration::from_secs(1),
        }
    }

    /// Says when it is worth while to try again, in whole seconds; one second otherwise. Only
    /// clients that were refused as `overloaded` are told.
    pub(crate) fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    /// Adds the reason, which may show internals and so is only logged.
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn code(&self) -> ReplyCode {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let body =
            serde_json::json!({"error": self.message, "code": self.code.as_str()}).to_string();
        let mut response = Response::new(full(body));
        *response.status_mut() = StatusCode::from_u16(self.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.code == ReplyCode::Overloaded {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(self.after.as_secs()));
        }
        response
    }
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}
