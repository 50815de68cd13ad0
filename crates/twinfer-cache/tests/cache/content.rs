//! Content by digest: fetched once, resumed, verified, mended.

use std::pin::pin;

use futures_util::future::{Either, join, select};
use twinfer::ErrorCode;
use twinfer_cache::{Backend, Cache, Options, Wanted};

use crate::everywhere;
use crate::origin::{Call, Fault, Scripted};
use crate::packages::{Heard, content, noise, quiet, registry};
use crate::world::{Place, Virtual, abandon, sleep};

/// More than two values of a key-value store.
pub const SIZE: usize = (2 << 20) + 12_345;
pub const MIB: u64 = 1 << 20;

everywhere! {
    it_is_fetched_once
    nothing_empty_and_nothing_large_is_special
    two_at_once_fetch_once
    a_dropped_download_is_gone_on_with
    one_of_an_earlier_process_too
    nothing_is_committed_before_it_is_whole
    a_damaged_entry_is_a_miss
    what_somebody_else_mended_stays
    a_wrong_size_does_not_cost_a_good_entry
    without_keeping_nothing_is_kept
    ensured_content_is_there
}

pub async fn got<B: Backend>(
    cache: &Cache<B, Virtual>,
    origins: &[Scripted],
    wanted: &Wanted,
) -> Vec<u8> {
    let content = cache.get(origins, wanted, &quiet).await.unwrap();
    content.into_bytes()
}

/// Where content was asked for from.
pub fn offsets(origin: &Scripted) -> Vec<u64> {
    let calls = origin.take_calls().into_iter();
    calls
        .filter_map(|call| match call {
            Call::Open { offset, .. } => Some(offset),
            Call::Index { .. } => None,
        })
        .collect()
}

async fn it_is_fetched_once<P: Place>() {
    let (place, store) = (P::new(), registry());
    let bytes = noise(1, SIZE);
    let wanted = content(&store, &bytes);
    let origins = [Scripted::new(&store)];
    let heard = Heard::default();
    let cache = place.cache();
    let first = cache.get(&origins, &wanted, &|e| heard.hear(e)).await;
    assert!(first.unwrap().into_bytes() == bytes);
    let progress = heard.take();
    assert_eq!(progress.len(), SIZE.div_ceil(10_000));
    assert_eq!(progress.last().unwrap(), &format!("progress {SIZE}/{SIZE}"));
    for cache in [
        cache,
        place.cache(),
        Cache::new(place.open(), Virtual::default(), Options::default()),
    ] {
        let again = cache.get(&origins, &wanted, &|e| heard.hear(e)).await;
        assert!(again.unwrap().into_bytes() == bytes);
        assert_eq!(heard.take(), [format!("cached {SIZE}/{SIZE}")]);
    }
    assert_eq!(origins[0].take_opens(), 1);
    assert_eq!(place.reopen().partials().await.unwrap(), []);
    let blobs = place.reopen().blobs().await.unwrap();
    assert_eq!(blobs, [(wanted.digest, SIZE as u64)]);
}

async fn nothing_empty_and_nothing_large_is_special<P: Place>() {
    let (place, store) = (P::new(), registry());
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    let mib = MIB as usize;
    for length in [0, 1, mib - 1, mib, mib + 1, 2 * mib] {
        let bytes = noise(length as u64, length);
        let wanted = content(&store, &bytes);
        assert!(got(&cache, &origins, &wanted).await == bytes, "{length}");
        assert_eq!(
            cache.backend().size(&wanted.digest).await.unwrap(),
            Some(length as u64)
        );
        assert!(got(&cache, &origins, &wanted).await == bytes, "{length}");
        // And where only the digest is known.
        let pinned = Wanted::manifest(wanted.digest);
        assert!(got(&cache, &origins, &pinned).await == bytes, "{length}");
        assert_eq!(origins[0].take_opens(), 1, "{length}");
        let limited = cache
            .backend()
            .read(&wanted.digest, 5)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(limited, bytes[..length.min(6)]);
    }
}

async fn two_at_once_fetch_once<P: Place>() {
    let (place, store) = (P::new(), registry());
    let bytes = noise(1, SIZE);
    let wanted = content(&store, &bytes);
    let origins = [Scripted::new(&store)];
    let (one, other) = (place.cache(), place.cache());
    let heard = Heard::default();
    let (first, second) = join(
        one.get(&origins, &wanted, &quiet),
        other.get(&origins, &wanted, &|e| heard.hear(e)),
    )
    .await;
    assert!(first.unwrap().into_bytes() == bytes && second.unwrap().into_bytes() == bytes);
    assert_eq!(
        heard.take(),
        ["waiting".to_owned(), format!("cached {SIZE}/{SIZE}")]
    );
    assert_eq!(origins[0].take_opens(), 1);
}

