//! The settings of `twinfer serve --config`, read again on SIGHUP while it serves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::server::{Server, get, request, request_with};
use crate::support::Place;

const MODEL: &str = "/v2/models/tumour-risk-mlp";
const PREDICT: &str = "/v2/models/tumour-risk-mlp/predict";

/// A server of one model with this file of settings.
fn start(file: &str, arguments: &[&str]) -> (Place, Server) {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    place.write("twinfer.toml", file);
    let config = place.path("twinfer.toml");
    let mut all = vec!["--config", config.to_str().unwrap(), "--poll", "0"];
    all.extend(arguments);
    let server = Server::start(&place, &all);
    (place, server)
}

/// Tells the server to read again, and gives the last event of this kind.
pub fn hang_up(server: &mut Server, event: &str) -> Json {
    let before = server.events(event).len();
    server.signal("-HUP");
    for _ in 0..8_000 {
        if server.events(event).len() > before {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    server.wait_for(event, |_| true);
    server.events(event).pop().unwrap()
}

/// Waits for what is so soon after its line of the log.
fn until(done: impl Fn() -> bool) {
    for _ in 0..4000 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not come to be");
}

fn predict(port: u16) -> u16 {
    request(port, "POST", PREDICT, "{\"mean radius\": 14.2}").status
}

struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn settings_change_under_load_and_no_request_fails() {
    let (place, mut server) = start("queue = 5000\n", &[]);
    let (port, done) = (server.port, AtomicBool::new(false));
    assert_eq!(predict(port), 200);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let load = || {
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) {
                seen.push(predict(port));
                // The log of the server is looked through again and again.
                thread::sleep(Duration::from_millis(10));
            }
            seen
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        // Also where a check below fails: else the clients would go on for ever.
        let end = EndOnDrop(&done);
        for round in 0..12 {
            let file = format!(
                "queue = {}\nmax-body = {}\nmemory = {}\nbatch-window = {}\nprediction-cache = {}\ncors = ['https://{round}.example']\nlog-level = '{}'\nmax-connections = {}\nidle-timeout = {}\n",
                5001 + round,
                1 + round % 3,
                900 + round % 2,
                round % 2,
                round % 3,
                ["debug", "info"][round % 2],
                1000 + round,
                100 + round,
            );
            place.write("twinfer.toml", file);
            let reloaded = hang_up(&mut server, "settings_reloaded");
            let changed = reloaded["changed"].as_array().unwrap();
            assert!(changed.contains(&json!("queue")), "{reloaded}");
            assert!(clients.iter().all(|client| !client.is_finished()));
            let origin = format!("origin: https://{round}.example\r\n");
            let told = request_with(port, "GET", "/healthz", &origin, "");
            let allowed = told.json.as_str().unwrap_or_default().to_lowercase();
            assert!(allowed.contains("access-control-allow-origin"), "{allowed}");
        }
        drop(end);
        let seen = clients.into_iter().map(|client| client.join().unwrap());
        seen.flatten().collect()
    });
    assert!(statuses.len() > 100, "{}", statuses.len());
    let failed: Vec<_> = statuses.iter().filter(|status| **status != 200).collect();
    assert!(failed.is_empty(), "{failed:?} of {}", statuses.len());
    // Instances with other memory and variables took over, and none was lost.
    let replaced = |line: &Json| line["why"] == "settings";
    assert!(server.events("instance_ended").iter().any(replaced));
    assert_eq!(server.events("instance_replaced"), Vec::<Json>::new());
    assert_eq!(server.end(), Some(0));
}

#[test]
fn flags_stay_before_the_file_and_what_cannot_change_is_named() {
    let (place, mut server) = start("timeout = 20\n", &["--queue", "77"]);
    let port = server.port;
    place.write(
        "twinfer.toml",
        "queue = 1\nmax-body = 1\nlisten = '127.0.0.1:1'\nstate = 'memory'\nno-metrics = true\n",
    );
    let reloaded = hang_up(&mut server, "settings_reloaded");
    // The flag says something else of the queue.
    assert_eq!(reloaded["changed"], json!(["timeout", "max-body"]));
    let named = server.events("setting_not_reloaded");
    let names: Vec<&str> = named
        .iter()
        .filter_map(|line| line["setting"].as_str())
        .collect();
    // The test says `--listen`, so that the file's does not count.
    assert_eq!(names, ["no-metrics", "state"]);
    assert!(
        named
            .iter()
            .all(|line| line["help"] == "it counts from the next start")
    );
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(2 << 20));
    assert_eq!(request(port, "POST", PREDICT, &large).status, 413);
    // Metrics are as at the start.
    assert_eq!(get(port, "/metrics").status, 200);
    // It is told each time until the next start.
    hang_up(&mut server, "settings_reloaded");
    assert_eq!(server.events("setting_not_reloaded").len(), 4);
}

