//! What people do with a cache.

use twinfer_cache::{Backend, LoadOptions, Policy};
use twinfer_package::Digest;

use crate::everywhere;
use crate::origin::Scripted;
use crate::packages::{noise, publish, quiet, reference, registry};
use crate::world::Place;

everywhere! {
    verify_finds_what_is_damaged
    clear_removes_everything
    counts_are_those_of_everybody
}

async fn verify_finds_what_is_damaged<P: Place>() {
    let (place, store) = (P::new(), registry());
    let made = publish(&store, "risk", "1.0.0", noise(1, 5 << 20));
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    let options = LoadOptions::default();
    let risk = reference("risk:live");
    cache.load(&origins, &risk, &options, &quiet).await.unwrap();
    let verified = cache.verify().await.unwrap();
    assert_eq!((verified.good, verified.damaged.len()), (4, 0));
    assert_eq!(verified.bytes, cache.list().await.unwrap().bytes);
    let mut wrong = made.model.clone();
    wrong[(4 << 20) + 1] ^= 1;
    place.damage(&made.model_digest(), &wrong);
    place.damage(&Digest::of(b"x"), b"y");
    let mut damaged = cache.verify().await.unwrap().damaged;
    damaged.sort();
    let mut expected = [made.model_digest(), Digest::of(b"x")];
    expected.sort();
    assert_eq!(damaged, expected);
    let verified = cache.verify().await.unwrap();
    assert_eq!((verified.good, verified.damaged.len()), (3, 0));
    let loaded = cache.load(&origins, &risk, &options, &quiet).await.unwrap();
    assert!(loaded.package.model_bytes() == made.model);
    assert_eq!(origins[0].take_opens(), 5);
}

async fn clear_removes_everything<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", noise(1, 10_000));
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    let options = LoadOptions::default();
    let risk = reference("risk:live");
    drop(cache.load(&origins, &risk, &options, &quiet).await.unwrap());
    let removed = cache.clear().await.unwrap();
    assert_eq!((removed.packages.len(), removed.blobs), (1, 4));
    let listing = cache.list().await.unwrap();
    assert_eq!(
        (
            listing.blobs,
            listing.packages.len(),
            listing.references.len()
        ),
        (0, 0, 0)
    );
    assert_eq!(listing.statistics, Default::default());
    assert_eq!(place.open().documents("").await.unwrap(), []);
    let offline = LoadOptions {
        policy: Policy::Offline,
        ..options
    };
    assert!(cache.load(&origins, &risk, &offline, &quiet).await.is_err());
    cache.load(&origins, &risk, &options, &quiet).await.unwrap();
}

async fn counts_are_those_of_everybody<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", noise(1, 10_000));
    let origins = [Scripted::new(&store)];
    let (one, other) = (place.cache(), place.cache());
    let options = LoadOptions::default();
    let risk = reference("risk:live");
    one.load(&origins, &risk, &options, &quiet).await.unwrap();
    other.load(&origins, &risk, &options, &quiet).await.unwrap();
    let counts = place.cache().statistics().await.unwrap();
    let bytes = one.list().await.unwrap().bytes;
    assert_eq!((counts.misses, counts.hits), (4, 4));
    assert_eq!((counts.bytes_fetched, counts.bytes_saved), (bytes, bytes));
    // Those of a single content are kept when somebody says so.
    let (blob, _) = place.open().blobs().await.unwrap()[0];
    let wanted = twinfer_cache::Wanted::manifest(blob);
    one.get(&origins, &wanted, &quiet).await.unwrap();
    assert_eq!(one.statistics().await.unwrap().hits, 5);
    assert_eq!(other.statistics().await.unwrap().hits, 4);
    one.save_statistics().await;
    assert_eq!(other.statistics().await.unwrap().hits, 5);
    // Nobody is stopped by somebody who holds their lock for ever.
    let held = place
        .open()
        .lock("statistics", twinfer_cache::LockMode::Exclusive, false)
        .await;
    assert!(held.as_ref().unwrap().is_some());
    one.load(&origins, &risk, &options, &quiet).await.unwrap();
    drop(held);
    one.save_statistics().await;
    assert_eq!(other.statistics().await.unwrap().hits, 9);
}
