//! Looking references up: policies, freshness, mirrors, the last good answer.

use twinfer::ErrorCode;
use twinfer_cache::{Backend, Cache, Options, Policy, Source};

use crate::everywhere;
use crate::origin::{Call, Fault, Scripted};
use crate::packages::{Heard, publish, quiet, reference, registry};
use crate::world::{Place, Virtual, pass, set_back, time};

everywhere! {
    policies_decide_who_is_asked
    an_answer_is_fresh_for_as_long_as_the_registry_says
    what_must_be_revalidated_is
    no_store_is_not_kept_and_replaces_what_was
    a_clock_that_was_set_back_changes_no_answer
    a_validator_goes_only_to_the_mirror_that_gave_it
    what_is_no_index_never_replaces_one
    nobody_waits_long_for_a_newer_answer
    a_silent_registry_is_given_up
    mirrors_answer_in_their_order
    a_pinned_reference_needs_no_newer_answer
    a_damaged_or_foreign_document_is_none
    revalidating_what_is_not_known_asks
}

const ONLINE: Policy = Policy::Online;
const SWR: Policy = Policy::StaleWhileRevalidate;

/// What the index says of `risk:live`, and where that comes from.
async fn look<B: Backend>(
    cache: &Cache<B, Virtual>,
    origins: &[Scripted],
    policy: Policy,
) -> (String, Source) {
    let reference = reference("risk:live");
    let found = cache.resolve(origins, &reference, policy, &quiet).await;
    let found = found.unwrap();
    let digest = twinfer_package::resolve(&found.index, &reference).unwrap();
    (digest.digest.to_string(), found.source)
}

fn asked(origin: &Scripted) -> usize {
    origin.take_calls().len()
}

async fn policies_decide_who_is_asked<P: Place>() {
    let (place, store) = (P::new(), registry());
    let cache = place.cache();
    let origins = [Scripted::new(&store)];
    let offline = cache
        .resolve(&origins, &reference("risk:live"), Policy::Offline, &quiet)
        .await;
    assert_eq!(offline.unwrap_err().code(), ErrorCode::Network);
    assert_eq!(asked(&origins[0]), 0);

    let first = publish(&store, "risk", "1.0.0", b"one".into()).digest();
    let first = first.to_string();
    assert_eq!(
        look(&cache, &origins, SWR).await,
        (first.clone(), Source::Registry)
    );
    let second = publish(&store, "risk", "2.0.0", b"two".into()).digest();
    assert_eq!(asked(&origins[0]), 1);

    // The registry has moved on; who does not ask does not know.
    assert_eq!(
        look(&cache, &origins, SWR).await,
        (first.clone(), Source::Stale)
    );
    assert_eq!(
        look(&cache, &origins, Policy::Offline).await,
        (first.clone(), Source::Offline)
    );
    assert_eq!(asked(&origins[0]), 0);
    let later = place.cache();
    assert_eq!(look(&later, &origins, SWR).await, (first, Source::Stale));

    let found = cache
        .revalidate(&origins, &reference("risk:live"), &quiet)
        .await;
    assert_eq!(found.unwrap().source, Source::Registry);
    let second = second.to_string();
    assert_eq!(
        look(&later, &origins, SWR).await,
        (second.clone(), Source::Stale)
    );

    origins[0].set_always(Fault::Dead);
    let heard = Heard::default();
    let found = cache
        .resolve(&origins, &reference("risk:live"), ONLINE, &|e| {
            heard.hear(e)
        })
        .await;
    assert_eq!(found.unwrap().source, Source::LastGood);
    assert_eq!(
        heard.take(),
        ["retry network in 250", "unreachable network"]
    );
}

async fn an_answer_is_fresh_for_as_long_as_the_registry_says<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", b"one".into());
    let cache = place.cache();
    let origins = [Scripted::new(&store)];
    origins[0].set_freshness("max-age=60, stale-while-revalidate=30");
    look(&cache, &origins, SWR).await;
    pass(59_999);
    assert_eq!(look(&cache, &origins, SWR).await.1, Source::Fresh);
    pass(1);
    assert_eq!(look(&cache, &origins, SWR).await.1, Source::Stale);
    pass(29_999);
    assert_eq!(look(&cache, &origins, SWR).await.1, Source::Stale);
    assert_eq!(asked(&origins[0]), 1);
    pass(1);
    assert_eq!(look(&cache, &origins, SWR).await.1, Source::Registry);
    // "Nothing has changed" makes it fresh again.
    assert_eq!(look(&cache, &origins, SWR).await.1, Source::Fresh);
    // Whoever wants to know asks all the same.
    assert_eq!(look(&cache, &origins, ONLINE).await.1, Source::Registry);
}

