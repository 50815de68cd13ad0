//! The wasmtime engine, the component in it, and the tick that interrupts
//! guests.

use std::time::Duration;

use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, PoolingAllocationConfig};
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::cache;
use crate::config::{HostConfig, MAX_COMPONENT_BYTES};
use crate::error::HostError;
use crate::key_value;
use crate::log::Log;
use crate::state::State;

/// How often a busy guest gives way: the grain of timeouts, and the longest
/// that other work waits for it. An interruption costs microseconds.
const TICK: Duration = Duration::from_millis(10);
/// tract recurses deeper than wasmtime's default of 512 KiB in unoptimised
/// builds; a fiber's stack must hold both the guest's and the host's frames.
const WASM_STACK: usize = 2 << 20;
const FIBER_STACK: usize = 4 << 20;

/// Compiles (or takes from the cache) and links the configured component.
pub(crate) fn prepare(config: &HostConfig, log: &Log) -> Result<ServicePre<State>, HostError> {
    let wasm = read_component(config)?;
    let engine = new_engine(config)?;
    let component = cache::load(&engine, &wasm, config.cache.as_deref(), log)?;
    let pre = link(&engine, &component)?;
    start_ticking(&engine)?;
    Ok(pre)
}

fn read_component(config: &HostConfig) -> Result<Vec<u8>, HostError> {
    let path = config.component.display();
    let unreadable = |e| {
        HostError::component(format!(
            "the component {path} cannot be read: {e}. Build it with `cargo xtask build`, or name another one"
        ))
    };
    let size = std::fs::metadata(&config.component)
        .map_err(unreadable)?
        .len();
    if size > MAX_COMPONENT_BYTES {
        return Err(HostError::component(format!(
            "the component {path} has {size} bytes: that is no component of ours"
        )));
    }
    std::fs::read(&config.component).map_err(unreadable)
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
        // Same results on every processor, whatever a component contains.
        .relaxed_simd_deterministic(true);
    config
}

fn pool_of(config: &HostConfig) -> PoolingAllocationConfig {
    // Two more than can run: for the moment when one replaces another, and for one that
    // is tried out.
    let instances = u32::try_from(config.limits.max_instances)
        .unwrap_or(u32::MAX)
        .saturating_add(2);
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
        .max_memory_size(config.limits.max_memory);
    pool
}

fn link(engine: &Engine, component: &Component) -> Result<ServicePre<State>, HostError> {
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
    ServicePre::new(pre).map_err(|e| {
        HostError::component(format!(
            "the component does not export wasi:http/handler@0.3: {e:#}"
        ))
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
