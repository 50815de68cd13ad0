//! serve follows its registry: what changes there is tested, then served, and no request is
//! lost; what fails is not served.

pub mod observe;
pub mod server;

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};

use self::server::{StaticHost, expected, pack, predict, wait_for_version};
use crate::server::{Server, get};
use crate::support::Place;

const STABLE: &str = "/versions/stable";

fn move_stable(place: &Place, version: &str) {
    place.good(&["tag", &format!("risk:{version}"), "stable"]);
}

/// Two versions that answer differently, and `stable` on the first.
fn two_versions() -> Place {
    let place = Place::new();
    pack(&place, "1.0.0", "mlp", "mlp");
    pack(&place, "2.0.0", "forest", "forest");
    move_stable(&place, "1.0.0");
    place
}

/// Whether this is an answer of one of the two versions, with its probability.
fn is_of(answer: &Json) -> Option<&str> {
    let version = answer["model_version"].as_str()?;
    let model = match version {
        "1.0.0" => "mlp",
        "2.0.0" => "forest",
        _ => return None,
    };
    let probability = answer["outputs"]["probabilities"]["1"].as_f64()?;
    ((probability - expected(model)).abs() < 1e-5).then_some(version)
}

#[test]
fn a_tag_that_moves_under_load_loses_no_request() {
    let place = two_versions();
    let mut server = Server::start(&place, &[]);
    let (port, done) = (server.port, AtomicBool::new(false));
    let (mut versions, mut requests) = (BTreeSet::new(), 0);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        let answer = predict(port, STABLE);
                        let version = is_of(&answer.json).map(str::to_owned);
                        assert!(
                            answer.status == 200 && version.is_some(),
                            "{} {}",
                            answer.status,
                            answer.json
                        );
                        seen.extend(version);
                    }
                    seen
                })
            })
            .collect();
        for turn in 0..20 {
            let version = ["2.0.0", "1.0.0"][turn % 2];
            move_stable(&place, version);
            for _ in 0..30_000 {
                if server.events("updated").len() > turn {
                    break;
                }
                assert!(clients.iter().all(|client| !client.is_finished()));
                thread::sleep(Duration::from_millis(10));
            }
        }
        move_stable(&place, "2.0.0");
        wait_for_version(&server, STABLE, "2.0.0");
        // It is told after the first answers of the new version.
        for _ in 0..30_000 {
            if server.events("updated").len() > 20 {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        done.store(true, Ordering::Relaxed);
        for client in clients {
            let seen = client.join().unwrap();
            requests += seen.len();
            versions.extend(seen);
        }
    });
    assert_eq!(server.events("updated").len(), 21);
    assert_eq!(versions.len(), 2, "{versions:?}");
    assert!(requests > 100, "{requests}");
    // The instances were prepared beforehand, not replaced.
    assert_eq!(server.events("instance_replaced"), Vec::<Json>::new());
    let failures = |line: &Json| line["event"] == "request" && line["status"] != 200;
    assert!(!server.log().iter().any(failures));
    let updated = server.wait_for("updated", |_| true);
    assert_eq!(updated["reference"], "risk:stable");
    assert_ne!(updated["from"], updated["to"]);
    #[cfg(unix)]
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_version_that_fails_its_examples_is_refused_until_it_is_mended() {
    let place = Place::new();
    pack(&place, "1.0.0", "mlp", "mlp");
    move_stable(&place, "1.0.0");
    let mut server = Server::start(&place, &[]);
    let port = server.port;
    let bad = pack(&place, "2.0.0", "forest", "mlp");
    move_stable(&place, "2.0.0");
    let refused = server.wait_for("update_refused", |_| true);
    assert_eq!(
        (&refused["code"], &refused["digest"], &refused["level"]),
        (&json!("self_test_failed"), &json!(bad), &json!("error"))
    );
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("golden examples failed")
    );
    // A name stays as a whole, for everybody who reads the approved index.
    let answer = predict(port, STABLE).json;
    assert_eq!(is_of(&answer), Some("1.0.0"), "{answer}");
    assert_eq!(is_of(&predict(port, "").json), Some("1.0.0"));
    assert_eq!(get(port, "/v2/models/risk/versions/2.0.0").status, 404);
    assert_eq!(
        get(port, &format!("/v2/models/risk/versions/{bad}")).status,
        404
    );
    let index = get(port, "/registry/index.json").json;
    assert!(!index.to_string().contains(&bad), "{index}");
    // Said once for a state of the registry, though it is looked at again and again.
    thread::sleep(Duration::from_millis(500));
    let all = server.events("update_refused");
    assert!(all.len() <= 2, "{all:#?}");
    // A restart does not let it in either.
    drop(server);
    let mut server = Server::start(&place, &[]);
    server.wait_for("update_refused", |line| line["code"] == "self_test_failed");
    assert_eq!(is_of(&predict(server.port, STABLE).json), Some("1.0.0"));
    // Mended, and pushed again.
    let good = pack(&place, "2.0.0", "forest", "forest");
    move_stable(&place, "2.0.0");
    let updated = server.wait_for("updated", |line| line["reference"] == "risk:stable");
    assert_eq!(updated["to"], good);
    let answer = predict(server.port, STABLE).json;
    assert_eq!(is_of(&answer), Some("2.0.0"), "{answer}");
}

