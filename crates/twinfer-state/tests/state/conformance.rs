//! What every place does. Each case is given a function that opens the same place once more, as
//! another host would.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use twinfer_state::{ANY, Changes, MAX_KEY_BYTES, MAX_VALUE_BYTES, Rate, State, Sum};

pub type Open<'a> = &'a dyn Fn() -> Arc<dyn State>;

const MINUTE: Duration = Duration::from_secs(60);
/// Noon of some day, in milliseconds since 1970.
const NOON: u64 = 1_795_780_800_000;

/// Runs one case on every place that there is.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        /// The names, and what they do.
        #[allow(unused_macros)]
        macro_rules! conformance {
            ($run:path) => { $( #[test] fn $case() { $run(stringify!($case), |open| Box::pin(crate::conformance::$case(open))); } )* };
        }
        pub(crate) use conformance;
    };
}

cases!(
    documents_have_versions,
    one_of_many_writers_wins,
    a_version_is_never_used_again,
    odd_keys_are_keys,
    keys_are_listed_by_prefix,
    large_values_are_kept,
    what_is_too_large_is_refused,
    counters_count_exactly,
    counters_are_forgotten,
    counters_stay_in_their_range,
    a_merge_counts_once,
    buckets_are_shared,
    buckets_fill_again,
    changes_are_told,
    many_changes_are_told_as_everything,
);

pub async fn documents_have_versions(open: Open<'_>) {
    let (one, two) = (open(), open());
    assert_eq!(one.get("a").await.unwrap(), None);
    assert_eq!(one.put("a", b"1", 7).await.unwrap(), None);
    let first = one.put("a", b"1", 0).await.unwrap().unwrap();
    assert_eq!(two.put("a", b"2", 0).await.unwrap(), None);
    let found = two.get("a").await.unwrap().unwrap();
    assert_eq!((&*found.value, found.version), (&b"1"[..], first));
    let second = two.put("a", b"2", first).await.unwrap().unwrap();
    assert!(second > first);
    assert_eq!(one.put("a", b"3", first).await.unwrap(), None);
    let third = one.put("a", b"", ANY).await.unwrap().unwrap();
    assert!(third > second);
    assert_eq!(two.get("a").await.unwrap().unwrap().value, b"");
    assert!(!two.delete("a", second).await.unwrap());
    assert!(!two.delete("a", 0).await.unwrap());
    assert!(two.delete("a", third).await.unwrap());
    assert_eq!(one.get("a").await.unwrap(), None);
    for expected in [third, 0, ANY] {
        assert!(!one.delete("a", expected).await.unwrap());
    }
    assert!(one.put("a", b"4", ANY).await.unwrap().is_some());
    assert!(two.delete("a", ANY).await.unwrap());
}