async fn what_must_be_revalidated_is<P: Place>() {
    for header in ["max-age=10, must-revalidate", "max-age=10, no-cache"] {
        let (place, store) = (P::new(), registry());
        publish(&store, "risk", "1.0.0", b"one".into());
        let cache = place.cache();
        let origins = [Scripted::new(&store)];
        origins[0].set_freshness(header);
        look(&cache, &origins, SWR).await;
        pass(10_001);
        assert_eq!(look(&cache, &origins, SWR).await.1, Source::Registry);
        assert_eq!(asked(&origins[0]), 2);
        // But a dead network is no reason to stop.
        origins[0].set_always(Fault::Dead);
        pass(10_001);
        assert_eq!(look(&cache, &origins, SWR).await.1, Source::LastGood);
    }
}

async fn no_store_is_not_kept_and_replaces_what_was<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", b"one".into());
    let cache = place.cache();
    let origins = [Scripted::new(&store)];
    look(&cache, &origins, SWR).await;
    origins[0].set_freshness("no-store");
    let second = publish(&store, "risk", "2.0.0", b"two".into()).digest();
    look(&cache, &origins, ONLINE).await;
    for _ in 0..2 {
        assert_eq!(
            look(&cache, &origins, SWR).await,
            (second.to_string(), Source::Registry)
        );
    }
    origins[0].set_always(Fault::Dead);
    let found = cache
        .resolve(&origins, &reference("risk:live"), SWR, &quiet)
        .await;
    assert_eq!(found.unwrap_err().code(), ErrorCode::Network);
}

async fn a_clock_that_was_set_back_changes_no_answer<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", b"one".into());
    let cache = place.cache();
    let origins = [Scripted::new(&store)];
    origins[0].set_freshness("max-age=60");
    look(&cache, &origins, SWR).await;
    set_back(3_600_000);
    // Nobody knows how old it is: it may be used, and is asked for again.
    assert_eq!(look(&cache, &origins, SWR).await.1, Source::Stale);
    look(&cache, &origins, ONLINE).await;
    assert_eq!(look(&cache, &origins, SWR).await.1, Source::Fresh);

    origins[0].set_freshness("max-age=60, must-revalidate");
    look(&cache, &origins, ONLINE).await;
    set_back(3_600_000);
    assert_eq!(look(&cache, &origins, SWR).await.1, Source::Registry);
}

async fn a_validator_goes_only_to_the_mirror_that_gave_it<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", b"one".into());
    let cache = place.cache();
    let origins = [
        Scripted::named("https://one.example", &store),
        Scripted::named("https://two.example", &store),
    ];
    look(&cache, &origins, ONLINE).await;
    origins[0].set_always(Fault::Dead);
    look(&cache, &origins, ONLINE).await;
    let unconditional = Call::Index { validator: None };
    assert_eq!(origins[1].take_calls(), [unconditional.clone()]);
    origins[0].set_always(Fault::None);
    origins[0].take_calls();
    look(&cache, &origins, ONLINE).await;
    // Now it is the second that gave it.
    assert_eq!(origins[0].take_calls(), [unconditional]);
    look(&cache, &origins, ONLINE).await;
    let conditional = |call: &Call| matches!(call, Call::Index { validator: Some(_) });
    assert!(origins[0].take_calls().iter().all(conditional));

    // "Nothing has changed" is no answer to who asked for all of it.
    origins[0].etags.set(false);
    look(&cache, &origins, ONLINE).await;
    origins[0].set_always(Fault::Unchanged);
    origins[1].set_always(Fault::Dead);
    assert_eq!(look(&cache, &origins, ONLINE).await.1, Source::LastGood);
}

async fn what_is_no_index_never_replaces_one<P: Place>() {
    let html = "\n<!doctype html><title>Please log in</title>";
    for text in [
        html,
        "",
        "{\"schemaVersion\": 2, \"manif",
        "[]",
        "{\"schemaVersion\": 3, \"manifests\": []}",
    ] {
        let (place, store) = (P::new(), registry());
        publish(&store, "risk", "1.0.0", b"one".into());
        let cache = place.cache();
        let origins = [Scripted::new(&store).with([Fault::Index(text)])];
        let first = cache
            .resolve(&origins, &reference("risk:live"), ONLINE, &quiet)
            .await;
        assert_ne!(first.unwrap_err().code(), ErrorCode::Network, "{text}");
        look(&cache, &origins, ONLINE).await;
        origins[0].set_always(Fault::Index(text));
        assert_eq!(
            look(&cache, &origins, ONLINE).await.1,
            Source::LastGood,
            "{text}"
        );
        assert_eq!(look(&cache, &origins, SWR).await.1, Source::Stale, "{text}");
    }
}

