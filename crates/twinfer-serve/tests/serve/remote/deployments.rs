//! Deployments beside the index of a registry on a network.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use serde_json::json;
use twinfer_cache::{MemoryBackend, Policy};
use twinfer_deploy::{DeploymentSpec, Strategy, bucket};
use twinfer_package::{Index, Reference, Store};
use twinfer_serve::Options;

use super::world::{Instance, Net, pack_bad_version};

/// The document by which versions of `types` have these shares; the first is the primary.
fn document(net: &Net, revision: u64, shares: &[(&str, u16)]) -> Vec<u8> {
    let mut spec = DeploymentSpec::new("types", shares[0].0);
    let primary = spec.variants[0].clone();
    spec.variants = shares
        .iter()
        .map(|(version, weight)| {
            let mut variant = primary.clone();
            variant.version = (*version).into();
            variant.weight = Some(*weight);
            variant
        })
        .collect();
    if shares.len() > 1 {
        spec.strategy = Strategy::AbTest {
            guardrails: Vec::new(),
        };
    }
    let index = Index::from_json(&net.0.registry.store.index().unwrap()).unwrap();
    let digest = |tag: &str| Ok(index.resolve(&Reference::new("types", tag)?)?.digest);
    let deployment = spec.resolve(revision, 0, digest).unwrap();
    deployment.to_json().unwrap().into_bytes()
}

impl Net {
    fn digest(&self, version: &str) -> String {
        let index = Index::from_json(&self.0.registry.store.index().unwrap()).unwrap();
        let reference = Reference::new("types", version).unwrap();
        index.resolve(&reference).unwrap().digest.to_string()
    }

    fn publish(&self, document: impl Into<Vec<u8>>) {
        let mut all = self.0.deployments.lock().unwrap();
        all.insert("types".into(), document.into());
    }

    fn deploy(&self, revision: u64, shares: &[(&str, u16)]) {
        self.publish(document(self, revision, shares));
    }

    fn asked_for_deployments(&self) -> u64 {
        self.0.asked_for_deployments.load(Ordering::Relaxed)
    }

    fn next_poll(&self, instance: &Instance) {
        self.pass(31);
        instance.follow();
    }
}

/// `types` in these versions.
fn versions(more: &[&str]) -> Net {
    let net = Net::new(&["types"]);
    for version in more {
        net.0.registry.pack_version("types", version);
    }
    net
}

impl Instance {
    fn answered_by(&self, headers: &[(&str, &str)]) -> (String, Option<String>) {
        let answer = self.infer_with(headers);
        let revision = answer.headers.get("x-twinfer-deployment");
        let revision = revision.map(|value| value.to_str().unwrap().to_owned());
        let version = answer.ok()["model_version"].as_str().unwrap().to_owned();
        (version, revision)
    }
}

fn of(version: &str, revision: Option<u64>) -> (String, Option<String>) {
    (version.into(), revision.map(|number| number.to_string()))
}

#[test]
fn the_deployment_says_what_answers_and_nothing_else_is_fetched() {
    let (net, backend) = (versions(&["1.1.0"]), MemoryBackend::new());
    let highest = Instance::new(&net, &MemoryBackend::new());
    assert_eq!(highest.answered_by(&[]), of("1.1.0", None));
    let contents = net.requests().1;
    net.deploy(3, &[("1.0.0", 10_000)]);
    let instance = Instance::new(&net, &backend);
    assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(3)));
    assert_eq!(net.requests().1, 2 * contents, "one version is fetched");
    let asked = (net.requests(), net.asked_for_deployments());
    for _ in 0..3 {
        assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(3)));
    }
    assert_eq!((net.requests(), net.asked_for_deployments()), asked);
    // What a request names counts.
    let pinned = instance.answered_by(&[("x-twinfer-version", "1.1.0")]);
    assert_eq!(pinned, of("1.1.0", None));
    // Who shares the cache shares the deployment.
    net.set(|net| &net.down, true);
    let other = Instance::new(&net, &backend);
    assert_eq!(other.answered_by(&[]), of("1.0.0", Some(3)));
    let offline = |options: &mut twinfer_serve::RemoteOptions| options.policy = Policy::Offline;
    let offline = Instance::with(&net, &backend, offline, Options::default());
    assert_eq!(offline.answered_by(&[]), of("1.0.0", Some(3)));
}

