//! Why a request is refused, in words that tell nothing about who may.

use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Credentials are wanted, or these do not count.
    Unauthorized,
    /// The credentials count, and may not do this.
    Forbidden,
    /// Too many requests.
    RateLimited,
    /// The path is unknown.
    NotFound,
    /// A content type that is malformed, given twice, or not taken here.
    UnsupportedMediaType,
}

impl Reason {
    /// Every reason, for tests.
    pub const ALL: &'static [Self] = &[
        Self::Unauthorized,
        Self::Forbidden,
        Self::RateLimited,
        Self::NotFound,
        Self::UnsupportedMediaType,
    ];

    /// The stable code in answers.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::NotFound => "not_found",
            Self::UnsupportedMediaType => "unsupported_media_type",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::RateLimited => 429,
            Self::NotFound => 404,
            Self::UnsupportedMediaType => 415,
        }
    }
}

/// A request that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// What the client is told.
    pub message: &'static str,
    /// What only the log is told.
    pub cause: &'static str,
    /// Seconds after which it is worth another try.
    pub retry_after: Option<u64>,
    /// Whether there were credentials, which did not count.
    pub had_credentials: bool,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, message: &'static str, cause: &'static str) -> Self {
        Self {
            reason,
            message,
            cause,
            retry_after: None,
            had_credentials: false,
        }
    }

    /// Without credentials.
    pub(crate) fn anonymous() -> Self {
        Self::new(
            Reason::Unauthorized,
            "this needs credentials: send an API key or a token as `Authorization: Bearer …`, or a key as `X-API-Key`",
            "no credentials",
        )
    }

    /// With credentials that do not count. One message, whatever is wrong with them.
    pub(crate) fn invalid(cause: &'static str) -> Self {
        Self {
            had_credentials: true,
            ..Self::new(
                Reason::Unauthorized,
                "these credentials do not count here: they are unknown, malformed or expired",
                cause,
            )
        }
    }

    pub(crate) fn unknown_path() -> Self {
        Self::new(
            Reason::NotFound,
            "there is nothing at this address",
            "unknown path",
        )
    }

    pub(crate) fn rate_limited(retry_after: u64, cause: &'static str) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(
                Reason::RateLimited,
                "too many requests: wait as long as `Retry-After` says",
                cause,
            )
        }
    }

    /// Adds the headers that belong to it.
    pub(crate) fn describe(&self, headers: &mut HeaderMap) {
        if self.reason == Reason::Unauthorized {
            // RFC 6750, section 3: without credentials no error code.
            let challenge = if self.had_credentials {
                "Bearer realm=\"twinfer\", error=\"invalid_token\""
            } else {
                "Bearer realm=\"twinfer\""
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if self.reason == Reason::Forbidden {
            let challenge = "Bearer realm=\"twinfer\", error=\"insufficient_scope\"";
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
