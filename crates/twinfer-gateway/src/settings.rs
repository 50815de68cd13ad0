//! What an operator writes: who may do what, how often.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use twinfer_state::Rate;

use crate::certificate::Matcher;
use crate::error::{Result, wrong};
use crate::pattern::Patterns;
use crate::scope::{Scope, Scopes};

/// Longest id, subject or pattern.
const MAX_NAME: usize = 256;
/// Most requests a second: buckets count in milliseconds.
const MAX_PER_SECOND: f64 = 1000.0;
/// Slowest rate: one request a day.
const MIN_PER_SECOND: f64 = 1.0 / 86_400.0;

/// Who may do what. In TOML or JSON; fields that are not known are errors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What needs no credentials, beside health.
    pub open: Scopes,
    /// API keys.
    pub keys: Vec<KeySettings>,
    /// Tokens of an issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtSettings>,
    /// Client certificates, where the host verifies them.
    pub certificates: Vec<CertificateSettings>,
    /// Rates for those that have none of their own.
    pub rates: Rates,
    /// The header in which the proxy before us says the address of the client: its last entry
    /// counts. Whoever can reach the server without that proxy can write there what he likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_header: Option<String>,
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// Its name, for logs and limits.
    pub id: String,
    /// The SHA-256 of the key: 64 hexadecimal digits.
    pub sha256: String,
    /// What it may do.
    pub scopes: Scopes,
    /// The models for which it may.
    #[serde(default)]
    pub models: Patterns,
    /// How often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateSettings>,
    /// Until when: RFC 3339, as in `2027-01-01T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// Tokens (JWT) of an issuer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSettings {
    /// The keys of the issuer (a JWKS): the set itself, `https://…`, or a file.
    pub jwks: Value,
    /// Accepted issuers (`iss`).
    #[serde(deserialize_with = "one_or_more")]
    pub issuer: Vec<String>,
    /// Accepted audiences (`aud`).
    #[serde(deserialize_with = "one_or_more")]
    pub audience: Vec<String>,
    /// Seconds by which the clocks of others may be wrong.
    #[serde(default = "default_leeway")]
    pub leeway: u64,
    /// The claim with the scopes: text with spaces between, or a list. A name that begins with
    /// `/` is a JSON pointer.
    #[serde(default = "default_scopes_claim")]
    pub scopes_claim: String,
    /// The claim with patterns of models, in the same form. Without this setting a token is for
    /// all models; with it, one that lacks the claim is for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models_claim: Option<String>,
    /// How often each subject may ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateSettings>,
}

/// A client with a certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSettings {
    /// The whole subject as the host says it, such as `O=Example, CN=client`, or a pattern. Of
    /// this and the names below one at least; a certificate has to fit all that are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The common name, or a pattern. A certificate with several has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_name: Option<String>,
    /// An alternative name that is a host's, or a pattern; upper and lower case are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<String>,
    /// An alternative name that is a URI, such as `spiffe://example/ns/lab/sa/robot`, or a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// An alternative name that is an e-mail address, or a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// An alternative name that is an IP address: this one, or one of a network (`10.1.0.0/16`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// What it may do.
    pub scopes: Scopes,
    /// The models for which it may.
    #[serde(default)]
    pub models: Patterns,
    /// How often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateSettings>,
}

/// Rates for those that have none of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// For each address; of IPv6, for each /64 network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<RateSettings>,
    /// For each key, subject of a token or certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<RateSettings>,
}

/// How often somebody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateSettings {
    /// Requests per second over time: 1/86400 to 1000.
    pub per_second: f64,
    /// Requests at once, after a time without any.
    pub burst: u32,
}

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq)]
pub enum KeySource<'a> {
    /// In the settings.
    Inline(&'a Value),
    /// At an address, from which the door fetches.
    Address(&'a str),
    /// In a file, which the door reads.
    File(&'a str),
}

impl Settings {
    /// From TOML.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn from_toml(text: &str) -> Result<Self> {
        let settings: Self =
            toml::from_str(text).map_err(|e| wrong!("{}", e.to_string().trim_end()))?;
        settings.check().map(|()| settings)
    }

    /// From JSON.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn from_json(text: &str) -> Result<Self> {
        let settings: Self = serde_json::from_str(text).map_err(|e| wrong!("{e}"))?;
        settings.check().map(|()| settings)
    }

    /// The file of the issuer's keys, if they are in one.
    pub fn key_file(&self) -> Option<&str> {
        match self.jwt.as_ref()?.source() {
            Ok(KeySource::File(file)) => Some(file),
            _ => None,
        }
    }

    /// Whether anybody could have credentials.
    pub fn has_credentials(&self) -> bool {
        !self.keys.is_empty() || self.jwt.is_some() || !self.certificates.is_empty()
    }

    pub(crate) fn check(&self) -> Result<()> {
        never_open(self.open).map_err(|e| wrong!("open: {e}"))?;
        for (at, key) in self.keys.iter().enumerate() {
            key.check().map_err(|e| wrong!("keys[{at}]: {e}"))?;
            if self.keys[..at].iter().any(|other| other.id == key.id) {
                return Err(wrong!("keys[{at}]: the id `{}` is there twice", key.id));
            }
        }
        for (at, certificate) in self.certificates.iter().enumerate() {
            certificate
                .check()
                .map_err(|e| wrong!("certificates[{at}]: {e}"))?;
        }
        if let Some(jwt) = &self.jwt {
            jwt.check().map_err(|e| wrong!("jwt: {e}"))?;
        }
        for (name, rate) in [
            ("address", self.rates.address),
            ("principal", self.rates.principal),
        ] {
            rate.map_or(Ok(()), |rate| rate.rate().map(drop))
                .map_err(|e| wrong!("rates.{name}: {e}"))?;
        }
        Ok(())
    }
}