#[test]
fn callers_are_assigned_as_everywhere_and_without_a_key_by_chance() {
    let net = versions(&["1.1.0"]);
    net.deploy(1, &[("1.0.0", 5_000), ("1.1.0", 5_000)]);
    let mut options = Options::default();
    options.random = Some(|| {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        NEXT.fetch_add(5_000, Ordering::Relaxed)
    });
    let instance = Instance::with(&net, &MemoryBackend::new(), |_| {}, options);
    for number in 0..20 {
        let key = format!("caller-{number}");
        let expected = match bucket("types", &key) {
            0..5_000 => "1.1.0",
            _ => "1.0.0",
        };
        let answer = instance.answered_by(&[("x-twinfer-key", &key)]);
        assert_eq!(answer, of(expected, Some(1)), "{key}");
    }
    let by_chance: BTreeSet<_> = (0..4).map(|_| instance.answered_by(&[]).0).collect();
    assert_eq!(by_chance.len(), 2);
}

#[test]
fn a_release_and_its_rollback_are_followed_and_tested_before() {
    let net = versions(&["1.1.0"]);
    net.deploy(1, &[("1.0.0", 10_000)]);
    let instance = Instance::new(&net, &MemoryBackend::new());
    assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(1)));
    net.deploy(2, &[("1.1.0", 10_000)]);
    assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(1)));
    net.next_poll(&instance);
    let fetched = net.requests();
    assert_eq!(instance.answered_by(&[]), of("1.1.0", Some(2)));
    assert_eq!(net.requests(), fetched, "it was loaded before");
    assert_eq!(instance.logged("`types` follows revision 2"), 1);
    // The former document, as it was.
    net.deploy(1, &[("1.0.0", 10_000)]);
    net.next_poll(&instance);
    assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(1)));
    // A version that came with the release: index and deployment are new together.
    net.0.registry.pack_version("types", "1.2.0");
    net.deploy(3, &[("1.0.0", 9_999), ("1.2.0", 1)]);
    net.next_poll(&instance);
    assert_eq!(instance.answered_by(&[]).1, Some("3".into()));
}

#[test]
fn a_deployment_comes_to_a_model_that_had_none() {
    let (net, backend) = (versions(&["1.1.0"]), MemoryBackend::new());
    let instance = Instance::new(&net, &backend);
    assert_eq!(instance.answered_by(&[]), of("1.1.0", None));
    net.deploy(1, &[("1.0.0", 10_000)]);
    net.next_poll(&instance);
    assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(1)));
    // Newer versions are no business of requests that the deployment answers.
    pack_bad_version(&net, "2.0.0");
    net.next_poll(&instance);
    assert_eq!(instance.logged("update_refused"), 0);
    assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(1)));
}

#[test]
fn a_version_that_fails_its_examples_takes_no_traffic() {
    let net = versions(&[]);
    net.deploy(1, &[("1.0.0", 10_000)]);
    let instance = Instance::new(&net, &MemoryBackend::new());
    assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(1)));
    pack_bad_version(&net, "1.1.0");
    net.deploy(2, &[("1.1.0", 10_000)]);
    net.next_poll(&instance);
    assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(1)));
    assert_eq!(instance.logged("(self_test_failed)"), 1);
    // It is not fetched and tested again and again.
    let contents = net.requests().1;
    net.next_poll(&instance);
    assert_eq!(net.requests().1, contents);
    assert_eq!(instance.logged("(self_test_failed)"), 1);
    net.0.registry.pack_version("types", "1.2.0");
    net.deploy(3, &[("1.2.0", 10_000)]);
    net.next_poll(&instance);
    assert_eq!(instance.answered_by(&[]), of("1.2.0", Some(3)));
}

