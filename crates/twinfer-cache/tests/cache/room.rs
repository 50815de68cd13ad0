//! Room: quota, least recent use, what is pinned or in use, what crashes leave behind.

use twinfer::ErrorCode;
use twinfer_cache::{Backend, BlobWriter, Cache, LoadOptions, Loaded, MemoryBackend, Options};
use twinfer_package::{Digest, Reference};

use crate::everywhere;
use crate::origin::Scripted;
use crate::packages::{Heard, Made, noise, publish, quiet, reference, registry};
use crate::world::{DAY, Place, Virtual, pass, set_back};

everywhere! {
    the_last_used_stays_under_the_quota
    what_is_in_use_stays
    active_and_previous_versions_stay_until_their_pins_lapse
    what_cannot_fit_is_loaded_and_not_kept
    nothing_is_evicted_in_vain
    left_overs_of_crashes_are_the_first_to_go
    shared_layers_stay_with_the_last_package
    prune_counts_what_was_begun
    held_content_belongs_to_a_package
}

const KIB: u64 = 1 << 10;

fn quota(bytes: u64) -> Options {
    Options {
        quota: Some(bytes),
        ..Options::default()
    }
}

async fn load<B: Backend>(
    cache: &Cache<B, Virtual>,
    origins: &[Scripted],
    reference: &Reference,
) -> Loaded<B::Lock> {
    pass(1);
    cache
        .load(origins, reference, &LoadOptions::default(), &quiet)
        .await
        .unwrap()
}

async fn there<B: Backend>(cache: &Cache<B, Virtual>, made: &Made) -> bool {
    cache
        .backend()
        .size(&made.model_digest())
        .await
        .unwrap()
        .is_some()
}

/// Packages of 100 KiB, loaded by their digests: nothing pins those.
async fn three<B: Backend>(
    cache: &Cache<B, Virtual>,
    origins: &[Scripted],
) -> [(Made, Reference); 3] {
    let three = [1, 2, 3].map(|seed| {
        let name = format!("m{seed}");
        let made = publish(&origins[0].store, &name, "1.0.0", noise(seed, 100 << 10));
        let pinned = reference(&name).pinned(made.digest());
        (made, pinned)
    });
    for (_, reference) in &three {
        load(cache, origins, reference).await;
    }
    three
}

async fn the_last_used_stays_under_the_quota<P: Place>() {
    let place = P::new();
    let origins = [Scripted::new(&registry())];
    let cache = place.cache_with(quota(310 * KIB));
    let [a, b, c] = three(&cache, &origins).await;
    load(&cache, &origins, &a.1).await;
    let d = publish(&origins[0].store, "m4", "1.0.0", noise(4, 100 << 10));
    load(&cache, &origins, &reference("m4").pinned(d.digest())).await;
    assert!(!there(&cache, &b.0).await);
    for made in [&a.0, &c.0, &d] {
        assert!(there(&cache, made).await);
    }
    let listing = cache.list().await.unwrap();
    assert!(listing.bytes <= 310 * KIB);
    assert_eq!(listing.packages[0].digest, d.digest());
    assert!(listing.statistics.evicted >= 4);
    // It is fetched again when it is wanted again.
    origins[0].take_calls();
    load(&cache, &origins, &b.1).await;
    assert_eq!(origins[0].take_opens(), 4);
}

async fn what_is_in_use_stays<P: Place>() {
    let place = P::new();
    let origins = [Scripted::new(&registry())];
    let cache = place.cache();
    let [a, b, c] = three(&cache, &origins).await;
    let used = load(&cache, &origins, &a.1).await;
    let removed = place.cache().prune(0).await.unwrap();
    assert_eq!(removed.packages.len(), 2);
    assert!(there(&cache, &a.0).await && !there(&cache, &b.0).await && !there(&cache, &c.0).await);
    cache.clear().await.unwrap();
    assert!(there(&cache, &a.0).await);
    drop(used);
    cache.prune(0).await.unwrap();
    assert_eq!(cache.backend().blobs().await.unwrap(), []);
}

