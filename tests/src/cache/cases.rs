//! The list: what every place must do when a registry is whole, broken, slow, gone or changed.

use super::fault::Fault as F;
use super::kept_cases;
use super::list::{CacheCase, CacheCases, Need as N, Step};
use super::registry::{Made, key};
use super::server::LyingServer;
use super::writing::{Expecting, FIXED, HALF, OFFLINE, STALE, case, load, set};

/// Every case, for this server and its packages.
pub fn all(made: &Made, server: &LyingServer) -> CacheCases {
    let mut cases = whole(made);
    cases.extend(wrong_content());
    cases.extend(wrong_connections());
    cases.extend(wrong_ranges());
    cases.extend(wrong_answers());
    cases.extend(wrong_indexes());
    cases.extend(slow());
    cases.extend(kept_cases::damaged());
    cases.extend(kept_cases::moved());
    cases.extend(kept_cases::gone());
    cases.extend(kept_cases::mirrored());
    CacheCases {
        server: server.origin(),
        elsewhere: server.elsewhere(),
        nobody: server.nobody(),
        inputs: made.inputs.clone(),
        answers: made.answers.clone(),
        layers: made.layers.clone(),
        cases,
    }
}

fn whole(made: &Made) -> Vec<CacheCase> {
    let digest = made.manifests.get(&key("steady", 1));
    let pinned = format!("steady@sha256:{}", digest.map_or("", String::as_str));
    vec![
        case(
            "whole",
            FIXED,
            F::None,
            [load("1").layer(1, 1).index(1, 1).done()],
        ),
        case(
            "second-load-asks-for-no-layer",
            FIXED,
            F::None,
            [
                load("1").layer(1, 1).done(),
                load("1").layer(0, 0).index(1, 1).unchanged().done(),
            ],
        )
        .needs([N::Kept]),
        case(
            "offline-asks-nobody",
            FIXED,
            F::None,
            [load("1").done(), load("1").policy(OFFLINE).any(0, 0).done()],
        )
        .needs([N::Kept, N::Policy]),
        case(
            "offline-with-nothing-kept",
            FIXED,
            F::None,
            [load("network").policy(OFFLINE).any(0, 0).done()],
        )
        .needs([N::Policy]),
        case(
            "a-digest-needs-no-index",
            &pinned,
            F::None,
            [
                load("1").index(0, 0).layer(1, 1).done(),
                load("1").any(0, 0).done(),
            ],
        )
        .needs([N::Kept, N::Pinned]),
        case(
            "four-at-a-time-fetch-once",
            FIXED,
            F::None,
            [load("1").together(4).layer(1, 1).done()],
        )
        .needs([N::Kept]),
        case(
            "fresh-for-an-hour-asks-nobody",
            FIXED,
            F::MaxAge,
            [load("1").done(), load("1").policy(STALE).any(0, 0).done()],
        )
        .needs([N::Kept, N::Policy]),
        case(
            "no-store-is-obeyed",
            FIXED,
            F::NoStore,
            [load("1").done(), set("dead"), load("network").done()],
        )
        .needs([N::Kept]),
        case(
            "clock-set-back",
            FIXED,
            F::MaxAge,
            [
                load("1").done(),
                Step::Clock(-86_400_000),
                load("1").policy(STALE).layer(0, 0).done(),
                load("1").layer(0, 0).done(),
                Step::Clock(2 * 86_400_000),
                load("1").layer(0, 0).index(1, 1).done(),
            ],
        )
        .needs([N::Kept, N::Policy, N::Clock]),
    ]
}

/// What is refused must not be kept: once the server is healed, the next load is right.
fn healed(id: &str, fault: F, first: Expecting) -> CacheCase {
    let again = load("1").layer(1, 1).done();
    case(id, FIXED, fault, [first.done(), set("none"), again])
}

fn wrong_content() -> Vec<CacheCase> {
    vec![
        healed(
            "wrong-digest",
            F::WrongDigest,
            load("digest_mismatch").layer(2, 2),
        ),
        case(
            "wrong-digest-once",
            FIXED,
            F::WrongDigestOnce,
            [load("1").layer(2, 2).event("retry").done()],
        ),
        healed("too-short", F::TooShort, load("size_mismatch").layer(2, 4)),
        healed("too-long", F::TooLong, load("size_mismatch").layer(2, 2)),
        healed(
            "html-in-place-of-the-layer",
            F::HtmlLayer,
            load("size_mismatch").or("network").layer(1, 4),
        ),
        // Where the client of HTTP decodes it by itself, what comes out is right; elsewhere it
        // is refused, whatever it is then called.
        case(
            "gzip-although-identity-was-asked-for",
            FIXED,
            F::Gzip,
            [
                load("1")
                    .or("network")
                    .or("size_mismatch")
                    .or("digest_mismatch")
                    .done(),
                set("none"),
                load("1").done(),
            ],
        ),
        case(
            // The right bytes, called a page: a place may refuse that, or look at the bytes.
            "wrong-content-type",
            FIXED,
            F::ContentType,
            [load("1").or("network").layer(0, 1).done()],
        ),
    ]
}

