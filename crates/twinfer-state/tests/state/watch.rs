//! Following what other hosts change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use twinfer_state::{ANY, MemoryState, RedisOptions, RedisState, SqliteState, State, Watch};

use crate::redis_server::RedisServer;

/// Two hosts at one place: one changes, the other is told.
async fn follows(one: Arc<dyn State>, two: Arc<dyn State>) {
    one.put("d/before", b"1", ANY).await.unwrap();
    let mut watch = Watch::new(two.clone(), "d/");
    assert_eq!(watch.next().await.keys, None);
    for (key, value) in [("d/a", b"1"), ("d/b", b"2"), ("d/a", b"3")] {
        let changing = one.clone();
        let change = tokio::spawn(async move {
            // While the other waits already, and beside what it does not want to know.
            tokio::time::sleep(Duration::from_millis(100)).await;
            changing.put("other", b"x", ANY).await.unwrap();
            changing.put(key, value, ANY).await.unwrap();
            Instant::now()
        });
        let changes = tokio::time::timeout(Duration::from_secs(60), watch.next()).await;
        assert_eq!(changes.unwrap().keys.unwrap(), [key]);
        assert_eq!(two.get(key).await.unwrap().unwrap().value, value);
        change.await.unwrap();
    }
    one.delete("d/b", ANY).await.unwrap();
    one.put("d/a", b"4", ANY).await.unwrap();
    assert_eq!(watch.next().await.keys.unwrap(), ["d/b", "d/a"]);
    // Nothing is missed when waiting is given up.
    let waited = tokio::time::timeout(Duration::from_millis(400), watch.next()).await;
    assert!(waited.is_err());
    one.put("d/c", b"5", ANY).await.unwrap();
    assert_eq!(watch.next().await.keys.unwrap(), ["d/c"]);
}

#[tokio::test]
async fn in_memory() {
    let state: Arc<dyn State> = Arc::new(MemoryState::new());
    follows(state.clone(), state).await;
}

#[tokio::test]
async fn an_empty_place_is_followed_from_its_first_document() {
    let state: Arc<dyn State> = Arc::new(MemoryState::new());
    let mut watch = Watch::new(state.clone(), "").every(Duration::from_millis(10));
    assert_eq!(watch.next().await.keys, None);
    state.put("first", b"", ANY).await.unwrap();
    assert_eq!(watch.next().await.keys.unwrap(), ["first"]);
}

#[tokio::test]
async fn through_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.sqlite");
    let open = || Arc::new(SqliteState::open(&file).unwrap());
    follows(open(), open()).await;
}

#[tokio::test]
async fn through_redis_and_after_it_was_gone_or_emptied() {
    let Some(mut server) = RedisServer::start("watching Redis") else {
        return;
    };
    let options = || RedisOptions {
        timeout: Duration::from_millis(500),
        ..RedisOptions::default()
    };
    let address = server.address();
    let open = || Arc::new(RedisState::new(&address, options()).unwrap());
    follows(open(), open()).await;

    let state = open();
    let mut watch = Watch::new(open(), "d/");
    assert_eq!(watch.next().await.keys, None);
    server.kill();
    let mut begun = Watch::new(open(), "d/");
    // Whoever begins now reads what is known, and is told when it is back.
    assert_eq!(begun.next().await.keys, None);
    assert!(
        tokio::time::timeout(Duration::from_millis(600), watch.next())
            .await
            .is_err()
    );
    server.start_again();
    assert_eq!(watch.next().await.keys, None);
    assert_eq!(begun.next().await.keys, None);
    // This connection too finds out that it has ended.
    while state.put("d/after", b"", ANY).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(watch.next().await.keys.unwrap(), ["d/after"]);
    server.say(&["flushall"]);
    assert_eq!(watch.next().await.keys, None);
}