#[test]
fn a_file_that_is_malformed_changes_nothing() {
    let (place, mut server) = start("max-body = 1\n", &[]);
    let port = server.port;
    let told = || {
        let metrics = get(port, "/metrics").json;
        let metrics = metrics.as_str().unwrap_or_default().to_owned();
        let line = |line: &&str| line.starts_with("twinfer_config_last_reload_successful ");
        let value = metrics.lines().find(line).unwrap_or_default();
        (
            get(port, "/readyz").json["settings"].clone(),
            value.rsplit(' ').next().unwrap_or_default().to_owned(),
        )
    };
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(2 << 20));
    let limited = || request(port, "POST", PREDICT, &large).status;
    assert_eq!((told(), limited()), ((json!("in effect"), "1".into()), 413));
    for (text, part) in [
        ("max-body = ", "TOML"),
        ("max-body = 5\nmaxbody = 5\n", "maxbody"),
        ("max-body = 5\ntimeout = 'soon'\n", "timeout"),
        ("max-body = 5\ncors = ['nowhere']\n", "nowhere"),
    ] {
        place.write("twinfer.toml", text);
        let failed = hang_up(&mut server, "settings_reload_failed");
        assert!(failed["error"].as_str().unwrap().contains(part), "{failed}");
        until(|| told() == (json!("not reloaded"), "0".into()));
        assert_eq!((limited(), predict(port)), (413, 200));
    }
    place.write("twinfer.toml", "max-body = 5\n");
    hang_up(&mut server, "settings_reloaded");
    until(|| told() == (json!("in effect"), "1".into()));
    assert_ne!(limited(), 413);
}

#[test]
fn the_trust_policy_is_read_again() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    let policy = |default: &str| {
        let json = json!({"format_version": 1, "keys": {}, "rules": [], "default": default});
        place.write("policy.json", json.to_string());
    };
    policy("allow");
    let file = place.path("policy.json");
    let mut server = Server::start(&place, &["--trust", file.to_str().unwrap(), "--poll", "0"]);
    let port = server.port;
    assert_eq!(predict(port), 200);
    place.write("policy.json", "{");
    let failed = hang_up(&mut server, "trust_reload_failed");
    assert_eq!(failed["code"], "invalid_policy");
    assert_eq!(predict(port), 200);
    policy("refuse");
    hang_up(&mut server, "trust_reloaded");
    // As soon as the instances have it.
    until(|| predict(port) == 403);
    assert_eq!(get(port, MODEL).json["code"], "unsigned_package");
    policy("allow");
    hang_up(&mut server, "trust_reloaded");
    until(|| predict(port) == 200);
}

#[test]
fn the_repository_is_for_keys_of_administrators_only() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    let said = place.bad(
        &["serve", "--repository", "--listen", "0.0.0.0:0"],
        "invalid_parameter",
        1,
    );
    assert!(
        said.contains("--access") && said.contains("admin"),
        "{said}"
    );
    let key = |scopes: &str| -> Json {
        serde_json::from_str(
            &place.good(&["api-key", "--id", scopes, "--scopes", scopes, "--json"]),
        )
        .unwrap()
    };
    let (admin, metrics) = (key("admin"), key("metrics"));
    let access = json!({"keys": [admin["settings"], metrics["settings"]]});
    place.write("access.json", access.to_string());
    place.write("twinfer.toml", "");
    let (file, config) = (place.path("access.json"), place.path("twinfer.toml"));
    let mut server = Server::start(
        &place,
        &[
            "--access",
            file.to_str().unwrap(),
            "--config",
            config.to_str().unwrap(),
            "--poll",
            "0",
        ],
    );
    let port = server.port;
    let index = |key: &Json| {
        let header = format!("x-api-key: {}\r\n", key["key"].as_str().unwrap());
        request_with(port, "POST", "/v2/repository/index", &header, "")
    };
    // Off by default.
    assert_eq!(index(&admin).status, 404);
    place.write("twinfer.toml", "repository = true\n");
    hang_up(&mut server, "settings_reloaded");
    until(|| index(&admin).status == 200);
    let found = index(&admin);
    assert_eq!(found.json[0]["name"], "tumour-risk-mlp", "{}", found.json);
    assert_eq!(index(&metrics).status, 403);
    assert_eq!(
        request(port, "POST", "/v2/repository/index", "").status,
        401
    );
}
