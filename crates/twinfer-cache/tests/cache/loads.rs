//! Packages through the cache.

use futures_util::future::join;
use twinfer::ErrorCode;
use twinfer_cache::{
    Backend, BlobWriter, Cache, LoadOptions, Loaded, LockMode, Options, Policy, Source,
};
use twinfer_package::{Digest, Package};

use crate::everywhere;
use crate::origin::{Fault, Scripted};
use crate::packages::{Heard, noise, publish, quiet, reference, registry};
use crate::world::{Place, Virtual};

everywhere! {
    a_package_is_loaded_once
    progress_is_that_of_all_together
    a_moved_tag_is_followed_when_asked
    with_the_network_off_everything_still_loads
    what_a_kept_index_leads_to_may_be_gone
    a_flipped_byte_never_reaches_a_prediction
    two_loads_at_once_fetch_once
    loads_side_by_side_do_not_block_each_other
    a_candidate_is_not_remembered
    what_was_refused_is_not_loaded_until_the_tag_moves_on
    a_pinned_package_is_not_remembered_as_a_tag
    other_formats_and_damaged_notes_are_as_if_nothing_were_kept
}

async fn load<B: Backend>(
    cache: &Cache<B, Virtual>,
    origins: &[Scripted],
    policy: Policy,
) -> twinfer::Result<Loaded<B::Lock>> {
    let options = LoadOptions {
        policy,
        ..LoadOptions::default()
    };
    cache
        .load(origins, &reference("risk:live"), &options, &quiet)
        .await
}

fn model(package: &Package) -> &[u8] {
    package.model_bytes()
}

const SWR: Policy = Policy::StaleWhileRevalidate;

async fn a_package_is_loaded_once<P: Place>() {
    let (place, store) = (P::new(), registry());
    let made = publish(&store, "risk", "1.0.0", noise(1, 100_000));
    let origins = [Scripted::new(&store)];
    let first = load(&place.cache(), &origins, SWR).await.unwrap();
    assert!(model(&first.package) == made.model);
    assert_eq!(*first.package.digest(), made.digest());
    assert_eq!(first.source, Some(Source::Registry));
    // The manifest, and three layers.
    assert_eq!(origins[0].take_opens(), 4);
    let again = load(&place.cache(), &origins, SWR).await.unwrap();
    assert!(model(&again.package) == made.model);
    assert_eq!(again.source, Some(Source::Stale));
    assert_eq!(origins[0].take_calls(), []);
}

async fn progress_is_that_of_all_together<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", noise(1, 100_000));
    let origins = [Scripted::new(&store)];
    let heard = Heard::default();
    let options = LoadOptions::default();
    let cache = place.cache();
    let risk = reference("risk:live");
    let loaded = cache
        .load(&origins, &risk, &options, &|e| heard.hear(e))
        .await
        .unwrap();
    let total: u64 = loaded.package.layers().iter().map(|l| l.size).sum();
    let total = total + loaded.package.manifest().config.size;
    let all = heard.take();
    assert_eq!(all.last().unwrap(), &format!("progress {total}/{total}"));
    let mut last = 0;
    for text in &all[1..] {
        let (now, of) = text
            .strip_prefix("progress ")
            .unwrap()
            .split_once('/')
            .unwrap();
        assert_eq!(of, total.to_string());
        let now = now.parse().unwrap();
        assert!(now > last, "{all:?}");
        last = now;
    }
    drop(loaded);
    let again = cache
        .load(&origins, &risk, &options, &|e| heard.hear(e))
        .await;
    again.unwrap();
    assert_eq!(
        heard.take().last().unwrap(),
        &format!("cached {total}/{total}")
    );
}

async fn a_moved_tag_is_followed_when_asked<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", noise(1, 10_000));
    let cache = place.cache();
    let origins = [Scripted::new(&store)];
    load(&cache, &origins, SWR).await.unwrap();
    let second = publish(&store, "risk", "2.0.0", noise(2, 10_000));
    let stale = load(&cache, &origins, SWR).await.unwrap();
    assert_eq!(stale.package.version(), "1.0.0");
    let online = load(&cache, &origins, Policy::Online).await.unwrap();
    assert!(model(&online.package) == second.model);
    let stale = load(&cache, &origins, SWR).await.unwrap();
    assert_eq!(stale.package.version(), "2.0.0");
    let [tag] = &cache.list().await.unwrap().references[..] else {
        panic!("there is one");
    };
    assert_eq!(tag.active, second.digest());
    assert!(tag.previous.is_some());
}