pub async fn one_of_many_writers_wins(open: Open<'_>) {
    let mut writers = Vec::new();
    for writer in 0..8 {
        let state = open();
        writers.push(tokio::spawn(async move {
            let mut lost = 0;
            for _ in 0..25 {
                loop {
                    let found = state.get("sum").await.unwrap();
                    let version = found.as_ref().map_or(0, |d| d.version);
                    let text =
                        found.map_or_else(String::new, |d| String::from_utf8(d.value).unwrap());
                    let next = format!("{text}{writer}");
                    if state
                        .put("sum", next.as_bytes(), version)
                        .await
                        .unwrap()
                        .is_some()
                    {
                        break;
                    }
                    lost += 1;
                }
            }
            lost
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let text = open().get("sum").await.unwrap().unwrap().value;
    for writer in b'0'..b'8' {
        let count = text.iter().filter(|byte| **byte == writer).count();
        assert_eq!((count, text.len()), (25, 200));
    }
}

pub async fn a_version_is_never_used_again(open: Open<'_>) {
    let (one, two) = (open(), open());
    let mut versions = BTreeSet::new();
    for number in 0..10 {
        let key = if number % 2 == 0 { "a" } else { "b" };
        assert!(versions.insert(one.put(key, b"x", ANY).await.unwrap().unwrap()));
        assert!(two.delete(key, ANY).await.unwrap());
    }
    // Who read the first one is not fooled by the last, which looks the same.
    one.put("a", b"x", 0).await.unwrap().unwrap();
    assert_eq!(
        two.put("a", b"y", *versions.first().unwrap())
            .await
            .unwrap(),
        None
    );
}

/// Keys that have been trouble somewhere.
fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        " ",
        "\0",
        "a\0b",
        "a\0",
        "a",
        "a:b",
        "a*",
        "a?[x]",
        "%",
        "_",
        "'; DROP TABLE documents",
        "\n\r",
        "ü",
        "u\u{308}",
        "日本",
        "\u{10ffff}",
        "\u{7f}",
        "A",
        "/",
        "../x",
        "{tag}",
        "document:a",
        "keys",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.push("k".repeat(MAX_KEY_BYTES));
    keys.push(format!("{}é", "k".repeat(MAX_KEY_BYTES - 2)));
    keys
}

pub async fn odd_keys_are_keys(open: Open<'_>) {
    let state = open();
    let rate = Rate {
        interval: 600_000,
        burst: 1,
    };
    for (number, key) in odd_keys().iter().enumerate() {
        let value = number.to_string().into_bytes();
        assert!(
            state.put(key, &value, 0).await.unwrap().is_some(),
            "{key:?}"
        );
        assert_eq!(
            state.add(key, number as i64, MINUTE).await.unwrap(),
            number as i64
        );
        assert!(
            state.take(key, rate, NOON).await.unwrap().allowed,
            "{key:?}"
        );
    }
    for (number, key) in odd_keys().iter().enumerate() {
        let found = state.get(key).await.unwrap().unwrap();
        assert_eq!(found.value, number.to_string().into_bytes(), "{key:?}");
        assert!(
            !state.take(key, rate, NOON).await.unwrap().allowed,
            "{key:?}"
        );
    }
    let mut sorted = odd_keys();
    sorted.sort();
    assert_eq!(state.keys("").await.unwrap(), sorted);
    for key in odd_keys() {
        assert!(state.delete(&key, ANY).await.unwrap());
    }
    assert_eq!(state.keys("").await.unwrap(), [""; 0]);
}

pub async fn keys_are_listed_by_prefix(open: Open<'_>) {
    let state = open();
    for key in [
        "a",
        "a/",
        "a/1",
        "a/\u{10ffff}\u{10ffff}",
        "a0",
        "b/1",
        "A/1",
        "a\0",
    ] {
        state.put(key, b"", ANY).await.unwrap().unwrap();
    }
    let all = [
        "A/1",
        "a",
        "a\0",
        "a/",
        "a/1",
        "a/\u{10ffff}\u{10ffff}",
        "a0",
        "b/1",
    ];
    for prefix in ["", "a", "a/", "a/1", "b", "c", "a/\u{10ffff}", "\u{10ffff}"] {
        let expected: Vec<_> = all
            .into_iter()
            .filter(|key| key.starts_with(prefix))
            .collect();
        assert_eq!(state.keys(prefix).await.unwrap(), expected, "{prefix:?}");
    }
}

pub async fn large_values_are_kept(open: Open<'_>) {
    let (one, two) = (open(), open());
    for size in [4 << 20, MAX_VALUE_BYTES] {
        let value: Vec<u8> = (0..size).map(|at| (at * 31 + at / 251) as u8).collect();
        let version = one.put("large", &value, ANY).await.unwrap().unwrap();
        let found = two.get("large").await.unwrap().unwrap();
        assert!(found.value == value && found.version == version);
    }
}

pub async fn what_is_too_large_is_refused(open: Open<'_>) {
    let state = open();
    let rate = Rate {
        interval: 1,
        burst: 1,
    };
    let sum = |counter: &str| Sum {
        counter: counter.to_owned(),
        by: 1,
        expires: MINUTE,
    };
    for key in [String::new(), "k".repeat(MAX_KEY_BYTES + 1)] {
        let errors = [
            state.put(&key, b"", 0).await.unwrap_err(),
            state.add(&key, 1, MINUTE).await.unwrap_err(),
            state
                .merge("m", &[sum("fine"), sum(&key)])
                .await
                .unwrap_err(),
            state.take(&key, rate, NOON).await.unwrap_err(),
        ];
        for error in errors {
            assert!(error.message().contains("1 to 1024 bytes"), "{error}");
            // The place is fine.
            assert!(!error.is_unreachable());
        }
        assert_eq!(state.get(&key).await.unwrap(), None);
        assert!(!state.delete(&key, ANY).await.unwrap());
    }
    // All of a merge or nothing.
    assert_eq!(state.add("fine", 0, MINUTE).await.unwrap(), 0);
    let error = state
        .put("k", &vec![0; MAX_VALUE_BYTES + 1], 0)
        .await
        .unwrap_err();
    assert!(error.message().contains("at most"), "{error}");
    assert_eq!(state.get("k").await.unwrap(), None);
}

pub async fn counters_count_exactly(open: Open<'_>) {
    let mut tasks = Vec::new();
    for task in 0..8 {
        let state = open();
        tasks.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..50 {
                seen.push(state.add("all", 1, MINUTE).await.unwrap());
                state.add(&format!("own {task}"), 2, MINUTE).await.unwrap();
            }
            seen
        }));
    }
    let mut seen = BTreeSet::new();
    for task in tasks {
        seen.extend(task.await.unwrap());
    }
    // Each sum was told once.
    assert_eq!(seen, (1..=400).collect());
    let state = open();
    assert_eq!(state.add("own 3", -1, MINUTE).await.unwrap(), 99);
    assert_eq!(state.keys("").await.unwrap(), [""; 0]);
}