#[cfg(unix)]
#[test]
fn a_damaged_layer_is_refused_and_taken_once_it_is_whole() {
    let place = Place::new();
    pack(&place, "1.0.0", "mlp", "mlp");
    let mut server = Server::start(&place, &["--poll", "0"]);
    pack(&place, "2.0.0", "forest", "forest");
    let blob = place.blob(&place.layer("risk:2.0.0", "model.onnx"));
    let whole = fs::read(&blob).unwrap();
    let mut damaged = whole.clone();
    damaged[1000] ^= 1;
    fs::write(&blob, damaged).unwrap();
    // Without polling, nothing happens until somebody asks for it.
    thread::sleep(Duration::from_millis(300));
    assert_eq!(server.events("update_refused"), Vec::<Json>::new());
    server.signal("-HUP");
    let refused = server.wait_for("update_refused", |_| true);
    assert_eq!(
        (&refused["code"], &refused["retried"]),
        (&json!("digest_mismatch"), &json!(true))
    );
    assert_eq!(is_of(&predict(server.port, "").json), Some("1.0.0"));
    fs::write(&blob, whole).unwrap();
    server.signal("-HUP");
    server.wait_for("updated", |line| line["reference"] == "risk:2.0.0");
    assert_eq!(is_of(&predict(server.port, "").json), Some("2.0.0"));
    assert_eq!(server.end(), Some(0));
}

#[test]
fn the_trust_policy_holds_for_what_comes_later() {
    let place = Place::new();
    pack(&place, "1.0.0", "mlp", "mlp");
    place.good(&["keygen", "release.key"]);
    let policy = place.good(&["policy", "--key", "release.key.pub", "--signed-tags"]);
    place.write("policy.json", policy);
    let sign = |version: &str| {
        place.good(&["sign", &format!("risk:{version}"), "--key", "release.key"]);
        let tags = ["sign-tags", "risk", "--key", "release.key", "--days", "1"];
        place.good(&[&tags[..], &["--trust", "policy.json"]].concat());
    };
    sign("1.0.0");
    let old = fs::read(place.path("registry/index.json")).unwrap();
    let mut server = Server::start(&place, &["--trust", "policy.json"]);
    let port = server.port;
    assert_eq!(is_of(&predict(port, "").json), Some("1.0.0"));
    pack(&place, "2.0.0", "forest", "forest");
    let refused = server.wait_for("update_refused", |_| true);
    assert_eq!(refused["reference"], "risk:2.0.0", "{refused}");
    assert_eq!(is_of(&predict(port, "").json), Some("1.0.0"));
    sign("2.0.0");
    server.wait_for("updated", |line| line["reference"] == "risk:2.0.0");
    assert_eq!(is_of(&predict(port, "").json), Some("2.0.0"));
    // Somebody puts the old list back: that is no removal of 2.0.0 that anybody signed.
    place.write("registry/index.json", old);
    let replayed = server.wait_for("update_refused", |line| line["code"] == "index_replayed");
    assert_eq!(replayed["reference"], "risk:1.0.0");
    assert_eq!(predict(port, "/versions/1.0.0").status, 200);
}