async fn with_the_network_off_everything_still_loads<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", noise(1, 10_000));
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    let nothing = load(&cache, &origins, Policy::Offline).await;
    assert_eq!(nothing.err().unwrap().code(), ErrorCode::Network);
    load(&cache, &origins, SWR).await.unwrap();
    origins[0].set_always(Fault::Dead);
    origins[0].take_calls();
    for (policy, source) in [
        (Policy::Offline, Source::Offline),
        (SWR, Source::Stale),
        (Policy::Online, Source::LastGood),
    ] {
        let loaded = load(&cache, &origins, policy).await.unwrap();
        assert_eq!(loaded.source, Some(source));
        if policy != Policy::Online {
            assert_eq!(origins[0].take_calls(), []);
        }
    }
}

async fn what_a_kept_index_leads_to_may_be_gone<P: Place>() {
    let (place, store) = (P::new(), registry());
    let first = publish(&store, "risk", "1.0.0", noise(1, 10_000));
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    load(&cache, &origins, SWR).await.unwrap();
    cache.backend().remove(&first.model_digest()).await.unwrap();
    store.corrupt(first.model_digest(), None);
    publish(&store, "risk", "2.0.0", noise(2, 10_000));
    let loaded = load(&cache, &origins, SWR).await.unwrap();
    assert_eq!(loaded.package.version(), "2.0.0");
    assert_eq!(loaded.source, Some(Source::Registry));

    // Where nobody can say anything newer, the first reason is the one to tell.
    cache
        .backend()
        .remove(&Digest::of(&noise(2, 10_000)))
        .await
        .unwrap();
    store.corrupt(Digest::of(&noise(2, 10_000)), None);
    let found = load(&cache, &origins, SWR).await;
    assert_eq!(found.err().unwrap().code(), ErrorCode::MissingBlob);
}

async fn a_flipped_byte_never_reaches_a_prediction<P: Place>() {
    let (place, store) = (P::new(), registry());
    let made = publish(&store, "risk", "1.0.0", noise(1, 10_000));
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    load(&cache, &origins, SWR).await.unwrap();
    for at in [0, 4_999, 9_999] {
        let mut wrong = made.model.clone();
        wrong[at] ^= 1;
        place.damage(&made.model_digest(), &wrong);
        let found = load(&cache, &origins, Policy::Offline).await;
        assert_eq!(found.err().unwrap().code(), ErrorCode::Network);
        place.damage(&made.model_digest(), &wrong);
        let loaded = load(&cache, &origins, SWR).await.unwrap();
        assert!(model(&loaded.package) == made.model);
    }
    assert_eq!(origins[0].take_opens(), 4 + 3);
    assert_eq!(cache.statistics().await.unwrap().damaged, 6);
}

async fn two_loads_at_once_fetch_once<P: Place>() {
    let (place, store) = (P::new(), registry());
    let made = publish(&store, "risk", "1.0.0", noise(1, 100_000));
    let origins = [Scripted::new(&store)];
    let (one, other) = (place.cache(), place.cache());
    let (a, b) = join(load(&one, &origins, SWR), load(&other, &origins, SWR)).await;
    for loaded in [a, b] {
        assert!(model(&loaded.unwrap().package) == made.model);
    }
    assert_eq!(origins[0].take_opens(), 4);
    assert_eq!(one.statistics().await.unwrap().misses, 4);
}

async fn loads_side_by_side_do_not_block_each_other<P: Place>() {
    let (place, store) = (P::new(), registry());
    // The same layers in another order of arrival: who waits for whom must not be a circle.
    let names = ["a", "b", "c", "d"];
    for name in names {
        publish(&store, name, "1.0.0", noise(1, 50_000));
    }
    let origins = [Scripted::new(&store)];
    let options = Options {
        quota: Some(60_000),
        ..Options::default()
    };
    let caches = names.map(|_| place.cache_with(options.clone()));
    let options = LoadOptions::default();
    let references = names.map(reference);
    let loads = caches
        .iter()
        .zip(&references)
        .map(|(cache, reference)| async {
            let loading = cache.load(&origins, reference, &options, &quiet);
            let loaded = loading.await.unwrap();
            cache.prune(0).await.unwrap();
            loaded.package.model_bytes().len()
        });
    let all = futures_util::future::join_all(loads).await;
    assert_eq!(all, [50_000; 4]);
}

