//! Settings of a host, with the reasoning behind each default.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use twinfer_state::{MemoryState, State};

use crate::access::{self, AccessConfig};
use crate::error::HostError;
use crate::key_value::KeyValue;
use crate::log::{LogFormat, LogLevel, LogSink};
use crate::observe::Observer;
use crate::outbound::Origin;
use crate::releases::Releases;
use crate::tls::TlsFiles;

/// Everything a host can be told.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Address to listen on. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificates, where the host speaks TLS. `None`: it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The component: a `.wasm` file that exports `wasi:http/handler@0.3`.
    pub component: PathBuf,
    /// The full component, where [`HostConfig::component`] is a slim or fused one: it answers the
    /// requests that need a function which that one lacks, and all of them when that one was made
    /// from another engine or does not run here. Not used for a component that was not derived.
    pub full_component: Option<PathBuf>,
    /// Whether an instance serves one request or many.
    pub instances: Instances,
    /// The registry folder (OCI image layout), seen by the guest as
    /// `/registry`, read-only. It must exist; it may be empty.
    pub registry: PathBuf,
    /// Folder whose `index.json` is read in the place of the registry's own: by
    /// the guest, which sees it read-only as `/index`, and at
    /// `/registry/index.json`. Whoever exchanges that file (by renaming) decides
    /// what is served. `None`: the registry's own.
    pub index: Option<PathBuf>,
    /// Folder of the page served at `/`.
    pub page: Option<PathBuf>,
    /// Who may ask what.
    pub access: AccessConfig,
    /// Origins that may use this host from another site, or `*`. Empty: none.
    pub cors: Vec<String>,
    /// Origins that the guest may send requests to: `scheme://host[:port]`. Empty: it has no
    /// network. Redirects are not followed for it, so each origin on a way must be here.
    pub outbound: Vec<String>,
    /// Folder in which the guest keeps packages, seen by it as `/cache`; made when it is not
    /// there. It is all that the guest can write to.
    pub package_cache: Option<PathBuf>,
    /// State that outlives requests, and that hosts may share. In memory unless said otherwise.
    pub state: Arc<dyn State>,
    /// Who follows releases, and answers `/admin/`. `None`: nobody, and there is no such path.
    pub releases: Option<Arc<dyn Releases>>,
    /// Where the key-value stores of the guest are (`wasi:keyvalue`). `None`: a guest that opens a
    /// store gets an error.
    pub key_value: Option<KeyValue>,
    /// Folder for compiled components. `None` compiles at every start.
    ///
    /// Whoever can write to it can run native code in this process, so it is
    /// created readable by its owner only.
    pub cache: Option<PathBuf>,
    /// A secret that the guest knows too (`TWINFER_BUNDLE`): a request with it is a bundle of the
    /// host. Needed for [`Limits::batch_window`].
    pub bundle_token: Option<String>,
    /// A secret that the guest knows too (`TWINFER_ADMIN_TOKEN`): with it the host vouches for
    /// administrators. No client needs to know it, and what one sends in its header is taken away.
    pub admin_token: Option<String>,
    /// Environment variables of the guest, after the host's own; of two with one name the last
    /// counts.
    pub env: Vec<(String, String)>,
    /// Limits on requests and instances.
    pub limits: Limits,
    /// Events that are logged once at the start, before the first request.
    pub announce: Vec<Announcement>,
    /// Where log lines go.
    pub log: LogSink,
    /// The least important level that is still logged.
    pub log_level: LogLevel,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What counts requests and events, answers `/metrics`, and takes traces over and sends them on.
    /// `None`: nothing is observed.
    pub observer: Option<Observer>,
    /// End gracefully on SIGTERM and SIGINT. A program that embeds a host
    /// usually has its own handlers and leaves this off.
    pub handle_signals: bool,
}

/// Whether an instance serves one request or many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Instances {
    /// One for a fused component, many for others.
    #[default]
    Auto,
    /// Each request gets an instance that no other request has seen: full isolation, and every
    /// model that is not fused is loaded again for each.
    Fresh,
    /// An instance is used again, with the models in it.
    Warm,
}

/// An event for the log.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// How important it is.
    pub level: LogLevel,
    /// Its name.
    pub event: String,
    /// Its own fields: a JSON object.
    pub fields: serde_json::Value,
}