async fn active_and_previous_versions_stay_until_their_pins_lapse<P: Place>() {
    let (place, store) = (P::new(), registry());
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    let mut made = Vec::new();
    for (version, seed) in [("1.0.0", 1), ("2.0.0", 2), ("3.0.0", 3)] {
        made.push(publish(&store, "risk", version, noise(seed, 10_000)));
        cache
            .revalidate(&origins, &reference("risk:live"), &quiet)
            .await
            .unwrap();
        load(&cache, &origins, &reference("risk:live")).await;
    }
    assert_eq!(cache.prune(0).await.unwrap().packages, [made[0].digest()]);
    set_back(365 * DAY);
    assert_eq!(cache.prune(0).await.unwrap().packages, []);
    pass(365 * DAY + 30 * DAY);
    assert_eq!(cache.prune(0).await.unwrap().packages, []);
    assert!(
        cache
            .list()
            .await
            .unwrap()
            .packages
            .iter()
            .all(|p| p.pinned)
    );
    pass(1);
    // Loading it again makes the pins new.
    load(&cache, &origins, &reference("risk:live")).await;
    assert_eq!(cache.prune(0).await.unwrap().packages, []);
    pass(30 * DAY + 1);
    assert_eq!(cache.prune(0).await.unwrap().packages.len(), 2);
    assert_eq!(cache.list().await.unwrap().blobs, 0);
}

async fn what_cannot_fit_is_loaded_and_not_kept<P: Place>() {
    let (place, store) = (P::new(), registry());
    let origins = [Scripted::new(&store)];
    let made = publish(&store, "risk", "1.0.0", noise(1, 100 << 10));
    let cache = place.cache_with(quota(50 * KIB));
    let heard = Heard::default();
    let listen = |event: twinfer_cache::Event<'_>| heard.hear(event);
    for _ in 0..2 {
        let loaded = cache
            .load(
                &origins,
                &reference("risk:live"),
                &LoadOptions::default(),
                &listen,
            )
            .await;
        assert!(loaded.unwrap().package.model_bytes() == made.model);
        let all = heard.take();
        // It says so before anything but the manifest has come.
        let at = all
            .iter()
            .position(|text| text == "not kept out_of_space")
            .unwrap();
        assert!(at <= 1, "{all:?}");
        assert!(!there(&cache, &made).await);
        assert_eq!(cache.backend().partials().await.unwrap(), []);
    }
    let error = cache
        .hold(
            "risk",
            &made.manifest,
            &[twinfer_package::Descriptor::new("x/y", &made.model)],
        )
        .await;
    assert_eq!(error.err().unwrap().code(), ErrorCode::OutOfSpace);
}

async fn nothing_is_evicted_in_vain<P: Place>() {
    let (place, store) = (P::new(), registry());
    let origins = [Scripted::new(&store)];
    let cache = place.cache_with(quota(350 * KIB));
    let small = publish(&store, "small", "1.0.0", noise(7, 50 << 10));
    load(&cache, &origins, &reference("small").pinned(small.digest())).await;
    publish(&store, "large", "1.0.0", noise(8, 200 << 10));
    load(&cache, &origins, &reference("large:live")).await;
    // 200 KiB are pinned: 250 KiB can never fit, and removing the small one does not help.
    let made = publish(&store, "other", "1.0.0", noise(9, 250 << 10));
    let loaded = load(&cache, &origins, &reference("other:live")).await;
    assert!(loaded.package.model_bytes() == made.model);
    assert!(there(&cache, &small).await && !there(&cache, &made).await);
}

async fn left_overs_of_crashes_are_the_first_to_go<P: Place>() {
    let place = P::new();
    let origins = [Scripted::new(&registry())];
    let cache = place.cache();
    let [a, ..] = three(&cache, &origins).await;
    let bytes = noise(9, 2 << 20);
    place.damage(&Digest::of(b"a blob without a package"), &bytes);
    let mut writer = place.open().write(&Digest::of(b"begun")).await.unwrap();
    writer.append(&bytes).await.unwrap();
    drop(writer);
    let listing = cache.list().await.unwrap();
    assert_eq!(listing.partial_bytes, 2 << 20);
    let removed = cache.prune(listing.bytes - (1 << 20)).await.unwrap();
    assert_eq!(
        (removed.blobs, removed.bytes, removed.packages.len()),
        (2, 4 << 20, 0)
    );
    assert!(there(&cache, &a.0).await);
    // A part of what somebody is about to finish stays.
    let mut writer = place.open().write(&a.0.model_digest()).await.unwrap();
    writer.append(&bytes).await.unwrap();
    let lock = format!("blob-{}", a.0.model_digest().hex());
    let held = place
        .open()
        .lock(&lock, twinfer_cache::LockMode::Exclusive, false)
        .await
        .unwrap();
    assert!(held.is_some());
    cache.clear().await.unwrap();
    assert_eq!(writer.read_back(0, 10).await.unwrap(), bytes[..10]);
}