async fn nobody_waits_long_for_a_newer_answer<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", b"one".into());
    let cache = place.cache();
    let origins = [
        Scripted::named("https://one.example", &store),
        Scripted::named("https://two.example", &store),
    ];
    look(&cache, &origins, ONLINE).await;
    origins[0].set_always(Fault::Silent);
    let before = time();
    assert_eq!(look(&cache, &origins, ONLINE).await.1, Source::Registry);
    assert_eq!(time() - before, Options::default().patience + 1);
    origins[1].set_always(Fault::Silent);
    let before = time();
    assert_eq!(look(&cache, &origins, ONLINE).await.1, Source::LastGood);
    assert_eq!(time() - before, 2 * Options::default().patience);
}

async fn a_silent_registry_is_given_up<P: Place>() {
    let (place, store) = (P::new(), registry());
    let origins = [Scripted::new(&store).always(Fault::Silent)];
    let options = Options::default();
    let found = place
        .cache()
        .resolve(&origins, &reference("risk:live"), ONLINE, &quiet)
        .await;
    assert_eq!(found.unwrap_err().code(), ErrorCode::Network);
    assert_eq!(asked(&origins[0]), options.attempts as usize);
}

async fn mirrors_answer_in_their_order<P: Place>() {
    let store = registry();
    publish(&store, "risk", "1.0.0", b"one".into());
    for (fault, asks) in [
        (Fault::Dead, 4),
        (Fault::Missing, 2),
        (Fault::Refuses, 1),
        (Fault::Index("<html>"), 1),
    ] {
        let place = P::new();
        let origins = [
            Scripted::named("https://one.example", &store).always(fault.clone()),
            Scripted::named("https://two.example", &store),
        ];
        let cache = place.cache();
        assert_eq!(look(&cache, &origins, ONLINE).await.1, Source::Registry);
        assert_eq!(asked(&origins[0]), asks, "{fault:?}");
        assert_eq!(asked(&origins[1]), 1);
    }
    // Of several, the one that refuses says more than one that is not there.
    let origins = [
        Scripted::named("https://one.example", &store).always(Fault::Dead),
        Scripted::named("https://two.example", &store).always(Fault::Refuses),
    ];
    let place = P::new();
    let found = place
        .cache()
        .resolve(&origins, &reference("risk:live"), ONLINE, &quiet)
        .await;
    assert_eq!(found.unwrap_err().code(), ErrorCode::Unauthorized);
    let nobody: [Scripted; 0] = [];
    let found = place
        .cache()
        .resolve(&nobody, &reference("risk:live"), ONLINE, &quiet)
        .await;
    assert_eq!(found.unwrap_err().code(), ErrorCode::Network);
}

async fn a_pinned_reference_needs_no_newer_answer<P: Place>() {
    let (place, store) = (P::new(), registry());
    let made = publish(&store, "risk", "1.0.0", b"one".into());
    let cache = place.cache();
    let origins = [Scripted::new(&store)];
    origins[0].set_freshness("no-cache");
    look(&cache, &origins, ONLINE).await;
    let pinned = reference("risk").pinned(made.digest());
    let found = cache.resolve(&origins, &pinned, SWR, &quiet).await;
    assert_eq!(found.unwrap().source, Source::Stale);
    assert_eq!(asked(&origins[0]), 1);
    let other = publish(&store, "risk", "2.0.0", b"two".into());
    let pinned = reference("risk").pinned(other.digest());
    let found = cache.resolve(&origins, &pinned, SWR, &quiet).await;
    assert_eq!(found.unwrap().source, Source::Registry);
}

async fn a_damaged_or_foreign_document_is_none<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", b"one".into());
    let cache = place.cache();
    let origins = [Scripted::new(&store)];
    look(&cache, &origins, SWR).await;
    let backend = place.open();
    let documents = backend.documents("indexes/").await.unwrap();
    let [(key, document)] = &documents[..] else {
        panic!("{documents:?}");
    };
    let other_format = String::from_utf8(document.clone())
        .unwrap()
        .replace("\"format_version\":1", "\"format_version\":2");
    assert_ne!(other_format.as_bytes(), &document[..]);
    let mut flipped = document.clone();
    let last = flipped.len() - 10;
    flipped[last] ^= 1;
    for damaged in [
        &document[..document.len() - 1],
        b"",
        b"\n",
        &flipped,
        other_format.as_bytes(),
    ] {
        backend.set_document(key, damaged).await.unwrap();
        origins[0].take_calls();
        assert_eq!(look(&cache, &origins, SWR).await.1, Source::Registry);
        assert_eq!(origins[0].take_calls(), [Call::Index { validator: None }]);
    }
}

async fn revalidating_what_is_not_known_asks<P: Place>() {
    let (place, store) = (P::new(), registry());
    publish(&store, "risk", "1.0.0", b"one".into());
    let cache = place.cache();
    let origins = [Scripted::new(&store).with([Fault::Dead; 3])];
    let found = cache
        .revalidate(&origins, &reference("risk:live"), &quiet)
        .await;
    assert_eq!(found.unwrap().source, Source::Registry);
    assert_eq!(look(&cache, &origins, SWR).await.1, Source::Stale);
}
