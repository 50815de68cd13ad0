//! Listening, connections, and the orderly end.

mod accept;
mod activity;
mod addresses;
mod signals;
mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;

use hyper_util::server::graceful::GracefulShutdown;
use serde_json::json;
use tokio::sync::watch;

use self::accept::Connections;
use self::signals::Signals;
use crate::access::Guard;
use crate::config::{HostConfig, Limits};
use crate::engine;
use crate::error::{HostError, HostErrorKind};
use crate::handle::Handle;
use crate::live::Live;
use crate::log::{Log, LogLevel};
use crate::outbound::Network;
use crate::pool::{self, Pool};
use crate::route::Router;
use crate::tls::{self, Tls};

/// Tells who starts a host that it accepts requests.
type Ready = std_mpsc::Sender<(SocketAddr, Handle)>;

/// Starts hosts.
pub struct Host;

/// A host that is running on threads of its own. Dropping it stops it.
pub struct RunningHost {
    address: SocketAddr,
    handle: Handle,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<Result<(), HostError>>>,
}

impl Host {
    /// Compiles the component, listens, and returns once requests are accepted.
    ///
    /// It can be called from anywhere, inside an async runtime or outside; it
    /// blocks while the component compiles (seconds, unless cached).
    ///
    /// # Errors
    /// A setting that cannot work, a component that does not compile or needs
    /// more than `wasi:*`, an address that is taken.
    pub fn start(config: HostConfig) -> Result<RunningHost, HostError> {
        config.check()?;
        let (stop, stopped) = watch::channel(false);
        let (ready, started) = std_mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("twinfer-host".into())
            .spawn(move || run(config, stopped, &ready))
            .map_err(|e| HostError::internal(format!("a thread cannot be started: {e}")))?;
        match started.recv() {
            Ok((address, handle)) => Ok(RunningHost {
                address,
                handle,
                stop,
                thread: Some(thread),
            }),
            Err(_) => Err(join(thread)
                .err()
                .unwrap_or_else(|| HostError::internal("the host ended at once"))),
        }
    }
}

impl RunningHost {
    /// The address that it listens on, with the true port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What prepares the instances for another index.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops accepting, lets requests in flight finish, and waits for that.
    ///
    /// # Errors
    /// The host had failed before, or requests were still running at the end
    /// of `shutdown_timeout`.
    pub fn shutdown(mut self) -> Result<(), HostError> {
        let _ = self.stop.send(true);
        self.thread.take().map_or(Ok(()), join)
    }

    /// Waits until the host ends by itself: on a signal, when
    /// `handle_signals` is set.
    ///
    /// # Errors
    /// As for [`RunningHost::shutdown`].
    pub fn wait(mut self) -> Result<(), HostError> {
        self.thread.take().map_or(Ok(()), join)
    }
}

impl Drop for RunningHost {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn join(thread: JoinHandle<Result<(), HostError>>) -> Result<(), HostError> {
    thread
        .join()
        .unwrap_or_else(|_| Err(HostError::internal("the host's thread panicked")))
}

/// The host's thread, from start to end.
fn run(config: HostConfig, stopped: watch::Receiver<bool>, ready: &Ready) -> Result<(), HostError> {
    let log = Log::of(&config);
    for announcement in &config.announce {
        log.event(
            announcement.level,
            &announcement.event,
            announcement.fields.clone(),
        );
    }
    let network = Network::new(&config)?;
    let tls = config.tls.clone().map(|files| Tls::load(files, &log));
    let tls = tls.transpose()?.map(Arc::new);
    let program = engine::prepare(&config, &log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads(&config))
        .thread_name("twinfer-host")
        .enable_all()
        .build()
        .map_err(|e| HostError::internal(format!("the async runtime cannot be started: {e}")))?;
    let result = runtime.block_on(async {
        let live = Live::new(config.clone());
        let pool = Arc::new(Pool::of(program, &live, &network, &log)?);
        tokio::spawn(pool::tend(Arc::downgrade(&pool)));
        if let Some(tls) = &tls {
            tokio::spawn(tls::watch(Arc::downgrade(tls)));
        }
        let observer = config.observer.as_ref();
        let exporting = observer.and_then(|observer| observer.begin(&config, &log));
        let served = serve(&live, pool, tls, &log, stopped, ready).await;
        if let Some(exporting) = exporting {
            exporting.end().await;
        }
        served
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

/// A busy guest holds its thread for a tick; two more keep the rest moving. There may come to be
/// more instances than at the start: they share what the machine has.
fn threads(config: &HostConfig) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let busy = config.limits.max_instances.max(cores);
    busy.saturating_add(2).min(64)
}

async fn serve(
    live: &Live,
    pool: Arc<Pool>,
    tls: Option<Arc<Tls>>,
    log: &Log,
    mut stopped: watch::Receiver<bool>,
    ready: &Ready,
) -> Result<(), HostError> {
    let config = live.get();
    let refused = |e: std::io::Error| {
        HostError::new(
            HostErrorKind::Listen,
            format!("cannot listen on {}: {e}", config.listen),
        )
    };
    let listener = accept::listen(config.listen).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    // Registered before anyone is told that we are there.
    let signals = Signals::new(config.handle_signals)?;
    log.event(
        LogLevel::Info,
        "listening",
        json!({"address": address.to_string(), "tls": tls.is_some()}),
    );
    let guard = Guard::new(live, log)?;
    if let Some(guard) = &guard {
        guard.begin().await;
    }
    let handle = Handle::new(
        live,
        log,
        &pool,
        tls.as_ref(),
        tokio::runtime::Handle::current(),
    )
    .guarded_by(guard.as_ref());
    let _ = ready.send((address, handle));

    let router = Arc::new(Router::new(live.clone(), pool, log.clone(), guard));
    let graceful = GracefulShutdown::new();
    let connections = Connections::new(router, tls, live, log);
    let reason = tokio::select! {
        () = connections.accept(&listener, &graceful) => "listener",
        _ = stopped.wait_for(|stop| *stop) => "shutdown",
        name = signals.wait() => name,
    };
    drop(listener);
    connections.end();
    finish(graceful, &live.get().limits, log, reason).await
}

async fn finish(
    graceful: GracefulShutdown,
    limits: &Limits,
    log: &Log,
    reason: &str,
) -> Result<(), HostError> {
    log.event(
        LogLevel::Info,
        "stopping",
        json!({"reason": reason, "connections": graceful.count()}),
    );
    let finished = tokio::time::timeout(limits.shutdown_timeout, graceful.shutdown())
        .await
        .is_ok();
    log.event(LogLevel::Info, "stopped", json!({"finished": finished}));
    if finished {
        return Ok(());
    }
    Err(HostError::internal(format!(
        "requests were still running {} s after the host was told to stop; they were cut off",
        limits.shutdown_timeout.as_secs_f64()
    )))
}
