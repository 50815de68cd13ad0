//! One instance of the component, and one call into it.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use tokio::sync::oneshot;
use twinfer_gateway::{ModelWanted, Surface, Wanted};
use wasmtime::component::{Accessor, Instance};
use wasmtime::{Store, WasmBacktrace};
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use crate::engine::Linked;
use crate::live::Live;
use crate::log::Log;
use crate::observe::{self, InstanceWatch};
use crate::outbound::Network;
use crate::reply::{Failure, ReplyCode};
use crate::state::{State, Surroundings};

/// The function of a slim component that is entered instead of those that it lacks.
const MISSING: &str = "engine_function_missing";

/// What the answer to a request is sent through.
pub(crate) type ReplySender = oneshot::Sender<Result<http::Response<Bytes>, Failure>>;

/// Makes instances.
pub(crate) struct Factory {
    live: Live,
    linked: Mutex<Arc<Linked>>,
    network: Network,
    log: Log,
    next: AtomicU64,
    /// Where chance and time of all instances come from, when they must be the same in each run.
    seed: Option<u64>,
}

/// One instance with its store.
pub(crate) struct Guest {
    pub(crate) id: u64,
    pub(crate) served: u64,
    pub(crate) idle_since: Instant,
    /// The models that it answered for, which it has loaded most likely.
    pub(crate) models: BTreeSet<String>,
    /// The last round of preparing for new models that it took part in.
    pub(crate) round: u64,
    watch: Option<InstanceWatch>,
    max_response: usize,
    service: Service,
    instance: Instance,
    store: Store<State>,
}

impl Factory {
    pub(crate) fn new(live: Live, linked: Linked, network: Network, log: Log) -> Self {
        Self {
            live,
            linked: Mutex::new(Arc::new(linked)),
            network,
            log,
            next: AtomicU64::new(1),
            seed: None,
        }
    }

    /// Instances whose random numbers and clocks come from this seed, and not from the machine.
    pub(crate) fn repeatable(self, seed: u64) -> Self {
        Self {
            seed: Some(seed),
            ..self
        }
    }

    /// Takes the component from the cache again. With the last instance of the old one goes the
    /// memory that wasmtime keeps for the next. Says whether it was there.
    pub(crate) fn renew(&self) -> bool {
        let again = self.linked().again(&self.log).map(Arc::new);
        let renewed = again.is_some();
        if let Some(again) = again {
            *self.lock() = again;
        }
        renewed
    }

    fn linked(&self) -> Arc<Linked> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Linked>> {
        // Whoever panicked has not left half of a pointer.
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next instance: all that there are have lower ones.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// A fresh instance. No guest code but its start functions has run.
    pub(crate) async fn instantiate(&self) -> Result<Guest, Failure> {
        self.instantiate_with(self.live.get().index.as_deref())
            .await
    }

    /// A fresh instance that sees another index.
    pub(crate) async fn instantiate_with(&self, index: Option<&Path>) -> Result<Guest, Failure> {
        // First the number, then the settings: whoever has a number from after a change sees it.
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let config = self.live.get();
        let failed = |e: String| {
            Failure::new(ReplyCode::Internal, "the model server could not be started").because(e)
        };
        let surroundings = Surroundings {
            index,
            seed: self.seed,
        };
        let state = State::new(&config, &self.network, surroundings, id, &self.log)
            .map_err(|e| failed(e.to_string()))?;
        let linked = self.linked();
        let mut store = Store::new(linked.pre.engine(), state);
        store.limiter(|state| &mut state.memory);
        // At every tick the guest gives way, so that a timeout outside can act.
        store.epoch_deadline_async_yield_and_update(1);
        store.set_epoch_deadline(1);
        let instance = linked
            .pre
            .instantiate_async(&mut store)
            .await
            .map_err(|e| failed(format!("{e:#}")))?;
        let service = linked
            .indices
            .load(&mut store, &instance)
            .map_err(|e| failed(format!("{e:#}")))?;
        let max_response = config.limits.max_response;
        Ok(Guest {
            id,
            served: 0,
            idle_since: Instant::now(),
            models: BTreeSet::new(),
            round: 0,
            watch: self.log.observer().map(InstanceWatch::new),
            max_response,
            service,
            instance,
            store,
        })
    }
}

impl Guest {
    /// Bytes of linear memory in use.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().memory.used()
    }

