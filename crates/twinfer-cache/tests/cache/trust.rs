//! Loads under a trust policy.

use std::rc::Rc;

use twinfer::ErrorCode;
use twinfer_cache::{Backend, Cache, LoadOptions, Loaded, Policy, Source};
use twinfer_package::{MemoryStore, PrivateKey, Seen, Signer, TrustPolicy, attach_signature};

use crate::everywhere;
use crate::origin::{Fault, Scripted};
use crate::packages::{noise, publish, quiet, reference, registry};
use crate::world::{Place, Virtual};

everywhere! {
    a_stale_index_is_asked_for_again_before_a_refusal
    signatures_stay_with_their_package
}

const KEYS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../twinfer-package/tests/data/keys"
);

fn sign(store: &Rc<MemoryStore>) {
    let pem = std::fs::read_to_string(format!("{KEYS}/p256.sec1.pem")).unwrap();
    let key = PrivateKey::from_pem(&pem).unwrap();
    let risk = reference("risk:live");
    attach_signature(&**store, &risk, Signer::Key(&key)).unwrap();
}

fn policy() -> TrustPolicy {
    let key = std::fs::read_to_string(format!("{KEYS}/p256.pub.pem")).unwrap();
    let json = serde_json::json!({
        "format_version": 1,
        "keys": {"ours": {"public_key": key}},
        "rules": [{"names": "risk", "keys": ["ours"]}],
    });
    TrustPolicy::from_json(json.to_string().as_bytes()).unwrap()
}

async fn load<B: Backend>(
    cache: &Cache<B, Virtual>,
    origins: &[Scripted],
    policy: Policy,
) -> twinfer::Result<Loaded<B::Lock>> {
    let trust = self::policy();
    let seen = Seen {
        now: 1_800_000_000,
        last_counter: None,
    };
    let options = LoadOptions {
        policy,
        trust: Some((&trust, seen)),
        ..LoadOptions::default()
    };
    let risk = reference("risk:live");
    cache.load(origins, &risk, &options, &quiet).await
}

async fn a_stale_index_is_asked_for_again_before_a_refusal<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", noise(1, 10_000));
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    let swr = Policy::StaleWhileRevalidate;
    let refused = load(&cache, &origins, swr).await;
    assert_eq!(refused.err().unwrap().code(), ErrorCode::UnsignedPackage);
    // Meanwhile somebody signs it; what is kept does not know that yet.
    sign(&store);
    let offline = load(&cache, &origins, Policy::Offline).await;
    assert_eq!(offline.err().unwrap().code(), ErrorCode::UnsignedPackage);
    let loaded = load(&cache, &origins, swr).await.unwrap();
    assert_eq!(loaded.source, Some(Source::Registry));
    assert!(loaded.decision.is_some());

    // Where nobody answers, the refusal is what is told.
    let place = P::new();
    let unsigned = registry();
    publish(&unsigned, "risk", "1.0.0", noise(1, 10_000));
    let origins = [Scripted::new(&unsigned)];
    let cache = place.cache();
    load(&cache, &origins, swr).await.err().unwrap();
    origins[0].set_always(Fault::Dead);
    let refused = load(&cache, &origins, swr).await;
    assert_eq!(refused.err().unwrap().code(), ErrorCode::UnsignedPackage);
}

async fn signatures_stay_with_their_package<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", noise(1, 10_000));
    sign(&store);
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    drop(load(&cache, &origins, Policy::Online).await.unwrap());
    let removed = cache.prune(0).await.unwrap();
    assert_eq!(removed.blobs, 0, "all of it belongs to the active version");
    origins[0].set_always(Fault::Dead);
    let loaded = load(&cache, &origins, Policy::Offline).await.unwrap();
    assert!(loaded.decision.is_some());
}
