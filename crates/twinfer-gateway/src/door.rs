//! The door of a component on hosts that do not decide before it is asked who may ask what.

use std::future::Future;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::json;
use twinfer_state::MemoryState;

use crate::credentials::API_KEY;
use crate::decision::Decision;
use crate::error::{Result, wrong};
use crate::gateway::{Gateway, Rules, Visitor};
use crate::jwt::Refetch;
use crate::scope::{Scope, Scopes};
use crate::settings::Settings;
use crate::wanted::{Surface, Wanted};

/// What a door asks of the host that it is in.
pub trait Surroundings {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// The content of a file.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self, file: &str) -> std::io::Result<Vec<u8>>;

    /// Takes a line for the log.
    fn log(&self, line: &str);

    /// Milliseconds since 1970.
    fn now(&self) -> u64;

    /// The keys of an issuer, from their address: one attempt.
    ///
    /// # Errors
    /// Why they did not come, for the log.
    fn fetch(&self, address: &str) -> impl Future<Output = std::result::Result<Vec<u8>, String>>;
}

/// What stands before the application, as environment variables say it.
///
/// | variable | meaning |
/// |---|---|
/// | `TWINFER_ACCESS` | [`Settings`] as JSON; `host`: the host has decided already |
/// | `TWINFER_OPEN` | what is open beside that: scopes with commas between |
/// | `TWINFER_DEFAULT_MODEL` | the model of requests that name none |
/// | `AIP_HEALTH_ROUTE`, `AIP_PREDICT_ROUTE` | more paths, as Vertex AI says them |
pub struct Door<S> {
    surroundings: S,
    kind: Kind,
}

enum Kind {
    /// The host has decided already.
    Host,
    /// A gateway of ours, with limits that count in this instance.
    Guarded(Box<(Gateway, MemoryState)>),
    /// Settings that cannot be used: nothing but health is answered.
    Broken,
}

/// What came of a request.
#[derive(Debug)]
pub struct Admitted(Option<Decision>);

impl<S: Surroundings> Door<S> {
    /// The door of these surroundings. What is malformed is in the log, and closes it.
    pub fn new(surroundings: S) -> Self {
        let access = surroundings.variable("TWINFER_ACCESS").unwrap_or_default();
        let kind = if access == "host" {
            Kind::Host
        } else {
            match build(&access, &surroundings) {
                Ok(gateway) => Kind::Guarded(Box::new((gateway, MemoryState::new()))),
                Err(error) => {
                    surroundings.log(&format!(
                        "TWINFER_ACCESS, TWINFER_OPEN: {error}; nothing but health is answered"
                    ));
                    Kind::Broken
                }
            }
        };
        Self { surroundings, kind }
    }

    /// Decides about the head of a request, and takes the credentials out of it: what is behind
    /// the door has no use for them.
    ///
    /// # Errors
    /// The answer, where it is refused.
    pub async fn admit<B: From<String>>(
        &self,
        parts: &mut Parts,
    ) -> std::result::Result<Admitted, Box<Response<B>>> {
        let (gateway, state) = match &self.kind {
            Kind::Host => return Ok(Admitted(None)),
            Kind::Guarded(guarded) => (&guarded.0, &guarded.1),
            Kind::Broken => return broken(parts),
        };
        let now = self.surroundings.now();
        if let Refetch::First(address) | Refetch::Soon(address) =
            gateway.wants_keys(&parts.headers, now)
        {
            self.fetch(gateway, &address, now).await;
        }
        let visitor = Visitor {
            method: &parts.method,
            path: parts.uri.path(),
            headers: &parts.headers,
            address: None,
            certificate: None,
        };
        let decision = gateway.admit(visitor, state, now).await;
        if decision.is_audited() {
            self.surroundings.log(&audit(&decision, parts));
        }
        if let Err(refusal) = &decision.verdict {
            let (status, code) = (refusal.reason.status(), refusal.reason.code());
            let mut response = answer(status, code, refusal.message);
            decision.describe(response.headers_mut());
            return Err(Box::new(response));
        }
        forget_credentials(&mut parts.headers);
        Ok(Admitted(Some(decision)))
    }

    async fn fetch(&self, gateway: &Gateway, address: &str, now: u64) {
        let fetched = self.surroundings.fetch(address).await;
        let put = fetched.and_then(|keys| {
            let put = gateway.put_keys(&keys, now);
            put.map_err(|error| error.to_string())
        });
        if let Err(error) = put {
            let line = format!("the keys of the issuer at {address}: {error}");
            self.surroundings.log(&line);
        }
    }
}

impl Admitted {
    /// Adds to the answer what was decided: limits, and that it is for one client only.
    pub fn describe(&self, headers: &mut HeaderMap) {
        if let Some(decision) = &self.0 {
            decision.describe(headers);
        }
    }
}

/// Takes credentials out of a request.
pub fn forget_credentials(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    headers.remove(API_KEY);
}

fn build(access: &str, surroundings: &impl Surroundings) -> Result<Gateway> {
    let variable = |name| surroundings.variable(name);
    let settings = match access {
        "" => None,
        json => Some(Settings::from_json(json)?),
    };
    let read = |file: &str| {
        surroundings.read(file).map_err(|e| {
            wrong!("the keys in {file}: {e}: mount them, or write them into the settings")
        })
    };
    let file = settings.as_ref().and_then(Settings::key_file);
    let keys = file.map(read).transpose()?;
    let open = variable("TWINFER_OPEN").unwrap_or_default();
    let open = open.split(',').map(str::trim);
    let open = open.filter(|name| !name.is_empty());
    let open = open.map(|name| name.parse::<Scope>());
    let open = open.collect::<Result<Vec<Scope>>>()?;
    let model = variable("TWINFER_DEFAULT_MODEL").unwrap_or_default();
    let model = model.split([':', '@']).next();
    let route = |name| variable(name).into_iter().collect();
    let gateway = Gateway::new(Rules {
        settings,
        open: Scopes::of(&open),
        // A component does not see where its host listens.
        loopback: false,
        surface: Surface {
            page_files: false,
            default_model: model.filter(|name| !name.is_empty()).map(str::to_owned),
            health_paths: route("AIP_HEALTH_ROUTE"),
            predict_paths: route("AIP_PREDICT_ROUTE"),
        },
    })?;
    if let Some(keys) = keys {
        gateway.put_keys(&keys, surroundings.now())?;
    }
    Ok(gateway)
}

/// What an administrator may do, or was refused, as a line of the log.
fn audit(decision: &Decision, parts: &Parts) -> String {
    let request = parts.headers.get("x-request-id");
    json!({
        "event": "audit",
        "principal": decision.principal.as_ref().map(ToString::to_string),
        "address": decision.address,
        "action": parts.method.as_str(),
        "target": parts.uri.path(),
        "outcome": if decision.verdict.is_ok() { "allowed" } else { "refused" },
        "request": request.and_then(|id| id.to_str().ok()),
    })
    .to_string()
}

fn broken<B: From<String>>(parts: &Parts) -> std::result::Result<Admitted, Box<Response<B>>> {
    let wanted = Wanted::of(&parts.method, parts.uri.path(), &Surface::default());
    if wanted.scope == Scope::Health {
        return Ok(Admitted(None));
    }
    let message = "the settings of this server cannot be used: its log says why";
    Err(Box::new(answer(500, "internal", message)))
}

fn answer<B: From<String>>(status: u16, code: &str, message: &str) -> Response<B> {
    let body = json!({"error": message, "code": code}).to_string();
    let mut response = Response::new(B::from(body));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
