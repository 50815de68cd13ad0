//! The wasmtime engine, the component in it, and the tick that interrupts
//! guests.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig};
use wasmtime_wasi_http::p3::bindings::ServiceIndices;

use crate::cache;
use crate::config::{HostConfig, Instances, MAX_COMPONENT_BYTES};
use crate::error::HostError;
use crate::key_value;
use crate::label::{Kind, Label};
use crate::live;
use crate::log::{Log, LogLevel};
use crate::state::State;

/// How often a busy guest gives way: the grain of timeouts, and the longest
/// that other work waits for it. An interruption costs microseconds.
const TICK: Duration = Duration::from_millis(10);
/// tract recurses deeper than wasmtime's default of 512 KiB in unoptimised
/// builds; a fiber's stack must hold both the guest's and the host's frames.
const WASM_STACK: usize = 2 << 20;
const FIBER_STACK: usize = 4 << 20;

/// Memory of a component that is an image which its instances share until they write to it.
/// wasmtime promises that only for 16 MiB; beyond, memory with many zeros could be copied for each
/// instance. Fused components have their model in there.
const IMAGE: u64 = 4 << 30;
/// Bytes of changed memory that are put back by copying when an instance ends, rather than by
/// giving the pages back: the next one then has no page faults there. Measured: see
/// `docs/serving.md`.
const KEEP_RESIDENT: usize = 16 << 20;
const KEEP_TABLE: usize = 1 << 20;
const KEEP_STACK: usize = 128 << 10;

/// A component with what it imports.
pub(crate) struct Linked {
    pub(crate) pre: InstancePre<State>,
    /// Where the service's functions are: looked up once.
    pub(crate) indices: ServiceIndices,
    /// Where it is kept compiled, if it is.
    entry: Option<cache::Entry>,
}

impl Linked {
    /// The same component once more, from the cache, without an instance yet; nothing where it is
    /// not kept.
    pub(crate) fn again(&self, log: &Log) -> Option<Self> {
        let (engine, entry) = (self.pre.engine(), self.entry.clone()?);
        let component = cache::read(engine, &entry, log)?;
        link(engine, &component, Some(entry)).ok()
    }
}

/// A component that is ready to be instantiated.
pub(crate) struct Program {
    pub(crate) linked: Linked,
    /// Each request gets an instance of its own.
    pub(crate) fresh: bool,
    /// What answers when this one lacks a function: compiled later.
    pub(crate) full: Option<Vec<u8>>,
}

/// Compiles (or takes from the cache) and links the configured component; the full one in its
/// place when it does not fit.
pub(crate) fn prepare(config: &HostConfig, log: &Log) -> Result<Program, HostError> {
    let wasm = read_component(&config.component)?;
    let engine = new_engine(config)?;
    start_ticking(&engine)?;
    let Some(label) = Label::of(&wasm) else {
        return Ok(Program {
            linked: load(&engine, &wasm, config, log)?,
            fresh: config.instances == Instances::Fresh,
            full: None,
        });
    };
    let full = config.full_component.as_deref();
    let full = full.map(read_component).transpose()?;
    let fresh = match config.instances {
        Instances::Auto => label.kind == Kind::Fused,
        chosen => chosen == Instances::Fresh,
    };
    let misfit = misfit(&label, full.as_deref());
    let loaded = match (&misfit, &full) {
        (Some(_), Some(_)) => None,
        _ => Some(load(&engine, &wasm, config, log)),
    };
    match (loaded, full) {
        (Some(Ok(linked)), full) => {
            if let Some(why) = misfit {
                let fields = json!({"component": config.component, "why": why});
                log.event(LogLevel::Warn, "component_of_another_version", fields);
            }
            let full = full.filter(|_| label.may_lack());
            Ok(Program {
                linked,
                fresh,
                full,
            })
        }
        (Some(Err(error)), None) => Err(error),
        (failed, Some(full)) => {
            let why = failed.and_then(Result::err).map(|error| error.to_string());
            let fields = json!({
                "component": config.component, "why": why.or(misfit), "instead": config.full_component,
            });
            log.event(LogLevel::Warn, "component_does_not_fit", fields);
            Ok(Program {
                linked: load(&engine, &full, config, log)?,
                fresh: config.instances == Instances::Fresh,
                full: None,
            })
        }
        (None, None) => Err(HostError::internal("no component was loaded")),
    }
}

/// Compiles the full component beside a slim one, on the same engine.
pub(crate) fn prepare_full(
    engine: &Engine,
    wasm: &[u8],
    config: &HostConfig,
    log: &Log,
) -> Result<Linked, HostError> {
    load(engine, wasm, config, log)
}

