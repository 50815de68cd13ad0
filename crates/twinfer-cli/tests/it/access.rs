//! API keys, and who may ask a server what.

use serde_json::{Value as Json, json};
use twinfer_gateway::Settings;

use crate::server::{Server, get, request_with};
use crate::support::Place;

#[test]
fn a_key_is_shown_once_with_the_lines_of_its_settings() {
    let place = Place::new();
    let said = place.good(&[
        "api-key",
        "--id",
        "clinic",
        "--models",
        "a,b-*",
        "--expires",
        "90",
    ]);
    let (key, rest) = said.split_once('\n').unwrap();
    assert!(key.starts_with("twk_") && key.len() == 47, "{key}");
    assert!(!rest.contains(key));
    let lines = &rest[rest.find("[[keys]]").unwrap()..];
    let settings = Settings::from_toml(lines).unwrap();
    let made = &settings.keys[0];
    assert_eq!(
        (made.id.as_str(), made.scopes.to_string().as_str()),
        ("clinic", "predict")
    );
    assert!(made.models.fit("b-1") && !made.models.fit("c"));
    assert!(made.expires.as_ref().unwrap().ends_with('Z'));
    // Another time it is another one.
    assert_ne!(place.good(&["api-key"]).split('\n').next(), Some(key));
    let json: Json =
        serde_json::from_str(&place.good(&["api-key", "--scopes", "admin,metrics", "--json"]))
            .unwrap();
    assert!(json["key"].as_str().unwrap().starts_with("twk_"));
    assert_eq!(json["settings"]["scopes"], json!(["metrics", "admin"]));
    assert_eq!(json["settings"]["sha256"].as_str().unwrap().len(), 64);
    place.bad(&["api-key", "--id", ""], "invalid_parameter", 1);
}

#[test]
fn settings_that_cannot_be_used_start_no_server() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    std::fs::write(place.path("access.toml"), "open = ['admin']").unwrap();
    let said = place.bad(
        &["serve", "--access", "access.toml"],
        "invalid_parameter",
        1,
    );
    assert!(
        said.contains("access.toml") && said.contains("never open"),
        "{said}"
    );
    place.bad(&["serve", "--access", "missing.toml"], "storage", 4);
}

#[cfg(unix)]
#[test]
fn the_settings_are_read_again_on_sighup() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    let made: Json = serde_json::from_str(&place.good(&["api-key", "--json"])).unwrap();
    let bearer = format!(
        "authorization: Bearer {}\r\n",
        made["key"].as_str().unwrap()
    );
    let (file, path) = (place.path("access.json"), "/v2/models/tumour-risk-mlp");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let with_key = json!({"keys": [made["settings"]]}).to_string();
    write(&with_key);
    let mut server = Server::start(&place, &["--access", file.to_str().unwrap(), "--poll", "0"]);
    let port = server.port;
    let ask = |headers: &str| request_with(port, "GET", path, headers, "");
    assert_eq!(ask(&bearer).status, 200);
    let refused = ask("");
    assert_eq!(
        (refused.status, &refused.json["code"]),
        (401, &json!("unauthorized"))
    );
    assert_eq!(get(port, "/healthz").status, 200);
    // What cannot be used is not.
    write("{\"open\": [\"everything\"]}");
    server.signal("-HUP");
    let failed = server.wait_for("access_reload_failed", |_| true);
    assert_eq!(failed["code"], "invalid_parameter");
    assert_eq!((ask(&bearer).status, ask("").status), (200, 401));
    // Without the key it counts no more.
    write("{\"open\": [\"page\"]}");
    server.signal("-HUP");
    server.wait_for("access_reloaded", |_| true);
    assert_eq!((ask(&bearer).status, ask("").status), (401, 401));
    write(&with_key);
    server.signal("-HUP");
    while server.events("access_reloaded").len() < 2 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(ask(&bearer).status, 200);
    assert_eq!(server.end(), Some(0));
}
