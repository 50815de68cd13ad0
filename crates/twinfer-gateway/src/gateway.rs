//! The decision.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, Method};
use twinfer_state::{MemoryState, Rate, State};

use crate::certificate::{Certificate, Matcher};
use crate::credentials::Credentials;
use crate::decision::{Decision, Principal};
use crate::error::{Result, wrong};
use crate::jwt::{Jwt, Refetch};
use crate::key::Hash;
use crate::limit::{Limit, seconds};
use crate::pattern::Patterns;
use crate::refusal::{Reason, Refusal};
use crate::scope::{Scope, Scopes};
use crate::settings::{RateSettings, Settings, never_open};
use crate::wanted::{ModelWanted, Surface, Wanted};

/// What a gateway is made of.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// What the operator wrote, if anything.
    pub settings: Option<Settings>,
    /// What is open beside that.
    pub open: Scopes,
    /// Whether only this machine can reach the server. Then, and without settings, everything is
    /// open but admin; else nothing is but health and predictions, and with settings not these.
    pub loopback: bool,
    /// What of the paths is not fixed.
    pub surface: Surface,
}

/// The head of a request, with what the door knows of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path, as it was sent.
    pub path: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The address of the connection.
    pub address: Option<IpAddr>,
    /// The client's certificate, which the host has verified.
    pub certificate: Option<Certificate<'a>>,
}

/// Decides who may ask what. It can be shared between threads.
pub struct Gateway {
    open: Scopes,
    surface: Surface,
    keys: Vec<Key>,
    certificates: Vec<(Matcher, Grant)>,
    jwt: Option<Jwt>,
    token_rate: Option<Rate>,
    address_rate: Option<Rate>,
    address_header: Option<HeaderName>,
    has_credentials: bool,
    /// Where buckets are while the state cannot be reached.
    local: MemoryState,
    failing: AtomicBool,
}

struct Key {
    id: String,
    hash: Hash,
    expires: Option<u64>,
    grant: Grant,
}

#[derive(Clone)]
struct Grant {
    scopes: Scopes,
    models: Patterns,
    rate: Option<Rate>,
}

/// Who asks, and what that one may.
type Known = (Principal, Grant);

impl Gateway {
    /// A gateway of these rules. Keys of an issuer that are in a file are handed in with
    /// [`Gateway::put_keys`].
    ///
    /// # Errors
    /// Settings that cannot be used.
    pub fn new(rules: Rules) -> Result<Self> {
        never_open(rules.open)?;
        let open = rules.open.with(match &rules.settings {
            Some(settings) => settings.open,
            None if rules.loopback => Scopes::of(Scope::ALL).without(Scope::Admin),
            None => Scopes::of(&[Scope::Predict]),
        });
        let settings = rules.settings.unwrap_or_default();
        settings.check()?;
        let principal_rate = rate(settings.rates.principal)?;
        let granted = |scopes, models: &Patterns, own| -> Result<Grant> {
            Ok(Grant {
                scopes,
                models: models.clone(),
                rate: rate(own)?.or(principal_rate),
            })
        };
        let keys = settings.keys.iter().map(|key| {
            Ok(Key {
                id: key.id.clone(),
                hash: Hash::parse(&key.sha256)?,
                expires: key.expiry()?,
                grant: granted(key.scopes, &key.models, key.rate)?,
            })
        });
        let certificates = settings.certificates.iter().map(|certificate| {
            let grant = granted(certificate.scopes, &certificate.models, certificate.rate)?;
            Ok((Matcher::new(certificate)?, grant))
        });
        let address_header = settings.address_header.as_deref().map(|name| {
            let name = HeaderName::from_bytes(name.as_bytes());
            name.map_err(|_| wrong!("address_header: this is not the name of a header"))
        });
        let token_rate = rate(settings.jwt.as_ref().and_then(|jwt| jwt.rate))?;
        Ok(Self {
            open: open.with(Scopes::of(&[Scope::Health])),
            surface: rules.surface,
            keys: keys.collect::<Result<_>>()?,
            certificates: certificates.collect::<Result<_>>()?,
            jwt: settings.jwt.as_ref().map(Jwt::new).transpose()?,
            token_rate: token_rate.or(principal_rate),
            address_rate: rate(settings.rates.address)?,
            address_header: address_header.transpose()?,
            has_credentials: settings.has_credentials(),
            local: MemoryState::new(),
            failing: AtomicBool::new(false),
        })
    }

    /// What needs no credentials.
    pub fn open(&self) -> Scopes {
        self.open
    }

