//! Downloads: what registries and lines do to them.

use twinfer::ErrorCode;
use twinfer_cache::{Backend, Cache, Options};

use crate::content::{MIB, SIZE, got, offsets};
use crate::everywhere;
use crate::origin::{Call, Fault, Scripted};
use crate::packages::{Heard, content, noise, quiet, registry};
use crate::world::{Place, Virtual, time};

everywhere! {
    what_breaks_off_is_gone_on_with
    a_lying_registry_changes_nothing
    the_next_mirror_goes_on_where_one_broke
    a_partial_that_is_wrong_is_nobody_elses_fault
    failures_are_counted_and_waited_for
    waits_have_bounds
    what_stalls_is_given_up
    what_is_slow_but_moves_is_not
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
        let origins = [Scripted::new(&store).always(fault)];
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
        let origins = [Scripted::new(&store).with([fault])];
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
        let origins = [Scripted::new(&store).with([fault])];
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
