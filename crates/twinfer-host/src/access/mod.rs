//! Who may ask what: the host's side of the gateway. It brings the clock, the address of the
//! connection, the state of the limits, and the keys of an issuer.

mod config;
mod issuer;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Method, Response};
use serde_json::json;
use twinfer_gateway::{Decision, Gateway, Reason, Refetch, Refusal, Visitor};
use twinfer_state::State;

pub use config::AccessConfig;
pub(crate) use twinfer_gateway::forget_credentials;

use self::issuer::Issuer;
use crate::config::HostConfig;
use crate::error::HostError;
use crate::live::Live;
use crate::log::{Log, LogLevel};
use crate::observe;
use crate::reply::{Body, Failure, ReplyCode};
use crate::tls::Peer;

/// Stands before all that the host answers.
pub(crate) struct Guard {
    /// Exchanged at once when settings are read again; requests in flight keep theirs.
    gateway: RwLock<Arc<Gateway>>,
    state: Arc<dyn State>,
    issuer: Arc<Issuer>,
    log: Log,
}

impl Guard {
    /// The guard of a host; `None` where the configuration wants none.
    ///
    /// # Errors
    /// Settings that cannot be used, or a file of keys that cannot be read.
    pub(crate) fn new(live: &Live, log: &Log) -> Result<Option<Arc<Self>>, HostError> {
        let config = live.get();
        if !config.access.guarded {
            return Ok(None);
        }
        let gateway = build(&config)?;
        Ok(Some(Arc::new(Self {
            gateway: RwLock::new(Arc::new(gateway)),
            state: config.state.clone(),
            issuer: Arc::new(Issuer::new(log.clone())),
            log: log.clone(),
        })))
    }

    fn gateway(&self) -> Arc<Gateway> {
        let gateway = self.gateway.read().unwrap_or_else(PoisonError::into_inner);
        gateway.clone()
    }

    /// Fetches the keys of the issuer, if they are at an address, so that the first request does
    /// not wait for them. An issuer that cannot be reached now is asked again when a token comes.
    pub(crate) async fn begin(&self) {
        let gateway = self.gateway();
        if let Refetch::First(address) | Refetch::Soon(address) =
            gateway.wants_keys(&HeaderMap::new(), now())
        {
            self.issuer.fetch(&gateway, &address).await;
        }
    }

    /// Goes by this configuration from now on.
    ///
    /// # Errors
    /// Settings that cannot be used: those from before go on being used.
    pub(crate) fn reload(&self, config: &HostConfig) -> Result<(), HostError> {
        let gateway = Arc::new(build(config)?);
        gateway.adopt(&self.gateway());
        *self.gateway.write().unwrap_or_else(PoisonError::into_inner) = gateway;
        Ok(())
    }

    /// Whether the state of the limits could not be reached lately.
    pub(crate) fn is_degraded(&self) -> bool {
        self.gateway().is_degraded()
    }

