//! Running the list natively: the cache itself, over each of its back ends.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::runtime::Runtime;
use twinfer::{Model, Result};
use twinfer_cache::{
    Backend, Cache, Env, Event, FolderBackend, KeyValueBackend, LoadOptions, Loaded, MemoryBackend,
    MemoryKeyValue, Options, Origin, Policy, Source,
};
use twinfer_package::{Digest, Parts, Reference};
use twinfer_registry::{NetOptions, RegistryOrigin};

use super::list::{
    Asked, CacheCase, CacheCases, CacheResult, CacheResults, Damage, Load, Need, Step, StepResult,
};
use super::registry::key;
use crate::answer::Answer;
use crate::case::Call;
use crate::{http, native};

/// The origin at an address of the list.
///
/// # Errors
/// When there can be none.
pub fn open(address: &str) -> Result<RegistryOrigin> {
    RegistryOrigin::new(&address.parse()?, &NetOptions::default())
}

/// A back end whose content can be damaged from outside.
pub trait Damageable: Backend + Sized {
    /// What cannot be done with it.
    const LACKS: &[Need] = &[];

    /// An empty one. `folder` is a place for what needs one.
    fn empty(folder: &Path) -> Self;

    /// Puts these bytes in the place of a blob, past everything that would refuse them.
    ///
    /// # Errors
    /// When it cannot be done.
    fn replace(&self, digest: &Digest, bytes: Vec<u8>) -> impl Future<Output = Result<()>>;
}

/// Clock and timer of the system; the clock can be set.
struct Clock {
    offset: AtomicI64,
    state: AtomicU64,
}

impl Env for Clock {
    fn now(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_millis() as u64);
        now.saturating_add_signed(self.offset.load(Ordering::Relaxed))
    }

    async fn sleep(&self, milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }

    fn random(&self) -> f64 {
        // Any numbers that differ (Knuth, MMIX).
        let next = |state: u64| {
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407)
        };
        let state = next(self.state.load(Ordering::Relaxed));
        self.state.store(state, Ordering::Relaxed);
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Cases that run at the same time: most of them wait most of the time.
const AT_A_TIME: usize = 8;

/// Runs every case over a back end. `open` makes the origin of an address.
///
/// # Errors
/// When the server of the suite or the disk fails: what the cache does is a result.
pub fn run<B: Damageable, O: Origin>(
    place: &str,
    list: &CacheCases,
    open: impl Fn(&str) -> Result<O> + Sync,
) -> io::Result<CacheResults> {
    let runtime = Runtime::new()?;
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<Vec<(usize, CacheResult)>> {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = list.cases.get(at) else {
                return Ok(done);
            };
            if !case.runs_without(B::LACKS) {
                continue;
            }
            done.push((at, run_case::<B, O>(place, list, case, &runtime, &open)?));
        }
    };
    let done: io::Result<Vec<_>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(_) => Err(io::Error::other("a case panicked")),
        });
        ended.collect()
    });
    let mut results: Vec<_> = done?.into_iter().flatten().collect();
    results.sort_by_key(|(at, _)| *at);
    Ok(CacheResults {
        place: place.into(),
        lacks: B::LACKS.into(),
        results: results.into_iter().map(|(_, result)| result).collect(),
    })
}

fn run_case<B: Damageable, O: Origin>(
    place: &str,
    list: &CacheCases,
    case: &CacheCase,
    runtime: &Runtime,
    open: impl Fn(&str) -> Result<O>,
) -> io::Result<CacheResult> {
    let folder = tempfile::tempdir()?;
    let session = format!("{}-{place}", case.id);
    let registries = case.registries(list, &session);
    let origins: Result<Vec<O>> = registries.iter().map(|text| open(text)).collect();
    let mut running = Running {
        list,
        case,
        origins: origins.map_err(|e| io::Error::other(e.to_string()))?,
        backend: Arc::new(B::empty(folder.path())),
        clock: Arc::new(Clock {
            offset: AtomicI64::new(0),
            state: AtomicU64::new(1),
        }),
        session,
        model: None,
    };
    let steps = case.steps.iter();
    let steps = steps.map(|step| runtime.block_on(running.step(step)));
    let steps = steps.collect::<io::Result<_>>()?;
    let id = case.id.clone();
    Ok(CacheResult { id, steps })
}

