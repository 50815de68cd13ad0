//! Who may ask what, on hosts that do not decide that before the component is asked.

use http::request::Parts;
use http::{HeaderMap, Response, StatusCode, header};
use twinfer_gateway::{
    Decision, Gateway, Reason, Refetch, Rules, Scope, Scopes, Settings, SettingsError, Surface,
    Visitor, Wanted,
};
use twinfer_state::MemoryState;

/// What stands before the application.
pub(crate) enum Door {
    /// The host has decided already (`TWINFER_ACCESS=host`).
    Host,
    /// A gateway of ours, with limits that count in this instance.
    Guarded(Box<Gateway>, MemoryState),
    /// Settings that cannot be used: nothing but health is answered.
    Broken,
}

/// Why a request goes no further.
#[derive(Debug, PartialEq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
}

impl Door {
    /// As these environment variables say. What is malformed is in the log, and closes the door.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let access = variable("TWINFER_ACCESS").unwrap_or_default();
        if access == "host" {
            return Self::Host;
        }
        match Self::build(&access, variable) {
            Ok(gateway) => Self::Guarded(Box::new(gateway), MemoryState::new()),
            Err(error) => {
                eprintln!("TWINFER_ACCESS, TWINFER_OPEN: {error}; nothing but health is answered");
                Self::Broken
            }
        }
    }

    fn build(
        access: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Gateway, SettingsError> {
        let settings = match access {
            "" => None,
            json => Some(Settings::from_json(json)?),
        };
        let file = settings.as_ref().and_then(Settings::key_file);
        let keys = match file {
            None => None,
            Some(file) => Some(std::fs::read(file).map_err(|e| {
                SettingsError::new(format!(
                    "the keys in {file}: {e}: mount them, or write them into the settings"
                ))
            })?),
        };
        let open = variable("TWINFER_OPEN").unwrap_or_default();
        let open = open
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let open = open.map(str::parse).collect::<Result<Vec<Scope>, _>>()?;
        let model = variable("TWINFER_DEFAULT_MODEL").unwrap_or_default();
        let model = model
            .split([':', '@'])
            .next()
            .filter(|name| !name.is_empty());
        let gateway = Gateway::new(Rules {
            settings,
            open: Scopes::of(&open),
            // A component does not see where its host listens.
            loopback: false,
            surface: Surface {
                page_files: false,
                default_model: model.map(str::to_owned),
                health_paths: variable("AIP_HEALTH_ROUTE").into_iter().collect(),
                predict_paths: variable("AIP_PREDICT_ROUTE").into_iter().collect(),
            },
        })?;
        if let Some(keys) = keys {
            gateway.put_keys(&keys, 0)?;
        }
        Ok(gateway)
    }

    /// Decides about the head of a request. `now` is in milliseconds since 1970; `fetch` gets the
    /// keys of an issuer from their address.
    pub(crate) async fn admit(
        &self,
        parts: &Parts,
        now: u64,
        fetch: impl AsyncFn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Option<Decision>, Refused> {
        let (gateway, state) = match self {
            Self::Host => return Ok(None),
            Self::Guarded(gateway, state) => (gateway, state),
            Self::Broken => return broken(parts).map(|()| None),
        };
        if let Refetch::First(address) | Refetch::Soon(address) =
            gateway.wants_keys(&parts.headers, now)
        {
            let put = fetch(&address).await.and_then(|keys| {
                let put = gateway.put_keys(&keys, now);
                put.map_err(|error| error.to_string())
            });
            if let Err(error) = put {
                eprintln!("the keys of the issuer at {address}: {error}");
            }
        }
        let visitor = Visitor {
            method: &parts.method,
            path: parts.uri.path(),
            headers: &parts.headers,
            address: None,
            subject: None,
        };
        let decision = gateway.admit(visitor, state, now).await;
        if decision.is_audited() {
            audit(&decision, parts);
        }
        Ok(Some(decision))
    }
}

/// What an administrator did, or wanted to, as a line of the log.
fn audit(decision: &Decision, parts: &Parts) {
    let principal = decision.principal.as_ref().map(ToString::to_string);
    let line = serde_json::json!({
        "event": "audit", "principal": principal, "address": decision.address,
        "action": parts.method.as_str(), "target": parts.uri.path(),
        "outcome": if decision.verdict.is_ok() { "allowed" } else { "refused" },
        "request": parts.headers.get("x-request-id").and_then(|id| id.to_str().ok()),
    });
    eprintln!("{line}");
}

fn broken(parts: &Parts) -> Result<(), Refused> {
    let wanted = Wanted::of(&parts.method, parts.uri.path(), &Surface::default());
    if wanted.scope == Scope::Health {
        return Ok(());
    }
    Err(Refused {
        status: 500,
        code: "internal",
        message: "the settings of this server cannot be used: its log says why",
    })
}

/// The answer of a decision that says no.
pub(crate) fn refusal(decision: &Decision) -> Option<Refused> {
    let refusal = decision.verdict.as_ref().err()?;
    let reason: Reason = refusal.reason;
    Some(Refused {
        status: reason.status(),
        code: reason.code(),
        message: refusal.message,
    })
}

impl Refused {
    /// The answer, with the headers of the decision.
    pub(crate) fn into_response<B: From<String>>(self, decision: Option<&Decision>) -> Response<B> {
        let body = serde_json::json!({"error": self.message, "code": self.code}).to_string();
        let mut response = Response::new(B::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if let Some(decision) = decision {
            decision.describe(response.headers_mut());
        }
        response
    }
}

/// Takes credentials away: what is behind the door has no use for them.
pub(crate) fn forget_credentials(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    headers.remove("x-api-key");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use futures_util::FutureExt;
    use serde_json::{Value, json};
    use twinfer_gateway::ApiKey;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn door(variables: &[(&str, &str)]) -> Door {
        Door::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    async fn no_network(_: &str) -> Result<Vec<u8>, String> {
        Err("no network here".into())
    }

    /// The status and code with which a request is answered; 200 where it is let through.
    fn ask(door: &Door, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let mut request = http::Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let admitted = door.admit(&parts, NOW, no_network).now_or_never().unwrap();
        let (refused, decision) = match admitted {
            Ok(decision) => (decision.as_ref().and_then(refusal), decision),
            Err(refused) => (Some(refused), None),
        };
        let Some(refused) = refused else {
            return (200, "ok".into());
        };
        let response: Response<String> = refused.into_response(decision.as_ref());
        let body: Value = serde_json::from_str(response.body()).unwrap();
        (
            response.status().as_u16(),
            body["code"].as_str().unwrap().into(),
        )
    }

    #[test]
    fn without_settings_predictions_and_health_are_open() {
        let door = door(&[]);
        assert_eq!(ask(&door, "/v2/health/live", &[]).0, 200);
        assert_eq!(ask(&door, "/v2/models/m/predict", &[]).0, 200);
        assert_eq!(ask(&door, "/metrics", &[]), (401, "unauthorized".into()));
        assert_eq!(
            ask(&door, "/v2/repository/index", &[]),
            (401, "unauthorized".into())
        );
        assert_eq!(ask(&door, "/v2/nothing", &[]), (404, "not_found".into()));
    }

    #[test]
    fn more_can_be_opened() {
        let door = door(&[
            ("TWINFER_OPEN", "metrics, page"),
            ("AIP_HEALTH_ROUTE", "/alive"),
        ]);
        assert_eq!(ask(&door, "/metrics", &[]).0, 200);
        assert_eq!(ask(&door, "/alive", &[]).0, 200);
        assert_eq!(ask(&door, "/registry/index.json", &[]).0, 401);
    }

    #[test]
    fn keys_count_as_on_our_host() {
        let key = ApiKey::new(&[1; 32]);
        let settings = json!({
            "keys": [{"id": "a", "sha256": key.sha256(), "scopes": ["predict"], "models": ["m*"]}],
            "rates": {"principal": {"per_second": 1, "burst": 3}},
        });
        let door = door(&[
            ("TWINFER_ACCESS", &settings.to_string()),
            ("TWINFER_DEFAULT_MODEL", "m:stable"),
        ]);
        let with = [("x-api-key", key.secret())];
        assert_eq!(ask(&door, "/v2/models/m/predict", &with).0, 200);
        assert_eq!(
            ask(&door, "/v2/models/other/predict", &with),
            (403, "forbidden".into())
        );
        assert_eq!(ask(&door, "/invocations", &with).0, 200);
        assert_eq!(
            ask(&door, "/v2/models/m/predict", &with),
            (429, "rate_limited".into())
        );
        assert_eq!(
            ask(&door, "/v2/models/m/predict", &[]),
            (401, "unauthorized".into())
        );
    }

    #[test]
    fn keys_of_an_issuer_are_fetched_for_a_token() {
        let settings =
            json!({"jwt": {"jwks": "https://i.example/keys", "issuer": "i", "audience": "a"}});
        let door = door(&[("TWINFER_ACCESS", &settings.to_string())]);
        let asked = std::cell::RefCell::new(Vec::new());
        let fetch = async |address: &str| {
            asked.borrow_mut().push(address.to_owned());
            Ok(b"{}".to_vec())
        };
        // {"alg":"ES256","kid":"k"}
        let token = "Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.e30.AAAA";
        for _ in 0..2 {
            let request = http::Request::get("/v2/models/m").header("authorization", token);
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let admitted = door.admit(&parts, NOW, &fetch).now_or_never().unwrap();
            let decision = admitted.unwrap().unwrap();
            assert_eq!(refusal(&decision).unwrap().status, 401);
        }
        // Once a minute at most.
        assert_eq!(*asked.borrow(), ["https://i.example/keys"]);
    }

    #[test]
    fn malformed_settings_close_the_door() {
        for variables in [
            [("TWINFER_ACCESS", "{")],
            [("TWINFER_ACCESS", r#"{"open": ["admin"]}"#)],
            [(
                "TWINFER_ACCESS",
                r#"{"jwt": {"jwks": "/no/such/file", "issuer": "i", "audience": "a"}}"#,
            )],
            [("TWINFER_OPEN", "everything")],
        ] {
            let door = door(&variables);
            assert_eq!(ask(&door, "/v2/health/ready", &[]).0, 200, "{variables:?}");
            let closed = (500, "internal".into());
            assert_eq!(
                ask(&door, "/v2/models/m/predict", &[]),
                closed,
                "{variables:?}"
            );
        }
    }

    #[test]
    fn a_host_can_say_that_it_has_decided() {
        let door = door(&[("TWINFER_ACCESS", "host")]);
        assert_eq!(ask(&door, "/v2/repository/index", &[]).0, 200);
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Bearer k".parse().unwrap());
        headers.insert("x-api-key", "k".parse().unwrap());
        forget_credentials(&mut headers);
        assert!(headers.is_empty());
    }
}