/// Drops a download when so many bytes have come.
async fn left_at<B: Backend>(
    cache: &Cache<B, Virtual>,
    origins: &[Scripted],
    wanted: &Wanted,
    bytes: u64,
) {
    let there = std::cell::Cell::new(0);
    let listen = |event: twinfer_cache::Event<'_>| {
        if let twinfer_cache::Event::Progress { loaded, .. } = event {
            there.set(loaded);
        }
    };
    abandon(cache.get(origins, wanted, &listen), || there.get() >= bytes).await;
}

async fn a_dropped_download_is_gone_on_with<P: Place>() {
    let (place, store) = (P::new(), registry());
    let bytes = noise(1, SIZE);
    let wanted = content(&store, &bytes);
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    left_at(&cache, &origins, &wanted, MIB + 50_000).await;
    assert_eq!(cache.backend().size(&wanted.digest).await.unwrap(), None);
    origins[0].take_calls();
    let heard = Heard::default();
    let whole = cache.get(&origins, &wanted, &|e| heard.hear(e)).await;
    assert!(whole.unwrap().into_bytes() == bytes);
    let [from] = offsets(&origins[0])[..] else {
        panic!("it was asked more than once");
    };
    assert!((MIB..MIB + 60_000).contains(&from), "{from}");
    assert_eq!(heard.take()[0], format!("cached {from}/{SIZE}"));
}

async fn one_of_an_earlier_process_too<P: Place>() {
    let (place, store) = (P::new(), registry());
    let bytes = noise(1, SIZE);
    let wanted = content(&store, &bytes);
    let origins = [Scripted::new(&store)];
    left_at(&place.cache(), &origins, &wanted, 2 * MIB + 1).await;
    origins[0].take_calls();
    let later = Cache::new(place.reopen(), Virtual::default(), Options::default());
    assert!(got(&later, &origins, &wanted).await == bytes);
    assert!(offsets(&origins[0]) >= vec![2 * MIB]);
    assert_eq!(later.statistics().await.unwrap().misses, 1);
}

async fn nothing_is_committed_before_it_is_whole<P: Place>() {
    let (place, store) = (P::new(), registry());
    let wanted = content(&store, &noise(1, 100_000));
    let origins = [Scripted::new(&store)
        .with([Fault::Cut(99_999)])
        .always(Fault::Dead)];
    let cache = place.cache();
    let found = cache.get(&origins, &wanted, &quiet).await;
    assert_eq!(found.unwrap_err().code(), ErrorCode::Network);
    let backend = place.reopen();
    assert_eq!(backend.size(&wanted.digest).await.unwrap(), None);
    assert_eq!(backend.read(&wanted.digest, 100_000).await.unwrap(), None);
    assert_eq!(backend.blobs().await.unwrap(), []);
}

async fn a_damaged_entry_is_a_miss<P: Place>() {
    let store = registry();
    let bytes = noise(1, SIZE);
    let wanted = content(&store, &bytes);
    let mut flipped = bytes.clone();
    flipped[SIZE - 1] ^= 0x80;
    let longer = [&bytes[..], b"x"].concat();
    for (wrong, code) in [
        (&flipped[..], "digest_mismatch"),
        (&bytes[..SIZE - 1], "size_mismatch"),
        (&longer, "size_mismatch"),
        (b"", "size_mismatch"),
    ] {
        let place = P::new();
        let cache = place.cache();
        let origins = [Scripted::new(&store)];
        got(&cache, &origins, &wanted).await;
        place.damage(&wanted.digest, wrong);
        let heard = Heard::default();
        let again = cache.get(&origins, &wanted, &|e| heard.hear(e)).await;
        assert!(again.unwrap().into_bytes() == bytes);
        assert_eq!(heard.told(), [format!("damaged content {code}")]);
        assert_eq!(origins[0].take_opens(), 2);
        assert!(got(&cache, &[], &wanted).await == bytes);
        assert_eq!(cache.statistics().await.unwrap().damaged, 1);

        // With the network off it is an error, and not a wrong answer.
        place.damage(&wanted.digest, wrong);
        let dead = [Scripted::new(&store).always(Fault::Dead)];
        let found = cache.get(&dead, &wanted, &quiet).await;
        assert_eq!(found.unwrap_err().code(), ErrorCode::Network);
        assert_eq!(cache.backend().size(&wanted.digest).await.unwrap(), None);
    }
}