#[test]
fn what_is_taken_away_is_gone_and_what_is_new_is_there() {
    let place = two_versions();
    place.pack("tumour-risk");
    let mut server = Server::start(&place, &["--model", "risk:1.0.0", "--model", "risk:stable"]);
    let port = server.port;
    let models = get(port, "/v2/models").json;
    assert_eq!(models["models"].as_array().unwrap().len(), 1, "{models}");
    assert_eq!(get(port, "/v2/models/risk/versions/2.0.0").status, 404);
    place.good(&["rm", "risk:1.0.0", "--force"]);
    server.wait_for("removed", |line| line["reference"] == "risk:1.0.0");
    assert_eq!(get(port, "/v2/models/risk/versions/1.0.0").status, 404);
    assert_eq!(is_of(&predict(port, STABLE).json), Some("1.0.0"));
    // An index that cannot be read changes nothing, and is said once.
    let index = fs::read(place.path("registry/index.json")).unwrap();
    place.write("registry/index.json", "{");
    server.wait_for("source_unreachable", |line| {
        line["code"] == "invalid_manifest"
    });
    assert_eq!(is_of(&predict(port, STABLE).json), Some("1.0.0"));
    place.write("registry/index.json", index);
    server.wait_for("source_reachable", |_| true);
    assert_eq!(server.events("source_unreachable").len(), 1);
}

#[test]
fn a_remote_registry_is_followed_and_outlived() {
    let place = two_versions();
    let host = StaticHost::start(place.path("registry"), 0);
    let (location, port) = (host.location(), host.port);
    let arguments = ["--registry", &location, "--model", "risk"];
    let mut server = Server::start(&place, &arguments);
    assert_eq!(is_of(&predict(server.port, STABLE).json), Some("1.0.0"));
    move_stable(&place, "2.0.0");
    server.wait_for("updated", |line| line["reference"] == "risk:stable");
    assert_eq!(is_of(&predict(server.port, STABLE).json), Some("2.0.0"));
    // What comes over the network is tested like what is in a folder.
    let bad = pack(&place, "3.0.0", "forest", "mlp");
    let refused = server.wait_for("update_refused", |_| true);
    assert_eq!(
        (&refused["code"], &refused["digest"]),
        (&json!("self_test_failed"), &json!(bad))
    );
    // The network is cut.
    drop(host);
    let lost = server.wait_for("source_unreachable", |_| true);
    assert_eq!(lost["code"], "network");
    assert_eq!(is_of(&predict(server.port, STABLE).json), Some("2.0.0"));
    // And stays so for the next start.
    drop(server);
    let mut server = Server::start(&place, &arguments);
    server.wait_for("following", |line| line["from"] == "last_approved");
    assert_eq!(is_of(&predict(server.port, STABLE).json), Some("2.0.0"));
    assert_eq!(is_of(&predict(server.port, "").json), Some("2.0.0"));
    // Pages get the same packages from it.
    let index = get(server.port, "/registry/index.json").json;
    assert!(!index.to_string().contains(&bad), "{index}");
    // It is back, with something good.
    place.good(&["rm", "risk:3.0.0"]);
    move_stable(&place, "1.0.0");
    let _host = StaticHost::start(place.path("registry"), port);
    server.wait_for("source_reachable", |_| true);
    server.wait_for("updated", |line| line["reference"] == "risk:stable");
    assert_eq!(is_of(&predict(server.port, STABLE).json), Some("1.0.0"));
}

#[test]
fn a_remote_registry_that_was_never_reached_ends_the_start() {
    let place = Place::new();
    place.write("component.wasm", "");
    let host = StaticHost::start(place.path("registry"), 0);
    let location = host.location();
    drop(host);
    let said = place
        .command(&[
            "serve",
            "--registry",
            &location,
            "--component",
            "component.wasm",
        ])
        .env("XDG_CACHE_HOME", place.path("cache"))
        .output()
        .unwrap();
    assert_eq!(said.status.code(), Some(4));
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(text.contains("error[network]"), "{text}");
}

#[test]
fn an_instance_has_loaded_what_it_will_be_asked_for() {
    let place = two_versions();
    let mut server = Server::start(&place, &["--instances", "1"]);
    assert_eq!(is_of(&predict(server.port, STABLE).json), Some("1.0.0"));
    move_stable(&place, "2.0.0");
    server.wait_for("updated", |_| true);
    // Whoever loads it now would not find it.
    fs::remove_file(place.blob(&place.layer("risk:2.0.0", "model.onnx"))).unwrap();
    let answer = predict(server.port, STABLE);
    assert_eq!(is_of(&answer.json), Some("2.0.0"), "{}", answer.json);
    assert_eq!(server.events("instance_started").len(), 1);
}
