//! What was decided of a request, and what its answer says of that.

use std::fmt;
use std::net::IpAddr;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};

use crate::limit::{self, Limit};
use crate::pattern::Patterns;
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::wanted::Wanted;

/// Who asks, as credentials have shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The id of an API key.
    Key(String),
    /// The subject of a token.
    Token(String),
    /// The subject of a certificate, or another of its names.
    Certificate(String),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Token(subject) => write!(f, "token:{subject}"),
            Self::Certificate(subject) => write!(f, "certificate:{subject}"),
        }
    }
}

/// What was decided.
#[derive(Debug)]
pub struct Decision {
    /// What the request asks for.
    pub wanted: Wanted,
    /// Who asks; `None`: nobody that we know.
    pub principal: Option<Principal>,
    /// From where.
    pub address: Option<IpAddr>,
    /// Whether it may.
    pub verdict: Result<(), Refusal>,
    pub(crate) limits: Vec<Limit>,
    /// The models that were granted, where those are not all.
    pub(crate) models: Option<Patterns>,
}

impl Decision {
    /// Whether an operator wants to know later who did this: it changes what is served.
    pub fn is_audited(&self) -> bool {
        self.wanted.scope == Scope::Admin && self.wanted.known
    }

    /// Whether the answer may be one of this model. A door that learns only from the answer which
    /// model it is of asks once more, so that no two readings of one path open another model.
    pub fn covers(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.fit(model))
    }

    /// Adds to the headers of the answer, whoever gave it: what is left of the limits, why it was
    /// refused, and that what was for one client is not for the next.
    pub fn describe(&self, headers: &mut HeaderMap) {
        limit::describe(&self.limits, headers);
        if let Err(refusal) = &self.verdict {
            refusal.describe(headers);
        } else if self.principal.is_some() {
            let value = self.storing(headers);
            headers.insert(CACHE_CONTROL, value);
        }
    }

    /// Packages and files of a page keep their rules for the client's own cache: they are large,
    /// and the same for all that may see them.
    fn storing(&self, headers: &HeaderMap) -> HeaderValue {
        let no_store = HeaderValue::from_static("no-store");
        if !matches!(self.wanted.scope, Scope::Packages | Scope::Page) {
            return no_store;
        }
        let known = headers
            .get(CACHE_CONTROL)
            .and_then(|value| value.to_str().ok());
        let private = known.map(|known| match known.split_once("public") {
            Some((before, after)) => format!("{before}private{after}"),
            None => format!("private, {known}"),
        });
        let value = private.and_then(|value| HeaderValue::from_str(&value).ok());
        value.unwrap_or(no_store)
    }
}
