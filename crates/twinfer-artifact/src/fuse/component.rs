//! A component whose memory is a snapshot, with a package loaded in it.
//!
//! The component loads the package itself, by its export `wizer-initialize`, which takes bytes
//! and gives a result. Nothing else of the host can be reached by it then: files, clocks, streams
//! and the network trap, so no handle and no time can be in the snapshot. What it reads of the
//! environment is empty, and what it takes for random is fixed: two runs give the same bytes.
//! The component exchanges those seeds before its first request.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use twinfer::{Error, ErrorCode, Result, bail, err};
use twinfer_package::{Descriptor, Digest, EngineKind, PackageReader, Parts, Store};
use wasmtime::component::{Component, ComponentNamedList, Instance, Lift, Linker, WasmList};
use wasmtime::{Config, Engine, OptLevel, StoreLimits};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

use super::stack::Stack;
use crate::Profile;
use crate::component::{Label, label, program, with_label};

pub(crate) const EXPORT: &str = "wizer-initialize";
/// tract recurses deeper than wasmtime's default allows.
const WASM_STACK: usize = 8 << 20;
/// What the component takes for random while it is fused. Any numbers do.
const SEEDS: (u64, u64) = (0x7477_696e_6665_7201, 0x6675_7365_6401_0203);

/// What a component is fused with: the parts of a package, verified by whoever read them here,
/// and once more by the component.
#[derive(Debug, Clone)]
pub struct Bundle {
    package: Digest,
    manifest: Vec<u8>,
    layers: Vec<Vec<u8>>,
}

impl Bundle {
    /// Reads the model and the golden examples of the package of a manifest.
    ///
    /// # Errors
    /// Those of the store and of [`PackageReader`].
    pub fn read(store: &dyn Store, manifest: &Descriptor) -> Result<Self> {
        let mut reader = PackageReader::new(manifest.clone())?.parts(Parts::Tested);
        let bytes = store.blob(manifest)?;
        reader.supply(&manifest.digest, bytes.clone())?;
        let mut layers = Vec::new();
        for needed in reader.needs() {
            let layer = store.blob(&needed)?;
            needed.verify(&layer)?;
            layers.push(layer);
        }
        Ok(Self {
            package: manifest.digest,
            manifest: bytes,
            layers,
        })
    }

    /// Of any bytes, for engines that take any.
    #[cfg(test)]
    pub(super) fn of(manifest: &[u8], layers: &[&[u8]]) -> Self {
        Self {
            package: Digest::of(manifest),
            manifest: manifest.to_vec(),
            layers: layers.iter().map(|layer| layer.to_vec()).collect(),
        }
    }

    /// The parts in one piece, each with four bytes of length in front, little-endian: what the
    /// page's engine takes.
    pub(super) fn file(&self) -> Result<Vec<u8>> {
        let mut file = Vec::new();
        for part in std::iter::once(&self.manifest).chain(&self.layers) {
            let length = u32::try_from(part.len())
                .map_err(|_| err!(ModelTooLarge, "a page cannot hold {} bytes", part.len()))?;
            file.extend(length.to_le_bytes());
            file.extend(part);
        }
        Ok(file)
    }

    /// The digest of the package.
    pub fn package(&self) -> &Digest {
        &self.package
    }
}

/// A full component that is ready to be fused with packages: it is compiled once.
pub struct Fuser<'a> {
    component: &'a [u8],
    engine: Digest,
    wizer: Wizer,
    context: ComponentContext<'a>,
    compiled: Component,
    linker: Linker<StoreLimits>,
    stack: Stack,
}

impl<'a> Fuser<'a> {
    /// Checks and compiles it, which takes a minute.
    ///
    /// # Errors
    /// `invalid_request` for what is no full component of ours.
    pub fn new(component: &'a [u8]) -> Result<Self> {
        if let Some(label) = label(component)? {
            bail!(
                InvalidRequest,
                "this component is {} already: fuse the full one",
                match label.kind {
                    EngineKind::Slim => "slim",
                    EngineKind::Fused => "fused",
                }
            );
        }
        let mut wizer = Wizer::new();
        wizer.init_func(EXPORT).keep_init_func(true);
        let cannot =
            |e: wasmtime::Error| err!(InvalidRequest, "this component cannot be fused: {e:#}");
        let (context, instrumented) = wizer.instrument_component(component).map_err(cannot)?;
        let engine = Engine::new(&config()).map_err(cannot)?;
        let compiled = Component::new(&engine, &instrumented).map_err(cannot)?;
        Ok(Self {
            engine: Digest::of(component),
            linker: surroundings(&engine, &compiled).map_err(cannot)?,
            stack: Stack::of(program(component)?.1)?,
            component,
            wizer,
            context,
            compiled,
        })
    }

    /// Makes the fused component of a package. `version` is the one of Twinfer that the full
    /// component has.
    ///
    /// # Errors
    /// Those of loading the package, with their codes; `internal`.
    pub fn fuse(&self, version: &str, bundle: &Bundle) -> Result<Vec<u8>> {
        let mut running = self.start()?;
        running.load(bundle)?;
        let snapshot = self.wizer.snapshot_component(&self.context, &mut running);
        let snapshot = ready(snapshot)?.map_err(|e| err!(Internal, "the snapshot: {e:#}"))?;
        if let Some(error) = running.failed {
            return Err(error);
        }
        let functions = crate::slim::functions(program(self.component)?.1)?;
        let profile = Profile::whole(self.engine, functions).digest()?;
        with_label(
            &snapshot,
            &Label {
                kind: EngineKind::Fused,
                slim: false,
                engine: self.engine,
                version: version.into(),
                packages: [(bundle.package, profile)].into(),
            },
        )
    }

