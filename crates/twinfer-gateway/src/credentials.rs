//! Where credentials are in a request.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};

/// The header of a key, for clients that cannot set the other one.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a request has of credentials.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credentials<'a> {
    None,
    /// A key, or a token.
    Bearer(&'a str),
    /// A key, and nothing else.
    Key(&'a str),
    /// More than one, another scheme, or bytes that are no text.
    Malformed,
}

impl<'a> Credentials<'a> {
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let mut authorization = headers.get_all(AUTHORIZATION).iter();
        let mut keys = headers.get_all(API_KEY).iter();
        match (
            authorization.next(),
            keys.next(),
            authorization.next().or(keys.next()),
        ) {
            (None, None, _) => Self::None,
            (Some(value), None, None) => {
                let bearer = value.to_str().ok().and_then(bearer);
                bearer.map_or(Self::Malformed, Self::Bearer)
            }
            (None, Some(value), None) => match value.to_str().map(str::trim) {
                Ok(key) if !key.is_empty() => Self::Key(key),
                _ => Self::Malformed,
            },
            // Which of two would count is for nobody to guess.
            _ => Self::Malformed,
        }
    }
}

/// The token of `Bearer TOKEN` (RFC 6750, section 2.1; the scheme in any case, RFC 9110).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_credentials_are() {
        for (sent, expected) in [
            (&[][..], Credentials::None),
            (&[("authorization", "Bearer k")], Credentials::Bearer("k")),
            (
                &[("authorization", "bearer   k ")],
                Credentials::Bearer("k"),
            ),
            (&[("x-api-key", "k")], Credentials::Key("k")),
            (&[("x-api-key", " ")], Credentials::Malformed),
            (&[("authorization", "Basic a2V5")], Credentials::Malformed),
            (&[("authorization", "Bearer")], Credentials::Malformed),
            (&[("authorization", "Bearer ")], Credentials::Malformed),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
                Credentials::Malformed,
            ),
            (
                &[("authorization", "Bearer a"), ("x-api-key", "a")],
                Credentials::Malformed,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in sent {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(Credentials::of(&headers), expected, "{sent:?}");
        }
    }
}
