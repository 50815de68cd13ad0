//! Accepting connections, and what is done for each.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::activity::Activity;
use super::addresses::{Addresses, Counted};
use super::socket::{Answer, Socket};
use crate::config::Limits;
use crate::live::{Live, Places};
use crate::log::{Log, LogLevel};
use crate::reply::Body;
use crate::route::Router;
use crate::tls::{Peer, Tls};

/// Between two lines of the log about connections that were refused.
const TELL: Duration = Duration::from_secs(1);

/// What all connections share.
pub(super) struct Connections {
    router: Arc<Router>,
    tls: Option<Arc<Tls>>,
    live: Live,
    log: Log,
    places: Places,
    addresses: Arc<Addresses>,
    /// Says that the host ends.
    ending: watch::Sender<bool>,
}

/// What a connection has as long as it is open.
struct Place {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Connections {
    pub(super) fn new(
        router: Arc<Router>,
        tls: Option<Arc<Tls>>,
        live: &Live,
        log: &Log,
    ) -> Arc<Self> {
        Arc::new(Self {
            router,
            tls,
            live: live.clone(),
            log: log.clone(),
            places: Places::new(live.get().limits.max_connections),
            addresses: Addresses::new(),
            ending: watch::channel(false).0,
        })
    }

    /// Accepts until the future is dropped.
    pub(super) async fn accept(self: &Arc<Self>, listener: &TcpListener, end: &GracefulShutdown) {
        let mut refused = Refused::default();
        loop {
            let places = self.places.of(self.live.get().limits.max_connections);
            let Ok(permit) = places.clone().acquire_owned().await else {
                return;
            };
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: others will end soon.
                    let fields = json!({"error": error.to_string()});
                    self.log.event(LogLevel::Warn, "accept_failed", fields);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let most = self.live.get().limits.max_connections_per_address;
            let Some(counted) = self.addresses.enter(address.ip(), most) else {
                refused.tell(address, &self.log);
                continue;
            };
            let place = Place {
                _permit: permit,
                _counted: counted,
            };
            let (all, watcher) = (self.clone(), end.watcher());
            tokio::spawn(async move {
                if let Err(error) = all.serve(stream, address, watcher).await {
                    let fields = json!({"error": error});
                    all.log.event(LogLevel::Debug, "connection_failed", fields);
                }
                drop(place);
            });
        }
    }

    /// Handshakes are not waited for any more.
    pub(super) fn end(&self) {
        let _ = self.ending.send(true);
    }

    async fn serve(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        watcher: Watcher,
    ) -> Result<(), String> {
        // A connection keeps the limits that it began with.
        let config = self.live.get();
        let limits = &config.limits;
        let activity = Activity::new(limits);
        let socket = Socket::new(stream, activity.clone());
        let Some(tls) = &self.tls else {
            let peer = Peer::plain(address);
            return self.speak(socket, limits, activity, peer, watcher).await;
        };
        let acceptor = TlsAcceptor::from(tls.current());
        let mut ending = self.ending.subscribe();
        let shaken = tokio::select! {
            shaken = timeout(limits.handshake_timeout, acceptor.accept(socket)) => shaken,
            _ = ending.wait_for(|ending| *ending) => return Ok(()),
        };
        let secured = shaken
            .map_err(|_| "the TLS handshake took too long".to_owned())?
            .map_err(|e| format!("TLS handshake: {e}"))?;
        let chain = secured.get_ref().1.peer_certificates();
        let peer = Peer::secured(address, chain).map_err(|e| format!("client certificate: {e}"))?;
        // The time of the handshake is not the first request's.
        let fresh = activity.begin();
        drop(fresh);
        self.speak(secured, limits, activity, peer, watcher).await
    }

    /// HTTP/1 or HTTP/2, as the client begins.
    async fn speak<S>(
        &self,
        stream: S,
        limits: &Limits,
        activity: Arc<Activity>,
        peer: Peer,
        watcher: Watcher,
    ) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, ours) = (self.router.clone(), activity.clone());
        let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            let (router, open) = (router.clone(), ours.begin());
            request.extensions_mut().insert(peer.clone());
            async move {
                let answer: http::Response<Body> = router.respond(request).await;
                Ok::<_, Infallible>(answer.map(|body| Answer::new(body, open)))
            }
        });
        let connection = builder(limits)
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        tokio::select! {
            ended = watcher.watch(connection) => ended.map_err(|e| e.to_string()),
            why = activity.overdue() => Err(why.as_str().to_owned()),
        }
    }
}

/// Connections that an address had too many of: each may be one of thousands, so that not each
/// has a line of its own.
#[derive(Default)]
struct Refused {
    last: Option<Instant>,
    since: u64,
}

impl Refused {
    fn tell(&mut self, address: SocketAddr, log: &Log) {
        self.since += 1;
        if self.last.is_some_and(|last| last.elapsed() < TELL) {
            return;
        }
        let fields = json!({"address": address.ip().to_string(), "refused": self.since});
        log.event(LogLevel::Warn, "connections_refused", fields);
        *self = Self {
            last: Some(Instant::now()),
            since: 0,
        };
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
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

/// Listens. A host that was killed leaves connections behind, which keep its port for a minute:
/// they do not keep the next one from taking it.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // Elsewhere it would let two hosts share a port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}
