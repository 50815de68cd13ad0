//! The state of servers: where it is by default, and two servers on one Redis that is killed.

use std::thread;
use std::time::Duration;

use serde_json::Value as Json;

use crate::follow::server::{pack, predict};
use crate::redis_server::RedisServer;
use crate::server::{Server, get};
use crate::support::Place;

/// A registry with one model.
fn place() -> Place {
    let place = Place::new();
    pack(&place, "1.0.0", "forest", "forest");
    place
}

/// Waits until a server says so of its state, and gives all that it says.
fn until_connected(server: &Server, connected: bool) -> Json {
    for _ in 0..2400 {
        let answer = get(server.port, "/readyz");
        if answer.json["state"]["connected"] == connected {
            assert_eq!(answer.status, 200, "{}", answer.json);
            return answer.json;
        }
        thread::sleep(Duration::from_millis(25));
    }
    panic!("{:#?}", server.log());
}

#[test]
fn two_servers_on_one_redis_go_on_without_it() {
    let Some(mut redis) = RedisServer::with("servers without Redis", &["--requirepass", "s3cret"])
    else {
        return;
    };
    let place = place();
    let address = format!("redis://:s3cret@127.0.0.1:{}/1", redis.port);
    place.write("password", "s3cret\n");
    let without = format!("redis://127.0.0.1:{}/1", redis.port);
    let mut servers = [
        Server::start(&place, &["--state", &address]),
        Server::start(
            &place,
            &["--state", &without, "--state-password-file", "password"],
        ),
    ];
    for server in &mut servers {
        let said = server.wait_for("state", |_| true);
        assert_eq!(
            (&said["kind"], &said["connected"]),
            (&"redis".into(), &true.into())
        );
        assert_eq!(said["server"], format!("127.0.0.1:{}", redis.port));
        let ready = until_connected(server, true);
        assert_eq!(ready["component"], "answers");
        assert_eq!(ready["state"]["kind"], "redis");
        assert_eq!(predict(server.port, "").status, 200);
    }
    redis.kill();
    for server in &mut servers {
        let ready = until_connected(server, false);
        assert_eq!(ready["ready"], true);
        assert!(
            ready["state"]["lost_since"]
                .as_str()
                .unwrap()
                .ends_with('Z')
        );
        server.wait_for("state_lost", |_| true);
        assert_eq!(predict(server.port, "").status, 200);
    }
    // One that begins now, too.
    let late = Server::start(&place, &["--state", &address]);
    assert_eq!(until_connected(&late, false)["component"], "answers");
    assert_eq!(predict(late.port, "").status, 200);
    redis.start_again();
    for server in servers.iter_mut().chain([&mut { late }]) {
        until_connected(server, true);
        server.wait_for("state_back", |_| true);
        // No line says the password.
        let log = format!("{:?}", server.log());
        assert!(!log.contains("s3cret"), "{log}");
    }
}

#[test]
fn by_default_it_is_a_file_of_the_user() {
    let place = place();
    let mut server = Server::start(&place, &[]);
    let said = server.wait_for("state", |_| true);
    let file = said["file"].as_str().unwrap();
    assert!(
        file.starts_with(place.path("state").to_str().unwrap()),
        "{file}"
    );
    assert!(std::fs::metadata(file).unwrap().len() > 0);
    let ready = until_connected(&server, true);
    assert_eq!(
        ready["state"],
        serde_json::json!({"kind": "sqlite", "connected": true})
    );
    drop(server);
    // One for each registry, and the same one again.
    let mut again = Server::start(&place, &[]);
    assert_eq!(again.wait_for("state", |_| true)["file"], file);
}

#[test]
fn a_place_that_cannot_be_is_refused() {
    let place = place();
    let component = crate::server::component();
    let serve = |state: &str, error: &str, code: i32| {
        let arguments = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--no-page",
            "--state",
            state,
            "--component",
        ];
        let said = place.twinfer(&[&arguments[..], &[component.to_str().unwrap()]].concat());
        assert_eq!(said.code, Some(code), "{state}: {}", said.err);
        assert!(said.err.contains(error), "{state}: {}", said.err);
        assert!(!said.err.contains("s3cret"), "{state}: {}", said.err);
    };
    place.write(
        "text",
        "no database, but long enough to look like one. ".repeat(40),
    );
    serve("sqlite:text", "name another file", 4);
    serve(
        "redis://:s3cret@127.0.0.1:port",
        "error[invalid_parameter]: --state",
        1,
    );
    serve("somewhere", "write memory, sqlite:FILE", 2);
}