impl KeySettings {
    fn check(&self) -> Result<()> {
        name("id", &self.id)?;
        crate::key::Hash::parse(&self.sha256)?;
        self.expiry()?;
        grant(self.scopes, &self.models, self.rate)
    }

    /// When it expires, in milliseconds since 1970.
    pub(crate) fn expiry(&self) -> Result<Option<u64>> {
        let Some(text) = &self.expires else {
            return Ok(None);
        };
        let time = humantime::parse_rfc3339_weak(text)
            .map_err(|e| wrong!("`expires`: {e}: write 2027-01-01T00:00:00Z"))?;
        let since = time.duration_since(std::time::UNIX_EPOCH);
        let since = since.map_err(|_| wrong!("`expires` is before 1970"))?;
        Ok(Some(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl CertificateSettings {
    /// What is said of the names in it, with the field that says it.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        [
            ("subject", self.subject.as_deref()),
            ("common_name", self.common_name.as_deref()),
            ("dns", self.dns.as_deref()),
            ("uri", self.uri.as_deref()),
            ("email", self.email.as_deref()),
            ("ip", self.ip.as_deref()),
        ]
        .into_iter()
    }

    fn check(&self) -> Result<()> {
        for (field, text) in self.names() {
            text.map_or(Ok(()), |text| name(field, text))?;
        }
        Matcher::new(self)?;
        grant(self.scopes, &self.models, self.rate)
    }
}

impl JwtSettings {
    /// Where the keys are.
    ///
    /// # Errors
    /// When it is none of the three.
    pub(crate) fn source(&self) -> Result<KeySource<'_>> {
        match &self.jwks {
            Value::Object(_) => Ok(KeySource::Inline(&self.jwks)),
            Value::String(text) if text.starts_with("https://") || is_loopback(text) => {
                Ok(KeySource::Address(text))
            }
            Value::String(text) if text.contains("://") => Err(wrong!(
                "`jwks`: keys are fetched over https:// only, since whoever exchanges them is the issuer"
            )),
            Value::String(text) if !text.is_empty() => Ok(KeySource::File(text)),
            _ => Err(wrong!(
                "`jwks` must be an object with `keys`, an address (https://…) or a file"
            )),
        }
    }

    fn check(&self) -> Result<()> {
        self.source()?;
        for (name, values) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            if values.is_empty() || values.iter().any(String::is_empty) {
                return Err(wrong!(
                    "`{name}` must not be empty: without it, tokens for others would count here"
                ));
            }
        }
        if self.leeway > 600 {
            return Err(wrong!("`leeway` must be 600 seconds at most"));
        }
        self.rate.map_or(Ok(()), |rate| rate.rate().map(drop))
    }
}

impl RateSettings {
    /// As a bucket counts.
    ///
    /// # Errors
    /// A rate that no bucket can have.
    pub(crate) fn rate(self) -> Result<Rate> {
        if !(MIN_PER_SECOND..=MAX_PER_SECOND).contains(&self.per_second) {
            return Err(wrong!("`per_second` must be between 1/86400 and 1000"));
        }
        if self.burst == 0 {
            return Err(wrong!("`burst` must be 1 at least"));
        }
        // Rounded up: never more than was allowed.
        let interval = (1000.0 / self.per_second).ceil();
        Ok(Rate {
            interval: interval as u64,
            burst: self.burst,
        })
    }
}

/// What may be open without credentials: anything that changes nothing.
pub(crate) fn never_open(open: Scopes) -> Result<()> {
    if open.has(Scope::Admin) {
        return Err(wrong!(
            "`admin` is never open: give a key to whoever looks after the server"
        ));
    }
    Ok(())
}

/// Only for tests and for an issuer on the same machine.
fn is_loopback(address: &str) -> bool {
    [
        "http://127.0.0.1:",
        "http://127.0.0.1/",
        "http://localhost:",
        "http://localhost/",
        "http://[::1]:",
    ]
    .iter()
    .any(|start| address.starts_with(start))
}

fn name(field: &str, text: &str) -> Result<()> {
    if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
        return Err(wrong!(
            "`{field}` must have 1 to {MAX_NAME} printable characters"
        ));
    }
    Ok(())
}

fn grant(scopes: Scopes, models: &Patterns, rate: Option<RateSettings>) -> Result<()> {
    if scopes.is_empty() {
        return Err(wrong!("`scopes` is empty, so it could do nothing"));
    }
    for pattern in models.iter() {
        name("models", pattern)?;
    }
    rate.map_or(Ok(()), |rate| {
        rate.rate().map(drop).map_err(|e| wrong!("rate: {e}"))
    })
}

fn default_leeway() -> u64 {
    60
}

fn default_scopes_claim() -> String {
    "scope".into()
}

/// Text, or a list of texts.
fn one_or_more<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        More(Vec<String>),
    }
    Ok(match Either::deserialize(from)? {
        Either::One(text) => vec![text],
        Either::More(texts) => texts,
    })
}