    fn start(&self) -> Result<Running> {
        let mut store = wasmtime::Store::new(self.compiled.engine(), StoreLimits::default());
        // The package goes in and the memory comes out through the component's own interface,
        // whatever their size: 128 MiB would be the limit otherwise.
        store.set_hostcall_fuel(usize::MAX);
        let instance = ready(self.linker.instantiate_async(&mut store, &self.compiled))?
            .map_err(|e| err!(InvalidRequest, "this component does not start: {e:#}"))?;
        Ok(Running {
            store,
            instance,
            stack: self.stack,
            failed: None,
        })
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(2 * WASM_STACK)
        // It runs once, and compiling is most of the time.
        .cranelift_opt_level(OptLevel::None)
        .relaxed_simd_deterministic(true);
    config
}

/// The component at work.
struct Running {
    store: wasmtime::Store<StoreLimits>,
    instance: Instance,
    stack: Stack,
    /// The first thing that went wrong while the snapshot was taken.
    failed: Option<Error>,
}

impl Running {
    fn load(&mut self, bundle: &Bundle) -> Result<()> {
        type Arguments<'a> = (&'a [u8], &'a [Vec<u8>]);
        let export = self
            .instance
            .get_typed_func::<Arguments<'_>, (Result<(), String>,)>(&mut self.store, EXPORT)
            .map_err(|e| {
                err!(
                    InvalidRequest,
                    "this component was not made for fusing, or by another version of Twinfer: {e:#}"
                )
            })?;
        let (answer,) =
            ready(export.call_async(&mut self.store, (&bundle.manifest, &bundle.layers)))?
                .map_err(|e| {
                    err!(
                        Internal,
                        "the component failed while it loaded the package: {e:#}"
                    )
                })?;
        answer.map_err(|text| {
            let (code, message) = text.split_once('\n').unwrap_or(("internal", &text));
            let known = ErrorCode::ALL.iter().find(|known| known.as_str() == code);
            Error::new(*known.unwrap_or(&ErrorCode::Internal), message.to_owned())
        })
    }

    /// Calls one of the functions that wizer added.
    async fn ask<R>(&mut self, instance: &str, function: &str) -> wasmtime::Result<R>
    where
        R: Lift + Send + Sync + 'static,
        (R,): ComponentNamedList + Lift,
    {
        let there = self.instance.get_export(&mut self.store, None, instance);
        let function = there.and_then(|(_, instance)| {
            self.instance
                .get_export(&mut self.store, Some(&instance), function)
        });
        let (_, function) =
            function.ok_or_else(|| wasmtime::Error::msg("an export of wizer's is not there"))?;
        let function = self
            .instance
            .get_typed_func::<(), (R,)>(&mut self.store, function)?;
        Ok(function.call_async(&mut self.store, ()).await?.0)
    }

    /// The same, where wizer takes any answer but no error.
    async fn number<R>(&mut self, instance: &str, function: &str) -> R
    where
        R: Lift + Send + Sync + Default + 'static,
        (R,): ComponentNamedList + Lift,
    {
        match self.ask(instance, function).await {
            Ok(number) => number,
            Err(error) => {
                self.fail(&error);
                R::default()
            }
        }
    }

    fn fail(&mut self, error: &wasmtime::Error) {
        let error = err!(Internal, "the snapshot cannot be read: {error:#}");
        self.failed.get_or_insert(error);
    }
}

impl ComponentInstanceState for Running {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        match self.ask::<WasmList<u8>>(instance, func).await {
            Ok(list) => {
                let mut memory = list.as_le_slice(&self.store).to_vec();
                self.stack.clear(&mut memory);
                contents(&memory);
            }
            Err(error) => {
                self.fail(&error);
                contents(&[]);
            }
        }
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.number(instance, func).await
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.number(instance, func).await
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.number::<f32>(instance, func).await.to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.number::<f64>(instance, func).await.to_bits()
    }
}

/// Nothing but an empty environment and fixed seeds.
fn surroundings(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<StoreLimits>> {
    let mut linker = Linker::new(engine);
    let component_type = component.component_type();
    for (name, _) in component_type.imports(engine) {
        if name.starts_with("wasi:random/insecure-seed@0.2") {
            linker
                .instance(name)?
                .func_wrap("insecure-seed", |_, (): ()| Ok((SEEDS,)))?;
        } else if name.starts_with("wasi:random/insecure-seed@") {
            linker
                .instance(name)?
                .func_wrap("get-insecure-seed", |_, (): ()| Ok((SEEDS,)))?;
        } else if name.starts_with("wasi:cli/environment@") {
            linker
                .instance(name)?
                .func_wrap("get-environment", |_, (): ()| {
                    Ok((Vec::<(String, String)>::new(),))
                })?;
        }
    }
    linker.define_unknown_imports_as_traps(component)?;
    Ok(linker)
}

/// The result of a future that waits for nothing outside of it: all of this is one thread, and
/// there is no input or output.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> Result<T> {
    /// The engine gives way a few times between two tasks of its own.
    const TURNS: usize = 10_000;
    let mut future = pin!(future);
    for _ in 0..TURNS {
        if let Poll::Ready(value) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            return Ok(value);
        }
    }
    bail!(
        Internal,
        "the component waits for something that does not come"
    )
}
