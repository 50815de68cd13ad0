//! Packages over a network that is not there: a registry in memory that can be slow, dead or
//! lying, and a clock that is set.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use serde_json::{Value, json};
use twinfer::{Result, bail};
use twinfer_cache::{Asked, Body, Env, Freshness, MemoryBackend, Opened, Origin, Wanted};
use twinfer_package::{Reference, Store};
use twinfer_serve::{App, Options, Remote, RemoteOptions};

use crate::support::{Answer, Fixture};

/// A registry, and what became of it. Clones share it.
#[derive(Clone)]
pub(super) struct Net(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) registry: Fixture,
    pub(super) asked: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) down: AtomicBool,
    pub(super) lying: AtomicBool,
    pub(super) silent: AtomicBool,
    pub(super) now: AtomicU64,
    pub(super) impatient: AtomicBool,
    pub(super) freshness: Mutex<Freshness>,
    /// The deployments beside the index, and how often somebody asked for one.
    pub(super) deployments: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(super) asked_for_deployments: AtomicU64,
    pub(super) no_deployments: AtomicBool,
}

impl Net {
    pub(super) fn new(recipes: &[&str]) -> Self {
        Self(Arc::new(Inner {
            registry: Fixture::new(recipes),
            asked: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            down: AtomicBool::new(false),
            lying: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            now: AtomicU64::new(1_000_000),
            impatient: AtomicBool::new(false),
            freshness: Mutex::default(),
            deployments: Mutex::default(),
            asked_for_deployments: AtomicU64::new(0),
            no_deployments: AtomicBool::new(false),
        }))
    }

    /// Requests so far: for the index, and for content.
    pub(super) fn requests(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.0.asked), count(&self.0.opened))
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.0.now.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    pub(super) fn set(&self, flag: impl Fn(&Inner) -> &AtomicBool, value: bool) {
        flag(&self.0).store(value, Ordering::Relaxed);
    }

    async fn answer(&self) -> Result<()> {
        if self.0.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        match self.0.down.load(Ordering::Relaxed) {
            true => bail!(Network, "nobody there"),
            false => Ok(()),
        }
    }
}

impl Origin for Net {
    type Body = Whole;

    fn id(&self) -> &str {
        "https://a.example/"
    }

    fn index_key(&self, _reference: &Reference) -> String {
        String::new()
    }

    async fn index(&self, _reference: &Reference, _validator: Option<&str>) -> Result<Asked> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        self.answer().await?;
        Ok(Asked::Changed {
            index: self.0.registry.store.index()?,
            validator: None,
            freshness: *self.0.freshness.lock().unwrap(),
        })
    }

    async fn open(&self, wanted: &Wanted, _offset: u64, _anew: bool) -> Result<Opened<Whole>> {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        self.answer().await?;
        let descriptor = wanted.descriptor(wanted.size.unwrap_or(1 << 20));
        let mut bytes = self.0.registry.store.blob(&descriptor)?;
        if self.0.lying.load(Ordering::Relaxed)
            && let Some(first) = bytes.first_mut()
        {
            *first ^= 1;
        }
        Ok(Opened {
            body: Whole(Some(bytes)),
            offset: 0,
        })
    }

    async fn deployment(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.0.asked_for_deployments.fetch_add(1, Ordering::Relaxed);
        self.answer().await?;
        if self.0.no_deployments.load(Ordering::Relaxed) {
            bail!(Network, "no answer");
        }
        Ok(self.0.deployments.lock().unwrap().get(name).cloned())
    }
}

pub(super) struct Whole(Option<Vec<u8>>);

impl Body for Whole {
    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(self.0.take())
    }
}

impl Env for Net {
    fn now(&self) -> u64 {
        self.0.now.load(Ordering::Relaxed)
    }