/// A case that is running.
struct Running<'a, B: Backend, O> {
    list: &'a CacheCases,
    case: &'a CacheCase,
    origins: Vec<O>,
    backend: Arc<B>,
    clock: Arc<Clock>,
    session: String,
    /// What was loaded last.
    model: Option<(Model, Digest)>,
}

impl<B: Damageable, O: Origin> Running<'_, B, O> {
    async fn step(&mut self, step: &Step) -> io::Result<StepResult> {
        let events = RefCell::new(Vec::new());
        let listen = |event: Event<'_>| events.borrow_mut().extend(name(&event));
        let mut result = StepResult::default();
        match step {
            Step::Load(load) => result.answers = self.loads(load, &listen).await,
            Step::Update(_) => {
                let refused = self.update(&listen).await.err();
                result.refused = refused.map(|error| error.code().as_str().into());
                let model = self.model.as_ref().map(|(model, _)| model);
                result.answers.extend(model.map(|model| self.ask(model)));
            }
            Step::Damage(damage) => {
                let damaged = self.damage(*damage).await;
                result.failed = damaged.err().map(|error| error.to_string());
            }
            Step::Server(what) => {
                get(self.list, &format!("/_set/{}/{what}", self.session))?;
            }
            // A load that was stale has asked before it ended.
            Step::Settle => {}
            Step::Clock(by) => {
                self.clock.offset.fetch_add(*by, Ordering::Relaxed);
            }
        }
        if !matches!(step, Step::Server(_)) {
            result.asked = log(self.list, &self.session)?;
        }
        result.events = Some(events.take());
        Ok(result)
    }

    /// A cache of its own for each load, as each process has.
    fn cache(&self) -> Cache<Arc<B>, Arc<Clock>> {
        let mut options = Options::default();
        options.stall = self.case.stall.unwrap_or(options.stall);
        Cache::new(self.backend.clone(), self.clock.clone(), options)
    }

    async fn loads(&mut self, load: &Load, listen: &dyn Fn(Event<'_>)) -> Vec<Answer> {
        let caches: Vec<_> = (0..load.together).map(|_| self.cache()).collect();
        let this = &*self;
        let loads = caches
            .iter()
            .map(|cache| this.load(cache, &load.policy, listen));
        let mut answers = Vec::new();
        for loaded in join_all(loads).await {
            match loaded {
                Ok((model, digest)) => {
                    answers.push(self.ask(&model));
                    self.model = Some((model, digest));
                }
                Err(error) => answers.push(Answer::of_error(error)),
            }
        }
        answers
    }

    async fn load(
        &self,
        cache: &Cache<Arc<B>, Arc<Clock>>,
        policy: &str,
        listen: &dyn Fn(Event<'_>),
    ) -> Result<(Model, Digest)> {
        let reference = self.reference()?;
        let options = LoadOptions {
            policy: match policy {
                "online" => Policy::Online,
                "offline" => Policy::Offline,
                _ => Policy::StaleWhileRevalidate,
            },
            ..LoadOptions::default()
        };
        let Loaded {
            package, source, ..
        } = cache
            .load(&self.origins, &reference, &options, listen)
            .await?;
        if source == Some(Source::Stale) {
            // What a shell does when it has answered.
            cache.revalidate(&self.origins, &reference, listen).await?;
        }
        Ok((package.load()?, *package.digest()))
    }

    /// What a shell does when a tag may have moved: fetch, test, and only then exchange.
    async fn update(&mut self, listen: &dyn Fn(Event<'_>)) -> Result<()> {
        let reference = self.reference()?;
        let cache = self.cache();
        let resolved = cache.revalidate(&self.origins, &reference, listen).await?;
        let digest = twinfer_package::resolve(&resolved.index, &reference)?.digest;
        let active = self.model.as_ref().map(|(_, active)| *active);
        if resolved.source == Source::LastGood || active == Some(digest) {
            return Ok(());
        }
        let options = LoadOptions {
            parts: Parts::Tested,
            candidate: true,
            ..LoadOptions::default()
        };
        let loaded = cache
            .load(&self.origins, &reference, &options, listen)
            .await?;
        let model = loaded.package.load()?;
        loaded.package.self_test(&model)?.check()?;
        cache
            .use_from_now_on(&self.origins, &reference, digest)
            .await?;
        self.model = Some((model, digest));
        Ok(())
    }

    async fn damage(&self, damage: Damage) -> Result<()> {
        let hex = self.list.layers.get(&key(self.case.model(), 1));
        let digest: Digest = format!("sha256:{}", hex.map_or("", String::as_str)).parse()?;
        let kept = self.backend.read(&digest, u64::MAX - 1).await?;
        let Some(mut bytes) = kept else {
            twinfer::bail!(Storage, "the layer is not in the cache");
        };
        damage.apply(&mut bytes);
        self.backend.replace(&digest, bytes).await
    }

    fn reference(&self) -> Result<Reference> {
        self.case.reference.parse()
    }

    fn ask(&self, model: &Model) -> Answer {
        let tensors = self.list.inputs.get(self.case.model());
        let tensors = tensors.cloned().unwrap_or_default();
        native::call(model, &Call::Run { tensors })
    }
}

fn name(event: &Event<'_>) -> Option<String> {
    let name = match event {
        Event::Waiting { .. } => "waiting",
        Event::Retry { .. } => "retry",
        Event::Damaged { .. } => "damaged",
        Event::NotKept { .. } => "not-kept",
        Event::Unreachable { .. } => "unreachable",
        _ => return None,
    };
    Some(name.into())
}

/// Tells or asks the lying server something.
pub(super) fn get(list: &CacheCases, path: &str) -> io::Result<Vec<u8>> {
    let address = list.server.trim_start_matches("http://");
    let answer = http::request(address, "GET", path, &[], &[])?;
    match answer.status {
        200 => Ok(answer.body),
        status => Err(io::Error::other(format!("{path}: status {status}"))),
    }
}

/// What the session asked for since the last time.
pub(super) fn log(list: &CacheCases, session: &str) -> io::Result<Vec<Asked>> {
    Ok(serde_json::from_slice(&get(
        list,
        &format!("/_log/{session}"),
    )?)?)
}

impl Damageable for MemoryBackend {
    fn empty(_: &Path) -> Self {
        Self::new()
    }

    async fn replace(&self, digest: &Digest, bytes: Vec<u8>) -> Result<()> {
        self.corrupt(*digest, bytes);
        Ok(())
    }
}

impl Damageable for FolderBackend {
    fn empty(folder: &Path) -> Self {
        Self::new(folder.join("cache"))
    }

    async fn replace(&self, digest: &Digest, bytes: Vec<u8>) -> Result<()> {
        let path = self.root().join("blobs/sha256").join(digest.hex());
        std::fs::write(path, bytes).map_err(|e| twinfer::err!(Storage, "{e}"))
    }
}

impl Damageable for KeyValueBackend<MemoryKeyValue> {
    /// What was begun is kept in whole values of a mebibyte, which is more than the layer has.
    const LACKS: &[Need] = &[Need::Partial];

    fn empty(_: &Path) -> Self {
        Self::new(MemoryKeyValue::new())
    }

    async fn replace(&self, digest: &Digest, bytes: Vec<u8>) -> Result<()> {
        use twinfer_cache::KeyValue;
        // The layer is smaller than a value.
        let head = format!("{} {}", bytes.len(), usize::from(!bytes.is_empty()));
        let (heads, pieces) = (digest.hex(), digest.hex());
        self.store()
            .set(&format!("h/{heads}"), head.as_bytes())
            .await?;
        self.store().set(&format!("b/{pieces}/0"), &bytes).await
    }
}