pub async fn counters_are_forgotten(open: Open<'_>) {
    let state = open();
    let short = Duration::from_millis(300);
    assert_eq!(state.add("short", 5, short).await.unwrap(), 5);
    assert_eq!(state.add("long", 5, MINUTE).await.unwrap(), 5);
    // The last one says how long.
    state.add("both", 5, short).await.unwrap();
    state.add("both", 5, MINUTE).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(state.add("short", 1, MINUTE).await.unwrap(), 1);
    assert_eq!(state.add("long", 1, MINUTE).await.unwrap(), 6);
    assert_eq!(state.add("both", 1, MINUTE).await.unwrap(), 11);
    // Times without sense are times.
    assert_eq!(state.add("ever", 1, Duration::MAX).await.unwrap(), 1);
    assert_eq!(state.add("ever", 1, Duration::ZERO).await.unwrap(), 2);
}

pub async fn counters_stay_in_their_range(open: Open<'_>) {
    let state = open();
    assert_eq!(
        state.add("up", i64::MAX - 1, MINUTE).await.unwrap(),
        i64::MAX - 1
    );
    assert_eq!(state.add("up", 1, MINUTE).await.unwrap(), i64::MAX);
    assert_eq!(state.add("up", 1, MINUTE).await.unwrap(), i64::MAX);
    assert_eq!(state.add("up", -1, MINUTE).await.unwrap(), i64::MAX - 1);
    assert_eq!(state.add("down", i64::MIN, MINUTE).await.unwrap(), i64::MIN);
    assert_eq!(state.add("down", -1, MINUTE).await.unwrap(), i64::MIN);
}

pub async fn a_merge_counts_once(open: Open<'_>) {
    let (one, two) = (open(), open());
    let sums = ["a", "b", "a"].map(|counter| Sum {
        counter: counter.into(),
        by: 3,
        expires: MINUTE,
    });
    one.add("a", 1, MINUTE).await.unwrap();
    one.merge("first", &sums).await.unwrap();
    two.merge("first", &sums).await.unwrap();
    assert_eq!(two.add("a", 0, MINUTE).await.unwrap(), 7);
    two.merge("second", &sums[1..2]).await.unwrap();
    assert_eq!(one.add("b", 0, MINUTE).await.unwrap(), 6);
    one.merge("empty", &[]).await.unwrap();
    let many: Vec<Sum> = (0..500)
        .map(|number| Sum {
            counter: format!("many {number}"),
            by: number,
            expires: MINUTE,
        })
        .collect();
    one.merge("many", &many).await.unwrap();
    assert_eq!(two.add("many 499", 1, MINUTE).await.unwrap(), 500);
}

