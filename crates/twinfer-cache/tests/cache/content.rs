//! Content by digest: fetched once, resumed, verified, mended.

use std::pin::pin;

use futures_util::future::{Either, join, select};
use twinfer::ErrorCode;
use twinfer_cache::{Backend, Cache, Options, Wanted};

use crate::everywhere;
use crate::origin::{Call, Fault, Scripted};
use crate::packages::{Heard, content, noise, quiet, registry};
use crate::world::{Place, Virtual, abandon, sleep, time};

/// More than two values of a key-value store.
const SIZE: usize = (2 << 20) + 12_345;
const MIB: u64 = 1 << 20;

everywhere! {
    it_is_fetched_once
    nothing_empty_and_nothing_large_is_special
    two_at_once_fetch_once
    a_dropped_download_is_gone_on_with
    one_of_an_earlier_process_too
    what_breaks_off_is_gone_on_with
    nothing_is_committed_before_it_is_whole
    a_lying_registry_changes_nothing
    the_next_mirror_goes_on_where_one_broke
    a_partial_that_is_wrong_is_nobody_elses_fault
    failures_are_counted_and_waited_for
    waits_have_bounds
    what_stalls_is_given_up
    what_is_slow_but_moves_is_not
    a_damaged_entry_is_a_miss
    what_somebody_else_mended_stays
    a_wrong_size_does_not_cost_a_good_entry
    without_keeping_nothing_is_kept
    ensured_content_is_there
}

async fn got<B: Backend>(
    cache: &Cache<B, Virtual>,
    origins: &[Scripted],
    wanted: &Wanted,
) -> Vec<u8> {
    let content = cache.get(origins, wanted, &quiet).await.unwrap();
    content.into_bytes()
}

