//! The application under a trust policy.

use std::sync::atomic::{AtomicU64, Ordering};

use twinfer::{Error, ErrorCode};
use twinfer_package::{
    Curve, Index, PrivateKey, Reference, SignedTags, Signer, Store, TrustPolicy, attach_signature,
    publish_tags,
};
use twinfer_serve::{Guard, Trust};

use crate::support::Fixture;

pub fn key() -> PrivateKey {
    PrivateKey::generate(Curve::P256, |bytes| {
        bytes.fill(5);
        Ok(())
    })
    .unwrap()
}

/// A policy that demands the key.
pub fn policy(now: fn() -> u64) -> Trust {
    Trust::Policy(Guard {
        policy: TrustPolicy::of_key(&key().public().unwrap()).unwrap(),
        now,
        counters: Default::default(),
        warn: |_| (),
    })
}

/// `types`, under that policy.
fn fixture(now: fn() -> u64) -> Fixture {
    Fixture::with(&["types"], |options| options.trust = policy(now))
}

fn sign(fixture: &Fixture) {
    sign_version(fixture, "1.0.0");
}

pub fn sign_version(fixture: &Fixture, version: &str) {
    let reference = Reference::new("types", version).unwrap();
    attach_signature(&*fixture.store, &reference, Signer::Key(&key())).unwrap();
}

/// Signs the tags as they are; they expire at 1000.
fn sign_tags(fixture: &Fixture, counter: u64) {
    let index = Index::from_json(&fixture.store.index().unwrap()).unwrap();
    let tags = index.tags().into_iter().map(|t| (t.tag, t.digest));
    let list = SignedTags::new("types", counter, 0, 1000, tags.collect()).unwrap();
    publish_tags(&*fixture.store, &list, &key()).unwrap();
}

/// Status and code of a route.
fn ask(fixture: &Fixture, path: &str) -> (u16, String) {
    let answer = fixture.get(path);
    let code = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap();
    (
        answer.status,
        code["code"].as_str().unwrap_or_default().into(),
    )
}

const ROUTES: [&str; 4] = [
    "/v2/models/types",
    "/v2/models/types/ready",
    "/v2/models/types/versions/1.0.0",
    "/v2/models/types/versions/1.0.0/ready",
];

#[test]
fn a_model_is_refused_on_all_routes_until_it_is_signed() {
    let fixture = fixture(|| 0);
    for route in ROUTES {
        assert_eq!(
            ask(&fixture, route),
            (403, "unsigned_package".into()),
            "{route}"
        );
    }
    let infer = fixture.post_json("/v2/models/types/infer", &serde_json::json!({"inputs": []}));
    assert_eq!(infer.status, 403);
    // The server itself is ready, and says what the registry has.
    assert_eq!(ask(&fixture, "/v2/health/ready").0, 200);
    assert_eq!(ask(&fixture, "/v2/models").0, 200);
    sign(&fixture);
    for route in ROUTES {
        assert_eq!(ask(&fixture, route), (200, String::new()), "{route}");
    }
}

#[test]
fn a_loaded_model_is_refused_when_its_signed_tags_expire() {
    static NOW: AtomicU64 = AtomicU64::new(10);
    let fixture = fixture(|| NOW.load(Ordering::Relaxed));
    sign(&fixture);
    sign_tags(&fixture, 1);
    assert_eq!(ask(&fixture, ROUTES[1]).0, 200);
    NOW.store(999, Ordering::Relaxed);
    assert_eq!(ask(&fixture, ROUTES[1]).0, 200);
    NOW.store(1000, Ordering::Relaxed);
    for route in ROUTES {
        assert_eq!(
            ask(&fixture, route),
            (403, "index_expired".into()),
            "{route}"
        );
    }
}

#[test]
fn an_older_list_of_tags_is_refused() {
    let fixture = fixture(|| 0);
    sign(&fixture);
    sign_tags(&fixture, 2);
    assert_eq!(ask(&fixture, ROUTES[1]).0, 200);
    sign_tags(&fixture, 1);
    assert_eq!(ask(&fixture, ROUTES[1]), (403, "index_replayed".into()));
    sign_tags(&fixture, 3);
    assert_eq!(ask(&fixture, ROUTES[1]).0, 200);
}

#[test]
fn a_malformed_policy_refuses_everything() {
    let fixture = Fixture::with(&["types"], |options| {
        options.trust = Trust::Broken(Error::new(ErrorCode::InvalidPolicy, "no"));
    });
    for route in ROUTES.iter().chain(&["/v2/health/ready"]) {
        assert_eq!(
            ask(&fixture, route),
            (422, "invalid_policy".into()),
            "{route}"
        );
    }
    assert_eq!(ask(&fixture, "/v2/health/live").0, 200);
}
