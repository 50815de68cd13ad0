//! The full component beside a slim one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::json;
use tokio::sync::watch;
use wasmtime::Engine;

use super::Pool;
use crate::engine::prepare_full;
use crate::error::HostError;
use crate::live::Live;
use crate::log::{Log, LogLevel};
use crate::outbound::Network;
use crate::reply::{Failure, ReplyCode};

/// The instances of the full component, as soon as it is compiled.
pub(super) struct Full {
    ready: watch::Receiver<Option<Result<Arc<Pool>, String>>>,
    /// Requests that it was needed for.
    needed: AtomicU64,
}

impl Full {
    /// Compiles it on a thread of its own: that can take as long as a request may, so it is not
    /// left to the first one that needs it.
    pub(super) fn start(
        engine: Engine,
        wasm: Vec<u8>,
        fresh: bool,
        live: &Live,
        network: &Network,
        log: &Log,
    ) -> Result<Self, HostError> {
        let (sender, ready) = watch::channel(None);
        let (live, network, log) = (live.clone(), network.clone(), log.clone());
        let work = move || {
            let prepared = prepare_full(&engine, &wasm, &live.get(), &log);
            let pool = prepared.map(|linked| {
                Arc::new(Pool {
                    fresh,
                    ..Pool::new(linked, &live, &network, &log)
                })
            });
            // Nobody waits for it any more when the host has ended.
            let _ = sender.send(Some(pool.map_err(|error| error.to_string())));
        };
        std::thread::Builder::new()
            .name("twinfer-full".into())
            .spawn(work)
            .map_err(|e| HostError::internal(format!("a thread cannot be started: {e}")))?;
        Ok(Self {
            ready,
            needed: AtomicU64::new(0),
        })
    }

    /// Its instances, where they are ready.
    pub(super) fn there(&self) -> Option<Arc<Pool>> {
        let ready = self.ready.borrow();
        ready.as_ref()?.as_ref().ok().cloned()
    }

    /// Its instances, for a request that failed like this.
    pub(super) async fn pool(
        &self,
        missing: &Failure,
        path: &str,
        log: &Log,
    ) -> Result<Arc<Pool>, Failure> {
        let needed = self.needed.fetch_add(1, Ordering::Relaxed) + 1;
        let started = Instant::now();
        let mut ready = self.ready.clone();
        let pool = match ready.wait_for(Option::is_some).await {
            Ok(pool) => pool.clone(),
            Err(_) => None,
        };
        let fields = json!({
            "missing": missing.cause(), "path": path, "needed": needed,
            "waited_ms": started.elapsed().as_millis() as u64,
        });
        log.event(LogLevel::Warn, "full_component_needed", fields);
        let failed = |why: String| {
            Failure::new(ReplyCode::EngineFunctionMissing, missing.message()).because(why)
        };
        match pool {
            Some(Ok(pool)) => Ok(pool),
            Some(Err(why)) => Err(failed(why)),
            None => Err(failed("the full component was not compiled".into())),
        }
    }
}
