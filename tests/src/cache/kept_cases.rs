//! The part of the list that is about what was kept: damaged, out of date, or all there is; and
//! about mirrors.

use super::fault::Fault as F;
use super::list::{CacheCase, Damage, Need as N, Step};
use super::writing::{Expecting, FIXED, HALF, LIVE, OFFLINE, STALE, case, expect, load, set};

pub(super) fn damaged() -> Vec<CacheCase> {
    let damages = [
        ("flip", Damage::Flip),
        ("truncate", Damage::Truncate),
        ("longer", Damage::Longer),
        ("empty", Damage::Empty),
    ];
    let online = damages.map(|(name, damage)| {
        case(
            &format!("damaged-in-the-cache-{name}"),
            FIXED,
            F::None,
            [
                load("1").layer(1, 1).done(),
                Step::Damage(damage),
                load("1").layer(1, 1).event("damaged").done(),
                load("1").layer(0, 0).done(),
            ],
        )
        .needs([N::Kept, N::Damage])
    });
    let offline = case(
        "damaged-and-offline",
        FIXED,
        F::None,
        [
            load("1").done(),
            Step::Damage(Damage::Flip),
            load("network").policy(OFFLINE).any(0, 0).done(),
            load("1").layer(1, 1).done(),
        ],
    )
    .needs([N::Kept, N::Damage, N::Policy]);
    online.into_iter().chain([offline]).collect()
}

pub(super) fn moved() -> Vec<CacheCase> {
    vec![
        case(
            "a-tag-moves",
            LIVE,
            F::None,
            [
                load("1").layer(1, 1).done(),
                set("live-2"),
                load("2").layer(1, 1).done(),
                set("live-1"),
                // The version before is what rollback needs: still there.
                load("1").layer(0, 0).done(),
            ],
        )
        .needs([N::Kept]),
        case(
            "stale-while-revalidate",
            LIVE,
            F::None,
            [
                load("1").done(),
                set("live-2"),
                load("1").policy(STALE).layer(0, 0).done(),
                Step::Settle,
                load("2").policy(STALE).layer(0, 1).done(),
            ],
        )
        .needs([N::Kept, N::Policy]),
        case(
            "update-follows-a-tag",
            LIVE,
            F::None,
            [
                load("1").done(),
                set("live-2"),
                Step::Update(expect("2").layer(1, 1).expect),
                load("2").policy(OFFLINE).any(0, 0).done(),
            ],
        )
        .needs([N::Update, N::Policy, N::Kept]),
        case(
            "update-without-a-change",
            LIVE,
            F::None,
            [
                load("1").done(),
                Step::Update(expect("1").layer(0, 0).expect),
            ],
        )
        .needs([N::Update]),
        case(
            "update-to-what-fails-its-own-examples",
            LIVE,
            F::None,
            [
                load("1").done(),
                set("live-3"),
                Step::Update(expect("1").refused("self_test_failed").expect),
                set("live-2"),
                Step::Update(expect("2").expect),
            ],
        )
        .needs([N::Update]),
        case(
            "update-with-the-network-gone",
            LIVE,
            F::None,
            [
                load("1").done(),
                set("dead"),
                Step::Update(expect("1").layer(0, 0).expect),
            ],
        )
        .needs([N::Update]),
        case(
            "update-that-cannot-be-fetched",
            LIVE,
            F::None,
            [
                load("1").done(),
                set("live-2"),
                set("wrong-digest"),
                Step::Update(expect("1").refused("digest_mismatch").expect),
                set("none"),
                Step::Update(expect("2").expect),
            ],
        )
        .needs([N::Update]),
    ]
}

pub(super) fn gone() -> Vec<CacheCase> {
    vec![
        case(
            "the-network-goes",
            LIVE,
            F::None,
            [
                load("1").done(),
                set("dead"),
                load("1").layer(0, 0).event("unreachable").done(),
                set("none"),
                load("1").layer(0, 0).index(1, 2).done(),
            ],
        )
        .needs([N::Kept]),
        case(
            "the-network-goes-and-nobody-is-asked",
            LIVE,
            F::None,
            [
                load("1").done(),
                set("dead"),
                load("1").policy(OFFLINE).any(0, 0).done(),
                load("1").policy(STALE).layer(0, 0).done(),
            ],
        )
        .needs([N::Kept, N::Policy]),
        case(
            "the-layer-goes",
            FIXED,
            F::None,
            [
                load("1").done(),
                set("not-found"),
                load("1").layer(0, 0).done(),
            ],
        )
        .needs([N::Kept]),
    ]
}

pub(super) fn mirrored() -> Vec<CacheCase> {
    let with = |id: &str, fault, first: Expecting| {
        let mut made = case(id, FIXED, fault, [first.from(F::None).done()]);
        made.mirrors = vec![F::None];
        made.needs([N::Mirrors])
    };
    let mut both = with(
        "both-mirrors-are-wrong",
        F::WrongDigest,
        load("digest_mismatch"),
    );
    both.mirrors = vec![F::TooShort];
    if let [Step::Load(load)] = &mut both.steps[..] {
        load.expect.from = Some(F::TooShort);
    }
    // The index is the mirror's, which the first one may well have the layers of.
    let mut page = with(
        "mirror-when-the-index-is-a-page",
        F::HtmlIndex,
        load("1").index(2, 5),
    );
    if let [Step::Load(load)] = &mut page.steps[..] {
        load.expect.from = None;
    }
    let nobody = with(
        "mirror-when-nobody-listens",
        F::CutOnce,
        load("1").layer(1, 1),
    );
    vec![
        nobody.nobody(),
        with("mirror-when-nobody-answers", F::Dead, load("1")),
        with(
            "mirror-when-the-digest-is-wrong",
            F::WrongDigest,
            load("1").layer(3, 3),
        ),
        with(
            "mirror-when-the-layer-is-missing",
            F::NotFound,
            load("1").layer(2, 3),
        ),
        with("mirror-goes-on-where-the-first-was-cut", F::CutForEver, {
            load("1").resumed(false, HALF)
        }),
        page,
        both,
    ]
}
