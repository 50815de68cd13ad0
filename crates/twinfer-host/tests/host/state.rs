//! The state of hosts: health, and stores of guests in it.

use std::sync::Arc;
use std::time::Duration;

use twinfer_state::{RedisOptions, RedisState, Resilient, ResilientOptions, State};

use crate::redis_server::RedisServer;
use crate::support::Fixture;

const HOUR: Duration = Duration::from_secs(3600);

pub fn on(server: &RedisServer) -> Arc<dyn State> {
    let options = RedisOptions {
        timeout: Duration::from_millis(500),
        ..RedisOptions::default()
    };
    let redis = RedisState::new(&server.address(), options).unwrap();
    Arc::new(Resilient::start(redis, ResilientOptions::default()).unwrap())
}

#[test]
fn health_says_whether_requests_are_answered() {
    // Of this guest every address of its own answers, and the one of the probe does not.
    let fixture = Fixture::new(|config| config.limits.max_instances = 1);
    let ready = fixture.get("/readyz");
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert_eq!(ready.header("content-type"), Some("application/json"));
    let json = ready.json();
    assert_eq!(
        (&json["ready"], &json["component"]),
        (&false.into(), &"fails".into())
    );
    assert_eq!(
        json["state"],
        serde_json::json!({"kind": "memory", "connected": true})
    );
    // It is busy, which is no reason to take requests away from it.
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| fixture.get("/v2/sleep?6000").status);
        fixture.wait_until_begun();
        let ready = fixture.get("/readyz");
        assert_eq!(
            (ready.status, ready.json()["component"].as_str()),
            (200, Some("busy"))
        );
        // The host is alive all the same, for who asks only that.
        fixture.get("/healthz").expect_text("ok\n");
        assert_eq!(busy.join().unwrap(), 200);
    });
}

#[test]
fn two_hosts_count_together_and_go_on_without_redis() {
    let Some(mut server) = RedisServer::start("hosts without Redis") else {
        return;
    };
    let (a, b) = (on(&server), on(&server));
    let host = |state: &Arc<dyn State>| {
        let state = state.clone();
        Fixture::new(move |config| config.state = state)
    };
    let hosts = [host(&a), host(&b)];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let add = |state: &Arc<dyn State>, by| runtime.block_on(state.add("count", by, HOUR)).unwrap();
    runtime
        .block_on(a.put("document", b"1", 0))
        .unwrap()
        .unwrap();
    let read = |state: &Arc<dyn State>| runtime.block_on(state.get("document")).unwrap().unwrap();
    assert_eq!(
        (read(&a).value, read(&b).value),
        (b"1".to_vec(), b"1".to_vec())
    );
    assert_eq!((add(&a, 1), add(&b, 2)), (1, 3));
    let connected = |host: &Fixture| host.get("/readyz").json()["state"]["connected"].clone();
    let wait = |expected: bool| {
        for host in &hosts {
            while connected(host) != expected {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    };
    wait(true);
    server.kill();
    wait(false);
    for host in &hosts {
        // It answers, and says what it goes on from.
        assert_eq!(host.get("/v2/served").status, 200);
    }
    assert_eq!(
        (read(&a).value, read(&b).value),
        (b"1".to_vec(), b"1".to_vec())
    );
    assert_eq!((add(&a, 10), add(&b, 20)), (11, 23));
    let state = hosts[0].get("/readyz").json()["state"].clone();
    assert_eq!(
        (&state["pending_counters"], &state["kind"]),
        (&1.into(), &"redis".into())
    );
    server.start_again();
    wait(true);
    assert_eq!((add(&a, 0), add(&b, 0)), (33, 33));
    let version = read(&a).version;
    runtime
        .block_on(b.put("document", b"2", version))
        .unwrap()
        .unwrap();
    assert_eq!(read(&a).value, b"2");
}
