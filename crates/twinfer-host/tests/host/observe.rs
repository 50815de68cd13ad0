//! What a running host tells of itself: metrics, log, times.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use twinfer_host::{HostConfig, LogFormat, ObserveOptions, Observer, StateSeen, Trial};

use crate::component::pack_into;
use crate::support::{Answer, Fixture, real_component};

pub const PREDICT: &str = "/v2/models/tumour-risk/predict";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

pub fn observed(config: &mut HostConfig) {
    config.observer = Some(Observer::new(ObserveOptions::default()).unwrap());
}

/// A host of the real component with one model.
pub fn serving(change: impl FnOnce(&mut HostConfig)) -> Fixture {
    Fixture::with(real_component(), |config| {
        pack_into(&config.registry, "models/tumour-risk");
        observed(config);
        change(config);
    })
}

/// What the model takes.
pub fn record() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tumour-risk/golden.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    golden["cases"][0]["input"]["record"].to_string()
}

/// A prediction that works.
pub fn predict(host: &Fixture) -> Answer {
    let answer = host.post(PREDICT, "application/json", record().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// The value of a series; `None` where there is none.
pub fn value(exposition: &str, series: &str) -> Option<f64> {
    let line = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    exposition.lines().find_map(line)
}

/// Waits until a series has this value.
#[track_caller]
fn eventually(host: &Fixture, series: &str, expected: f64) {
    let mut text = String::new();
    for _ in 0..2400 {
        text = host.get("/metrics").text();
        if value(&text, series) == Some(expected) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    panic!("{series} is not {expected} in\n{text}");
}

fn events(host: &Fixture, event: &str) -> Vec<Value> {
    let log = host.log();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|line: &Value| line["event"] == event)
        .collect()
}

#[test]
fn predictions_are_counted_and_timed_and_logged() {
    let host = serving(|_| ());
    for _ in 0..3 {
        predict(&host);
    }
    let refused = host.post(PREDICT, "application/json", b"{");
    assert_eq!(refused.status, 400);
    host.post("/v2/models/made-up/predict", "application/json", b"{}");
    let answer = predict(&host);

    let metrics = host.get("/metrics?names=twinfer,kserve,triton");
    assert_eq!(
        metrics.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = metrics.text();
    let model = r#"model="tumour-risk""#;
    let version = answer.header("x-twinfer-version").unwrap();
    let labels = format!(r#"{{{model},version="{version}"}}"#);
    let route = r#"route="/v2/models/{model}/predict""#;
    for (series, expected) in [
        (format!("nv_inference_request_success{labels}"), 4.0),
        (format!("nv_inference_count{labels}"), 4.0),
        (
            format!("twinfer_predict_duration_seconds_count{labels}"),
            4.0,
        ),
        (
            r#"request_predict_seconds_count{model_name="tumour-risk"}"#.into(),
            4.0,
        ),
        (
            format!(
                r#"twinfer_requests_total{{code="200",method="POST",{model},{route},version="{version}"}}"#
            ),
            4.0,
        ),
        (
            format!(
                r#"twinfer_requests_total{{code="404",method="POST",model="_unknown",{route},version=""}}"#
            ),
            1.0,
        ),
        (
            r#"nv_inference_request_failure{model="_unknown",reason="OTHER",version=""}"#.into(),
            1.0,
        ),
        // One after the other: one instance is enough.
        ("twinfer_instances_started_total".into(), 1.0),
        (r#"twinfer_instances{state="idle"}"#.into(), 1.0),
        (r#"twinfer_instances{state="busy"}"#.into(), 0.0),
        (format!("twinfer_model_instances{labels}"), 1.0),
        ("twinfer_instances_limit".into(), 2.0),
        ("twinfer_queue_duration_seconds_count".into(), 6.0),
        ("twinfer_queue_length".into(), 0.0),
        // The one that asks.
        ("twinfer_requests_in_flight".into(), 1.0),
    ] {
        assert_eq!(value(&text, &series), Some(expected), "{series} in\n{text}");
    }
    let memory = value(&text, "twinfer_instance_memory_bytes").unwrap();
    assert!(memory > 1e6, "{memory}");

    let log = events(&host, "request");
    let last = log.iter().rfind(|line| line["path"] == PREDICT).unwrap();
    assert_eq!(last["model"], "tumour-risk");
    assert_eq!(last["version"], version);
    assert_eq!(last["digest"], answer.json()["digest"]);
    for field in ["queue_ms", "load_ms", "predict_ms"] {
        assert!(last[field].is_number(), "{field} in {last}");
    }
    let timing = answer.header("server-timing").unwrap();
    let names: Vec<&str> = timing
        .split(", ")
        .map(|part| part.split(';').next().unwrap())
        .collect();
    assert_eq!(
        (names[..3].to_vec(), names.last()),
        (vec!["queue", "load", "predict"], Some(&"total"))
    );
}

#[test]
fn a_trace_is_taken_over_handed_on_and_logged() {
    let host = Fixture::new(observed);
    let sent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\ntracestate: a=b\r\n");
    let echoed = host.get_with("/v2/echo", &sent).text();
    let log = events(&host, "request");
    assert_eq!(log[0]["trace_id"], TRACE);
    let own = log[0]["span_id"].as_str().unwrap();
    assert_ne!(own, "00f067aa0ba902b7");
    assert!(echoed.contains(&format!("00-{TRACE}-{own}-01")), "{echoed}");
    assert!(echoed.contains("a=b"), "{echoed}");

    // What is no trace begins one, and others' state is not passed on with it.
    let echoed = host
        .get_with("/v2/echo", "traceparent: 00-0-0-0\r\ntracestate: a=b\r\n")
        .text();
    let log = events(&host, "request");
    let begun = log[1]["trace_id"].as_str().unwrap();
    assert!(begun.len() == 32 && begun != TRACE);
    assert!(
        echoed.contains(begun) && !echoed.contains("a=b"),
        "{echoed}"
    );
}

#[test]
fn the_place_of_state_is_asked_at_each_scrape() {
    let connected = Arc::new(AtomicBool::new(true));
    let probe = connected.clone();
    let host = Fixture::new(|config| {
        observed(config);
        config
            .observer
            .as_ref()
            .unwrap()
            .watch_state(move || StateSeen {
                place: "redis",
                connected: probe.load(Ordering::Relaxed),
                pending: 3,
            });
    });
    let series = r#"twinfer_state_connected{place="redis"}"#;
    assert_eq!(value(&host.get("/metrics").text(), series), Some(1.0));
    connected.store(false, Ordering::Relaxed);
    let text = host.get("/metrics").text();
    assert_eq!(value(&text, series), Some(0.0));
    assert_eq!(
        value(&text, r#"twinfer_state_pending{place="redis"}"#),
        Some(3.0)
    );
}

#[test]
fn the_door_says_what_is_wrong_with_a_scrape() {
    let host = Fixture::new(observed);
    host.get("/metrics?names=seldon")
        .expect_error(400, "invalid_request");
    host.post("/metrics", "text/plain", b"")
        .expect_error(405, "method_not_allowed");
    let without = Fixture::new(|_| ());
    without.get("/metrics").expect_error(404, "not_found");
    let off = Fixture::new(|config| {
        let options = ObserveOptions {
            metrics: false,
            ..ObserveOptions::default()
        };
        config.observer = Some(Observer::new(options).unwrap());
    });
    off.get("/metrics").expect_error(404, "not_found");
}

#[test]
fn instances_that_die_and_clients_that_go_are_counted() {
    let host = Fixture::new(observed);
    host.get("/v2/panic").expect_error(500, "internal");
    // The answer comes before the instance is thrown away.
    host.wait_for_log(&["instance_replaced"]);
    let series = r#"twinfer_instances_replaced_total{reason="internal"}"#;
    assert_eq!(value(&host.get("/metrics").text(), series), Some(1.0));

    let mut stream = host.connect();
    stream
        .write_all(b"GET /v2/sleep?600000 HTTP/1.1\r\nhost: t\r\n\r\n")
        .unwrap();
    host.wait_until_begun();
    let busy = host.get("/metrics").text();
    assert_eq!(
        value(&busy, r#"twinfer_instances{state="busy"}"#),
        Some(1.0)
    );
    drop(stream);
    let gone =
        r#"twinfer_requests_total{code="499",method="GET",model="",route="/{path}",version=""}"#;
    eventually(&host, gone, 1.0);
}

#[test]
fn waiting_requests_are_seen_and_their_wait_is_told() {
    let host = Fixture::new(|config| {
        observed(config);
        config.limits.max_instances = 1;
    });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| host.get("/v2/sleep?5000"));
        host.wait_until_begun();
        let second = scope.spawn(|| host.get("/v2/served"));
        eventually(&host, "twinfer_queue_length", 1.0);
        first.join().unwrap();
        let timing = second.join().unwrap();
        let timing = timing.header("server-timing").unwrap();
        assert!(
            timing.starts_with("queue;dur=") && timing.contains("total;dur="),
            "{timing}"
        );
    });
    let text = host.get("/metrics").text();
    assert_eq!(value(&text, "twinfer_queue_length"), Some(0.0));
    assert_eq!(
        value(&text, "twinfer_queue_duration_seconds_count"),
        Some(2.0)
    );
}

#[test]
fn events_below_the_level_are_counted_and_text_is_for_people() {
    let host = Fixture::new(|config| {
        observed(config);
        config.log_format = LogFormat::Text;
        config.log_level = twinfer_host::LogLevel::Error;
    });
    host.get("/v2/served").expect_text("1");
    host.get("/v2/panic");
    host.wait_for_log(&[" ERROR request ", " path=/v2/panic ", " status=500 "]);
    assert!(!host.log().contains("listening"));
    let text = host.get("/metrics").text();
    let series = r#"twinfer_log_events_total{event="listening",level="info"}"#;
    assert_eq!(value(&text, series), Some(1.0));
}

#[test]
fn instances_and_memory_are_gone_with_them() {
    let host = Fixture::new(|config| {
        observed(config);
        config.limits.idle_timeout = std::time::Duration::from_millis(100);
    });
    host.get("/v2/memory?20").expect_text("20");
    host.wait_for_log(&["instance_ended", "idle"]);
    let series = r#"twinfer_instances_ended_total{reason="idle"}"#;
    let text = host.get("/metrics").text();
    assert_eq!(value(&text, series), Some(1.0));
    // It is dropped after that was said.
    while value(
        &host.get("/metrics").text(),
        "twinfer_instance_memory_bytes",
    ) != Some(0.0)
    {
        std::thread::yield_now();
    }
    let text = host.get("/metrics").text();
    assert_eq!(
        value(&text, r#"twinfer_instances{state="idle"}"#),
        Some(0.0)
    );
}

/// As on a host that knows nothing of models: [`Trial`] asks the component alone.
#[test]
fn the_component_by_itself_counts_where_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    pack_into(folder.path(), "models/tumour-risk");
    let start = |on: &str| {
        let mut config = HostConfig::new(real_component(), folder.path());
        config.cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
        config.env = vec![("TWINFER_METRICS".into(), on.into())];
        config.log = twinfer_host::LogSink::None;
        Trial::start(&config, 1).unwrap()
    };
    let ask = |trial: &mut Trial, path: &str, body: &str| {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://localhost{path}"))
            .header("content-type", "application/json")
            .body(bytes::Bytes::from(body.to_owned()))
            .unwrap();
        let answer = trial.ask(request).unwrap();
        let text = String::from_utf8(answer.body().to_vec()).unwrap();
        (answer.status().as_u16(), text)
    };
    let mut counting = start("1");
    for _ in 0..2 {
        let (status, text) = ask(&mut counting, PREDICT, &record());
        assert_eq!(status, 200, "{text}");
    }
    let (status, text) = ask(&mut counting, "/metrics?names=triton", "");
    assert_eq!(status, 200, "{text}");
    let line =
        |line: &&str| line.starts_with(r#"nv_inference_request_success{model="tumour-risk""#);
    let found = text.lines().find(line).unwrap();
    assert!(found.ends_with(" 2"), "{found}");
    let (status, text) = ask(&mut counting, "/metrics?names=seldon", "");
    assert_eq!(status, 400);
    assert!(text.contains(r#""code":"invalid_parameter""#), "{text}");

    let (status, text) = ask(&mut start("0"), "/metrics", "");
    assert_eq!(status, 404, "{text}");
}