pub async fn buckets_are_shared(open: Open<'_>) {
    let rate = Rate {
        interval: 60_000,
        burst: 20,
    };
    let mut tasks = Vec::new();
    for _ in 0..6 {
        let state = open();
        tasks.push(tokio::spawn(async move {
            let mut allowed = Vec::new();
            for _ in 0..10 {
                let taken = state.take("one", rate, NOON).await.unwrap();
                allowed.extend(taken.allowed.then_some(taken.remaining));
            }
            allowed
        }));
    }
    let mut left = BTreeSet::new();
    let mut count = 0;
    for task in tasks {
        let allowed = task.await.unwrap();
        count += allowed.len();
        left.extend(allowed);
    }
    assert_eq!((count, left), (20, (0..20).collect()));
}

pub async fn buckets_fill_again(open: Open<'_>) {
    let state = open();
    let rate = Rate {
        interval: 100_000,
        burst: 3,
    };
    // As `Rate::take` says, whoever does it.
    let (mut full_at, mut now) = (0, NOON);
    for step in [0, 0, 0, 0, 99, 1, 0, 1_000, 0, 0, 0, 50, 51] {
        now += step * 1000;
        let (expected, next) = rate.take(full_at, now);
        full_at = next;
        assert_eq!(
            state.take("one", rate, now).await.unwrap(),
            expected,
            "{step}"
        );
    }
    // A clock that goes back, and numbers without sense.
    let (expected, _) = rate.take(full_at, NOON - 10_000);
    assert_eq!(
        state.take("one", rate, NOON - 10_000).await.unwrap(),
        expected
    );
    let nonsense = Rate {
        interval: u64::MAX,
        burst: u32::MAX,
    };
    assert!(
        state
            .take("nonsense", nonsense, u64::MAX / 2)
            .await
            .unwrap()
            .allowed
    );
    let nothing = Rate {
        interval: 0,
        burst: 0,
    };
    let taken = state.take("nothing", nothing, NOON).await.unwrap();
    assert_eq!(
        (taken.allowed, taken.remaining, taken.reset_after),
        (true, 0, 1)
    );
}

pub async fn changes_are_told(open: Open<'_>) {
    let (one, two) = (open(), open());
    let start = one.changed("", None).await.unwrap();
    assert_eq!(start.keys, None);
    let since = start.revision;
    let nothing = Changes {
        revision: since,
        keys: Some(Vec::new()),
    };
    assert_eq!(one.changed("", Some(since)).await.unwrap(), nothing);
    for key in ["a/1", "b/1", "a/2", "a/1"] {
        two.put(key, b"x", ANY).await.unwrap();
    }
    two.delete("b/1", ANY).await.unwrap();
    // Not a change: nobody had that version, and counters are no documents.
    two.put("a/3", b"x", 999_999).await.unwrap();
    two.delete("a/4", ANY).await.unwrap();
    two.add("a/5", 1, MINUTE).await.unwrap();
    let changed = one.changed("a/", Some(since)).await.unwrap();
    assert_eq!(changed.keys.unwrap(), ["a/2", "a/1"]);
    let all = one.changed("", Some(since)).await.unwrap();
    assert_eq!(all.keys.unwrap(), ["a/2", "a/1", "b/1"]);
    let found = two.get("a/2").await.unwrap().unwrap();
    let later = one.changed("", Some(found.version)).await.unwrap();
    assert_eq!(later.keys.unwrap(), ["a/1", "b/1"]);
    assert_eq!(
        one.changed("", Some(all.revision))
            .await
            .unwrap()
            .keys
            .unwrap(),
        [""; 0]
    );
    // Of another place, or from before it was emptied.
    for since in [all.revision + 1, u64::MAX] {
        assert_eq!(one.changed("", Some(since)).await.unwrap().keys, None);
    }
}

pub async fn many_changes_are_told_as_everything(open: Open<'_>) {
    let state = open();
    let first = state.put("first", b"", ANY).await.unwrap().unwrap();
    // Written at once, so that it does not take long.
    let writes = (0..1_200).map(|number| {
        let state = state.clone();
        async move { state.put(&format!("{number}"), b"", ANY).await.unwrap() }
    });
    let writes = writes.collect::<Vec<_>>();
    let mut last = 0;
    for written in futures_util::future::join_all(writes).await {
        last = last.max(written.unwrap());
    }
    assert_eq!(state.changed("", Some(first)).await.unwrap().keys, None);
    let recent = state.changed("", Some(last - 5)).await.unwrap();
    assert_eq!((recent.keys.unwrap().len(), recent.revision), (5, last));
}
