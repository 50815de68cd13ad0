//! `/readyz`: whether requests should come here, for platforms; and why, for people.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;
use twinfer_state::State;

use crate::deadline::Deadline;
use crate::live::Live;
use crate::log::rfc3339;
use crate::pool::Pool;
use crate::reply::{Body, ReplyCode, full};

/// How long the component may take: less than platforms wait for a probe (Kubernetes one second,
/// unless it is told otherwise).
const PATIENCE: Duration = Duration::from_millis(800);
/// What it is asked. It answers without a model.
const PROBE: &str = "http://localhost/v2/health/live";

/// Whether the component answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Component {
    Answers,
    /// All instances have work. Requests are answered, if not at once: taking the host away from
    /// them would make it worse.
    Busy,
    Fails,
}

impl Component {
    fn as_str(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Busy => "busy",
            Self::Fails => "fails",
        }
    }
}

/// 200 when requests are answered, else 503. A state that is gone is said, and no reason to refuse
/// requests: the host goes on from what it knows. The same holds for settings that could not be taken.
pub(crate) async fn ready(pool: &Arc<Pool>, live: &Live) -> Response<Body> {
    let component = ask(pool).await;
    let is_ready = component != Component::Fails;
    let body = json!({
        "ready": is_ready,
        "component": component.as_str(),
        "state": of_state(&*live.get().state, SystemTime::now()),
        // Why is in the log.
        "settings": if live.was_refused() { "not reloaded" } else { "in effect" },
    });
    let mut response = Response::new(full(format!("{body}\n")));
    if !is_ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn ask(pool: &Arc<Pool>) -> Component {
    let Ok(admission) = pool.admit() else {
        return Component::Busy;
    };
    let Ok(request) = Request::get(PROBE).body(Bytes::new()) else {
        return Component::Fails;
    };
    match timeout(PATIENCE, pool.handle(admission, request, Deadline::NONE)).await {
        Ok(Ok(answer)) if answer.status().is_success() => Component::Answers,
        Ok(Err(failure)) if failure.code() == ReplyCode::Overloaded => Component::Busy,
        Ok(_) => Component::Fails,
        Err(_) => Component::Busy,
    }
}

/// No address: probes are open to more people than the state is.
fn of_state(state: &dyn State, now: SystemTime) -> Value {
    let status = state.status();
    let mut json = json!({"kind": status.kind, "connected": status.connected});
    if let Some(since) = status.lost_since {
        json["lost_since"] = rfc3339(since).into();
        json["lost_seconds"] = now
            .duration_since(since)
            .unwrap_or_default()
            .as_secs()
            .into();
        json["pending_counters"] = status.pending.into();
    }
    json
}
