//! Packages over a network that is not there: a registry in memory that can be slow, dead or
//! lying, and a clock that is set.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use serde_json::{Value, json};
use twinfer::{Result, bail};
use twinfer_cache::{Asked, Body, Env, Freshness, MemoryBackend, Opened, Origin, Policy, Wanted};
use twinfer_package::{Reference, Store, TrustPolicy};
use twinfer_serve::{App, Guard, Options, Remote, RemoteOptions, Trust, Wants};

use crate::support::{Answer, Fixture};

/// A registry, and what became of it. Clones share it.
#[derive(Clone)]
struct Net(Arc<Inner>);

struct Inner {
    registry: Fixture,
    asked: AtomicU64,
    opened: AtomicU64,
    down: AtomicBool,
    lying: AtomicBool,
    silent: AtomicBool,
    now: AtomicU64,
    impatient: AtomicBool,
    freshness: Mutex<Freshness>,
}

impl Net {
    fn new(recipes: &[&str]) -> Self {
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
        }))
    }

    /// Requests so far: for the index, and for content.
    fn requests(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.0.asked), count(&self.0.opened))
    }

    fn pass(&self, seconds: u64) {
        self.0.now.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    fn set(&self, flag: impl Fn(&Inner) -> &AtomicBool, value: bool) {
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
}

struct Whole(Option<Vec<u8>>);

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
struct Instance {
    remote: Remote<MemoryBackend, Net, Net>,
    app: App,
}

/// The log is a plain function, so all tests share one, told apart by their threads.
static LOG: Mutex<Vec<(std::thread::ThreadId, String)>> = Mutex::new(Vec::new());

impl Instance {
    fn new(net: &Net, backend: &MemoryBackend) -> Self {
        Self::with(net, backend, |_| {}, Options::default())
    }

    fn with(
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
    fn send(&self, request: http::Request<Bytes>) -> Answer {
        let (parts, body) = request.into_parts();
        let response = match now(self.remote.prepare(&self.app, &parts)) {
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

    fn get(&self, path: &str) -> Answer {
        self.send(http::Request::get(path).body(Bytes::new()).unwrap())
    }

    fn infer(&self) -> Answer {
        let body = json!({"inputs": [
            {"name": "i", "shape": [3], "datatype": "INT64", "data": [1, -2, 3]},
            {"name": "b", "shape": [2], "datatype": "BOOL", "data": [true, false]},
            {"name": "d", "shape": [1], "datatype": "FP64", "data": [0.5]},
        ]});
        let request = http::Request::post("/v2/models/types/infer")
            .header("content-type", "application/json")
            .body(body.to_string().into());
        self.send(request.unwrap())
    }

    /// The version that answers when none is asked for.
    fn version(&self) -> Value {
        self.infer().ok()["model_version"].clone()
    }

    fn follow(&self) {
        now(self.remote.follow(&self.app));
    }

    fn logged(&self, part: &str) -> usize {
        let ours = std::thread::current().id();
        let log = LOG.lock().unwrap();
        log.iter()
            .filter(|(thread, line)| *thread == ours && line.contains(part))
            .count()
    }
}

/// Nothing here waits for anything.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// A version of `types` whose golden examples are wrong.
fn pack_bad_version(net: &Net, version: &str) {
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

#[test]
fn a_warm_instance_asks_nobody() {
    let (net, backend) = (Net::new(&["types"]), MemoryBackend::new());
    let instance = Instance::new(&net, &backend);
    assert_eq!(instance.version(), "1.0.0");
    let cold = net.requests();
    assert_eq!(cold.0, 1);
    for _ in 0..3 {
        assert_eq!(instance.version(), "1.0.0");
        instance.get("/v2/models/types").ok();
        instance.get("/v2/models/types/ready").ok();
        instance.get("/v2/models").ok();
        instance.get("/v2/health/ready").ok();
        instance.follow();
    }
    assert_eq!(net.requests(), cold);
    // Time passes, and nothing changed: one question, no content.
    net.pass(31);
    assert!(instance.remote.due());
    assert_eq!(net.requests(), cold, "a request waits for no question");
    instance.follow();
    assert_eq!(net.requests(), (2, cold.1));
    assert!(!instance.remote.due());
    // An instance that shares the cache needs the network for nothing.
    net.set(|net| &net.down, true);
    let other = Instance::new(&net, &backend);
    assert_eq!(other.version(), "1.0.0");
    assert_eq!(net.requests(), (2, cold.1));
}

#[test]
fn a_moved_tag_is_tested_and_then_used() {
    let net = Net::new(&["types"]);
    let instance = Instance::new(&net, &MemoryBackend::new());
    assert_eq!(instance.version(), "1.0.0");
    net.0.registry.pack_version("types", "1.1.0");
    assert_eq!(instance.version(), "1.0.0");
    net.pass(31);
    instance.follow();
    let fetched = net.requests();
    assert_eq!(instance.version(), "1.1.0");
    assert_eq!(instance.logged("update: types is"), 1);
    // Not loaded again for the request.
    assert_eq!(net.requests(), fetched);
    // A tag that is taken away is gone.
    net.0.registry.edit_index(|index| {
        let manifests = index["manifests"].as_array_mut().unwrap();
        manifests.retain(|entry| !entry.to_string().contains("types:"));
    });
    net.pass(31);
    instance.follow();
    instance.infer().expect_error(404, "unknown_model");
}

#[test]
fn a_package_that_fails_its_examples_is_not_used() {
    let (net, backend) = (Net::new(&["types", "untidy"]), MemoryBackend::new());
    let instance = Instance::new(&net, &backend);
    assert_eq!(instance.version(), "1.0.0");
    pack_bad_version(&net, "1.1.0");
    net.0.registry.pack_version("untidy", "1.1.0");
    net.pass(31);
    instance.follow();
    assert_eq!(instance.version(), "1.0.0");
    assert_eq!(instance.logged("update_refused: `types`"), 1);
    assert_eq!(instance.logged("(self_test_failed)"), 1);
    // Others are not held back by it.
    let models = instance.get("/v2/models").ok();
    assert_eq!(models["models"][1]["versions"], json!(["1.1.0", "1.0.0"]));
    assert_eq!(models["models"][0]["versions"], json!(["1.0.0"]));
    // It is not tried again and again, and an instance that begins now does not use it either.
    let tried = net.requests();
    net.pass(31);
    instance.follow();
    assert_eq!(net.requests(), (tried.0 + 1, tried.1));
    assert_eq!(Instance::new(&net, &backend).version(), "1.0.0");
    // The next version is.
    net.0.registry.pack_version("types", "1.2.0");
    net.pass(31);
    instance.follow();
    assert_eq!(instance.version(), "1.2.0");
}

#[test]
fn a_dead_registry_changes_nothing() {
    let net = Net::new(&["types"]);
    let instance = Instance::new(&net, &MemoryBackend::new());
    net.set(|net| &net.down, true);
    instance.infer().expect_error(502, "network");
    instance
        .get("/v2/health/ready")
        .expect_error(502, "network");
    instance.get("/v2/health/live").ok();
    net.set(|net| &net.down, false);
    assert_eq!(instance.version(), "1.0.0");
    net.set(|net| &net.down, true);
    net.pass(86_400);
    for _ in 0..3 {
        instance.follow();
        assert_eq!(instance.version(), "1.0.0");
        instance.get("/v2/health/ready").ok();
    }
    assert!(instance.logged("no registry answers") >= 1);
    // One failed question does not wait in the way of the next.
    net.set(|net| &net.down, false);
    net.0.registry.pack_version("types", "1.1.0");
    net.pass(31);
    instance.follow();
    assert_eq!(instance.version(), "1.1.0");
}

#[test]
fn a_lying_server_gets_nothing_in() {
    let (net, backend) = (Net::new(&["types"]), MemoryBackend::new());
    let instance = Instance::new(&net, &backend);
    net.set(|net| &net.lying, true);
    instance.infer().expect_error(422, "digest_mismatch");
    instance
        .get("/v2/models/types/ready")
        .expect_error(422, "digest_mismatch");
    assert!(
        now(twinfer_cache::Backend::blobs(&backend))
            .unwrap()
            .is_empty()
    );
    net.set(|net| &net.lying, false);
    assert_eq!(instance.version(), "1.0.0");
    // A new version that it lies about is not used, and tried again.
    net.0.registry.pack_version("types", "1.1.0");
    for (lying, version) in [(true, "1.0.0"), (true, "1.0.0"), (false, "1.1.0")] {
        net.set(|net| &net.lying, lying);
        net.pass(31);
        instance.follow();
        assert_eq!(instance.version(), version);
    }
}

#[test]
fn what_is_new_is_found_when_it_is_asked_for() {
    let net = Net::new(&["types"]);
    let instance = Instance::new(&net, &MemoryBackend::new());
    let path = "/v2/models/untidy/ready";
    instance.get(path).expect_error(404, "unknown_model");
    net.0.registry.pack(&crate::support::recipe("untidy"));
    // Whoever asks for what is not there must not make us ask all the time.
    let asked = net.requests();
    instance.get(path).expect_error(404, "unknown_model");
    assert_eq!(net.requests(), asked);
    net.pass(6);
    instance.get(path).ok();
}

#[test]
fn policies_are_kept() {
    let (net, backend) = (Net::new(&["types"]), MemoryBackend::new());
    let policy = |policy| {
        let change = move |options: &mut RemoteOptions| options.policy = policy;
        Instance::with(&net, &backend, change, Options::default())
    };
    policy(Policy::Offline).infer().expect_error(502, "network");
    assert_eq!(net.requests(), (0, 0));
    let online = policy(Policy::Online);
    assert_eq!(online.version(), "1.0.0");
    net.0.registry.pack_version("types", "1.1.0");
    net.pass(31);
    // Asked before the answer.
    assert_eq!(online.version(), "1.1.0");
    let asked = net.requests();
    let offline = policy(Policy::Offline);
    net.pass(86_400);
    assert_eq!(offline.version(), "1.1.0");
    offline
        .get("/v2/models/nobody/ready")
        .expect_error(404, "unknown_model");
    assert!(!offline.remote.due());
    assert_eq!(net.requests(), asked);
}

#[test]
fn what_the_server_says_of_age_is_respected() {
    let net = Net::new(&["types"]);
    net.0.freshness.lock().unwrap().fresh_for = 600_000;
    let instance = Instance::new(&net, &MemoryBackend::new());
    assert_eq!(instance.version(), "1.0.0");
    net.pass(300);
    instance.follow();
    assert_eq!(net.requests().0, 1);
    net.pass(301);
    instance.follow();
    assert_eq!(net.requests().0, 2);
}

#[test]
fn a_request_does_not_wait_for_ever() {
    let net = Net::new(&["types"]);
    let instance = Instance::new(&net, &MemoryBackend::new());
    net.set(|net| &net.silent, true);
    net.set(|net| &net.impatient, true);
    instance.infer().expect_error(504, "timeout");
    net.set(|net| &net.silent, false);
    net.set(|net| &net.impatient, false);
    assert_eq!(instance.version(), "1.0.0");
    // Neither does following.
    net.set(|net| &net.silent, true);
    net.set(|net| &net.impatient, true);
    net.pass(31);
    instance.follow();
    net.set(|net| &net.silent, false);
    net.set(|net| &net.impatient, false);
    net.0.registry.pack_version("types", "1.1.0");
    net.pass(31);
    instance.follow();
    assert_eq!(instance.version(), "1.1.0");
}

#[test]
fn a_cache_without_room_is_done_without() {
    let net = Net::new(&["types"]);
    let instance = Instance::new(&net, &MemoryBackend::with_limit(10));
    assert_eq!(instance.version(), "1.0.0");
    let cold = net.requests();
    assert_eq!(instance.version(), "1.0.0");
    instance.get("/v2/models/types").ok();
    assert_eq!(net.requests(), cold);
    assert!(instance.logged("not kept") >= 1);
}

#[test]
fn the_trust_policy_holds_for_updates_too() {
    let net = Net::new(&["types"]);
    let signed = |version| crate::trust::sign_version(&net.0.registry, version);
    let options = || {
        let mut options = Options::default();
        options.trust = Trust::Policy(Guard {
            policy: TrustPolicy::of_key(&crate::trust::key().public().unwrap()).unwrap(),
            now: || 0,
            counters: Default::default(),
            warn: |_| (),
        });
        options
    };
    // Also where nothing can be kept, and the signatures have to be somewhere.
    let none = MemoryBackend::with_limit(10);
    for backend in [MemoryBackend::new(), none] {
        Instance::with(&net, &backend, |_| {}, options())
            .infer()
            .expect_error(403, "unsigned_package");
    }
    signed("1.0.0");
    let none = MemoryBackend::with_limit(10);
    for (backend, version) in [(MemoryBackend::new(), "1.1.0"), (none, "1.2.0")] {
        let instance = Instance::with(&net, &backend, |_| {}, options());
        let before = instance.version();
        net.0.registry.pack_version("types", version);
        net.pass(31);
        instance.follow();
        assert_eq!(instance.version(), before);
        assert_eq!(instance.logged("(unsigned_package)"), 1);
        signed(version);
        net.pass(31);
        instance.follow();
        assert_eq!(instance.version(), version);
        let ours = std::thread::current().id();
        LOG.lock().unwrap().retain(|(thread, _)| *thread != ours);
    }
}

#[test]
fn wants_are_those_of_the_route() {
    let app = Fixture::new(&[]).app;
    let wants = |method: &str, path: &str| {
        let request = http::Request::builder().method(method).uri(path).body(());
        app.wants(&request.unwrap().into_parts().0)
    };
    let model = |text: &str| Some(Wants::Model(text.parse().unwrap()));
    for (method, path, expected) in [
        ("GET", "/v2", None),
        ("GET", "/v2/health/live", None),
        ("GET", "/v2/health/ready", Some(Wants::Index)),
        ("GET", "/v2/models", Some(Wants::Index)),
        ("GET", "/v2/models/m", model("m")),
        (
            "POST",
            "/v2/models/m/versions/stable/infer",
            model("m:stable"),
        ),
        ("POST", "/v2/models/m/predict", model("m")),
        // Those are wrong, and the application says so.
        ("GET", "/v2/models/m/predict", None),
        ("GET", "/v2/models/M!", None),
        ("GET", "/nothing", None),
    ] {
        assert_eq!(wants(method, path), expected, "{method} {path}");
    }
}
