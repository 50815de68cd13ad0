//! Ten thousand entries: slow is what grows with their square.

use std::time::Instant;

use twinfer_cache::{Backend, Options};
use twinfer_package::{Descriptor, Digest};

use crate::everywhere;
use crate::packages::quiet;
use crate::world::{Place, pass};

const ENTRIES: u64 = 10_000;

everywhere! {
    ten_thousand_entries_are_no_trouble
}

async fn ten_thousand_entries_are_no_trouble<P: Place>() {
    let place = P::new();
    let cache = place.cache();
    let begin = Instant::now();
    let step = |what: &str| println!("{what}: {:.2?} since the beginning", begin.elapsed());
    // A hundred packages with a hundred layers each, and a hundred left-overs.
    let bytes = |number: u64| number.to_le_bytes();
    let layers: Vec<Descriptor> = (0..ENTRIES)
        .map(|n| Descriptor::new("x/y", &bytes(n)))
        .collect();
    for (number, layers) in layers.chunks(100).enumerate() {
        pass(1);
        let manifest = Descriptor::new("x/y", format!("manifest {number}").as_bytes());
        drop(cache.hold("many", &manifest, layers).await.unwrap());
    }
    for number in 0..ENTRIES + 100 {
        place.damage(&Digest::of(&bytes(number)), &bytes(number));
    }
    step("written");
    let listing = cache.list().await.unwrap();
    assert_eq!(
        (listing.blobs, listing.bytes),
        (ENTRIES + 100, 8 * (ENTRIES + 100))
    );
    assert_eq!(listing.packages.len(), 100);
    step("listed");
    let verified = cache.verify().await.unwrap();
    assert_eq!((verified.good, verified.damaged.len()), (ENTRIES + 100, 0));
    step("verified");
    let removed = cache.prune(8 * ENTRIES / 2).await.unwrap();
    assert_eq!((removed.packages.len(), removed.blobs), (50, 5_100));
    assert_eq!(
        place.open().size(&layers[4_999].digest).await.unwrap(),
        None
    );
    assert_eq!(
        place.open().size(&layers[5_000].digest).await.unwrap(),
        Some(8)
    );
    step("half of them pruned");
    let small = place.cache_with(Options {
        quota: Some(8 * ENTRIES / 2),
        ..Options::default()
    });
    let one = Descriptor::new("x/y", b"one more");
    drop(
        small
            .hold("one", &one, std::slice::from_ref(&one))
            .await
            .unwrap(),
    );
    assert_eq!(small.list().await.unwrap().packages.len(), 50);
    step("room made for one more");
    let there = small.check(&(&layers[9_999]).into(), &quiet).await.unwrap();
    assert!(there);
    small.clear().await.unwrap();
    assert_eq!(small.list().await.unwrap().blobs, 0);
    step("cleared");
}