    /// Retries come at once, and nothing is ever too slow, unless the patience of a request or
    /// of a turn is what is tested.
    async fn sleep(&self, milliseconds: u64) {
        let limits = [20_000, 25_000];
        let impatient = self.0.impatient.load(Ordering::Relaxed);
        if milliseconds >= 5_000 && !(impatient && limits.contains(&milliseconds)) {
            std::future::pending::<()>().await;
        }
    }

    fn random(&self) -> f64 {
        0.5
    }
}

/// An instance of a component.
pub(super) struct Instance {
    pub(super) remote: Remote<MemoryBackend, Net, Net>,
    pub(super) app: App,
}

/// The log is a plain function, so all tests share one, told apart by their threads.
pub(super) static LOG: Mutex<Vec<(std::thread::ThreadId, String)>> = Mutex::new(Vec::new());

impl Instance {
    pub(super) fn new(net: &Net, backend: &MemoryBackend) -> Self {
        Self::with(net, backend, |_| {}, Options::default())
    }

    pub(super) fn with(
        net: &Net,
        backend: &MemoryBackend,
        change: impl FnOnce(&mut RemoteOptions),
        app: Options,
    ) -> Self {
        let mut options = RemoteOptions {
            log: |line| {
                let line = (std::thread::current().id(), line.to_owned());
                LOG.lock().unwrap().push(line);
            },
            ..RemoteOptions::default()
        };
        change(&mut options);
        let remote = Remote::new(
            backend.clone(),
            net.clone(),
            twinfer_cache::Options::default(),
            vec![net.clone()],
            options,
        );
        Self {
            app: App::new(remote.store(), app),
            remote,
        }
    }

    /// As the component does it.
    pub(super) fn send(&self, request: http::Request<Bytes>) -> Answer {
        let (mut parts, body) = request.into_parts();
        let response = match now(self.remote.prepare(&self.app, &mut parts)) {
            Ok(()) => self.app.handle(http::Request::from_parts(parts, body)),
            Err(error) => self.app.unmet(&parts, &error),
        };
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.send(http::Request::get(path).body(Bytes::new()).unwrap())
    }

    pub(super) fn infer(&self) -> Answer {
        self.infer_with(&[])
    }

    pub(super) fn infer_with(&self, headers: &[(&str, &str)]) -> Answer {
        let body = json!({"inputs": [
            {"name": "i", "shape": [3], "datatype": "INT64", "data": [1, -2, 3]},
            {"name": "b", "shape": [2], "datatype": "BOOL", "data": [true, false]},
            {"name": "d", "shape": [1], "datatype": "FP64", "data": [0.5]},
        ]});
        let mut request = http::Request::post("/v2/models/types/infer")
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.to_string().into()).unwrap())
    }

    /// The version that answers when none is asked for.
    pub(super) fn version(&self) -> Value {
        self.infer().ok()["model_version"].clone()
    }

    pub(super) fn follow(&self) {
        now(self.remote.follow(&self.app));
    }

    pub(super) fn logged(&self, part: &str) -> usize {
        let ours = std::thread::current().id();
        let log = LOG.lock().unwrap();
        log.iter()
            .filter(|(thread, line)| *thread == ours && line.contains(part))
            .count()
    }
}

/// Nothing here waits for anything.
pub(super) fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// A version of `types` whose golden examples are wrong.
pub(super) fn pack_bad_version(net: &Net, version: &str) {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(crate::support::recipe("types")).unwrap() {
        let file = file.unwrap();
        let text = std::fs::read(file.path()).unwrap();
        let text = match file.file_name().to_str().unwrap() {
            "golden.json" => String::from_utf8(text)
                .unwrap()
                .replace("AgAAAAAAAAD8", "BgAAAAAAAAD8")
                .into_bytes(),
            "twinfer.toml" => String::from_utf8(text)
                .unwrap()
                .replace("1.0.0", version)
                .into_bytes(),
            _ => text,
        };
        std::fs::write(folder.path().join(file.file_name()), text).unwrap();
    }
    net.0.registry.pack(folder.path());
}
