//! The page's engine with a package loaded in it: a snapshot of memory and globals.
//!
//! The engine runs here once, without JavaScript: every import traps, but the one that fills the
//! table of values, which nothing reads here. Clock and randomness are imports on this target, so
//! neither can be in the snapshot, and two runs give the same bytes. In the page the table is
//! filled as always; constructors and panic hook have run (`start` of `twinfer-web` knows).

#[cfg(test)]
mod tests;

use std::thread;

use twinfer::{Error, ErrorCode, Result, bail, err};
use twinfer_package::EngineKind;
use walrus::ir::Value;
use walrus::{ConstExpr, GlobalKind};
use wasmtime::{Config, Engine, Instance, Linker, OptLevel, Store, Val};

use super::component::Bundle;
use super::runnable::{
    ALLOC, ERROR, ERROR_LENGTH, FINISH, LOAD, MEMORY, START, global_name, mutable_globals, parse,
    runnable,
};
use super::snapshot;
use super::stack::Stack;
use crate::component::{Label, SECTION};

/// tract recurses deeper than wasmtime's default allows.
const WASM_STACK: usize = 16 << 20;
/// And a host's stack around it.
const THREAD_STACK: usize = 2 * WASM_STACK;
/// What is called natively too: it fills the table of JavaScript's values.
const TABLE: &str = "__wbindgen_init_externref_table";

/// Loads a package into an engine, and gives the engine that begins with it. It has no label yet:
/// see [`with_label`].
///
/// # Errors
/// `invalid_request` for what is not the full engine of the page; those of loading the package,
/// with their codes; `internal`.
pub fn fuse(engine: &[u8], bundle: &Bundle) -> Result<Vec<u8>> {
    if let Some(label) = label(engine)? {
        bail!(
            InvalidRequest,
            "this engine is {} already: fuse the full one",
            match label.kind {
                EngineKind::Slim => "slim",
                EngineKind::Fused => "fused",
            }
        );
    }
    let mut module = parse(engine)?;
    snapshot::memory(&module)?;
    let state = on_a_large_stack(|| State::after_load(&parse_again(engine)?, &bundle.file()?))?;
    let mut memory = state.memory;
    Stack::of(engine)?.clear(&mut memory);
    snapshot::begin_with(&mut module, &memory)?;
    for (global, value) in mutable_globals(&module)?.into_iter().zip(state.globals) {
        module.globals.get_mut(global).kind = GlobalKind::Local(ConstExpr::Value(value));
    }
    // Names and producers of the full engine.
    let customs: Vec<_> = module.customs.iter().map(|(id, _)| id).collect();
    for id in customs {
        module.customs.delete(id);
    }
    Ok(module.emit_wasm())
}

fn parse_again(engine: &[u8]) -> Result<Vec<u8>> {
    runnable(parse(engine)?)
}

fn on_a_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(THREAD_STACK);
        let running = thread
            .spawn_scoped(scope, work)
            .map_err(|e| err!(Internal, "there is no thread to load the package in: {e}"))?;
        match running.join() {
            Ok(result) => result,
            Err(_) => bail!(Internal, "the thread that loads the package failed"),
        }
    })
}

/// What an instance has become.
struct State {
    memory: Vec<u8>,
    /// The mutable globals, in their order.
    globals: Vec<Value>,
}

impl State {
    fn after_load(engine: &[u8], bundle: &[u8]) -> Result<Self> {
        let mut running = Running::start(engine).map_err(|e| {
            err!(
                InvalidRequest,
                "this engine does not run while it is fused: {e:#}"
            )
        })?;
        running.load(bundle)?;
        running.state()
    }
}

struct Running {
    store: Store<()>,
    instance: Instance,
}