    /// Runs one request to its end, which may be after its answer was sent.
    ///
    /// `Err` means that the instance must not be used again. Dropping the
    /// future half-way means the same.
    pub(crate) async fn call(
        &mut self,
        request: http::Request<Bytes>,
        reply: &mut Option<ReplySender>,
    ) -> Result<(), Failure> {
        self.served += 1;
        let asked = asked_model(&request);
        let (models, watch) = (&mut self.models, &mut self.watch);
        let _busy = watch.as_ref().map(InstanceWatch::busy);
        let (request, _processed) =
            Request::from_http(self.store.data_mut().http().hooks, request.map(Full::new));
        let (service, max_response) = (&self.service, self.max_response);
        let outcome = self
            .store
            .run_concurrent(async |accessor| {
                let answer = exchange(service, accessor, request, max_response).await?;
                if let (Ok(answer), Some(watch)) = (&answer, watch) {
                    watch.answered(answer.headers());
                }
                // Only what is there counts: names that clients make up have no end.
                if let Ok(answer) = &answer
                    && answer.status().is_success()
                {
                    models.extend(
                        observe::model(answer.headers())
                            .map(str::to_owned)
                            .or(asked),
                    );
                }
                if let Some(reply) = reply.take() {
                    // The client may be gone; the instance is fine all the same.
                    let _ = reply.send(answer);
                }
                poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                wasmtime::error::Ok(())
            })
            .await
            .and_then(|outcome| outcome);
        outcome.map_err(|error| self.failure(&error))
    }

    /// Calls a function of an exported instance that takes nothing and gives a number.
    pub(crate) async fn number(&mut self, instance: &str, function: &str) -> wasmtime::Result<i32> {
        let exported = self.instance.get_export(&mut self.store, None, instance);
        let function = exported.and_then(|(_, exported)| {
            self.instance
                .get_export(&mut self.store, Some(&exported), function)
        });
        let (_, function) =
            function.ok_or_else(|| wasmtime::Error::msg("there is no such export"))?;
        let function = self
            .instance
            .get_typed_func::<(), (i32,)>(&mut self.store, function)?;
        Ok(function.call_async(&mut self.store, ()).await?.0)
    }

    fn failure(&self, error: &wasmtime::Error) -> Failure {
        if self.store.data().memory.refused() {
            return Failure::new(
                ReplyCode::OutOfMemory,
                "the request needs more memory than one instance may use",
            );
        }
        if let Some(function) = lacking(error) {
            return Failure::new(
                ReplyCode::EngineFunctionMissing,
                "the slim component lacks a function that this request needs: configure the full component, or make the slim one with such a request",
            )
            .because(format!("function {function}"));
        }
        Failure::new(
            ReplyCode::Internal,
            "the model server failed on this request",
        )
        .because(format!("{error:#}"))
    }
}

/// The function that was taken out of a slim component and called after all: its stub calls the
/// one that is named [`MISSING`], which traps.
fn lacking(error: &wasmtime::Error) -> Option<u32> {
    let frames = error.downcast_ref::<WasmBacktrace>()?.frames();
    let at = frames
        .iter()
        .position(|frame| frame.func_name() == Some(MISSING))?;
    Some(frames.get(at + 1).unwrap_or(frames.get(at)?).func_index())
}

/// The model that a path names, for answers that name none: that it is ready, or what it takes.
fn asked_model(request: &http::Request<Bytes>) -> Option<String> {
    let path = request.uri().path();
    match Wanted::of(request.method(), path, &Surface::default()).model {
        ModelWanted::Named(name) => Some(name),
        _ => None,
    }
}

/// Hands the request over and collects the whole answer. The outer error is a
/// trap; the inner one leaves the instance usable.
async fn exchange(
    service: &Service,
    accessor: &Accessor<State>,
    request: Request,
    max_response: usize,
) -> wasmtime::Result<Result<http::Response<Bytes>, Failure>> {
    let response: Response = match service.handle(accessor, request).await? {
        Ok(response) => response,
        Err(code) => {
            let failure = Failure::new(ReplyCode::Internal, "the model server refused to answer");
            return Ok(Err(failure.because(format!("{code:?}"))));
        }
    };
    let response = accessor.with(|mut store| response.into_http(&mut store, async { Ok(()) }))?;
    let (parts, body) = response.into_parts();
    Ok(collect(body, max_response)
        .await
        .map(|body| http::Response::from_parts(parts, body)))
}

async fn collect(mut body: WasiBody, limit: usize) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| {
            Failure::new(ReplyCode::Internal, "the model server broke off its answer")
                .because(format!("{e:?}"))
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > limit {
            return Err(Failure::new(
                ReplyCode::Internal,
                format!("the answer is larger than {limit} bytes"),
            ));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}
