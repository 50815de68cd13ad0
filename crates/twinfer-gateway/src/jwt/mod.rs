//! Tokens of an issuer: JWT (RFC 7519) in the compact form of JWS (RFC 7515).
//!
//! Which algorithm verifies is said by the *key*, never by the token: a token can only name the
//! one that its key has. There is no key for `none` or for HMAC, so neither can be chosen.

mod claims;
mod jwks;
mod verify;

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use self::jwks::Keys;
use crate::error::Result;
use crate::pattern::Patterns;
use crate::scope::Scopes;
use crate::settings::{JwtSettings, KeySource};

/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 << 10;
/// Milliseconds between two times that an address is asked, also when it fails.
const FETCH_EVERY: u64 = 60_000;
/// Milliseconds after which keys are fetched again: so long does one count that the issuer took out.
const FRESH_FOR: u64 = 3_600_000;

/// What verifies tokens.
pub(crate) struct Jwt {
    settings: JwtSettings,
    address: Option<String>,
    state: RwLock<State>,
}

#[derive(Default, Clone)]
struct State {
    keys: Arc<Keys>,
    /// When the keys came, and when they were asked for, in milliseconds since 1970.
    fetched: Option<u64>,
    asked: Option<u64>,
}

/// Who a good token is for, and what that one may.
pub(crate) struct Token {
    pub(crate) subject: String,
    pub(crate) scopes: Scopes,
    pub(crate) models: Patterns,
}

/// Whether the door should fetch the keys of the issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refetch {
    /// No.
    No,
    /// Before the request is decided: its key is not there.
    First(String),
    /// While the request goes on: the keys are old.
    Soon(String),
}

/// The head of a token. What else is in it does not matter, but for `crit`.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

impl Jwt {
    pub(crate) fn new(settings: &JwtSettings) -> Result<Self> {
        let mut state = State::default();
        let mut address = None;
        match settings.source()? {
            KeySource::Inline(set) => {
                state.keys = Arc::new(Keys::parse(set.to_string().as_bytes())?)
            }
            KeySource::Address(at) => address = Some(at.to_owned()),
            KeySource::File(_) => {}
        }
        Ok(Self {
            settings: settings.clone(),
            address,
            state: RwLock::new(state),
        })
    }

    /// Whether a text has the form of a token.
    pub(crate) fn looks_like(text: &str) -> bool {
        text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    fn keys(&self) -> Arc<Keys> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.keys.clone()
    }

    /// Takes over the keys that another one has fetched from the same address.
    pub(crate) fn adopt(&self, before: &Self) {
        if self.address.is_none() || self.address != before.address {
            return;
        }
        let known = before.state.read().unwrap_or_else(PoisonError::into_inner);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = known.clone();
    }

    /// Takes the keys of the issuer.
    pub(crate) fn put_keys(&self, json: &[u8], now: u64) -> Result<()> {
        let keys = Arc::new(Keys::parse(json)?);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.keys = keys;
        state.fetched = Some(now);
        Ok(())
    }

    /// Whether the keys should be fetched for this token. Who is told so has to try: nobody else
    /// is told for a minute.
    pub(crate) fn wants_keys(&self, token: Option<&str>, now: u64) -> Refetch {
        let Some(address) = &self.address else {
            return Refetch::No;
        };
        let unknown = token.is_some_and(|token| self.lacks_key_of(token));
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let old = state
            .fetched
            .is_none_or(|at| now.saturating_sub(at) >= FRESH_FOR);
        let may = state
            .asked
            .is_none_or(|at| now.saturating_sub(at) >= FETCH_EVERY || at > now);
        if !may || !(unknown || old) {
            return Refetch::No;
        }
        state.asked = Some(now);
        if unknown {
            Refetch::First(address.clone())
        } else {
            Refetch::Soon(address.clone())
        }
    }

    /// Whether it takes a key that is not there. What has no readable head takes none.
    pub(crate) fn lacks_key_of(&self, token: &str) -> bool {
        let header = parts(token).and_then(|parts| header(parts.header));
        header.is_ok_and(|header| {
            header.crit.is_none()
                && verify::is_known(&header.alg)
                && self
                    .keys()
                    .find(header.kid.as_deref(), &header.alg)
                    .is_none()
        })
    }

    /// Who a token is for. `now` is in milliseconds since 1970.
    ///
    /// # Errors
    /// For the log, what is wrong with it.
    pub(crate) fn verify(&self, token: &str, now: u64) -> std::result::Result<Token, &'static str> {
        let parts = parts(token)?;
        let header = header(parts.header)?;
        if header.crit.is_some() {
            return Err("the token has `crit`, which is not understood");
        }
        if !verify::is_known(&header.alg) {
            return Err("the algorithm of the token is not accepted");
        }
        let keys = self.keys();
        let key = keys
            .find(header.kid.as_deref(), &header.alg)
            .ok_or("the issuer has no key with this `kid` and algorithm")?;
        let signature = decode(parts.signature)?;
        if !key.verifies(parts.signed.as_bytes(), &signature) {
            return Err("the signature of the token is wrong");
        }
        claims::read(&decode(parts.claims)?, &self.settings, now)
    }
}

struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// The first two, with the dot between.
    signed: &'a str,
}

fn parts(token: &str) -> std::result::Result<Parts<'_>, &'static str> {
    if token.len() > MAX_TOKEN {
        return Err("the token is too long");
    }
    let malformed = "the token does not have three parts";
    let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(malformed)?;
    if claims.contains('.') {
        return Err(malformed);
    }
    Ok(Parts {
        header,
        claims,
        signature,
        signed,
    })
}

fn header(encoded: &str) -> std::result::Result<Header, &'static str> {
    serde_json::from_slice(&decode(encoded)?).map_err(|_| "the head of the token is malformed")
}

fn decode(encoded: &str) -> std::result::Result<Vec<u8>, &'static str> {
    URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| "the token is not base64url")
}