    /// Decides about a request, of which nothing but the head has been read.
    pub(crate) async fn admit(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> Decision {
        let gateway = self.gateway();
        self.ensure_keys(&gateway, headers).await;
        let visitor = Visitor {
            method,
            path,
            headers,
            address: peer.map(|peer| peer.address.ip()),
            certificate: peer.and_then(Peer::names),
        };
        let was_degraded = gateway.is_degraded();
        let decision = gateway.admit(visitor, &*self.state, now()).await;
        if gateway.is_degraded() != was_degraded {
            let fields = json!({"local": !was_degraded});
            self.log.event(LogLevel::Warn, "rate_limits", fields);
        }
        decision
    }

    async fn ensure_keys(&self, gateway: &Arc<Gateway>, headers: &HeaderMap) {
        match gateway.wants_keys(headers, now()) {
            Refetch::First(address) => self.issuer.fetch(gateway, &address).await,
            Refetch::Soon(address) => {
                let (issuer, gateway) = (self.issuer.clone(), gateway.clone());
                tokio::spawn(async move { issuer.fetch(&gateway, &address).await });
            }
            // Another request may be fetching it.
            Refetch::No if gateway.lacks_key(headers) => self.issuer.wait().await,
            Refetch::No => {}
        }
    }

    /// Adds to an answer what the decision says, and writes down what administrators do.
    pub(crate) fn after(
        &self,
        decision: &Decision,
        action: (&Method, &str),
        id: &str,
        response: &mut Response<Body>,
    ) {
        decision.describe(response.headers_mut());
        if !decision.is_audited() {
            return;
        }
        let status = response.status();
        let outcome = match &decision.verdict {
            Err(_) => "refused",
            Ok(()) if status.is_success() => "done",
            Ok(()) => "failed",
        };
        let cause = decision.verdict.as_ref().err().map(|refusal| refusal.cause);
        self.log.always(
            LogLevel::Info,
            "audit",
            json!({
                "principal": decision.principal.as_ref().map(ToString::to_string),
                "address": decision.address, "action": action.0.as_str(), "target": action.1,
                "outcome": outcome, "status": status.as_u16(), "cause": cause, "request": id,
            }),
        );
    }
}

/// Whether what the component answered is of a model that the decision was about. It always is,
/// unless the two read one request in two ways: then the answer is kept back.
pub(crate) fn check_answer(
    decision: Option<&Decision>,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    let (Some(decision), Some(model)) = (decision, observe::model(headers)) else {
        return Ok(());
    };
    if decision.covers(model) {
        return Ok(());
    }
    let message = "these credentials are not for the model that answered";
    Err(Failure::new(ReplyCode::Forbidden, message).because(format!("it is of `{model}`")))
}

/// What was decided as a failure, where it was refused.
pub(crate) fn refusal(decision: &Decision) -> Option<Failure> {
    let refusal = decision.verdict.as_ref().err()?;
    Some(Failure::new(reply_code(refusal), refusal.message).because(refusal.cause))
}

fn reply_code(refusal: &Refusal) -> ReplyCode {
    match refusal.reason {
        Reason::Unauthorized => ReplyCode::Unauthorized,
        Reason::RateLimited => ReplyCode::RateLimited,
        Reason::NotFound => ReplyCode::NotFound,
        Reason::UnsupportedMediaType => ReplyCode::UnsupportedMediaType,
        // What comes to be known later is refused as well.
        _ => ReplyCode::Forbidden,
    }
}

/// A gateway of these settings, with the keys that are in a file.
fn build(config: &HostConfig) -> Result<Gateway, HostError> {
    let settings = config.access.settings.clone();
    let file = settings
        .as_ref()
        .and_then(|settings| Some(config.access.path(settings.key_file()?)));
    let wrong = |error: twinfer_gateway::SettingsError| {
        HostError::config(format!("access control: {error}"))
    };
    let gateway = Gateway::new(config.access.rules(config, settings)).map_err(wrong)?;
    if let Some(file) = file {
        let keys = std::fs::read(&file).map_err(|e| {
            let file = file.display();
            HostError::config(format!("access control: the keys in {file}: {e}"))
        })?;
        gateway.put_keys(&keys, now()).map_err(wrong)?;
    }
    Ok(gateway)
}

/// Checks what can be checked before anything is started.
pub(crate) fn check(config: &HostConfig) -> Result<(), HostError> {
    match config.access.guarded {
        true => build(config).map(drop),
        false => Ok(()),
    }
}

/// Milliseconds since 1970. A clock before that is wrong, and then nothing that expires counts.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(u64::MAX, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use twinfer_gateway::{ApiKey, Rules, Settings};
    use twinfer_state::MemoryState;

    /// What is decided of a request for the model `a` with a key for that one.
    async fn decision() -> Decision {
        let key = ApiKey::new(&[1; 32]);
        let settings = json!({"keys": [
            {"id": "k", "sha256": key.sha256(), "scopes": ["predict"], "models": ["a"]},
        ]});
        let rules = Rules {
            settings: Some(Settings::from_json(&settings.to_string()).unwrap()),
            ..Rules::default()
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_str(key.secret()).unwrap());
        let visitor = Visitor {
            method: &Method::POST,
            path: "/v2/models/a/infer",
            headers: &headers,
            address: None,
            certificate: None,
        };
        let gateway = Gateway::new(rules).unwrap();
        gateway.admit(visitor, &MemoryState::new(), 0).await
    }

    /// If the door and the component ever read one request in two ways, the answer stays here.
    #[tokio::test]
    async fn an_answer_of_another_model_than_was_granted_is_kept_back() {
        let decision = decision().await;
        assert!(decision.verdict.is_ok());
        let answer = |model: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-twinfer-model", HeaderValue::from_static(model));
            headers
        };
        check_answer(Some(&decision), &answer("a")).unwrap();
        check_answer(Some(&decision), &HeaderMap::new()).unwrap();
        check_answer(None, &answer("b")).unwrap();
        let kept = check_answer(Some(&decision), &answer("b")).unwrap_err();
        assert_eq!(kept.code(), ReplyCode::Forbidden);
    }
}
