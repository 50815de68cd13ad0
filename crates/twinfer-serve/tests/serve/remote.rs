//! Packages over a network that is not there.

mod deployments;
mod world;

use std::sync::atomic::Ordering;

use serde_json::json;
use twinfer_cache::{MemoryBackend, Policy};
use twinfer_package::TrustPolicy;
use twinfer_serve::{Guard, Options, RemoteOptions, Trust, Wants};

use crate::support::Fixture;

use world::{Instance, LOG, Net, now, pack_bad_version};

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
    let looked = || net.0.asked_for_deployments.load(Ordering::Relaxed);
    assert_eq!(looked(), 1);
    net.pass(300);
    instance.follow();
    assert_eq!((net.requests().0, looked()), (1, 1));
    net.pass(301);
    instance.follow();
    assert_eq!((net.requests().0, looked()), (2, 2));
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
