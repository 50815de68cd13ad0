//! What is counted of following a registry, and the forms of the log.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value as Json;

use super::server::{expected, pack, predict, wait_for_version};
use super::{Place, Server, get, move_stable};
use crate::server::component;

/// The value of a series of `/metrics`; `None` where there is none.
pub fn value(server: &Server, series: &str) -> Option<f64> {
    let answer = get(server.port, "/metrics").json;
    // The text is no JSON, so it comes whole, with its head.
    let text = answer.as_str().unwrap();
    let of = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(of)
}

#[test]
fn updates_and_refusals_are_counted() {
    let place = Place::new();
    pack(&place, "1.0.0", "mlp", "mlp");
    move_stable(&place, "1.0.0");
    let mut server = Server::start(&place, &[]);
    let read = "twinfer_index_last_success_timestamp_seconds";
    let first = value(&server, read).unwrap();
    assert!(first > 1.7e9, "{first}");
    assert_eq!(value(&server, "twinfer_registry_reachable"), Some(1.0));
    assert_eq!(value(&server, "twinfer_index_refused"), Some(0.0));
    assert_eq!(value(&server, "twinfer_index_updates_total"), None);

    pack(&place, "2.0.0", "forest", "forest");
    server.wait_for("updated", |_| true);
    wait_for_version(&server, "", "2.0.0");
    assert_eq!(value(&server, "twinfer_index_updates_total"), Some(1.0));

    // It does not say what its examples say.
    pack(&place, "3.0.0", "forest", "mlp");
    let refused = server.wait_for("update_refused", |_| true);
    let code = refused["code"].as_str().unwrap();
    let series = format!("twinfer_index_refusals_total{{reason=\"{code}\"}}");
    assert!(value(&server, &series).is_some_and(|count| count >= 1.0));
    // That is known when the look at the registry has ended.
    for _ in 0..3000 {
        if value(&server, "twinfer_index_refused") == Some(1.0) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(value(&server, "twinfer_index_refused"), Some(1.0));
    assert!(value(&server, read).unwrap() > first);

    let answer = predict(server.port, "");
    assert!(
        answer.json["outputs"]["probabilities"]["1"]
            .as_f64()
            .is_some_and(|p| (p - expected("forest")).abs() < 1e-5)
    );
    let counted = r#"request_predict_seconds_count{model_name="risk"}"#;
    assert!(value(&server, counted).is_some_and(|count| count >= 1.0));
}

#[test]
fn metrics_can_be_switched_off() {
    let place = Place::new();
    pack(&place, "1.0.0", "mlp", "mlp");
    let server = Server::start(&place, &["--no-metrics"]);
    let answer = get(server.port, "/metrics");
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (404, &Json::from("not_found"))
    );
}

#[test]
fn a_log_for_people() {
    let place = Place::new();
    pack(&place, "1.0.0", "mlp", "mlp");
    let component = component();
    let mut server = place
        .command(&[
            "serve",
            "--no-page",
            "--listen",
            "127.0.0.1:0",
            "--log-format",
            "text",
        ])
        .args(["--component".as_ref(), component.as_os_str()])
        .arg("--cache")
        .arg(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"))
        .env("XDG_CACHE_HOME", place.path("cache"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let following = lines
        .find(|line| line.contains(" INFO  following "))
        .unwrap();
    assert!(
        following.contains(" from=registry packages=1"),
        "{following}"
    );
    assert!(lines.any(|line| line.contains(" INFO  listening address=127.0.0.1:")));
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_collector_that_cannot_be_one_is_refused() {
    let place = Place::new();
    pack(&place, "1.0.0", "mlp", "mlp");
    let error = place.bad(
        &["serve", "--otlp-endpoint", "collector"],
        "invalid_parameter",
        1,
    );
    assert!(error.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{error}");
}
