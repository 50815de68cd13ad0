//! What an instance holds on the host's side: its WASI context, its memory
//! limit, its network (if any), its log lines.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::config::HostConfig;
use crate::error::HostError;
use crate::key_value::{self, Stores};
use crate::log::{Log, LogLevel};
use crate::observe::Observer;
use crate::outbound::{Network, Outbound};
use crate::repeatable;

/// Where the guest sees the registry folder.
const GUEST_REGISTRY: &str = "/registry";
/// Where the guest sees the folder in which it keeps packages.
const GUEST_CACHE: &str = "/cache";
/// Where the guest sees the folder of another index, if there is one.
const GUEST_INDEX: &str = "/index";
/// The index in it.
const GUEST_INDEX_FILE: &str = "/index/index.json";
/// A log line of a guest is cut here, so that it cannot grow without end.
const MAX_LINE: usize = 8 << 10;
/// Elements of all tables of an instance; tract's function table has 26,000.
const MAX_TABLE_ELEMENTS: usize = 1 << 20;

/// The data of one instance's store.
pub(crate) struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    network: Outbound,
    key_value: Option<key_value::Place>,
    pub(crate) memory: MemoryLimit,
}

/// What one instance sees that others of the same host do not.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// The folder of the index that takes the place of the registry's.
    pub(crate) index: Option<&'a Path>,
    /// Where random numbers and clocks come from, if not from the machine.
    pub(crate) seed: Option<u64>,
}

impl State {
    pub(crate) fn new(
        config: &HostConfig,
        network: &Network,
        Surroundings { index, seed }: Surroundings<'_>,
        instance: u64,
        log: &Log,
    ) -> Result<Self, HostError> {
        let mut wasi = WasiCtx::builder();
        // Files are read where the guest runs: as tasks of other threads, each of the dozens of
        // calls for an index would cost more than the call. Another guest has another thread.
        wasi.allow_blocking_current_thread(true)
            .envs(&environment(config))
            .stdout(GuestOutput::new("stdout", instance, log))
            .stderr(GuestOutput::new("stderr", instance, log));
        let mut open = |folder: &Path, seen_as, allowed| {
            wasi.preopened_dir(folder, seen_as, allowed)
                .map(|_| ())
                .map_err(|e| {
                    HostError::internal(format!(
                        "the folder {} cannot be opened: {e:#}",
                        folder.display()
                    ))
                })
        };
        open(&config.registry, GUEST_REGISTRY, FsPerms::ReadOnly)?;
        if let Some(index) = index {
            open(index, GUEST_INDEX, FsPerms::ReadOnly)?;
        }
        if let Some(folder) = &config.package_cache {
            open(folder, GUEST_CACHE, FsPerms::ReadWrite)?;
        }
        if let Some(seed) = seed {
            repeatable::set(&mut wasi, seed);
        }
        if index.is_some() {
            wasi.env("TWINFER_INDEX", GUEST_INDEX_FILE);
        }
        Ok(Self {
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            network: Outbound::new(network.clone()),
            key_value: key_value::Place::of(config),
            memory: MemoryLimit::new(
                config.limits.max_memory,
                log.observer().map(Observer::instance_memory),
            ),
        })
    }
}

/// The host's own variables, and then those of the configuration. Guests see the first of two
/// with one name, so those that are given again are left out.
fn environment(config: &HostConfig) -> Vec<(String, String)> {
    let own = [
        ("TWINFER_REGISTRY", GUEST_REGISTRY.to_owned()),
        ("TWINFER_MAX_BODY", config.limits.max_body.to_string()),
        // We are the door.
        ("TWINFER_ACCESS", "host".to_owned()),
    ];
    let mut all = own.map(|(name, value)| (name.to_owned(), value)).to_vec();
    for (name, value) in &config.env {
        all.retain(|(known, _)| known != name);
        all.push((name.clone(), value.clone()));
    }
    all
}

impl State {
    /// The key-value stores.
    pub(crate) fn stores(&mut self) -> Stores<'_> {
        Stores {
            place: self.key_value.as_ref(),
            table: &mut self.table,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.network,
        }
    }
}

/// Bounds the linear memory of one instance, and remembers a refusal: the
/// guest then aborts, and only this tells an allocation failure from a bug.
pub(crate) struct MemoryLimit {
    limit: usize,
    used: usize,
    table_elements: usize,
    refused: bool,
    watch: Option<twinfer_observe::Memory>,
}

impl MemoryLimit {
    fn new(limit: usize, watch: Option<twinfer_observe::Memory>) -> Self {
        Self {
            limit,
            used: 0,
            table_elements: 0,
            refused: false,
            watch,
        }
    }

    /// Bytes of linear memory in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Whether the guest asked for more than its limit.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self.used.saturating_add(desired.saturating_sub(current));
        let allowed = grown <= self.limit && maximum.is_none_or(|maximum| desired <= maximum);
        if allowed {
            self.used = grown;
            if let Some(watch) = &self.watch {
                watch.set(grown);
            }
        } else {
            self.refused = true;
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self
            .table_elements
            .saturating_add(desired.saturating_sub(current));
        let allowed = grown <= MAX_TABLE_ELEMENTS;
        if allowed {
            self.table_elements = grown;
        }
        Ok(allowed)
    }
}

/// Turns what a guest writes into log lines.
#[derive(Clone)]
struct GuestOutput {
    stream: &'static str,
    instance: u64,
    log: Log,
    pending: Arc<Mutex<Vec<u8>>>,
}

impl GuestOutput {
    fn new(stream: &'static str, instance: u64, log: &Log) -> Self {
        Self {
            stream,
            instance,
            log: log.clone(),
            pending: Arc::default(),
        }
    }

    fn accept(&self, bytes: &[u8]) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for &byte in bytes {
            if byte != b'\n' {
                pending.push(byte);
            }
            if byte == b'\n' || pending.len() >= MAX_LINE {
                self.write(&pending);
                pending.clear();
            }
        }
    }

    fn write(&self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(line);
        let fields =
            serde_json::json!({"instance": self.instance, "stream": self.stream, "message": text});
        self.log.event(LogLevel::Info, "guest_output", fields);
    }
}

impl Drop for GuestOutput {
    // The last words of a guest that aborts often lack their line end.
    fn drop(&mut self) {
        if Arc::strong_count(&self.pending) == 1 {
            self.write(&self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for GuestOutput {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.accept(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
