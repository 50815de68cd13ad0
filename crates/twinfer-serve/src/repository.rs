//! The model repository extension of Triton (triton-inference-server/server,
//! `docs/protocol/extension_model_repository.md`): what is there, and loading it ahead of time.
//!
//! It is off unless the shell sets [`crate::Options::repository`]: whoever may use it can make the
//! server load and drop models at will. What is served is decided by the registry and the trust policy,
//! here as everywhere.

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use twinfer::{Result, bail};
use twinfer_package::Reference;

use crate::App;
use crate::infer::object;
use crate::target::Target;

/// Hands over the token where a host in front authenticates in its own way. Such a host takes the
/// header of the client away.
const HEADER: &str = "x-twinfer-admin";
/// Shorter ones could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// What a request must show to change what is loaded: in `Authorization: Bearer`, or in the header
/// `X-Twinfer-Admin`, which a host sets for those that it lets through.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(String);

impl AdminToken {
    /// A secret of 16 characters or more.
    ///
    /// # Errors
    /// `invalid_parameter` for a shorter one, or one that does not fit into a header.
    pub fn new(token: impl Into<String>) -> Result<Self> {
        let token = token.into();
        if token.len() < SHORTEST_TOKEN {
            bail!(
                InvalidParameter,
                "the admin token has fewer than {SHORTEST_TOKEN} characters: take a random one, such as that of `openssl rand -hex 32`"
            );
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!(
                InvalidParameter,
                "the admin token has characters that a header does not take: use letters, digits and signs of ASCII, without spaces"
            );
        }
        Ok(Self(token))
    }

    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let bearer = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let header = headers.get(HEADER).and_then(|value| value.to_str().ok());
        [bearer, header]
            .into_iter()
            .flatten()
            .any(|token| same(token.as_bytes(), self.0.as_bytes()))
    }
}

/// The same time for every token of this length, wherever it differs.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    let differences = given
        .iter()
        .zip(wanted)
        .fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == wanted.len() && std::hint::black_box(differences) == 0
}

/// A secret is not for logs.
impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// Whether a request may use the extension.
///
/// # Errors
/// `not_found` where it is off, `unauthorized` for the wrong token.
pub(crate) fn check(token: Option<&AdminToken>, headers: &HeaderMap) -> Result<()> {
    let Some(token) = token else {
        bail!(
            NotFound,
            "the repository extension is off here; who runs this server can turn it on (TWINFER_REPOSITORY=enabled, with a TWINFER_ADMIN_TOKEN)"
        );
    };
    if !token.is_shown(headers) {
        bail!(
            Unauthorized,
            "the repository is for administrators: send the admin token as `Authorization: Bearer TOKEN`"
        );
    }
    Ok(())
}

#[derive(Default, Deserialize)]
struct IndexRequest {
    #[serde(default)]
    ready: bool,
}

/// `POST /v2/repository/index`. A version is ready when a request for it would be answered: it is loaded
/// for that, if it is not yet.
pub(crate) fn index(app: &App, body: &[u8]) -> Result<Value> {
    // Triton's own client sends no body.
    let asked: IndexRequest = if body.is_empty() {
        IndexRequest::default()
    } else {
        object("the request", body)?
    };
    let index = app.index()?;
    let mut list = Vec::new();
    for tagged in index.tags() {
        if tagged.version().is_none() {
            continue;
        }
        let admitted = Reference::new(&tagged.name, &tagged.tag)
            .and_then(|reference| app.admit(&index, &reference));
        let (state, reason) = match &admitted {
            Ok(entry) if app.models.holds(&entry.descriptor.digest) => ("READY", ""),
            Ok(_) => ("READY", "it is loaded by the first request for it"),
            Err(error) => ("UNAVAILABLE", error.message()),
        };
        if admitted.is_ok() || !asked.ready {
            list.push(json!({"name": tagged.name, "version": tagged.tag, "state": state, "reason": reason}));
        }
    }
    Ok(Value::Array(list))
}

#[derive(Default, Deserialize)]
struct ChangeRequest {
    #[serde(default)]
    parameters: Map<String, Value>,
}

impl ChangeRequest {
    fn read(body: &[u8]) -> Result<Self> {
        match body {
            [] => Ok(Self::default()),
            body => object("the request", body),
        }
    }
}

/// `POST /v2/repository/models/{m}/load`: loads the version that answers by default.
pub(crate) fn load(app: &App, target: &Target, body: &[u8]) -> Result<Value> {
    let asked = ChangeRequest::read(body)?;
    if let Some(name) = asked.parameters.keys().next() {
        bail!(
            InvalidParameter,
            "`{name}` is not possible here: a model is served as its package says, and new ones come by `twinfer push`"
        );
    }
    let loaded = app.load(target)?;
    let config = loaded.model.config();
    Ok(
        json!({"name": config.name, "version": config.version, "digest": loaded.model.digest(), "state": "READY"}),
    )
}

/// `POST /v2/repository/models/{m}/unload`: gives the memory of its loaded versions back. The next request
/// for it loads it again: what is served is decided by the registry.
pub(crate) fn unload(app: &App, target: &Target, body: &[u8]) -> Result<Value> {
    // `unload_dependents` means ensembles, which there are none of.
    ChangeRequest::read(body)?;
    let index = app.index()?;
    let reference = app.reference(target, &index)?;
    index.resolve(&reference)?;
    let versions = app.models.unload(reference.name())?;
    Ok(json!({"name": reference.name(), "unloaded": versions}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfer::ErrorCode;

    const TOKEN: &str = "0123456789abcdef";

    #[test]
    fn tokens() {
        for weak in [
            "",
            "0123456789abcde",
            "0123456789 abcdef",
            "0123456789abcdé",
        ] {
            let error = AdminToken::new(weak).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidParameter, "{weak}");
        }
        let token = AdminToken::new(TOKEN).unwrap();
        assert!(!format!("{token:?}").contains(TOKEN));
        let shown = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            token.is_shown(&headers)
        };
        assert!(shown("authorization", "Bearer 0123456789abcdef"));
        assert!(shown("authorization", "bearer 0123456789abcdef"));
        assert!(shown(HEADER, TOKEN));
        for (name, value) in [
            ("authorization", "Basic 0123456789abcdef"),
            ("authorization", TOKEN),
            ("authorization", "Bearer 0123456789abcdeg"),
            ("authorization", "Bearer 0123456789abcdef0"),
            ("authorization", "Bearer "),
            (HEADER, ""),
            (HEADER, "0123456789abcde"),
        ] {
            assert!(!shown(name, value), "{name}: {value}");
        }
        assert!(!token.is_shown(&HeaderMap::new()));
    }

    #[test]
    fn off_is_another_thing_than_not_allowed() {
        let none = HeaderMap::new();
        assert_eq!(check(None, &none).unwrap_err().code(), ErrorCode::NotFound);
        let token = AdminToken::new(TOKEN).unwrap();
        let refused = check(Some(&token), &none).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unauthorized);
    }
}
