//! Requests without a server.

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use twinfer_gateway::{
    ApiKey, Certificate, Decision, Gateway, Rules, Scope, Scopes, Settings, Surface, Visitor,
};
use twinfer_state::{MemoryState, State};

/// 2027-01-15 in milliseconds since 1970: the clock of these tests.
pub const NOW: u64 = 1_800_000_000_000;

/// A request.
pub struct Ask {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub address: Option<std::net::IpAddr>,
    pub subject: Option<String>,
    pub now: u64,
}

impl Ask {
    pub fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            headers: HeaderMap::new(),
            address: None,
            subject: None,
            now: NOW,
        }
    }

    pub fn post(path: &str) -> Self {
        Self {
            method: Method::POST,
            ..Self::get(path)
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers
            .append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn from(mut self, address: &str) -> Self {
        self.address = Some(address.parse().unwrap());
        self
    }

    pub fn at(mut self, now: u64) -> Self {
        self.now = now;
        self
    }

    pub fn of(&self, gateway: &Gateway, state: &dyn State) -> Decision {
        let visitor = Visitor {
            method: &self.method,
            path: &self.path,
            headers: &self.headers,
            address: self.address,
            certificate: self.subject.as_deref().map(|subject| Certificate {
                subject,
                ..Certificate::default()
            }),
        };
        // The states of these tests never wait.
        gateway
            .admit(visitor, state, self.now)
            .now_or_never()
            .unwrap()
    }

    /// The code of the answer: `ok`, or that of the refusal.
    pub fn code(&self, gateway: &Gateway) -> &'static str {
        code(&self.of(gateway, &MemoryState::new()))
    }
}

pub fn code(decision: &Decision) -> &'static str {
    match &decision.verdict {
        Ok(()) => "ok",
        Err(refusal) => refusal.reason.code(),
    }
}

/// The headers that an answer gets.
pub fn described(decision: &Decision) -> HeaderMap {
    let mut headers = HeaderMap::new();
    decision.describe(&mut headers);
    headers
}

/// The key with this number.
pub fn key(number: u8) -> ApiKey {
    ApiKey::new(&[number; 32])
}

pub fn gateway(toml: &str) -> Gateway {
    Gateway::new(rules(toml)).unwrap()
}

pub fn rules(toml: &str) -> Rules {
    Rules {
        settings: Some(Settings::from_toml(toml).unwrap()),
        ..Rules::default()
    }
}

/// Without settings.
pub fn bare(loopback: bool, open: &[Scope]) -> Gateway {
    Gateway::new(Rules {
        settings: None,
        open: Scopes::of(open),
        loopback,
        surface: Surface {
            page_files: true,
            ..Surface::default()
        },
    })
    .unwrap()
}