async fn what_somebody_else_mended_stays<P: Place>() {
    let (place, store) = (P::new(), registry());
    let bytes = noise(1, SIZE);
    let wanted = content(&store, &bytes);
    place.damage(&wanted.digest, &bytes[1..]);
    let origins = [Scripted::new(&store)];
    let caches = [place.cache(), place.cache(), place.cache()];
    let (a, (b, c)) = join(
        caches[0].get(&origins, &wanted, &quiet),
        join(
            caches[1].get(&origins, &wanted, &quiet),
            caches[2].get(&origins, &wanted, &quiet),
        ),
    )
    .await;
    for content in [a, b, c] {
        assert!(content.unwrap().into_bytes() == bytes);
    }
    assert_eq!(origins[0].take_opens(), 1);
}

async fn a_wrong_size_does_not_cost_a_good_entry<P: Place>() {
    let (place, store) = (P::new(), registry());
    let wanted = content(&store, &noise(1, 100_000));
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    got(&cache, &origins, &wanted).await;
    for size in [99_999, 100_001, 0] {
        let wrong = Wanted {
            size: Some(size),
            ..wanted.clone()
        };
        let heard = Heard::default();
        let found = cache.get(&origins, &wrong, &|e| heard.hear(e)).await;
        assert_eq!(found.unwrap_err().code(), ErrorCode::SizeMismatch);
        let found = cache.ensure(&origins, &wrong, &|e| heard.hear(e)).await;
        assert_eq!(found.unwrap_err().code(), ErrorCode::SizeMismatch);
        assert_eq!(heard.take(), [""; 0]);
    }
    got(&cache, &[], &wanted).await;
    assert_eq!(origins[0].take_opens(), 1);
}

async fn without_keeping_nothing_is_kept<P: Place>() {
    let (place, store) = (P::new(), registry());
    let wanted = content(&store, &noise(1, 100_000));
    let origins = [Scripted::new(&store)];
    got(&place.cache(), &origins, &wanted).await;
    let other = content(&store, &noise(2, 100_000));
    let cache = place.cache_with(Options {
        keep: false,
        ..Options::default()
    });
    for wanted in [&wanted, &other, &other] {
        got(&cache, &origins, wanted).await;
    }
    assert_eq!(origins[0].take_opens(), 4);
    assert_eq!(place.open().blobs().await.unwrap().len(), 1);
    assert_eq!(place.open().partials().await.unwrap(), []);
}

async fn ensured_content_is_there<P: Place>() {
    let (place, store) = (P::new(), registry());
    let bytes = noise(1, SIZE);
    let wanted = content(&store, &bytes);
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    for _ in 0..2 {
        cache.ensure(&origins, &wanted, &quiet).await.unwrap();
        assert_eq!(
            cache.backend().size(&wanted.digest).await.unwrap(),
            Some(SIZE as u64)
        );
    }
    assert_eq!(origins[0].take_opens(), 1);
    assert!(cache.check(&wanted, &quiet).await.unwrap());

    // A wrong size is seen at once, and a wrong byte when it is looked for.
    let heard = Heard::default();
    place.damage(&wanted.digest, &bytes[1..]);
    cache
        .ensure(&origins, &wanted, &|e| heard.hear(e))
        .await
        .unwrap();
    assert_eq!(heard.told(), ["damaged content size_mismatch"]);
    assert_eq!(origins[0].take_opens(), 1);
    let mut flipped = bytes.clone();
    flipped[0] ^= 1;
    place.damage(&wanted.digest, &flipped);
    cache
        .ensure(&origins, &wanted, &|e| heard.hear(e))
        .await
        .unwrap();
    assert_eq!(origins[0].take_opens(), 0);
    assert!(!cache.check(&wanted, &|e| heard.hear(e)).await.unwrap());
    assert_eq!(heard.told(), ["damaged content digest_mismatch"]);
    cache.ensure(&origins, &wanted, &quiet).await.unwrap();
    assert!(cache.check(&wanted, &quiet).await.unwrap());
    assert!(got(&cache, &[], &wanted).await == bytes);

    // Dropped in the middle, it goes on too; and nobody waits for what is gone.
    let other = content(&store, &noise(2, SIZE));
    origins[0].set_always(Fault::Hangs(MIB as usize));
    {
        let ensuring = pin!(cache.ensure(&origins, &other, &quiet));
        let Either::Right(_) = select(ensuring, pin!(sleep(10_000))).await else {
            panic!("it hangs");
        };
    }
    origins[0].set_always(Fault::None);
    origins[0].take_calls();
    cache.ensure(&origins, &other, &quiet).await.unwrap();
    assert_eq!(offsets(&origins[0]), [MIB]);
}
