use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body_util::{BodyExt, Full};
use spin_sdk::http::{IntoResponse, Request, Response};
use spin_sdk::http_service;
use spin_sdk::wasip3::http_compat::IncomingRequestBody;
use twinfer_gateway::Door;
use twinfer_package::{FolderStore, Reference, Store, TrustPolicy};
use twinfer_serve::{
    AdminToken, App, Fused, Guard, Options, Trust, Wants, body_too_large, broken_body,
};

use crate::access::Host;
use crate::bundle;
use crate::environment::variable;
use crate::fuse::fused;
use crate::observe;
use crate::remote::{Supply, supply};
use crate::settings::Settings;

/// Lives as long as the instance: a warm one has its models loaded.
static SHELL: OnceLock<Shell> = OnceLock::new();
/// When this instance was asked first.
static START: OnceLock<Instant> = OnceLock::new();
/// Where the registry is when nobody says so.
const DEFAULT_REGISTRY: &str = "/registry";

struct Shell {
    app: App,
    /// What stands before it.
    door: Door<Host>,
    /// For a registry on the network; an error is what answers every request that wants
    /// something of it.
    supply: Option<twinfer::Result<Box<dyn Supply>>>,
    /// What was loaded at build time.
    fused: Option<&'static Arc<Fused>>,
}

impl Shell {
    /// Whether a request is for what is there since the build: no registry is asked then.
    fn has(&self, parts: &Parts) -> bool {
        let wants = self
            .fused
            .and_then(|fused| Some((fused, self.app.wants(parts)?)));
        matches!(wants, Some((fused, Wants::Model(reference))) if fused.answers(&reference))
    }
}

/// Whether a request was here before.
pub(crate) fn is_serving() -> bool {
    SHELL.get().is_some() || START.get().is_some()
}

fn shell() -> &'static Shell {
    SHELL.get_or_init(|| {
        let registry = variable("TWINFER_REGISTRY").unwrap_or_else(|| DEFAULT_REGISTRY.into());
        let mut options = Options::default();
        if let Some(max_body) = number("TWINFER_MAX_BODY") {
            options.max_body = max_body;
        }
        options.clock = Some(milliseconds);
        options.random = Some(spin_sdk::wasip3::random::random::get_random_u64);
        options.default_model = default_model();
        options.health_route = variable("AIP_HEALTH_ROUTE");
        options.predict_route = variable("AIP_PREDICT_ROUTE");
        options.trust = trust();
        if let Some(bytes) = number("TWINFER_PREDICTION_CACHE") {
            options.prediction_cache = bytes;
        }
        options.repository = repository();
        options.metrics = variable("TWINFER_HOST_METRICS").filter(|path| path.starts_with('/'));
        let supply = Settings::read(&registry).map(|settings| settings.and_then(supply));
        let store = match &supply {
            Some(Ok(supply)) => supply.store(),
            Some(Err(error)) => {
                eprintln!("{error}; no model is loaded");
                Arc::new(FolderStore::new("/"))
            }
            None => folder(&registry),
        };
        let (app, fused) = match fused() {
            Ok(None) => (App::new(store, options), None),
            Ok(Some(fused)) => {
                // It needs none, so it is no fault when none is mounted.
                let there = match &supply {
                    None => Path::new(&registry).is_dir(),
                    Some(supply) => supply.is_ok(),
                };
                let app = App::with_fused(fused, there.then_some(store), options);
                (app, Some(fused))
            }
            Err(error) => {
                eprintln!("{error}; no model is loaded");
                options.trust = Trust::Broken(error);
                (App::new(Arc::new(FolderStore::new("/")), options), None)
            }
        };
        Shell {
            app,
            door: Door::new(Host),
            supply,
            fused,
        }
    })
}

fn default_model() -> Option<Reference> {
    let name = variable("TWINFER_DEFAULT_MODEL").filter(|name| !name.is_empty())?;
    match name.parse() {
        Ok(reference) => Some(reference),
        Err(error) => {
            eprintln!("TWINFER_DEFAULT_MODEL: {error}; there is no default model");
            None
        }
    }
}

/// A registry folder. Where the host decides what is served, it keeps an index of its own.
fn folder(registry: &str) -> Arc<dyn Store> {
    Arc::new(match variable("TWINFER_INDEX") {
        Some(index) => FolderStore::with_index(registry, index),
        None => FolderStore::new(registry),
    })
}

