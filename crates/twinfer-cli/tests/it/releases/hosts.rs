//! Several servers, and servers that are killed.

use std::time::Instant;

use serde_json::Value as Json;

use super::world::{World, until_in_force};
use crate::redis_server::RedisServer;
use crate::server::{PATIENCE, Server};

#[test]
fn a_release_on_one_server_is_followed_by_the_other() {
    let Some(redis) = RedisServer::start("releases on two servers") else {
        return;
    };
    let address = redis.address();
    let world = World::new(&["--state", &address]);
    let other = Server::start(&world.place, &["--state", &address]);
    for (turn, version) in (1..=10).zip(["1.0.0", "2.0.0"].into_iter().cycle()) {
        world.deploy(&["apply", &format!("risk:{version}")]);
        let begin = Instant::now();
        until_in_force(&other, other.port, "risk", turn);
        eprintln!("followed after {:?}", begin.elapsed());
        let answer = crate::follow::server::predict(other.port, "");
        assert_eq!(answer.json["model_version"], version);
    }
    // And back.
    world.deploy(&["rollback", "risk"]);
    until_in_force(&other, other.port, "risk", 9);
    // The command line may change the state by itself as well.
    let told = world
        .place
        .json(&["deploy", "rollback", "risk", "--state", &address]);
    assert_eq!(told["revision"], 12);
    until_in_force(&other, other.port, "risk", 8);
    until_in_force(&world.server, world.port(), "risk", 8);
}

#[test]
fn a_server_that_is_killed_in_a_step_leaves_a_whole_document() {
    let world = World::new(&["--state", "sqlite:shared.sqlite"]);
    let steps: Vec<String> = (1..=40).map(|step| format!("{step}%:0s")).collect();
    let steps = steps.join(",");
    let state = ["--state", "sqlite:shared.sqlite"];
    let deploy = |arguments: &[&str]| -> Json {
        world.place.json(&[&["deploy"], arguments, &state].concat())
    };
    deploy(&["apply", "risk:1.0.0"]);
    until_in_force(&world.server, world.port(), "risk", 1);
    for turn in 0..3 {
        let version = ["2.0.0", "1.0.0"][turn % 2];
        let mut doomed = Server::start(&world.place, &state);
        deploy(&["apply", &format!("risk:{version}"), "--canary", &steps]);
        // Both move it: whoever is first.
        let at = 5 + turn as u64 * 3;
        let begin = Instant::now();
        while deploy(&["status", "risk"])["deployment"]["status"]["step"].as_u64() < Some(at) {
            assert!(begin.elapsed() < PATIENCE);
        }
        doomed.kill();
        let status = deploy(&["status", "risk"]);
        assert!(status["revision"].as_u64().unwrap() > at, "{status:#}");
        // The other one brings it to its end.
        while deploy(&["status", "risk"])["phase"] != "promoted" {
            assert!(begin.elapsed() < PATIENCE);
        }
        let status = deploy(&["status", "risk"]);
        assert_eq!(status["deployment"]["variants"][0]["version"], version);
        let revision = status["deployment"]["revision"].as_u64().unwrap();
        until_in_force(&world.server, world.port(), "risk", revision);
        assert_eq!(world.predict("").version(), Some(version));
    }
}