#[test]
fn a_version_that_is_in_force_is_served_on_when_the_registry_loses_it() {
    let (net, backend) = (versions(&["1.1.0"]), MemoryBackend::new());
    net.deploy(1, &[("1.0.0", 10_000)]);
    let instance = Instance::new(&net, &backend);
    assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(1)));
    net.0.registry.edit_index(|index| {
        let manifests = index["manifests"].as_array_mut().unwrap();
        manifests.retain(|entry| !entry.to_string().contains("types:1.0.0"));
    });
    let path = "/v2/models/types/versions/1.0.0/ready";
    instance.get(path).ok();
    for _ in 0..3 {
        net.next_poll(&instance);
        assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(1)));
    }
    // By its tag it is gone.
    instance.get(path).expect_error(404, "unknown_version");
    let other = Instance::new(&net, &backend);
    assert_eq!(other.answered_by(&[]), of("1.0.0", Some(1)));
    net.deploy(2, &[("1.1.0", 10_000)]);
    net.next_poll(&instance);
    assert_eq!(instance.answered_by(&[]), of("1.1.0", Some(2)));
}

#[test]
fn what_is_no_deployment_takes_nobodys_place() {
    let net = versions(&["1.1.0"]);
    net.deploy(1, &[("1.0.0", 10_000)]);
    let good = document(&net, 2, &[("1.1.0", 10_000)]);
    let other = String::from_utf8(good).unwrap();
    let other = other.replace("\"name\":\"types\"", "\"name\":\"untidy\"");
    let unknown = other
        .replace("untidy", "types")
        .replace(&net.digest("1.1.0"), &format!("sha256:{}", "0".repeat(64)));
    let long = vec![b' '; 70_000];
    let instance = Instance::new(&net, &MemoryBackend::new());
    assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(1)));
    for wrong in [
        b"{".to_vec(),
        other.clone().into(),
        unknown.into(),
        long,
        vec![0xff],
    ] {
        net.publish(wrong.clone());
        net.next_poll(&instance);
        assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(1)), "{wrong:?}");
    }
    // A file that is missing for a moment, and a server that does not answer.
    net.0.deployments.lock().unwrap().clear();
    net.next_poll(&instance);
    assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(1)));
    net.set(|net| &net.no_deployments, true);
    net.next_poll(&instance);
    assert_eq!(instance.answered_by(&[]), of("1.0.0", Some(1)));
    assert_eq!(instance.logged("was not followed: no answer"), 1);
    // Where none was good before, nobody guesses which version is meant.
    let fresh = Instance::new(&net, &MemoryBackend::new());
    fresh.infer().expect_error(502, "network");
    net.set(|net| &net.no_deployments, false);
    net.publish(other);
    fresh.infer().expect_error(422, "invalid_deployment");
    net.deploy(2, &[("1.1.0", 10_000)]);
    assert_eq!(fresh.answered_by(&[]), of("1.1.0", Some(2)));
}

#[test]
fn nobody_makes_us_ask_for_models_that_are_not_there() {
    let net = versions(&[]);
    let instance = Instance::new(&net, &MemoryBackend::new());
    for name in ["nobody", "no-body", "no.body"] {
        let path = format!("/v2/models/{name}/ready");
        instance.get(&path).expect_error(404, "unknown_model");
    }
    assert_eq!(net.asked_for_deployments(), 0);
    // A model that came later is assigned by its deployment from its first request on.
    net.0.registry.pack(&crate::support::recipe("untidy"));
    let spec = DeploymentSpec::new("untidy", "1.0.0");
    let index = Index::from_json(&net.0.registry.store.index().unwrap()).unwrap();
    let digest = |tag: &str| Ok(index.resolve(&Reference::new("untidy", tag)?)?.digest);
    let json = spec.resolve(7, 0, digest).unwrap().to_json().unwrap();
    let mut all = net.0.deployments.lock().unwrap();
    all.insert("untidy".into(), json.into_bytes());
    drop(all);
    net.pass(6);
    let answer = instance.get("/v2/models/untidy/ready");
    assert_eq!(answer.ok(), json!({"name": "untidy", "ready": true}));
    assert_eq!(net.asked_for_deployments(), 1);
}
