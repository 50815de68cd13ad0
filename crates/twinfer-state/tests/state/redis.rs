//! What is special of Redis: it is killed, hangs, is full, wants a password.

use std::time::Duration;

use twinfer_state::{ANY, Rate, RedisOptions, RedisState, Result, State, StateError};

use crate::redis_server::RedisServer;

const HOUR: Duration = Duration::from_secs(3600);

fn hasty() -> RedisOptions {
    RedisOptions {
        timeout: Duration::from_millis(500),
        ..RedisOptions::default()
    }
}

/// Until it works again; the errors meanwhile are those of a place that is gone.
async fn until_back<T, F: Future<Output = Result<T>>>(mut call: impl FnMut() -> F) -> T {
    for _ in 0..1200 {
        match call().await {
            Ok(done) => return done,
            Err(error) => assert!(error.is_unreachable(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not come back");
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_when_redis_is_killed() {
    let Some(mut server) = RedisServer::start("killing Redis") else {
        return;
    };
    let address = server.address();
    let open = || RedisState::new(&address, hasty()).unwrap();
    let mut writers = Vec::new();
    for writer in 0..4 {
        let state = open();
        writers.push(tokio::spawn(async move {
            let (mut counted, mut refused, mut last) = (0, 0, 0);
            for number in 1..=300_i64 {
                match state.add("all", 1, HOUR).await {
                    Ok(_) => counted += 1,
                    Err(error) => {
                        assert!(error.is_unreachable(), "{error}");
                        refused += 1;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                let text = number.to_string();
                let key = format!("last {writer}");
                let put = state.put(&key, text.as_bytes(), ANY);
                if put.await.is_ok() {
                    last = number;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (counted, refused, last)
        }));
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.start_again();
    }
    let state = open();
    let (mut counted, mut refused) = (0, 0);
    for (writer, task) in writers.into_iter().enumerate() {
        let (c, r, last) = task.await.unwrap();
        (counted, refused) = (counted + c, refused + r);
        let document = until_back(|| async { state.get(&format!("last {writer}")).await }).await;
        let text = String::from_utf8(document.unwrap().value).unwrap();
        let found: i64 = text.parse().unwrap();
        assert!(found >= last, "{found}, and {last} was acknowledged");
    }
    let sum = until_back(|| state.add("all", 0, HOUR)).await;
    assert!(refused > 0, "it was not killed");
    // What was under way may have counted though nobody heard of it.
    assert!(
        (counted..=counted + refused).contains(&sum),
        "{sum}: {counted}, {refused}"
    );
}

#[tokio::test]
async fn a_server_that_hangs_is_gone_after_a_while() {
    let Some(server) = RedisServer::start("a Redis that hangs") else {
        return;
    };
    let state = RedisState::new(&server.address(), hasty()).unwrap();
    state.put("a", b"1", ANY).await.unwrap();
    server.signal("-STOP");
    let error = state.get("a").await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    server.signal("-CONT");
    let found = until_back(|| state.get("a")).await;
    assert_eq!(found.unwrap().value, b"1");
}

#[tokio::test]
async fn a_server_that_is_full_or_a_replica_refuses_and_says_why() {
    let Some(server) = RedisServer::start("a Redis that is full") else {
        return;
    };
    let state = RedisState::new(&server.address(), hasty()).unwrap();
    state.put("a", b"1", ANY).await.unwrap();
    let refused = |error: StateError, why: &str| {
        assert!(
            error.is_unreachable() && error.message().contains(why),
            "{error}"
        );
    };
    server.say(&["config", "set", "maxmemory", "1"]);
    refused(state.put("a", b"2", ANY).await.unwrap_err(), "OOM");
    refused(state.add("c", 1, HOUR).await.unwrap_err(), "OOM");
    assert_eq!(state.get("a").await.unwrap().unwrap().value, b"1");
    server.say(&["config", "set", "maxmemory", "0"]);
    server.say(&["config", "set", "replica-serve-stale-data", "yes"]);
    server.say(&["replicaof", "127.0.0.1", "1"]);
    refused(state.put("a", b"2", ANY).await.unwrap_err(), "READONLY");
    server.say(&["replicaof", "no", "one"]);
    assert!(state.put("a", b"2", ANY).await.unwrap().is_some());
}

#[tokio::test]
async fn a_password_is_used_and_never_shown() {
    let Some(server) = RedisServer::with("a Redis with a password", &["--requirepass", "s3cret"])
    else {
        return;
    };
    let port = server.port;
    let with = |address: String, password: Option<&str>| {
        let options = RedisOptions {
            password: password.map(str::to_owned),
            ..hasty()
        };
        assert!(!format!("{options:?}").contains("s3cret"));
        RedisState::new(&address, options).unwrap()
    };
    for state in [
        with(format!("redis://127.0.0.1:{port}"), Some("s3cret")),
        with(format!("redis://:s3cret@127.0.0.1:{port}"), None),
        with(
            format!("redis://default:s3cret@127.0.0.1:{port}"),
            Some("another"),
        ),
    ] {
        assert!(state.put("a", b"1", ANY).await.unwrap().is_some());
        assert_eq!(state.server(), format!("127.0.0.1:{port}"));
    }
    for password in [None, Some("s3cret-wrong")] {
        let state = with(format!("redis://127.0.0.1:{port}"), password);
        let error = state.get("a").await.unwrap_err();
        assert!(
            error.is_unreachable() && !error.message().contains("s3cret"),
            "{error}"
        );
    }
    let nowhere = with("redis://:s3cret@127.0.0.1:1".into(), None);
    let error = nowhere.get("a").await.unwrap_err();
    assert!(
        error.is_unreachable() && !error.message().contains("s3cret"),
        "{error}"
    );
    assert!(error.message().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn an_address_that_is_none_is_refused_without_repeating_it() {
    for address in [
        "",
        "localhost",
        "http://:s3cret@host",
        "redis://:s3cret@host:port",
        "redis://:s3cret@host/x",
    ] {
        let error = RedisState::new(address, hasty()).err().unwrap();
        assert!(error.message().contains("redis://HOST"), "{error}");
        assert!(!error.message().contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn buckets_go_by_the_clock_of_the_server() {
    let Some(server) = RedisServer::start("the clock of Redis") else {
        return;
    };
    let state = RedisState::new(&server.address(), RedisOptions::default()).unwrap();
    let rate = Rate {
        interval: 60_000,
        burst: 2,
    };
    // Hosts whose clocks are hours apart.
    let mut allowed = Vec::new();
    for now in [0, 7_200_000, 3_600_000, u64::MAX] {
        allowed.push(state.take("one", rate, now).await.unwrap().allowed);
    }
    assert_eq!(allowed, [true, true, false, false]);
    let left = state.take("one", rate, 0).await.unwrap();
    assert!((1..=60_000).contains(&left.retry_after), "{left:?}");
}

#[tokio::test]
async fn prefixes_keep_states_apart() {
    let Some(server) = RedisServer::start("prefixes in Redis") else {
        return;
    };
    let with = |prefix: &str| {
        let options = RedisOptions {
            prefix: prefix.into(),
            ..RedisOptions::default()
        };
        RedisState::new(&server.address(), options).unwrap()
    };
    let (one, two) = (with("one:"), with("two:"));
    one.put("a", b"1", ANY).await.unwrap();
    one.add("c", 1, HOUR).await.unwrap();
    assert_eq!(two.get("a").await.unwrap(), None);
    assert_eq!(two.keys("").await.unwrap(), [""; 0]);
    assert_eq!(two.add("c", 1, HOUR).await.unwrap(), 1);
    let names = server.say(&["keys", "*"]);
    assert!(
        names
            .lines()
            .all(|name| name.starts_with("one:") || name.starts_with("two:"))
    );
    // What belongs to clients ends by itself.
    let ttl: i64 = server.say(&["pttl", "one:counter:c"]).parse().unwrap();
    assert!((1..=3_600_000).contains(&ttl));
}