    /// Whether the state of the limits could not be reached lately. Limits count in this process
    /// alone then.
    pub fn is_degraded(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Takes over what another gateway has fetched from an issuer that is also the issuer of this
    /// one, so that other settings do not make it ask anew.
    pub fn adopt(&self, before: &Self) {
        if let (Some(jwt), Some(before)) = (&self.jwt, &before.jwt) {
            jwt.adopt(before);
        }
    }

    /// Takes the keys of the issuer (JWKS). `now` is in milliseconds since 1970.
    ///
    /// # Errors
    /// A set that cannot be used; the keys that were there stay.
    pub fn put_keys(&self, json: &[u8], now: u64) -> Result<()> {
        match &self.jwt {
            Some(jwt) => jwt.put_keys(json, now),
            None => Ok(()),
        }
    }

    /// Whether the keys of the issuer should be fetched for this request: before it is decided, or
    /// beside it. Whoever is told so has to do it: nobody else is for a minute.
    pub fn wants_keys(&self, headers: &HeaderMap, now: u64) -> Refetch {
        let Some(jwt) = &self.jwt else {
            return Refetch::No;
        };
        jwt.wants_keys(token(headers), now)
    }

    /// Whether the request has a token of the issuer whose key is not there.
    pub fn lacks_key(&self, headers: &HeaderMap) -> bool {
        let jwt = self.jwt.as_ref().zip(token(headers));
        jwt.is_some_and(|(jwt, token)| jwt.lacks_key_of(token))
    }

    /// Decides. `now` is in milliseconds since 1970; the buckets are in `state`.
    pub async fn admit(&self, visitor: Visitor<'_>, state: &dyn State, now: u64) -> Decision {
        let wanted = Wanted::of(visitor.method, visitor.path, &self.surface);
        let mut decision = Decision {
            wanted,
            principal: None,
            address: self.address(&visitor),
            verdict: Ok(()),
            limits: Vec::new(),
            models: None,
        };
        decision.verdict = self.decide(&visitor, state, now, &mut decision).await;
        decision
    }

    async fn decide(
        &self,
        visitor: &Visitor<'_>,
        state: &dyn State,
        now: u64,
        decision: &mut Decision,
    ) -> std::result::Result<(), Refusal> {
        if decision.wanted.scope == Scope::Health {
            return Ok(());
        }
        // Before credentials are looked at: guessing is limited too.
        if let (Some(rate), Some(address)) = (self.address_rate, decision.address) {
            let bucket = format!("gateway/address:{}", network(address));
            let limit = self.take("address", &bucket, rate, state, now).await;
            let refused = "the limit of the address";
            count(limit, refused, &mut decision.limits)?;
        }
        let known = self.identify(visitor, now)?;
        if let Some((principal, grant)) = &known {
            decision.principal = Some(principal.clone());
            if let Some(rate) = grant.rate {
                let bucket = format!("gateway/{principal}");
                let limit = self.take("principal", &bucket, rate, state, now).await;
                let refused = "the limit of the principal";
                count(limit, refused, &mut decision.limits)?;
            }
        }
        decision.models = self.authorise(&decision.wanted, visitor.headers, known.as_ref())?;
        content_type(&decision.wanted, visitor.headers)
    }

    fn identify(
        &self,
        visitor: &Visitor<'_>,
        now: u64,
    ) -> std::result::Result<Option<Known>, Refusal> {
        if !self.has_credentials {
            // They may be for a proxy before us.
            return Ok(None);
        }
        match Credentials::of(visitor.headers) {
            Credentials::None => Ok(visitor
                .certificate
                .and_then(|certificate| self.certificate(&certificate))),
            Credentials::Malformed => Err(Refusal::invalid("malformed or several credentials")),
            Credentials::Key(key) => self.key(key, now).map(Some),
            Credentials::Bearer(text) => match &self.jwt {
                Some(jwt) if Jwt::looks_like(text) => {
                    let token = jwt.verify(text, now).map_err(Refusal::invalid)?;
                    let grant = Grant {
                        scopes: token.scopes,
                        models: token.models,
                        rate: self.token_rate,
                    };
                    Ok(Some((Principal::Token(token.subject), grant)))
                }
                _ => self.key(text, now).map(Some),
            },
        }
    }

    fn certificate(&self, certificate: &Certificate<'_>) -> Option<Known> {
        let mut fitting = self.certificates.iter();
        let (_, grant) = fitting.find(|(matcher, _)| matcher.fits(certificate))?;
        let principal = Principal::Certificate(certificate.name().to_owned());
        Some((principal, grant.clone()))
    }

    fn key(&self, key: &str, now: u64) -> std::result::Result<Known, Refusal> {
        let hash = Hash::of(key);
        // All of them, so that the time does not tell which.
        let found = self.keys.iter().fold(
            None,
            |found, key| if key.hash.is(&hash) { Some(key) } else { found },
        );
        let key = found.ok_or_else(|| Refusal::invalid("unknown key"))?;
        if key.expires.is_some_and(|expires| now >= expires) {
            return Err(Refusal::invalid("expired key"));
        }
        Ok((Principal::Key(key.id.clone()), key.grant.clone()))
    }

    /// Gives the models that the answer may be of; `None`: any.
    fn authorise(
        &self,
        wanted: &Wanted,
        headers: &HeaderMap,
        known: Option<&Known>,
    ) -> std::result::Result<Option<Patterns>, Refusal> {
        if self.open.has(wanted.scope) {
            return Ok(None);
        }
        let granted = known.filter(|(_, grant)| grant.scopes.has(wanted.scope));
        let Some((_, grant)) = granted else {
            return Err(match known {
                _ if !wanted.known => Refusal::unknown_path(),
                None => Refusal::anonymous(),
                Some(_) => Refusal::new(
                    Reason::Forbidden,
                    "these credentials may not do this",
                    "the scope is missing",
                ),
            });
        };
        let may = match &wanted.model {
            ModelWanted::None => true,
            ModelWanted::Named(name) => grant.models.fit(name),
            ModelWanted::Unnamed | ModelWanted::All => grant.models.are_all(),
        };
        if may && target_models(headers).all(|name| grant.models.fit(name)) {
            return Ok((!grant.models.are_all()).then(|| grant.models.clone()));
        }
        let message = match wanted.model {
            ModelWanted::Named(_) => "these credentials are not for this model",
            _ => "these credentials are for some models only: name one of them in the path",
        };
        Err(Refusal::new(
            Reason::Forbidden,
            message,
            "the model is not among those granted",
        ))
    }

    async fn take(
        &self,
        policy: &'static str,
        bucket: &str,
        rate: Rate,
        state: &dyn State,
        now: u64,
    ) -> Limit {
        let taken = state.take(bucket, rate, now).await;
        self.failing.store(taken.is_err(), Ordering::Relaxed);
        let taken = match taken {
            Ok(taken) => taken,
            Err(_) => match self.local.take(bucket, rate, now).await {
                Ok(taken) => taken,
                // Memory does not fail; if it did, nobody should be shut out by it.
                Err(_) => rate.take(0, now).0,
            },
        };
        Limit {
            policy,
            rate,
            taken,
        }
    }

    fn address(&self, visitor: &Visitor<'_>) -> Option<IpAddr> {
        let Some(header) = &self.address_header else {
            return visitor.address;
        };
        let last = visitor.headers.get_all(header).iter().next_back();
        let said = last
            .and_then(|value| value.to_str().ok()?.rsplit(',').next())
            .and_then(|text| parse_address(text.trim()));
        said.or(visitor.address)
    }
}

/// The token of a request, if there is one.
fn token(headers: &HeaderMap) -> Option<&str> {
    match Credentials::of(headers) {
        Credentials::Bearer(text) if Jwt::looks_like(text) => Some(text),
        _ => None,
    }
}

fn count(
    limit: Limit,
    cause: &'static str,
    limits: &mut Vec<Limit>,
) -> std::result::Result<(), Refusal> {
    limits.push(limit);
    if limit.taken.allowed {
        return Ok(());
    }
    Err(Refusal::rate_limited(
        seconds(limit.taken.retry_after),
        cause,
    ))
}

/// Models that SageMaker's header names, in the place of the one of the path or beside it.
fn target_models(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all("x-amzn-sagemaker-target-model").iter();
    all.map(|value| {
        // What is no text fits no pattern but `*`.
        let text = value.to_str().unwrap_or_default();
        let text = text.trim().trim_start_matches('/');
        let text = text.strip_suffix(".tar.gz").unwrap_or(text);
        text.split([':', '@']).next().unwrap_or_default()
    })
}

fn rate(settings: Option<RateSettings>) -> Result<Option<Rate>> {
    settings.map(RateSettings::rate).transpose()
}

/// With a port or without: proxies write both.
fn parse_address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port)
}

/// Whose bucket it is. One customer has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let kept = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(kept))
        }
        v4 => v4,
    }
}

/// What can be told of a body before it is read. Which types a model takes is decided behind the
/// door; a page of another site can send the three simple types without being asked, so what
/// changes something takes JSON only.
fn content_type(wanted: &Wanted, headers: &HeaderMap) -> std::result::Result<(), Refusal> {
    let refused = |message, cause| {
        let reason = Reason::UnsupportedMediaType;
        Err(Refusal::new(reason, message, cause))
    };
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let Some(first) = types.next() else {
        return Ok(());
    };
    let essence = first
        .to_str()
        .ok()
        .map(|value| value.split(';').next().unwrap_or_default().trim())
        .filter(|essence| is_media_type(essence));
    let (Some(essence), None) = (essence, types.next()) else {
        return refused(
            "`Content-Type` must be there once at most, as `type/subtype`",
            "a malformed content type",
        );
    };
    if wanted.scope == Scope::Admin && !essence.eq_ignore_ascii_case("application/json") {
        return refused(
            "this takes `Content-Type: application/json`",
            "another content type than JSON",
        );
    }
    Ok(())
}

/// `type/subtype` of RFC 9110, section 8.3.1.
fn is_media_type(essence: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}