async fn shared_layers_stay_with_the_last_package<P: Place>() {
    let (place, store) = (P::new(), registry());
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    let made = ["a", "b"].map(|name| publish(&store, name, "1.0.0", noise(1, 100 << 10)));
    for (name, made) in ["a", "b"].iter().zip(&made) {
        load(&cache, &origins, &reference(name).pinned(made.digest())).await;
    }
    let used = load(&cache, &origins, &reference("b").pinned(made[1].digest())).await;
    let removed = cache.prune(0).await.unwrap();
    assert_eq!(removed.packages, [made[0].digest()]);
    assert!(removed.bytes < 100 << 10);
    assert!(there(&cache, &made[1]).await);
    drop(used);
}

async fn prune_counts_what_was_begun<P: Place>() {
    let place = P::new();
    let origins = [Scripted::new(&registry())];
    let cache = place.cache();
    let [a, b, c] = three(&cache, &origins).await;
    // Begun layers of a known package are no left-overs, and take room like others.
    let bytes = noise(9, 1 << 20);
    let wanted = twinfer_package::Descriptor::new("x/y", &bytes);
    drop(cache.hold("m9", &wanted, &[]).await.unwrap());
    let mut writer = place.open().write(&wanted.digest).await.unwrap();
    writer.append(&bytes).await.unwrap();
    drop(writer);
    pass(1);
    load(&cache, &origins, &c.1).await;
    let removed = cache.prune((1 << 20) + 220 * KIB).await.unwrap();
    assert_eq!(removed.packages, [a.0.digest()]);
    assert!(there(&cache, &b.0).await);
}

async fn held_content_belongs_to_a_package<P: Place>() {
    let place = P::new();
    let origins = [Scripted::new(&registry())];
    let cache = place.cache_with(quota(250 * KIB));
    let made = publish(&origins[0].store, "m9", "1.0.0", noise(9, 100 << 10));
    let layer = twinfer_package::Descriptor::new("x/y", &made.model);
    let held = cache
        .hold("m9", &made.manifest, std::slice::from_ref(&layer))
        .await
        .unwrap();
    cache
        .ensure(&origins, &(&layer).into(), &quiet)
        .await
        .unwrap();
    three(&cache, &origins).await;
    assert!(there(&cache, &made).await);
    assert_eq!(
        cache
            .list()
            .await
            .unwrap()
            .packages
            .iter()
            .filter(|p| p.name == "m9")
            .count(),
        1
    );
    drop(held);
    three(&cache, &origins).await;
    cache.prune(0).await.unwrap();
    assert!(!there(&cache, &made).await);
}

#[test]
fn a_full_place_evicts_first_and_then_goes_on_in_memory() {
    crate::world::run(async {
        let origins = [Scripted::new(&registry())];
        // Room for two packages of three, by what the back end says is free.
        let backend = MemoryBackend::with_limit(250 << 10);
        let cache = Cache::new(backend.clone(), Virtual::default(), Options::default());
        let [a, b, c] = three(&cache, &origins).await;
        assert!(!there(&cache, &a.0).await);
        assert!(there(&cache, &b.0).await && there(&cache, &c.0).await);
        // Content without a package can only be tried.
        let large = crate::packages::content(&origins[0].store, &noise(5, 300 << 10));
        let heard = Heard::default();
        let found = cache.get(&origins, &large, &|e| heard.hear(e)).await;
        assert_eq!(found.unwrap().bytes().len(), 300 << 10);
        assert_eq!(heard.told(), ["not kept out_of_space"]);
        assert_eq!(backend.partials().await.unwrap(), []);
        let found = cache.ensure(&origins, &large, &quiet).await;
        assert_eq!(found.unwrap_err().code(), ErrorCode::OutOfSpace);
        assert_eq!(backend.partials().await.unwrap(), []);
    });
}
