//! Going on when the place is gone, with a Redis that is killed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use twinfer_state::{
    ANY, Event, EventSink, Rate, RedisOptions, RedisState, Resilient, ResilientOptions, State,
};

use crate::redis_server::RedisServer;

const HOUR: Duration = Duration::from_secs(3600);
const RATE: Rate = Rate {
    interval: 3_600_000,
    burst: 10,
};

/// A host's state, and what it said.
struct Host {
    state: Resilient<RedisState>,
    events: Arc<Mutex<Vec<Event>>>,
}

fn host(server: &RedisServer, copy: Option<PathBuf>) -> Host {
    let redis = RedisOptions {
        timeout: Duration::from_millis(500),
        ..RedisOptions::default()
    };
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = events.clone();
    let options = ResilientOptions {
        copy,
        events: EventSink::new(move |event| sink.lock().unwrap().push(event.clone())),
    };
    let place = RedisState::new(&server.address(), redis).unwrap();
    Host {
        state: Resilient::start(place, options).unwrap(),
        events,
    }
}

impl Host {
    async fn until(&self, connected: bool) {
        for _ in 0..1200 {
            // It is told a moment later.
            let told = match connected {
                true => Some("state_back"),
                false => Some("state_lost"),
            };
            if self.state.status().connected == connected && self.events().pop() == told {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{:?}", self.state.status());
    }

    async fn count(&self, by: i64) -> i64 {
        self.state.add("count", by, HOUR).await.unwrap()
    }

    fn events(&self) -> Vec<&'static str> {
        let events = self.events.lock().unwrap();
        events.iter().map(Event::name).collect()
    }
}

#[tokio::test]
async fn two_hosts_go_on_alone_and_are_one_again() {
    let Some(mut server) = RedisServer::start("hosts without Redis") else {
        return;
    };
    let (one, two) = (host(&server, None), host(&server, None));
    assert!(one.state.status().connected && one.events().is_empty());
    let version = one.state.put("d/a", b"1", 0).await.unwrap().unwrap();
    one.state.put("d/unread", b"1", 0).await.unwrap();
    assert_eq!(
        two.state.get("d/a").await.unwrap().unwrap().version,
        version
    );
    assert_eq!(two.state.get("d/none").await.unwrap(), None);
    assert_eq!((one.count(5).await, two.count(2).await), (5, 7));
    for _ in 0..6 {
        assert!(two.state.take("client", RATE, 1).await.unwrap().allowed);
    }

    server.kill();
    // Without a call too: health says so to whoever asks.
    one.until(false).await;
    two.until(false).await;
    let status = two.state.status();
    assert!(status.lost_since.is_some() && status.kind == "redis");
    // Documents: what is known, and nothing else.
    for host in [&one, &two] {
        let known = host.state.get("d/a").await.unwrap().unwrap();
        assert_eq!((&*known.value, known.version), (&b"1"[..], version));
        let errors = [
            host.state.put("d/a", b"2", version).await.unwrap_err(),
            host.state.delete("d/a", ANY).await.unwrap_err(),
            host.state.changed("", None).await.unwrap_err(),
        ];
        assert!(
            errors.iter().all(|error| error.is_unreachable()),
            "{errors:?}"
        );
    }
    assert_eq!(one.state.keys("d/").await.unwrap(), ["d/a", "d/unread"]);
    assert_eq!(two.state.keys("d/").await.unwrap(), ["d/a"]);
    assert_eq!(two.state.get("d/none").await.unwrap(), None);
    let error = two.state.get("d/unread").await.unwrap_err();
    assert!(
        error.message().contains("has not read `d/unread`"),
        "{error}"
    );
    // Counters go on from the last sum that is known, buckets from what is left in them.
    assert_eq!(
        (one.count(1).await, one.count(1).await, two.count(10).await),
        (6, 7, 17)
    );
    let mut allowed = 0;
    for _ in 0..10 {
        allowed += u32::from(two.state.take("client", RATE, 1).await.unwrap().allowed);
    }
    assert_eq!(allowed, 4);
    assert_eq!(one.state.status().pending, 1);
    let error = one.state.add("", 1, HOUR).await.unwrap_err();
    assert!(!error.is_unreachable(), "{error}");

    server.start_again();
    one.until(true).await;
    two.until(true).await;
    // Each added what it had.
    assert_eq!((one.count(0).await, two.count(0).await), (19, 19));
    assert_eq!(one.state.status().pending, 0);
    let next = one.state.put("d/a", b"3", version).await.unwrap().unwrap();
    assert_eq!(two.state.get("d/a").await.unwrap().unwrap().version, next);
    for host in [&one, &two] {
        assert_eq!(host.events(), ["state_lost", "state_back"]);
    }
    let events = one.events.lock().unwrap().clone();
    assert!(
        matches!(&events[0], Event::Lost { reason } if reason.contains("127.0.0.1")),
        "{events:?}"
    );
    assert!(
        matches!(events[1], Event::Back { merged: 1, .. }),
        "{events:?}"
    );
}

#[tokio::test]
async fn documents_are_known_after_a_restart_without_redis() {
    let Some(mut server) = RedisServer::start("a restart without Redis") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.sqlite");
    let first = host(&server, Some(copy.clone()));
    first.state.put("a", b"1", 0).await.unwrap();
    first.state.put("a", b"2", ANY).await.unwrap();
    first.state.put("deleted", b"1", 0).await.unwrap();
    assert!(first.state.delete("deleted", ANY).await.unwrap());
    server.kill();
    drop(first);

    let second = host(&server, Some(copy));
    assert_eq!(second.events(), ["state_lost"]);
    assert_eq!(second.state.get("a").await.unwrap().unwrap().value, b"2");
    assert_eq!(second.state.get("deleted").await.unwrap(), None);
    assert_eq!(second.count(3).await, 3);
    server.start_again();
    second.until(true).await;
    assert_eq!(second.count(0).await, 3);
    assert_eq!(second.events(), ["state_lost", "state_back"]);
}

#[tokio::test]
async fn a_server_that_can_only_be_read_is_gone_until_it_can_be_written_to() {
    let Some(server) = RedisServer::start("a Redis that becomes full") else {
        return;
    };
    let host = host(&server, None);
    host.count(1).await;
    server.say(&["config", "set", "maxmemory", "1"]);
    // Not an error: it is counted here.
    assert_eq!(host.count(1).await, 2);
    assert!(!host.state.status().connected);
    // Several looks later it still is.
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(host.events(), ["state_lost"]);
    server.say(&["config", "set", "maxmemory", "0"]);
    host.until(true).await;
    assert_eq!(server.say(&["get", "twinfer:counter:count"]), "2");
    assert_eq!(host.events(), ["state_lost", "state_back"]);
}

#[tokio::test]
async fn under_load_each_count_is_there_once_and_none_fails() {
    let Some(mut server) = RedisServer::start("counting while Redis is killed") else {
        return;
    };
    let host = Arc::new(host(&server, None));
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let host = host.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..400 {
                host.count(1).await;
                host.state.take("client", RATE, 1).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }));
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.kill();
        host.until(false).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.start_again();
        host.until(true).await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    while host.state.status().pending > 0 {
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let sum: i64 = server
        .say(&["get", "twinfer:counter:count"])
        .parse()
        .unwrap();
    // What was under way at a kill, one call for each task, may be there twice.
    assert!((1600..=1600 + 2 * 4).contains(&sum), "{sum}");
}

#[test]
fn a_copy_that_cannot_be_kept_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let options = ResilientOptions {
        copy: Some(file.join("copy.sqlite")),
        ..ResilientOptions::default()
    };
    let started = Resilient::start(twinfer_state::MemoryState::new(), options);
    assert!(started.err().unwrap().message().contains("copy.sqlite"));
}