/// Where content was asked for from.
fn offsets(origin: &Scripted) -> Vec<u64> {
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

async fn what_breaks_off_is_gone_on_with<P: Place>() {
    let store = registry();
    let bytes = noise(1, 100_000);
    let wanted = content(&store, &bytes);
    for (faults, from) in [
        (
            vec![Fault::Cut(30_000), Fault::Cut(1), Fault::Cut(0)],
            vec![0, 30_000, 30_001, 30_001],
        ),
        // An answer that ends too early broke off as well.
        (
            vec![Fault::Short(30_000), Fault::Short(20_000)],
            vec![0, 30_000, 50_000],
        ),
        // Who ignores where it was asked from gives it all again.
        (
            vec![Fault::Cut(30_000), Fault::IgnoresOffset],
            vec![0, 30_000],
        ),
        (
            vec![Fault::Cut(30_000), Fault::BeginsLater],
            vec![0, 30_000, 30_000],
        ),
        (vec![Fault::Missing], vec![0, 0]),
        (vec![Fault::Dead, Fault::Dead, Fault::Dead], vec![0; 4]),
        // What moves on is not counted as failing.
        (
            vec![
                Fault::Cut(1),
                Fault::Cut(1),
                Fault::Cut(70_000),
                Fault::Dead,
                Fault::Dead,
            ],
            vec![0, 1, 2, 70_002, 70_002, 70_002],
        ),
    ] {
        let place = P::new();
        let origins = [Scripted::new(&store).with(faults)];
        assert!(got(&place.cache(), &origins, &wanted).await == bytes);
        assert_eq!(offsets(&origins[0]), from);
    }
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

async fn a_lying_registry_changes_nothing<P: Place>() {
    let store = registry();
    let bytes = noise(1, 100_000);
    let wanted = content(&store, &bytes);
    for (fault, code) in [
        (Fault::Flip(50_000), ErrorCode::DigestMismatch),
        (Fault::Long, ErrorCode::SizeMismatch),
        (Fault::Short(50_000), ErrorCode::Network),
        (Fault::Missing, ErrorCode::MissingBlob),
        (Fault::Refuses, ErrorCode::Unauthorized),
    ] {
        let place = P::new();
        let cache = place.cache();
        let origins = [Scripted::new(&store).always(fault.clone())];
        let found = cache.get(&origins, &wanted, &quiet).await;
        match &fault {
            // It goes on from where the answer ended, and that is right in the end.
            Fault::Short(_) => drop(found.unwrap()),
            _ => assert_eq!(found.unwrap_err().code(), code, "{fault:?}"),
        }
        if let Fault::Short(_) = fault {
            continue;
        }
        assert_eq!(cache.backend().blobs().await.unwrap(), []);
        // Right the next time, and asked for around caches on the way.
        let origins = [Scripted::new(&store).with([fault.clone()])];
        if fault != Fault::Refuses {
            assert!(got(&cache, &origins, &wanted).await == bytes, "{fault:?}");
            let anew = origins[0]
                .take_calls()
                .into_iter()
                .any(|call| matches!(call, Call::Open { anew: true, .. }));
            assert_eq!(anew, fault != Fault::Missing, "{fault:?}");
        }
    }
    // The registry has less than it should.
    let (place, short) = (P::new(), registry());
    content(&short, &bytes);
    short.corrupt(wanted.digest, Some(bytes[..50_000].into()));
    let origins = [Scripted::new(&short)];
    let found = place.cache().get(&origins, &wanted, &quiet).await;
    assert_eq!(found.unwrap_err().code(), ErrorCode::SizeMismatch);
    assert_eq!(offsets(&origins[0]), [0, 50_000, 0, 50_000]);
}

async fn the_next_mirror_goes_on_where_one_broke<P: Place>() {
    let store = registry();
    let bytes = noise(1, 100_000);
    let wanted = content(&store, &bytes);
    let both = |first: Vec<Fault>, then: Fault| {
        let first = Scripted::named("https://one.example", &store)
            .with(first)
            .always(then);
        [first, Scripted::named("https://two.example", &store)]
    };
    let place = P::new();
    let origins = both(vec![Fault::Cut(40_000)], Fault::Dead);
    assert!(got(&place.cache(), &origins, &wanted).await == bytes);
    assert_eq!(offsets(&origins[0]), [0, 40_000, 40_000, 40_000]);
    assert_eq!(offsets(&origins[1]), [40_000]);
    assert!(got(&place.cache(), &origins, &wanted).await == bytes);

    for fault in [Fault::Flip(0), Fault::Long, Fault::Missing] {
        let place = P::new();
        let origins = both(vec![], fault);
        assert!(got(&place.cache(), &origins, &wanted).await == bytes);
        assert_eq!(offsets(&origins[0]), [0, 0]);
        assert_eq!(offsets(&origins[1]), [0]);
    }
    // With one attempt each, a lie of the first must not spoil the second.
    let place = P::new();
    let lies = registry();
    let mut wrong = bytes.clone();
    wrong[10] ^= 1;
    lies.corrupt(wanted.digest, Some(wrong));
    let origins = [
        Scripted::named("https://one.example", &lies).always(Fault::Cut(40_000)),
        Scripted::named("https://two.example", &store),
    ];
    let cache = place.cache_with(Options {
        attempts: 1,
        ..Options::default()
    });
    assert!(got(&cache, &origins, &wanted).await == bytes);
    assert_eq!(offsets(&origins[1]), [40_000, 0]);
}

async fn a_partial_that_is_wrong_is_nobody_elses_fault<P: Place>() {
    let store = registry();
    let bytes = noise(1, SIZE);
    let wanted = content(&store, &bytes);
    let mut wrong = bytes.clone();
    wrong[7] ^= 1;
    wrong.extend_from_slice(&[0; 100]);
    for length in [MIB as usize, SIZE, SIZE + 100] {
        let place = P::new();
        let mut writer = place.open().write(&wanted.digest).await.unwrap();
        twinfer_cache::BlobWriter::append(&mut writer, &wrong[..length])
            .await
            .unwrap();
        drop(writer);
        let origins = [Scripted::new(&store)];
        let cache = place.cache_with(Options {
            attempts: 1,
            ..Options::default()
        });
        assert!(got(&cache, &origins, &wanted).await == bytes);
        assert!(got(&cache, &[], &wanted).await == bytes);
    }
}

async fn failures_are_counted_and_waited_for<P: Place>() {
    let (place, store) = (P::new(), registry());
    let wanted = content(&store, b"something");
    let origins = [Scripted::new(&store).always(Fault::Dead)];
    let heard = Heard::default();
    let options = Options {
        attempts: 10,
        ..Options::default()
    };
    let cache = place.cache_with(options);
    let before = time();
    let found = cache.get(&origins, &wanted, &|e| heard.hear(e)).await;
    assert_eq!(found.unwrap_err().code(), ErrorCode::Network);
    let waits = [250, 500, 1000, 2000, 4000, 8000, 16_000, 16_000, 16_000];
    assert_eq!(
        heard.take(),
        waits.map(|wait| format!("retry network in {wait}"))
    );
    assert_eq!(time() - before, waits.iter().sum::<u64>() + 10);
    assert_eq!(origins[0].take_opens(), 10);
}

async fn waits_have_bounds<P: Place>() {
    let (place, store) = (P::new(), registry());
    let wanted = content(&store, b"something");
    let origins = [Scripted::new(&store).always(Fault::Dead)];
    for (random, waits) in [
        (0.0, [25, 50, 100]),
        (0.5, [137, 275, 550]),
        (1.0, [250, 500, 1000]),
        (7.0, [250, 500, 1000]),
        (-7.0, [25, 50, 100]),
    ] {
        let cache = Cache::new(place.open(), Virtual { random }, Options::default());
        let heard = Heard::default();
        let found = cache.get(&origins, &wanted, &|e| heard.hear(e)).await;
        assert_eq!(found.unwrap_err().code(), ErrorCode::Network);
        assert_eq!(
            heard.take(),
            waits.map(|wait| format!("retry network in {wait}"))
        );
    }
}

async fn what_stalls_is_given_up<P: Place>() {
    let store = registry();
    let bytes = noise(1, 100_000);
    let wanted = content(&store, &bytes);
    let options = Options::default();
    for (fault, from) in [
        (Fault::Silent, 0),
        (Fault::Hangs(0), 0),
        (Fault::Hangs(20_000), 20_000),
        (Fault::Drip(20_000), 0),
    ] {
        let place = P::new();
        let origins = [Scripted::new(&store).with([fault.clone()])];
        if let Fault::Drip(_) = fault {
            // 100 bytes every 20 seconds.
            origins[0].piece.set(100);
        }
        let cache = place.cache();
        let heard = Heard::default();
        let before = time();
        let listen = |event: twinfer_cache::Event<'_>| {
            if let twinfer_cache::Event::Retry { .. } = event {
                origins[0].piece.set(10_000);
            }
            heard.hear(event);
        };
        let content = cache.get(&origins, &wanted, &listen).await;
        assert!(content.unwrap().into_bytes() == bytes, "{fault:?}");
        assert_eq!(heard.told(), ["retry network in 250"], "{fault:?}");
        let took = time() - before;
        assert!(
            (options.stall..2 * options.stall + 1000).contains(&took),
            "{fault:?}: {took}"
        );
        assert!(offsets(&origins[0])[1] >= from);
    }
}

async fn what_is_slow_but_moves_is_not<P: Place>() {
    let (place, store) = (P::new(), registry());
    let bytes = noise(1, 100_000);
    let wanted = content(&store, &bytes);
    let origins = [Scripted::new(&store).always(Fault::Drip(10_000))];
    origins[0].piece.set(500);
    let heard = Heard::default();
    let content = place
        .cache()
        .get(&origins, &wanted, &|e| heard.hear(e))
        .await;
    assert!(content.unwrap().into_bytes() == bytes);
    assert_eq!(heard.told(), [""; 0]);
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