/// Limits on requests and instances: all that keeps one client from taking
/// the host away from the others.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest request body in bytes. 64 MiB: a 20-megapixel picture as raw
    /// float32 tensor is larger, as PNG, JPEG or WebP never.
    pub max_body: usize,
    /// Bytes of request bodies that are in memory at once; one more gets `overloaded`. At least one
    /// of [`Limits::max_body`] always finds room.
    pub max_buffered: usize,
    /// Largest response body in bytes that a guest may produce.
    pub max_response: usize,
    /// Largest head (request line and headers) in bytes.
    pub max_head: usize,
    /// Most headers in one request.
    pub max_headers: usize,
    /// Time to send the head, and again to send the body. Slower clients get
    /// `timeout`. A connection without a request is closed after it.
    pub read_timeout: Duration,
    /// Time in which a client must take [`LEAST_TAKEN`] bytes of its answer, or all that is left
    /// of it; else its connection is closed.
    pub write_timeout: Duration,
    /// Time for the TLS handshake.
    pub handshake_timeout: Duration,
    /// Time for the guest to answer, without waiting for an instance.
    pub request_timeout: Duration,
    /// Time that a request may wait for an instance.
    pub queue_timeout: Duration,
    /// Most instances, each serving one request at a time. Inference is bound
    /// by the processor, so more than its cores only costs memory.
    pub max_instances: usize,
    /// Most requests waiting for an instance; one more gets `overloaded`.
    pub max_queue: usize,
    /// How long the first of several requests for one path waits for others that run together with
    /// it. `None`: each runs by itself.
    pub batch_window: Option<Duration>,
    /// Most requests that are handed to an instance together.
    pub max_batch: usize,
    /// Most open connections; more wait in the kernel's queue.
    pub max_connections: usize,
    /// Most of them from one address (of IPv6: one network of 64 bits, which one client has); one
    /// more is closed. Half of all, so that one address cannot keep the others out; behind a
    /// proxy, which is one address, as many as `max_connections`.
    pub max_connections_per_address: usize,
    /// Time that a request goes on without its client, in an instance that is used again: a model
    /// that is loaded is worth more than a second of work. Then the instance is dropped. One that
    /// serves a single request is dropped at once.
    pub cancel_grace: Duration,
    /// Linear memory of one instance in bytes.
    pub max_memory: usize,
    /// Requests after which an instance is replaced, against slow leaks.
    pub max_requests_per_instance: u64,
    /// Idle time after which an instance is dropped, with its models.
    pub idle_timeout: Duration,
    /// Time without a request after which a host of fresh instances gives back the memory that
    /// it keeps for the next ones.
    pub rest_after: Duration,
    /// Time that requests in flight have to finish at shutdown.
    pub shutdown_timeout: Duration,
}

/// Bytes that a client must take within [`Limits::write_timeout`]. What the kernel holds for it
/// goes in larger steps, so that with the default some two kilobytes a second are needed.
pub const LEAST_TAKEN: usize = 16 << 10;

/// Largest file of a component that we read, against a wrong path.
pub(crate) const MAX_COMPONENT_BYTES: u64 = 1 << 30;

impl HostConfig {
    /// A configuration for 127.0.0.1:8080 with the defaults of [`Limits`].
    pub fn new(component: impl Into<PathBuf>, registry: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: None,
            component: component.into(),
            full_component: None,
            instances: Instances::Auto,
            registry: registry.into(),
            index: None,
            page: None,
            access: AccessConfig::default(),
            cors: Vec::new(),
            outbound: Vec::new(),
            package_cache: None,
            state: Arc::new(MemoryState::new()),
            releases: None,
            key_value: None,
            cache: None,
            bundle_token: None,
            admin_token: None,
            env: Vec::new(),
            announce: Vec::new(),
            limits: Limits::default(),
            log: LogSink::Stderr,
            log_level: LogLevel::Info,
            log_format: LogFormat::Json,
            observer: None,
            handle_signals: false,
        }
    }

    /// Checks what can be checked before anything is started. [`crate::Host::start`] does
    /// that by itself.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn check(&self) -> Result<(), HostError> {
        if !self.registry.is_dir() {
            return Err(HostError::config(format!(
                "the registry folder {} does not exist: make it with `twinfer pack`, or name another one",
                self.registry.display()
            )));
        }
        if let Some(index) = &self.index
            && !index.is_dir()
        {
            return Err(HostError::config(format!(
                "the folder of the index {} does not exist",
                index.display()
            )));
        }
        if let Some(page) = &self.page
            && !page.is_dir()
        {
            return Err(HostError::config(format!(
                "the page folder {} does not exist",
                page.display()
            )));
        }
        for origin in &self.cors {
            if origin != "*" && (!origin.contains("://") || origin.ends_with('/')) {
                return Err(HostError::config(format!(
                    "`{origin}` is not an origin: write scheme://host[:port] without a path, or *"
                )));
            }
        }
        for origin in &self.outbound {
            Origin::parse(origin)?;
        }
        let stores = self.key_value.as_ref().and_then(KeyValue::folder);
        for folder in self.package_cache.iter().chain(stores) {
            std::fs::create_dir_all(folder).map_err(|e| {
                HostError::config(format!(
                    "the folder {} cannot be made: {e}",
                    folder.display()
                ))
            })?;
        }
        access::check(self)?;
        self.limits.validate()
    }
}

impl Limits {
    fn validate(&self) -> Result<(), HostError> {
        let positive = [
            ("max_head", self.max_head),
            ("max_headers", self.max_headers),
            ("max_instances", self.max_instances),
            ("max_connections", self.max_connections),
            (
                "max_connections_per_address",
                self.max_connections_per_address,
            ),
        ];
        for (name, value) in positive {
            if value == 0 {
                return Err(HostError::config(format!("{name} must be at least 1")));
            }
        }
        let times = [
            ("read_timeout", self.read_timeout),
            ("write_timeout", self.write_timeout),
            ("handshake_timeout", self.handshake_timeout),
        ];
        for (name, value) in times {
            if value.is_zero() {
                return Err(HostError::config(format!("{name} must be more than 0")));
            }
        }
        // Below this, hyper cannot hold one request line.
        if self.max_head < 8192 {
            return Err(HostError::config("max_head must be at least 8192 bytes"));
        }
        if self.max_memory < 8 << 20 {
            return Err(HostError::config(
                "max_memory must be at least 8 MiB: the component itself needs that",
            ));
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 64 << 20,
            max_buffered: 512 << 20,
            max_response: 64 << 20,
            max_head: 32 << 10,
            max_headers: 100,
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            queue_timeout: Duration::from_secs(30),
            max_instances: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            max_queue: 256,
            batch_window: None,
            max_batch: 32,
            max_connections: 1024,
            max_connections_per_address: 512,
            cancel_grace: Duration::from_secs(2),
            max_memory: 1 << 30,
            max_requests_per_instance: 100_000,
            idle_timeout: Duration::from_secs(30 * 60),
            rest_after: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}