fn wrong_connections() -> Vec<CacheCase> {
    vec![
        case(
            "cut-once-goes-on",
            FIXED,
            F::CutOnce,
            [load("1")
                .layer(2, 2)
                .resumed(false, HALF)
                .event("retry")
                .done()],
        ),
        case(
            "cut-often-goes-on",
            FIXED,
            F::CutOften,
            [load("1").layer(8, 12).resumed(false, u64::MAX).done()],
        ),
        case(
            "cut-for-ever-is-an-error",
            FIXED,
            F::CutForEver,
            [load("network").layer(2, 8).resumed(false, HALF).done()],
        ),
        case(
            "the-next-load-goes-on-after-a-cut",
            FIXED,
            F::CutForEver,
            [
                load("network").done(),
                set("none"),
                load("1").layer(1, 1).resumed(true, HALF).done(),
            ],
        )
        .needs([N::Kept, N::Partial]),
        case(
            "the-rest-of-another-file-is-not-joined",
            FIXED,
            F::CutForEver,
            [
                load("network").done(),
                set("wrong-digest-once"),
                load("1").layer(2, 2).done(),
            ],
        )
        .needs([N::Kept, N::Partial]),
        case(
            "unavailable-once",
            FIXED,
            F::UnavailableOnce,
            [load("1").layer(2, 2).event("retry").done()],
        ),
        case(
            "nobody-listens",
            FIXED,
            F::None,
            [load("network").any(0, 0).done()],
        )
        .nobody(),
        case(
            "closed-without-an-answer",
            FIXED,
            F::Dead,
            [load("network").done()],
        ),
    ]
}

fn wrong_ranges() -> Vec<CacheCase> {
    vec![
        case(
            "range-is-ignored",
            FIXED,
            F::CutNoRange,
            [load("1").layer(2, 2).done()],
        ),
        case(
            "206-with-all-of-it",
            FIXED,
            F::Whole206,
            [load("1").layer(2, 3).done()],
        ),
        case(
            "206-that-lies-about-its-beginning",
            FIXED,
            F::Lying206,
            [load("1").layer(3, 3).done()],
        ),
        // Never the wrong bytes; whether a client gives up or begins anew is its own affair.
        case(
            "206-that-begins-too-late",
            FIXED,
            F::Later206,
            [
                load("network").or("1").layer(2, 8).done(),
                set("none"),
                load("1").done(),
            ],
        ),
    ]
}

fn wrong_answers() -> Vec<CacheCase> {
    vec![
        case(
            "redirect-to-another-origin",
            FIXED,
            F::Redirect,
            [load("1").from(F::None).done()],
        ),
        healed("redirect-loop", F::RedirectLoop, load("network")),
        case(
            "not-found-then-found",
            FIXED,
            F::NotFoundOnce,
            [load("1").layer(2, 2).event("retry").done()],
        ),
        healed("not-found", F::NotFound, load("missing_blob").layer(2, 2)),
    ]
}

fn wrong_indexes() -> Vec<CacheCase> {
    let kept = |id: &str, fault: &str| {
        case(
            id,
            FIXED,
            F::None,
            [
                load("1").done(),
                set(fault),
                load("1").layer(0, 0).event("unreachable").done(),
                set("none"),
                load("1").layer(0, 0).done(),
            ],
        )
        .needs([N::Kept])
    };
    let fresh = |id: &str, fault| {
        case(
            id,
            FIXED,
            fault,
            [
                load("invalid_manifest")
                    .or("invalid_json")
                    .or("network")
                    .layer(0, 0)
                    .done(),
                set("none"),
                load("1").done(),
            ],
        )
    };
    vec![
        fresh("html-in-place-of-the-index", F::HtmlIndex),
        fresh("broken-index", F::BrokenIndex),
        kept("html-in-place-of-the-index-that-is-kept", "html-index"),
        kept("broken-index-that-is-kept", "broken-index"),
        case(
            "no-index-then-one",
            FIXED,
            F::NoIndexOnce,
            [load("1").index(2, 2).done()],
        ),
    ]
}

fn slow() -> Vec<CacheCase> {
    vec![
        // Every piece comes long before the time is over, and all of it long after.
        case(
            "slow-drip",
            "drip:1.0.0",
            F::SlowDrip,
            [load("1").layer(1, 1).done()],
        ),
        case(
            "too-slow-a-drip-is-ended-and-gone-on-with",
            "drip:1.0.0",
            F::SlowDrip,
            [load("1")
                .layer(2, 4)
                .resumed(false, u64::MAX)
                .event("retry")
                .done()],
        )
        .stall(300),
        case(
            "stall-once",
            FIXED,
            F::StallOnce,
            [load("1").layer(2, 2).event("retry").done()],
        )
        .stall(400),
        healed("stall", F::Stall, load("network").layer(2, 8)).stall(300),
    ]
}