async fn what_was_refused_is_not_loaded_until_the_tag_moves_on<P: Place>() {
    let (place, store) = (P::new(), registry());
    let one = publish(&store, "risk", "1.0.0", noise(1, 100_000));
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    let risk = reference("risk:live");
    load(&cache, &origins, SWR).await.unwrap();
    let two = publish(&store, "risk", "2.0.0", noise(2, 100_000));
    cache.refuse(&origins, &risk, two.digest()).await.unwrap();
    for policy in [Policy::Online, SWR, Policy::Offline] {
        let loaded = load(&cache, &origins, policy).await.unwrap();
        assert_eq!(*loaded.package.digest(), one.digest(), "{policy:?}");
    }
    // A candidate is what the registry says: it may prove itself this time.
    let options = LoadOptions {
        candidate: true,
        ..LoadOptions::default()
    };
    let candidate = cache.load(&origins, &risk, &options, &quiet).await.unwrap();
    assert_eq!(*candidate.package.digest(), two.digest());
    let three = publish(&store, "risk", "3.0.0", noise(3, 100_000));
    let loaded = load(&cache, &origins, Policy::Online).await.unwrap();
    assert_eq!(*loaded.package.digest(), three.digest());
    // Where a tag was used with nothing before, there is nothing to stay with.
    let other = P::new();
    let cache = other.cache();
    cache.refuse(&origins, &risk, three.digest()).await.unwrap();
    let loaded = load(&cache, &origins, Policy::Online).await.unwrap();
    assert_eq!(*loaded.package.digest(), three.digest());
}

async fn a_candidate_is_not_remembered<P: Place>() {
    let (place, store) = (P::new(), registry());
    let made = publish(&store, "risk", "1.0.0", noise(1, 10_000));
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    let options = LoadOptions {
        candidate: true,
        ..LoadOptions::default()
    };
    let risk = reference("risk:live");
    let loaded = cache.load(&origins, &risk, &options, &quiet).await.unwrap();
    assert_eq!(cache.list().await.unwrap().references.len(), 0);
    let digest = *loaded.package.digest();
    cache
        .use_from_now_on(&origins, &risk, digest)
        .await
        .unwrap();
    let listing = cache.list().await.unwrap();
    assert_eq!(listing.references[0].active, made.digest());
    assert!(listing.packages[0].pinned);
}

async fn a_pinned_package_is_not_remembered_as_a_tag<P: Place>() {
    let (place, store) = (P::new(), registry());
    let made = publish(&store, "risk", "1.0.0", noise(1, 10_000));
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    let pinned = reference("risk:1.0.0").pinned(made.digest());
    let options = LoadOptions::default();
    let loaded = cache
        .load(&origins, &pinned, &options, &quiet)
        .await
        .unwrap();
    assert_eq!(loaded.source, None);
    // A digest needs no index: nobody was asked for one.
    let calls = origins[0].calls.borrow().len();
    assert_eq!(calls, origins[0].take_opens());
    let digest = made.digest();
    cache
        .use_from_now_on(&origins, &pinned, digest)
        .await
        .unwrap();
    let listing = cache.list().await.unwrap();
    assert_eq!((listing.references.len(), listing.packages.len()), (0, 1));
    assert!(!listing.packages[0].pinned);
    let lock = format!("use-{}", digest.hex());
    let backend = place.open();
    let taken = backend
        .lock(&lock, LockMode::Exclusive, false)
        .await
        .unwrap();
    assert!(taken.is_none());
    drop(loaded);
    let taken = backend
        .lock(&lock, LockMode::Exclusive, false)
        .await
        .unwrap();
    assert!(taken.is_some());
}

async fn other_formats_and_damaged_notes_are_as_if_nothing_were_kept<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", noise(1, 10_000));
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    load(&cache, &origins, SWR).await.unwrap();
    let backend = place.open();
    for (number, wrong) in [&b""[..], b"{", b"\xff", b"{\"format_version\":99}"]
        .iter()
        .enumerate()
    {
        for (key, _) in backend.documents("").await.unwrap() {
            backend.set_document(&key, wrong).await.unwrap();
        }
        assert_eq!(cache.list().await.unwrap().packages.len(), 0);
        let loaded = load(&cache, &origins, SWR).await.unwrap();
        assert_eq!(loaded.source, Some(Source::Registry), "{number}");
        assert_eq!(cache.list().await.unwrap().packages.len(), 1);
    }
    // The blobs were there all the time.
    assert_eq!(origins[0].take_opens(), 4);
    for (key, _) in backend.documents("").await.unwrap() {
        backend.set_document(&key, b"\xff").await.unwrap();
    }
    let writer = backend.write(&Digest::of(b"never finished")).await.unwrap();
    assert!(writer.is_empty());
    drop(writer);
    cache.clear().await.unwrap();
    assert_eq!(backend.documents("").await.unwrap(), []);
    assert_eq!(backend.blobs().await.unwrap(), []);
    assert_eq!(backend.partials().await.unwrap(), []);
}
