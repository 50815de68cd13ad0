//! The instances: how many there are, who gets one, when one is replaced.

mod aside;
mod full;
mod gone;
mod pace;
mod prepare;
mod renew;
mod rest;
mod together;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use self::aside::Aside;
use self::full::Full;
use self::gone::{Gone, waiting};
use self::pace::Pace;
use self::together::Together;
use crate::config::{HostConfig, Limits};
use crate::deadline::{self, Deadline};
use crate::engine::{Linked, Program};
use crate::error::HostError;
use crate::guest::{Factory, Guest, ReplySender};
use crate::live::{Live, Places};
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
    live: Live,
    log: Log,
    guests: Mutex<Guests>,
    running: Places,
    admitted: Places,
    pace: Pace,
    /// Each request gets an instance that served none before.
    fresh: bool,
    /// Who answers when an instance lacks a function.
    full: Option<Full>,
    /// For copies of requests.
    aside: Aside,
    /// Requests that wait for others to go with.
    together: Option<Together>,
    network: Network,
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

/// The right to wait for an instance: what waits is bounded.
pub(crate) struct Admission(#[allow(dead_code)] OwnedSemaphorePermit);

impl Pool {
    /// The instances of a component; the full one beside it gets ready in the background.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub(crate) fn of(
        program: Program,
        live: &Live,
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
                    live,
                    network,
                    log,
                )?)
            }
            None => None,
        };
        Ok(Self {
            fresh: program.fresh,
            full,
            together: together(&live.get()),
            ..Self::new(program.linked, live, network, log)
        })
    }

    fn new(linked: Linked, live: &Live, network: &Network, log: &Log) -> Self {
        let limits = &live.get().limits;
        Self {
            running: Places::new(limits.max_instances),
            admitted: Places::new(admitted(limits)),
            pace: Pace::default(),
            guests: Mutex::default(),
            factory: Factory::new(live.clone(), linked, network.clone(), log.clone()),
            live: live.clone(),
            log: log.clone(),
            fresh: false,
            full: None,
            aside: Aside::default(),
            together: None,
            network: network.clone(),
        }
    }

    /// From now on instances may reach what this configuration says.
    ///
    /// # Errors
    /// An origin that is none.
    pub(crate) fn allow(&self, config: &HostConfig) -> Result<(), HostError> {
        self.network.allow(config)
    }

    /// The settings that count now.
    fn config(&self) -> Arc<HostConfig> {
        self.live.get()
    }

    /// Who runs.
    fn running(&self) -> Arc<Semaphore> {
        self.running.of(self.config().limits.max_instances).clone()
    }

    /// Who runs or waits.
    fn admitted(&self) -> Arc<Semaphore> {
        self.admitted.of(admitted(&self.config().limits)).clone()
    }

    /// Whether a request would be let in now.
    ///
    /// # Errors
    /// `overloaded`, where the queue is full.
    pub(crate) fn check_room(&self) -> Result<(), Failure> {
        match self.admitted().available_permits() {
            0 => Err(self.queue_is_full()),
            _ => Ok(()),
        }
    }

    fn queue_is_full(&self) -> Failure {
        let most = self.config().limits.max_queue;
        self.overloaded(format!("{most} requests are waiting already"))
    }

    /// Lets a request in, or refuses it at once when the queue is full.
    pub(crate) fn admit(&self) -> Result<Admission, Failure> {
        self.admitted()
            .try_acquire_owned()
            .map(Admission)
            .map_err(|_| self.queue_is_full())
    }

    /// A refusal that says when it is worth while to come again.
    pub(crate) fn overloaded(&self, message: impl Into<String>) -> Failure {
        let limits = &self.config().limits;
        let there = admitted(limits).saturating_sub(self.admitted().available_permits());
        let after = self.pace.until_done(there, limits.max_instances);
        Failure::new(ReplyCode::Overloaded, message).after(after)
    }

    /// Runs a request in some instance, with others where that is switched on. Dropped before it
    /// has the answer, it leaves the queue, or ends the run: at once, or after a while where the
    /// instance is worth keeping.
    pub(crate) async fn handle(
        self: &Arc<Self>,
        admission: Admission,
        request: http::Request<Bytes>,
        deadline: Deadline,
    ) -> Result<http::Response<Bytes>, Failure> {
        match &self.together {
            Some(together) if together.takes(&request, &self.config().limits) => {
                together.answer(self, admission, request, deadline).await
            }
            _ => self.handle_alone(Some(admission), request, deadline).await,
        }
    }

    /// The same for a request by itself. Without an admission it is one that others have theirs for.
    async fn handle_alone(
        self: &Arc<Self>,
        admission: Option<Admission>,
        request: http::Request<Bytes>,
        deadline: Deadline,
    ) -> Result<http::Response<Bytes>, Failure> {
        let watched = watch::waiting(&request);
        let patience = deadline.or_at(Instant::now() + self.config().limits.queue_timeout);
        let waited = timeout_at(patience.into(), self.running().acquire_owned()).await;
        drop(watched);
        if deadline.passed(Instant::now()) {
            return Err(Deadline::failure("it waited for an instance"));
        }
        let Ok(Ok(permit)) = waited else {
            return Err(self.overloaded("no instance became free in time"));
        };
        let (waiting, sender, gone) = waiting();
        let pool = self.clone();
        // A task of its own: a client that goes away must not take the
        // instance, and the models loaded in it, along at once.
        tokio::spawn(async move {
            pool.run(request, sender, gone, deadline).await;
            drop((permit, admission));
        });
        waiting.answer().await
    }

    async fn run(
        &self,
        mut request: http::Request<Bytes>,
        sender: ReplySender,
        mut gone: Gone,
        deadline: Deadline,
    ) {
        let mut reply = Some(sender);
        let config = self.config();
        let limits = &config.limits;
        let started = Instant::now();
        let until = deadline.or_at(started + limits.request_timeout);
        deadline::hand_on(request.headers_mut(), until - started);
        let again = self.full.is_some().then(|| request.clone());
        let grace = if self.fresh {
            Duration::ZERO
        } else {
            limits.cancel_grace
        };
        let outcome = tokio::select! {
            biased;
            () = gone.since(grace) => return self.log_cancelled(started),
            outcome = timeout_at(until.into(), self.run_in_guest(request, &mut reply)) => outcome,
        };
        self.pace.took(started.elapsed());
        let failure = match outcome {
            Ok(Ok(guest)) => return self.give_back(guest).await,
            Ok(Err(failure)) => failure,
            Err(_) if deadline.passed(Instant::now()) => Deadline::failure("it ran"),
            Err(_) => Failure::new(
                ReplyCode::Timeout,
                format!("no answer within {} ms", limits.request_timeout.as_millis()),
            ),
        };
        if let (Some(full), Some(again)) = (&self.full, again)
            && failure.code() == ReplyCode::EngineFunctionMissing
            && let Some(reply) = reply.take()
        {
            let full = full.pool(&failure, again.uri().path(), &self.log).await;
            return match full {
                // One step deep: the full pool has no full one of its own.
                Ok(full) => Box::pin(full.run(again, reply, gone, deadline)).await,
                Err(failure) => drop(reply.send(Err(failure))),
            };
        }
        let fields = json!({"code": failure.code().as_str(), "error": failure.message(), "cause": failure.cause()});
        self.log.event(LogLevel::Warn, "instance_replaced", fields);
        if let Some(reply) = reply {
            let _ = reply.send(Err(failure));
        }
    }

    /// The instance went with the run.
    fn log_cancelled(&self, started: Instant) {
        let fields = json!({"why": "client_gone", "ran_ms": started.elapsed().as_millis() as u64});
        // One for each request is nothing to tell.
        let level = if self.fresh {
            LogLevel::Debug
        } else {
            LogLevel::Info
        };
        self.log.event(level, "instance_ended", fields);
    }

    /// The guest comes back only if it can be used again.
    async fn run_in_guest(
        &self,
        request: http::Request<Bytes>,
        reply: &mut Option<ReplySender>,
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
        let config = self.config();
        if self.fresh {
            drop(guest);
            self.guests().worked = Some(Instant::now());
            // Before the next request, which then does not wait for it. What fails here fails
            // again where it matters.
            if self.guests().idle.len() < config.limits.max_instances
                && let Ok(next) = self.start().await
            {
                self.guests().idle.push(next);
            }
            return;
        }
        if guest.served >= config.limits.max_requests_per_instance {
            self.log_end(&guest, "served_enough");
            return;
        }
        guest.idle_since = Instant::now();
        {
            let guests = &mut *self.guests();
            // There may have been more of them before.
            if guests.idle.len() + guests.busy.len() < config.limits.max_instances {
                return guests.idle.push(guest);
            }
        }
        self.log_end(&guest, "settings");
    }

    /// Drops what has been idle for too long. The most recently used instance
    /// is taken first, so that the others age.
    fn drop_idle(&self) {
        let config = self.config();
        let limits = &config.limits;
        let (expired, too_many): (Vec<Guest>, Vec<Guest>) = {
            let guests = &mut *self.guests();
            let idle = &mut guests.idle;
            let keep = idle
                .iter()
                .position(|g| g.idle_since.elapsed() < limits.idle_timeout)
                .unwrap_or(idle.len());
            let expired = idle.drain(..keep).collect();
            // There may have been more of them before.
            let there = idle.len() + guests.busy.len();
            let surplus = there.saturating_sub(limits.max_instances);
            (expired, idle.drain(..surplus.min(idle.len())).collect())
        };
        for (guests, why) in [(expired, "idle"), (too_many, "settings")] {
            for guest in &guests {
                self.log_end(guest, why);
            }
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

/// Requests that may run or wait.
fn admitted(limits: &Limits) -> usize {
    let all = limits.max_instances.saturating_add(limits.max_queue);
    all.min(Semaphore::MAX_PERMITS)
}

/// Requests can go together where there is a secret by which the component knows a bundle of ours.
fn together(config: &HostConfig) -> Option<Together> {
    let token = http::HeaderValue::from_str(config.bundle_token.as_deref()?).ok()?;
    Some(Together::new(token))
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
pub(crate) async fn tend(pool: std::sync::Weak<Pool>) {
    loop {
        let Some(limits) = pool.upgrade().map(|pool| pool.config().limits.clone()) else {
            return;
        };
        let shortest = limits.idle_timeout.min(limits.rest_after);
        let period = (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(5));
        tokio::time::sleep(period).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.drop_idle();
        pool.drop_aside();
        pool.rest().await;
    }
}
