//! The instances: how many there are, who gets one, when one is replaced.

mod full;
mod prepare;
mod rest;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use self::full::Full;
use crate::config::{HostConfig, Limits};
use crate::engine::Program;
use crate::error::HostError;
use crate::guest::{Factory, Guest};
use crate::log::{Log, LogLevel};
use crate::outbound::Network;
use crate::reply::{Failure, ReplyCode};

/// The instances of one component.
///
/// Invariant: idle and busy instances together are never more than
/// `max_instances`, because one is taken from `idle` (or made) only while a
/// permit of `running` is held, and put back before it is released.
pub(crate) struct Pool {
    factory: Factory,
    limits: Limits,
    log: Log,
    guests: Mutex<Guests>,
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    /// Each request gets an instance that served none before.
    fresh: bool,
    /// Who answers when an instance lacks a function.
    full: Option<Full>,
}

/// The instances that there are.
#[derive(Default)]
struct Guests {
    /// Most recently used last.
    idle: Vec<Guest>,
    /// Those that serve a request: the round of preparing that each took part in last.
    busy: BTreeMap<u64, u64>,
    /// The present round: see `prepare.rs`.
    round: u64,
    /// When the last request ended since memory was given back: see `rest.rs`.
    worked: Option<Instant>,
}

/// The right to wait for an instance. Taken before a body is read, so that
/// what waits is bounded.
pub(crate) struct Admission(#[allow(dead_code)] OwnedSemaphorePermit);

impl Pool {
    /// The instances of a component; the full one beside it gets ready in the background.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub(crate) fn of(
        program: Program,
        config: &HostConfig,
        network: &Network,
        log: &Log,
    ) -> Result<Self, HostError> {
        let full = match program.full {
            Some(wasm) => {
                let engine = program.linked.pre.engine().clone();
                Some(Full::start(
                    engine,
                    wasm,
                    program.fresh,
                    config,
                    network,
                    log,
                )?)
            }
            None => None,
        };
        let factory = Factory::new(config.clone(), program.linked, network.clone(), log.clone());
        Ok(Self {
            fresh: program.fresh,
            full,
            ..Self::new(factory, config.limits.clone(), log.clone())
        })
    }

    fn new(factory: Factory, limits: Limits, log: Log) -> Self {
        let admitted =
            (limits.max_instances.saturating_add(limits.max_queue)).min(Semaphore::MAX_PERMITS);
        Self {
            running: Arc::new(Semaphore::new(
                limits.max_instances.min(Semaphore::MAX_PERMITS),
            )),
            admitted: Arc::new(Semaphore::new(admitted)),
            guests: Mutex::default(),
            factory,
            limits,
            log,
            fresh: false,
            full: None,
        }
    }

    /// Lets a request in, or refuses it at once when the queue is full.
    pub(crate) fn admit(&self) -> Result<Admission, Failure> {
        self.admitted
            .clone()
            .try_acquire_owned()
            .map(Admission)
            .map_err(|_| {
                Failure::new(
                    ReplyCode::Overloaded,
                    format!("{} requests are waiting already", self.limits.max_queue),
                )
            })
    }

    /// Runs a request in some instance.
    pub(crate) async fn handle(
        self: &Arc<Self>,
        admission: Admission,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Failure> {
        let waiting = watch::waiting(&request);
        let waited = timeout(
            self.limits.queue_timeout,
            self.running.clone().acquire_owned(),
        )
        .await;
        drop(waiting);
        let Ok(Ok(permit)) = waited else {
            return Err(Failure::new(
                ReplyCode::Overloaded,
                "no instance became free in time",
            ));
        };
        let (sender, receiver) = oneshot::channel();
        let pool = self.clone();
        // A task of its own: a client that goes away must not take the
        // instance, and the models loaded in it, along.
        tokio::spawn(async move {
            pool.run(request, sender).await;
            drop((permit, admission));
        });
        receiver.await.unwrap_or_else(|_| {
            Err(Failure::new(
                ReplyCode::Internal,
                "the model server failed on this request",
            ))
        })
    }

    async fn run(&self, request: http::Request<Bytes>, sender: crate::guest::ReplySender) {
        let mut reply = Some(sender);
        let limit = self.limits.request_timeout;
        let again = self.full.is_some().then(|| request.clone());
        let outcome = timeout(limit, self.run_in_guest(request, &mut reply)).await;
        let failure = match outcome {
            Ok(Ok(guest)) => return self.give_back(guest).await,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(
                ReplyCode::Timeout,
                format!("no answer within {} ms", limit.as_millis()),
            ),
        };
        if let (Some(full), Some(again)) = (&self.full, again)
            && failure.code() == ReplyCode::EngineFunctionMissing
            && let Some(reply) = reply.take()
        {
            let full = full.pool(&failure, again.uri().path(), &self.log).await;
            return match full {
                // One step deep: the full pool has no full one of its own.
                Ok(full) => Box::pin(full.run(again, reply)).await,
                Err(failure) => drop(reply.send(Err(failure))),
            };
        }
        let fields = json!({"code": failure.code().as_str(), "error": failure.message(), "cause": failure.cause()});
        self.log.event(LogLevel::Warn, "instance_replaced", fields);
        if let Some(reply) = reply {
            let _ = reply.send(Err(failure));
        }
    }

    /// The guest comes back only if it can be used again.
    async fn run_in_guest(
        &self,
        request: http::Request<Bytes>,
        reply: &mut Option<crate::guest::ReplySender>,
    ) -> Result<Guest, Failure> {
        let mut guest = match self.take_idle() {
            Some(guest) => guest,
            None => self.start().await?,
        };
        let _busy = Busy::new(self, &guest);
        guest.call(request, reply).await?;
        Ok(guest)
    }

    async fn start(&self) -> Result<Guest, Failure> {
        let mut guest = self.factory.instantiate().await?;
        // It has nothing loaded, and so nothing to prepare.
        guest.round = self.guests().round;
        let fields = json!({"instance": guest.id});
        // One for each request is nothing to tell.
        let level = if self.fresh {
            LogLevel::Debug
        } else {
            LogLevel::Info
        };
        self.log.event(level, "instance_started", fields);
        Ok(guest)
    }

    fn take_idle(&self) -> Option<Guest> {
        self.guests().idle.pop()
    }

    async fn give_back(&self, mut guest: Guest) {
        if self.fresh {
            drop(guest);
            self.guests().worked = Some(Instant::now());
            // Before the next request, which then does not wait for it. What fails here fails
            // again where it matters.
            if self.guests().idle.len() < self.limits.max_instances
                && let Ok(next) = self.start().await
            {
                self.guests().idle.push(next);
            }
            return;
        }
        if guest.served >= self.limits.max_requests_per_instance {
            self.log_end(&guest, "served_enough");
            return;
        }
        guest.idle_since = Instant::now();
        self.guests().idle.push(guest);
    }

    /// Drops what has been idle for too long. The most recently used instance
    /// is taken first, so that the others age.
    fn drop_idle(&self) {
        let expired: Vec<Guest> = {
            let idle = &mut self.guests().idle;
            let keep = idle
                .iter()
                .position(|g| g.idle_since.elapsed() < self.limits.idle_timeout)
                .unwrap_or(idle.len());
            idle.drain(..keep).collect()
        };
        for guest in &expired {
            self.log_end(guest, "idle");
        }
    }

    fn log_end(&self, guest: &Guest, why: &str) {
        let fields = json!({"instance": guest.id, "why": why, "served": guest.served, "memory": guest.memory()});
        self.log.event(LogLevel::Info, "instance_ended", fields);
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        // A panic while pushing or popping leaves lists that are still valid.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance that serves, as long as this lives.
struct Busy<'a> {
    pool: &'a Pool,
    id: u64,
}

impl<'a> Busy<'a> {
    fn new(pool: &'a Pool, guest: &Guest) -> Self {
        pool.guests().busy.insert(guest.id, guest.round);
        Self { pool, id: guest.id }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.pool.guests().busy.remove(&self.id);
    }
}

/// Looks after idle instances until the pool is gone.
pub(crate) async fn tend(pool: std::sync::Weak<Pool>, limits: Limits) {
    let shortest = limits.idle_timeout.min(limits.rest_after);
    let period = (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(5));
    loop {
        tokio::time::sleep(period).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.drop_idle();
        pool.rest().await;
    }
}