impl Running {
    fn start(engine: &[u8]) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config
            .max_wasm_stack(WASM_STACK)
            // Not used, and checked all the same.
            .async_stack_size(2 * WASM_STACK)
            // It runs once, and compiling is most of the time.
            .cranelift_opt_level(OptLevel::None)
            // The same bytes wherever it is fused.
            .cranelift_nan_canonicalization(true)
            .relaxed_simd_deterministic(true);
        let native = Engine::new(&config)?;
        let module = wasmtime::Module::new(&native, engine)?;
        let mut linker: Linker<()> = Linker::new(&native);
        for import in module.imports() {
            if import.name().starts_with(TABLE) {
                linker.func_wrap(import.module(), import.name(), || {})?;
            }
        }
        linker.define_unknown_imports_as_traps(&module)?;
        let mut store = Store::new(&native, ());
        let instance = linker.instantiate(&mut store, &module)?;
        let start = instance.get_typed_func::<(), ()>(&mut store, START)?;
        start.call(&mut store, ())?;
        Ok(Self { store, instance })
    }

    fn load(&mut self, bundle: &[u8]) -> Result<()> {
        let length = u32::try_from(bundle.len())
            .map_err(|_| err!(ModelTooLarge, "a page cannot hold {} bytes", bundle.len()))?;
        let address = self.call::<u32, u32>(ALLOC, length)?;
        if address == 0 {
            bail!(OutOfMemory, "a page has no memory for {length} bytes");
        }
        let memory = self.memory()?;
        memory
            .write(&mut self.store, address as usize, bundle)
            .map_err(|e| err!(Internal, "the engine's memory: {e}"))?;
        match self.call::<(u32, u32), i32>(LOAD, (address, length)) {
            Ok(0) => self.call::<(), ()>(FINISH, ()),
            Ok(_) => Err(self.said().unwrap_or_else(|error| error)),
            // After a panic, what it said; after any other trap, the trap.
            Err(trap) => Err(self
                .said()
                .ok()
                .filter(|e| !e.message().is_empty())
                .unwrap_or(trap)),
        }
    }

    /// The error that the engine keeps.
    fn said(&mut self) -> Result<Error> {
        let address = self.call::<(), u32>(ERROR, ())? as usize;
        let length = self.call::<(), u32>(ERROR_LENGTH, ())? as usize;
        let memory = self.memory()?;
        let text = memory.data(&self.store).get(address..address + length);
        let text = String::from_utf8_lossy(text.unwrap_or_default());
        let (code, message) = text.split_once('\n').unwrap_or_default();
        let known = ErrorCode::ALL.iter().find(|known| known.as_str() == code);
        Ok(Error::new(
            *known.unwrap_or(&ErrorCode::Internal),
            message.to_owned(),
        ))
    }

    fn call<A, R>(&mut self, name: &str, arguments: A) -> Result<R>
    where
        A: wasmtime::WasmParams,
        R: wasmtime::WasmResults,
    {
        let failed = |e: wasmtime::Error| err!(Internal, "the engine failed in {name}: {e:#}");
        let function = self.instance.get_typed_func::<A, R>(&mut self.store, name);
        function
            .map_err(failed)?
            .call(&mut self.store, arguments)
            .map_err(failed)
    }

    fn memory(&mut self) -> Result<wasmtime::Memory> {
        let memory = self.instance.get_memory(&mut self.store, MEMORY);
        memory.ok_or_else(|| err!(InvalidRequest, "this engine does not export its memory"))
    }

    fn state(mut self) -> Result<State> {
        let memory = self.memory()?.data(&self.store).to_vec();
        let mut globals = Vec::new();
        while let Some(global) = self
            .instance
            .get_global(&mut self.store, &global_name(globals.len()))
        {
            globals.push(match global.get(&mut self.store) {
                Val::I32(value) => Value::I32(value),
                Val::I64(value) => Value::I64(value),
                Val::F32(bits) => Value::F32(f32::from_bits(bits)),
                Val::F64(bits) => Value::F64(f64::from_bits(bits)),
                Val::V128(value) => Value::V128(value.as_u128()),
                other => bail!(Internal, "a global with {other:?} cannot be in a snapshot"),
            });
        }
        Ok(State { memory, globals })
    }
}

/// What a derived engine of the page says of itself; `None` for one that does not.
///
/// # Errors
/// `invalid_request` for anything but a core module, or a malformed section.
pub fn label(engine: &[u8]) -> Result<Option<Label>> {
    let mut found = None;
    for payload in wasmparser::Parser::new(0).parse_all(engine) {
        let payload = payload.map_err(|e| err!(InvalidRequest, "not a WebAssembly module: {e}"))?;
        if let wasmparser::Payload::CustomSection(section) = payload
            && section.name() == SECTION
        {
            found = Some(section.data());
        }
    }
    let parse = |json| {
        serde_json::from_slice(json)
            .map_err(|e| err!(InvalidRequest, "the section `{SECTION}` is malformed: {e}"))
    };
    found.map(parse).transpose()
}

/// The same engine with this label after everything else.
///
/// # Errors
/// `internal`.
pub fn with_label(mut engine: Vec<u8>, label: &Label) -> Result<Vec<u8>> {
    use wasm_encoder::{CustomSection, Section};
    let json = serde_json::to_vec(label).map_err(|e| err!(Internal, "a label has no JSON: {e}"))?;
    let section = CustomSection {
        name: SECTION.into(),
        data: json.into(),
    };
    section.append_to(&mut engine);
    Ok(engine)
}
