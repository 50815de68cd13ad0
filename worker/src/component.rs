use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, Full};
use spin_sdk::http::{IntoResponse, Request, Response};
use spin_sdk::http_service;
use twinfer_package::{FolderStore, TrustPolicy};
use twinfer_serve::{App, Guard, Options, Trust, body_too_large, broken_body};

use crate::remote::{Supply, supply};
use crate::settings::Settings;

/// Lives as long as the instance: a warm one has its models loaded.
static SHELL: OnceLock<Shell> = OnceLock::new();

struct Shell {
    app: App,
    /// For a registry on the network; an error is what answers every request that wants
    /// something of it.
    supply: Option<twinfer::Result<Box<dyn Supply>>>,
}

fn shell() -> &'static Shell {
    SHELL.get_or_init(|| {
        let registry = std::env::var("TWINFER_REGISTRY").unwrap_or_else(|_| "/registry".into());
        let mut options = Options::default();
        if let Some(max_body) = variable("TWINFER_MAX_BODY") {
            options.max_body = max_body;
        }
        options.clock = Some(milliseconds);
        options.trust = trust();
        let supply = Settings::read(&registry).map(|settings| settings.and_then(supply));
        let store = match &supply {
            Some(Ok(supply)) => supply.store(),
            Some(Err(error)) => {
                eprintln!("{error}; no model is loaded");
                Arc::new(FolderStore::new("/"))
            }
            // Where the host decides what is served, it keeps an index of its own.
            None => Arc::new(match std::env::var_os("TWINFER_INDEX") {
                Some(index) => FolderStore::with_index(registry, index),
                None => FolderStore::new(registry),
            }),
        };
        Shell {
            app: App::new(store, options),
            supply,
        }
    })
}

/// A malformed policy is not the same as none: nothing is loaded then.
fn trust() -> Trust {
    let Some(policy) = std::env::var_os("TWINFER_TRUST_POLICY") else {
        return Trust::Everything;
    };
    let policy = TrustPolicy::from_json(policy.as_encoded_bytes());
    let counters = match std::env::var("TWINFER_TRUST_COUNTERS") {
        Ok(json) => counters(&json),
        Err(_) => Ok(BTreeMap::new()),
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

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    let value = text.parse().ok();
    if value.is_none() {
        eprintln!("{name}={text} is not understood; the default is used");
    }
    value
}

fn milliseconds() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
}

#[http_service]
async fn handle(request: Request) -> impl IntoResponse {
    answer(request).await.map(Full::new)
}

async fn answer(request: Request) -> Response<Bytes> {
    let Shell { app, supply } = shell();
    let limit = app.options().max_body;
    let (parts, mut body) = request.into_parts();
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
    let Some(supply) = supply else {
        return app.handle(http::Request::from_parts(parts, bytes.freeze()));
    };
    let started = milliseconds();
    let prepared = match supply {
        Ok(supply) => supply.prepare(app, &parts).await,
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
        Ok(()) => {
            let request = http::Request::from_parts(parts, bytes.freeze());
            app.handle_since(request, Some(started))
        }
        Err(error) => app.unmet(&parts, &error),
    }
}
