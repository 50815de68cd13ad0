//! Listening, connections, and the orderly end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::config::{HostConfig, Limits};
use crate::engine;
use crate::error::{HostError, HostErrorKind};
use crate::handle::Handle;
use crate::log::{Log, LogLevel};
use crate::outbound::Network;
use crate::pool::{self, Pool};
use crate::route::Router;

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
    let program = engine::prepare(&config, &log)?;
    // A busy guest holds its thread for a tick; two more keep the rest moving.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.limits.max_instances.saturating_add(2).min(64))
        .thread_name("twinfer-host")
        .enable_all()
        .build()
        .map_err(|e| HostError::internal(format!("the async runtime cannot be started: {e}")))?;
    let result = runtime.block_on(async {
        let pool = Arc::new(Pool::of(program, &config, &network, &log)?);
        tokio::spawn(pool::tend(Arc::downgrade(&pool), config.limits.clone()));
        let exporting = config
            .observer
            .as_ref()
            .and_then(|o| o.begin(&config, &log));
        let served = serve(&config, pool, &log, stopped, ready).await;
        if let Some(exporting) = exporting {
            exporting.end().await;
        }
        served
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

async fn serve(
    config: &HostConfig,
    pool: Arc<Pool>,
    log: &Log,
    mut stopped: watch::Receiver<bool>,
    ready: &Ready,
) -> Result<(), HostError> {
    let refused = |e: std::io::Error| {
        HostError::new(
            HostErrorKind::Listen,
            format!("cannot listen on {}: {e}", config.listen),
        )
    };
    let listener = TcpListener::bind(config.listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    // Registered before anyone is told that we are there.
    let signals = Signals::new(config.handle_signals)?;
    log.event(
        LogLevel::Info,
        "listening",
        json!({"address": address.to_string()}),
    );
    let handle = Handle::new(&pool, tokio::runtime::Handle::current());
    let _ = ready.send((address, handle));

    let router = Arc::new(Router::new(config.clone(), pool, log.clone()));
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(
        config.limits.max_connections.min(Semaphore::MAX_PERMITS),
    ));
    let reason = tokio::select! {
        () = accept(&listener, &router, &graceful, &connections, &config.limits, log) => "listener",
        _ = stopped.wait_for(|stop| *stop) => "shutdown",
        name = signals.wait() => name,
    };
    drop(listener);
    finish(graceful, &config.limits, log, reason).await
}

async fn accept(
    listener: &TcpListener,
    router: &Arc<Router>,
    graceful: &GracefulShutdown,
    connections: &Arc<Semaphore>,
    limits: &Limits,
    log: &Log,
) {
    let builder = connection_builder(limits);
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: others will end soon.
                log.event(
                    LogLevel::Warn,
                    "accept_failed",
                    json!({"error": error.to_string()}),
                );
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let connection = connect(&builder, stream, router.clone());
        let watched = graceful.watch(connection);
        let log = log.clone();
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                log.event(
                    LogLevel::Debug,
                    "connection_failed",
                    json!({"error": error.to_string()}),
                );
            }
            drop(permit);
        });
    }
}

fn connection_builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.read_timeout)
        .max_buf_size(limits.max_head)
        .max_headers(limits.max_headers);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX))
        .max_concurrent_streams(128);
    builder
}

fn connect(
    builder: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    router: Arc<Router>,
) -> impl hyper_util::server::graceful::GracefulConnection<
    Error = Box<dyn std::error::Error + Send + Sync>,
> + Send
+ 'static {
    // Answers are small; without this the last part of one may wait 40 ms.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.respond(request).await) }
    });
    builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned()
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

/// The signals that ask a process to end.
struct Signals {
    #[cfg(unix)]
    unix: Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>,
    #[cfg(not(unix))]
    enabled: bool,
}

#[cfg(unix)]
impl Signals {
    fn new(enabled: bool) -> Result<Self, HostError> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed =
            |e: std::io::Error| HostError::internal(format!("signals cannot be handled: {e}"));
        let listen = || {
            Ok((
                signal(SignalKind::terminate()).map_err(failed)?,
                signal(SignalKind::interrupt()).map_err(failed)?,
            ))
        };
        Ok(Self {
            unix: if enabled { Some(listen()?) } else { None },
        })
    }

    async fn wait(self) -> &'static str {
        let Some((mut terminate, mut interrupt)) = self.unix else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new(enabled: bool) -> Result<Self, HostError> {
        Ok(Self { enabled })
    }

    async fn wait(self) -> &'static str {
        if self.enabled && tokio::signal::ctrl_c().await.is_ok() {
            return "interrupt";
        }
        std::future::pending().await
    }
}