/// A malformed policy is not the same as none: nothing is loaded then.
fn trust() -> Trust {
    let Some(policy) = variable("TWINFER_TRUST_POLICY") else {
        return Trust::Everything;
    };
    let policy = TrustPolicy::from_json(policy.as_bytes());
    let counters = match variable("TWINFER_TRUST_COUNTERS") {
        Some(json) => counters(&json),
        None => Ok(BTreeMap::new()),
    };
    match policy.and_then(|policy| Ok((policy, counters?))) {
        Err(error) => {
            eprintln!("TWINFER_TRUST_POLICY: {error}; no model is loaded");
            Trust::Broken(error)
        }
        Ok((policy, counters)) => Trust::Policy(Guard {
            policy,
            counters,
            now,
            warn: |warning| eprintln!("warning: {warning}"),
        }),
    }
}

/// Who may use the repository extension. Without a token that is good enough, nobody.
fn repository() -> Option<AdminToken> {
    match variable("TWINFER_REPOSITORY").as_deref() {
        None | Some("" | "disabled") => return None,
        Some("enabled") => {}
        Some(other) => {
            eprintln!("TWINFER_REPOSITORY={other} is neither `enabled` nor `disabled`; it is off");
            return None;
        }
    }
    let token = AdminToken::new(variable("TWINFER_ADMIN_TOKEN").unwrap_or_default());
    token
        .inspect_err(|error| eprintln!("TWINFER_ADMIN_TOKEN: {error}; the repository is off"))
        .ok()
}

fn counters(json: &str) -> twinfer::Result<BTreeMap<String, u64>> {
    serde_json::from_str(json)
        .map_err(|e| twinfer::err!(InvalidPolicy, "TWINFER_TRUST_COUNTERS: {e}"))
}

/// Before 1970 the clock is wrong, and then nothing that expires counts.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(u64::MAX, |since| since.as_secs())
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    let text = variable(name)?;
    let value = text.parse().ok();
    if value.is_none() {
        eprintln!("{name}={text} is not understood; the default is used");
    }
    value
}

fn milliseconds() -> f64 {
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
}

#[http_service]
async fn handle(request: Request) -> impl IntoResponse {
    observed(request).await.map(Full::new)
}

async fn observed(request: Request) -> Response<Bytes> {
    // First: it gives a fused instance what is random.
    let shell = shell();
    let (parts, body) = request.into_parts();
    let seen = observe::begin(&parts, milliseconds());
    let answer = answer(shell, parts, body, seen.as_ref()).await;
    if let Some(seen) = seen {
        seen.end(&answer, milliseconds());
    }
    answer
}

/// The door first: of a request that is refused no body is read.
async fn answer(
    shell: &'static Shell,
    mut parts: Parts,
    body: IncomingRequestBody,
    seen: Option<&observe::Seen>,
) -> Response<Bytes> {
    let admitted = match shell.door.admit(&mut parts).await {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    let exposed = seen.and_then(|seen| seen.exposition(parts.uri.query()));
    let mut response = match exposed {
        Some(answer) => answer,
        None => answer_admitted(shell, parts, body).await,
    };
    admitted.describe(response.headers_mut());
    response
}

async fn answer_admitted(
    shell: &'static Shell,
    mut parts: Parts,
    mut body: IncomingRequestBody,
) -> Response<Bytes> {
    let Shell { app, supply, .. } = shell;
    let limit = app.options().max_body;
    let announced = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return body_too_large(limit);
    }
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return broken_body(&error),
        };
        if bytes.len() + data.len() > limit {
            return body_too_large(limit);
        }
        bytes.extend_from_slice(&data);
    }
    let is_bundle = bundle::is_bundle(&parts);
    let Some(supply) = supply.as_ref().filter(|_| !shell.has(&parts)) else {
        if is_bundle {
            return bundle::answer(app, bytes.freeze());
        }
        return app.handle(http::Request::from_parts(parts, bytes.freeze()));
    };
    let started = milliseconds();
    let prepared = match supply {
        Ok(supply) => supply.prepare(app, &mut parts).await,
        Err(error) if app.wants(&parts).is_some() => Err(error.clone()),
        Err(_) => Ok(()),
    };
    if let Ok(supply) = supply
        && supply.due()
    {
        // After the answer: nobody waits for what may be new.
        spin_sdk::wasip3::spawn(supply.follow(app));
    }
    match prepared {
        Ok(()) if is_bundle => bundle::answer(app, bytes.freeze()),
        Ok(()) => {
            let request = http::Request::from_parts(parts, bytes.freeze());
            app.handle_since(request, Some(started))
        }
        Err(error) => app.unmet(&parts, &error),
    }
}