fn load(engine: &Engine, wasm: &[u8], config: &HostConfig, log: &Log) -> Result<Linked, HostError> {
    let folder = config.cache.as_deref();
    let entry = folder.map(|folder| cache::Entry::new(folder, engine, wasm));
    let component = cache::load(engine, wasm, entry.as_ref(), log)?;
    link(engine, &component, entry)
}

/// Why a derived component is not what would be made today from the full one: then it could
/// answer with other bits.
fn misfit(label: &Label, full: Option<&[u8]>) -> Option<String> {
    let own = env!("CARGO_PKG_VERSION");
    if label.version != own {
        return Some(format!("it is of Twinfer {}, this is {own}", label.version));
    }
    let full = format!("sha256:{}", cache::hex(&Sha256::digest(full?)));
    (full != label.engine).then(|| {
        format!(
            "it was made from the engine {}, the full component is {full}",
            label.engine
        )
    })
}

fn read_component(file: &Path) -> Result<Vec<u8>, HostError> {
    let path = file.display();
    let unreadable = |e| {
        HostError::component(format!(
            "the component {path} cannot be read: {e}. Build it with `cargo xtask build`, or name another one"
        ))
    };
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size > MAX_COMPONENT_BYTES {
        return Err(HostError::component(format!(
            "the component {path} has {size} bytes: that is no component of ours"
        )));
    }
    std::fs::read(file).map_err(unreadable)
}

fn new_engine(config: &HostConfig) -> Result<Engine, HostError> {
    let mut pooled = base_config();
    pooled.allocation_strategy(pool_of(config));
    // Slots are reserved address space, which a container may restrict.
    Engine::new(&pooled)
        .or_else(|_| Engine::new(&base_config()))
        .map_err(|e| HostError::internal(format!("wasmtime cannot start on this machine: {e:#}")))
}

fn base_config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK)
        .memory_guaranteed_dense_image_size(IMAGE)
        // Same results on every processor, whatever a component contains.
        .relaxed_simd_deterministic(true);
    config
}

fn pool_of(config: &HostConfig) -> PoolingAllocationConfig {
    // For each that runs one that is ready for the next request, or is the full component's; and
    // three for the moment when one replaces another, for one that is tried out, and for copies.
    let instances = u32::try_from(live::room(config))
        .unwrap_or(u32::MAX)
        .saturating_mul(2)
        .saturating_add(3);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(16))
        .total_memories(instances.saturating_mul(2))
        .total_tables(instances.saturating_mul(8))
        .total_stacks(instances.saturating_mul(4))
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_tables_per_module(4)
        .table_elements(1 << 20)
        // All that 32 bits can address: how much of it one may use is a setting that can change.
        .max_memory_size(1 << 32)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_TABLE)
        .async_stack_keep_resident(KEEP_STACK)
        // Only pages that were changed are put back, where the kernel can tell them.
        .pagemap_scan(Enabled::Auto);
    pool
}

fn link(
    engine: &Engine,
    component: &Component,
    entry: Option<cache::Entry>,
) -> Result<Linked, HostError> {
    let mut linker = Linker::<State>::new(engine);
    let added = wasmtime_wasi::p2::add_to_linker_async(&mut linker)
        .and_then(|()| wasmtime_wasi::p3::add_to_linker(&mut linker))
        .and_then(|()| wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker))
        .and_then(|()| wasmtime_wasi_http::p3::add_to_linker(&mut linker))
        .and_then(|()| key_value::add_to_linker(&mut linker));
    added
        .map_err(|e| HostError::internal(format!("the WASI interfaces cannot be linked: {e:#}")))?;
    check_imports(engine, component)?;
    let pre = linker.instantiate_pre(component).map_err(|e| {
        HostError::component(format!(
            "the component needs what this host does not offer: {e:#}"
        ))
    })?;
    let indices = ServiceIndices::new(&pre).map_err(|e| {
        HostError::component(format!(
            "the component does not export wasi:http/handler@0.3: {e:#}"
        ))
    })?;
    Ok(Linked {
        pre,
        indices,
        entry,
    })
}

/// A clearer message than a failed link for the usual mistake: a component
/// built with an SDK's default features.
fn check_imports(engine: &Engine, component: &Component) -> Result<(), HostError> {
    let component_type = component.component_type();
    let foreign: Vec<_> = component_type
        .imports(engine)
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.starts_with("wasi:"))
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(HostError::component(format!(
        "the component imports {}; this host offers only wasi:* interfaces",
        foreign.join(", ")
    )))
}

/// Advances the epoch for as long as the engine lives.
fn start_ticking(engine: &Engine) -> Result<(), HostError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("twinfer-tick".into())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })
        .map_err(|e| HostError::internal(format!("a thread cannot be started: {e}")))?;
    Ok(())
}
