//! What moves a canary: it looks at what was seen of its versions, and decides by the document.
//!
//! Every server that shares the state does the same. Who decides first writes; the others find the
//! revision changed.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use twinfer::{Error, ErrorCode, Result, err};
use twinfer_deploy::{Deployment, Observed, Variant, decide};
use twinfer_host::LogLevel;
use twinfer_package::Digest;
use twinfer_state::ANY;

use super::Releases;
use super::observed::Shared;
use crate::releases::now;

/// Between two looks.
const TICK: Duration = Duration::from_millis(500);
/// What the keys of observations begin with.
const PREFIX: &str = "observations/";
/// In the place of a person.
const AUTHOR: &str = "controller";

/// A thread that looks after releases.
pub struct Controller {
    thread: JoinHandle<()>,
}

impl Controller {
    /// Begins. It ends when `stop` says so.
    ///
    /// # Errors
    /// `internal`.
    pub fn begin(releases: Arc<Releases>, stop: watch::Receiver<bool>) -> Result<Self> {
        let failed = |e| err!(Internal, "releases cannot be looked after: {e}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let thread = thread::Builder::new()
            .name("twinfer-releases".into())
            .spawn(move || runtime.block_on(run(&releases, stop)))
            .map_err(failed)?;
        Ok(Self { thread })
    }

    /// Waits for its end.
    pub fn end(self) {
        let _ = self.thread.join();
    }
}

async fn run(releases: &Releases, mut stop: watch::Receiver<bool>) {
    let mut told: Option<ErrorCode> = None;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(TICK) => {}
        }
        let mut failed = None;
        for (_, here) in releases.all_here() {
            if here.deployment.status.phase.is_open()
                && let Err(error) = step(releases, &here.deployment).await
            {
                failed = Some(error);
            }
        }
        let code = failed.as_ref().map(Error::code);
        // Once, not twice a second.
        if let Some(error) = failed.filter(|_| told != code) {
            let fields = json!({"code": error.code().as_str(), "message": error.message()});
            releases
                .log
                .event(LogLevel::Warn, "deployment_not_moved", fields);
        }
        told = code;
    }
}

/// Looks at one release, and moves it when it is time.
async fn step(releases: &Releases, here: &Deployment) -> Result<()> {
    let deployments = &releases.deployments;
    // Taken away.
    let Some(record) = deployments.get(&here.name).await? else {
        return Ok(());
    };
    let deployment = record.deployment()?;
    // What is not in force here yet was not seen here either.
    if deployment.revision != here.revision {
        return Ok(());
    }
    let others = exchange(releases, &deployment).await?;
    let second = now() / 1_000;
    let see = |variant: &Variant, seconds: u32| -> Observed {
        let mut sum = releases.observed.window(&variant.digest, second, seconds);
        for other in &others {
            sum.merge(&other.window(&variant.digest, second, seconds));
        }
        sum
    };
    let at = now();
    let decision = decide(&deployment, at, &see);
    let fields = json!({"name": here.name, "outcome": decision.as_str()});
    // Counted in the metrics, as every event of the log is.
    releases
        .log
        .event(LogLevel::Debug, "deployment_evaluated", fields);
    if record.carry_out(&decision, AUTHOR, at)?.is_none() {
        return Ok(());
    }
    let moved = deployments.change(&here.name, Some(record.revision()), |record| {
        let gone = || err!(RevisionMismatch, "the deployment was taken away");
        let next = record.ok_or_else(gone)?.carry_out(&decision, AUTHOR, at)?;
        next.ok_or_else(gone)
    });
    match moved.await {
        Ok(record) => {
            releases.tell(&record);
            Ok(())
        }
        // Another server was faster.
        Err(error) if error.code() == ErrorCode::RevisionMismatch => Ok(()),
        Err(error) => Err(error),
    }
}

/// Tells the others what was seen here, and gives what they saw.
async fn exchange(releases: &Releases, deployment: &Deployment) -> Result<Vec<Shared>> {
    let guardrails = deployment.strategy.guardrails();
    let Some(seconds) = guardrails.iter().map(|guardrail| guardrail.window).max() else {
        return Ok(Vec::new());
    };
    let storage = |e: twinfer_state::StateError| err!(Storage, "{}", e.message());
    let state = releases.deployments.state();
    let prefix = format!("{PREFIX}{}/", deployment.name);
    let own = format!("{prefix}{}", releases.node);
    let versions: Vec<Digest> = deployment.variants.iter().map(|v| v.digest).collect();
    let shared = releases.observed.share(&versions, now() / 1_000, seconds);
    let json = serde_json::to_vec(&shared)
        .map_err(|e| err!(Internal, "observations have no JSON form: {e}"))?;
    state.put(&own, &json, ANY).await.map_err(storage)?;
    let mut others = Vec::new();
    for key in state.keys(&prefix).await.map_err(storage)? {
        if key == own {
            continue;
        }
        let Some(document) = state.get(&key).await.map_err(storage)? else {
            continue;
        };
        match Shared::read(&document.value) {
            // Of a server that is gone.
            Some(other) if other.is_old(now() / 1_000) => {
                let deleted = state.delete(&key, document.version).await;
                deleted.map_err(storage)?;
            }
            other => others.extend(other),
        }
    }
    Ok(others)
}
