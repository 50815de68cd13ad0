//! The keys of an issuer: a JWK Set (RFC 7517, RFC 7518 section 6, RFC 8037 for Ed25519).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::verify::PublicKey;
use crate::error::{Result, wrong};

/// Largest set in bytes.
const MAX_SET: usize = 256 << 10;
/// Most keys in it.
const MAX_KEYS: usize = 100;

/// The keys that can verify.
#[derive(Default)]
pub(super) struct Keys(Vec<Key>);

struct Key {
    kid: Option<String>,
    public: PublicKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// A key as it is written. What is not in here does not matter (RFC 7517, section 4).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Keys {
    /// Keys of kinds that are not accepted, symmetric ones among them, are left out, as the
    /// standard says. One of an accepted kind that is malformed is an error.
    pub(super) fn parse(json: &[u8]) -> Result<Self> {
        if json.len() > MAX_SET {
            return Err(wrong!(
                "the set of keys (JWKS) has more than {MAX_SET} bytes"
            ));
        }
        let set: Set = serde_json::from_slice(json)
            .map_err(|e| wrong!("the set of keys (JWKS) is malformed: {e}"))?;
        if set.keys.len() > MAX_KEYS {
            return Err(wrong!(
                "the set of keys (JWKS) has more than {MAX_KEYS} keys"
            ));
        }
        let mut keys = Vec::new();
        for (at, value) in set.keys.into_iter().enumerate() {
            let context = |e| wrong!("the key {at} of the set (JWKS): {e}");
            let jwk: Jwk = serde_json::from_value(value).map_err(|e| context(wrong!("{e}")))?;
            if let Some(public) = jwk.public().map_err(context)? {
                keys.push(Key {
                    kid: jwk.kid,
                    public,
                });
            }
        }
        if keys.is_empty() {
            return Err(wrong!(
                "the set of keys (JWKS) has none for ES256, ES384, RS256 or EdDSA"
            ));
        }
        Ok(Self(keys))
    }

    /// The key of this id that verifies this algorithm. A token without an id is for the only key
    /// of its algorithm, if there is only one.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: &str) -> Option<&PublicKey> {
        let mut fitting = self.0.iter().filter(|key| {
            key.public.is_for(algorithm) && (kid.is_none() || key.kid.as_deref() == kid)
        });
        let found = fitting.next()?;
        (kid.is_some() || fitting.next().is_none()).then_some(&found.public)
    }
}

impl Jwk {
    fn public(&self) -> Result<Option<PublicKey>> {
        let verifies = self
            .purpose
            .as_deref()
            .is_none_or(|purpose| purpose == "sig")
            && self
                .key_ops
                .as_ref()
                .is_none_or(|operations| operations.iter().any(|o| o == "verify"));
        if !verifies {
            return Ok(None);
        }
        let public = match (self.kty.as_str(), self.crv.as_deref()) {
            ("EC", Some("P-256")) => PublicKey::p256(&self.field("x")?, &self.field("y")?)?,
            ("EC", Some("P-384")) => PublicKey::p384(&self.field("x")?, &self.field("y")?)?,
            ("RSA", _) => PublicKey::rsa(&self.field("n")?, &self.field("e")?)?,
            ("OKP", Some("Ed25519")) => PublicKey::ed25519(&self.field("x")?)?,
            _ => return Ok(None),
        };
        let named = self.alg.as_deref().is_none_or(|alg| public.is_for(alg));
        Ok(named.then_some(public))
    }

    fn field(&self, name: &str) -> Result<Vec<u8>> {
        let field = match name {
            "x" => &self.x,
            "y" => &self.y,
            "n" => &self.n,
            _ => &self.e,
        };
        let text = field
            .as_deref()
            .ok_or_else(|| wrong!("`{name}` is missing"))?;
        URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| wrong!("`{name}` is not base64url"))
    }
}
