//! Traces on their way to a collector, which is the test's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use twinfer_host::{HostConfig, ObserveOptions, Observer};
use twinfer_observe::TraceSettings;

use crate::observe::{PREDICT, predict, serving, value};
use crate::support::Fixture;

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(120);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// What a collector was sent.
struct Export {
    head: String,
    body: Value,
}

impl Export {
    fn spans(&self) -> Vec<Value> {
        let spans = &self.body["resourceSpans"][0]["scopeSpans"][0]["spans"];
        spans.as_array().unwrap().clone()
    }
}

/// A collector that answers with these, one after the other, and the last one for ever.
struct Collector {
    address: SocketAddr,
    exports: Receiver<Export>,
}

impl Collector {
    fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, exports) = channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let answer = answers[number.min(answers.len() - 1)];
                serve(stream.unwrap(), answer, &sender);
            }
        });
        Self { address, exports }
    }

    fn next(&self) -> Export {
        self.exports.recv_timeout(PATIENCE).expect("an export")
    }
}

/// Answers one request, and closes.
fn serve(stream: TcpStream, answer: &str, sender: &Sender<Export>) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        let line = line.to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = serde_json::from_slice(&body).unwrap();
    let (status, text) = answer.split_once('|').unwrap();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
    let _ = sender.send(Export { head, body });
}

/// Sends to this address, with these variables.
fn traced(address: SocketAddr, more: &[(&str, &str)]) -> impl FnOnce(&mut HostConfig) {
    let endpoint = format!("http://{address}");
    let settings = TraceSettings::read(|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
        "OTEL_BSP_SCHEDULE_DELAY" => Some("20".into()),
        _ => {
            let found = more.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    });
    let options = ObserveOptions {
        traces: settings.unwrap(),
        ..ObserveOptions::default()
    };
    |config| config.observer = Some(Observer::new(options).unwrap())
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a Value {
    let all = span["attributes"].as_array().unwrap();
    let found = all.iter().find(|attribute| attribute["key"] == key);
    found.map_or(&Value::Null, |attribute| &attribute["value"])
}

fn nanoseconds(span: &Value, field: &str) -> u64 {
    span[field].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_prediction_is_a_span_with_its_parts() {
    let collector = Collector::start(&["200 OK|{}"]);
    let more = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s%20x"),
        ("OTEL_SERVICE_NAME", "faces"),
    ];
    let host = serving(traced(collector.address, &more));
    let answer = predict(&host);
    let export = collector.next();
    assert!(
        export.head.starts_with("post /v1/traces http/1.1"),
        "{}",
        export.head
    );
    assert!(
        export.head.contains("content-type: application/json"),
        "{}",
        export.head
    );
    assert!(export.head.contains("api-key: s x"), "{}", export.head);
    let resource = &export.body["resourceSpans"][0]["resource"];
    assert_eq!(attribute(resource, "service.name")["stringValue"], "faces");

    let spans = export.spans();
    let server = &spans[0];
    assert_eq!(server["name"], "POST /v2/models/{model}/predict");
    assert_eq!(server["kind"], 2);
    assert_eq!(server["parentSpanId"], Value::Null);
    for (key, expected) in [
        ("http.request.method", json!({"stringValue": "POST"})),
        (
            "http.route",
            json!({"stringValue": "/v2/models/{model}/predict"}),
        ),
        ("http.response.status_code", json!({"intValue": "200"})),
        ("url.path", json!({"stringValue": PREDICT})),
        ("twinfer.model", json!({"stringValue": "tumour-risk"})),
        (
            "twinfer.digest",
            json!({"stringValue": answer.json()["digest"]}),
        ),
        (
            "twinfer.request_id",
            json!({"stringValue": answer.header("x-request-id")}),
        ),
    ] {
        assert_eq!(*attribute(server, key), expected, "{key}");
    }
    let names: Vec<&str> = spans[1..]
        .iter()
        .map(|span| span["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["queue", "load", "predict"]);
    let (begin, end) = (
        nanoseconds(server, "startTimeUnixNano"),
        nanoseconds(server, "endTimeUnixNano"),
    );
    for part in &spans[1..] {
        assert_eq!(part["parentSpanId"], server["spanId"]);
        assert_eq!(part["traceId"], server["traceId"]);
        let (from, to) = (
            nanoseconds(part, "startTimeUnixNano"),
            nanoseconds(part, "endTimeUnixNano"),
        );
        assert!(
            begin <= from && from <= to && to <= end,
            "{part} in {server}"
        );
    }
    assert_eq!(nanoseconds(&spans[3], "endTimeUnixNano"), end);
    let text = host.get("/metrics").text();
    assert_eq!(value(&text, "twinfer_spans_exported_total"), Some(4.0));
}

#[test]
fn whoever_began_a_trace_decides_whether_it_is_recorded() {
    let collector = Collector::start(&["200 OK|{}"]);
    let host = Fixture::new(traced(
        collector.address,
        &[("OTEL_TRACES_SAMPLER_ARG", "0")],
    ));
    let parent = |flags: &str| format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-{flags}\r\n");
    host.get("/v2/served?ours");
    host.get_with("/v2/served?not", &parent("00"));
    host.get_with("/v2/panic?yes", &parent("01"));
    let spans = collector.next().spans();
    let server = &spans[0];
    assert_eq!(server["traceId"], TRACE);
    assert_eq!(server["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(server["flags"], 0x301);
    assert_eq!(server["status"]["code"], 2);
    assert_eq!(attribute(server, "error.type")["stringValue"], "500");
    // Queries are users' data.
    assert_eq!(attribute(server, "url.path")["stringValue"], "/v2/panic");
    assert!(!server.to_string().contains("yes"));
    assert!(
        spans.iter().all(|span| span["traceId"] == TRACE),
        "{spans:?}"
    );
}

#[test]
fn probes_begin_no_trace_that_is_recorded() {
    let collector = Collector::start(&["200 OK|{}"]);
    let host = Fixture::new(traced(collector.address, &[]));
    for path in [
        "/healthz",
        "/livez",
        "/readyz",
        "/metrics",
        "/v2/health/live",
    ] {
        host.get(path);
    }
    host.get("/v2/served");
    let spans = collector.next().spans();
    assert_eq!(
        attribute(&spans[0], "url.path")["stringValue"],
        "/v2/served"
    );
    // Unless somebody else began it.
    host.get_with(
        "/healthz",
        &format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n"),
    );
    assert_eq!(collector.next().spans()[0]["traceId"], TRACE);
}

#[test]
fn a_collector_that_is_busy_is_tried_again_and_one_that_complains_is_heard() {
    let complaint = r#"200 OK|{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no room"}}"#;
    let answers = vec!["503 Busy|", complaint, "400 Bad|", "200 OK|{}"].leak();
    let collector = Collector::start(answers);
    let host = Fixture::new(traced(collector.address, &[]));
    host.get("/v2/served");
    let (first, again) = (collector.next(), collector.next());
    assert_eq!(first.body, again.body);
    host.wait_for_log(&["traces_rejected", "no room"]);
    // Not tried again: it would be refused again.
    host.get("/v2/served");
    let refused = collector.next();
    host.wait_for_log(&["traces_not_exported", "400"]);
    host.get("/v2/served");
    assert_ne!(refused.body, collector.next().body);
    host.wait_for_log(&["traces_exported_again"]);
    let text = host.get("/metrics").text();
    let dropped = |reason: &str| {
        value(
            &text,
            &format!("twinfer_spans_dropped_total{{reason=\"{reason}\"}}"),
        )
    };
    assert_eq!(
        (dropped("rejected"), dropped("export_failed")),
        (Some(1.0), Some(2.0))
    );
}

#[test]
fn without_a_collector_spans_are_dropped_and_requests_go_on() {
    // It takes connections, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let more = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "3"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"),
    ];
    let mut host = Fixture::new(traced(address, &more));
    for _ in 0..8 {
        assert_eq!(host.get("/v2/served").status, 200);
    }
    let text = host.get("/metrics").text();
    let dropped = value(&text, "twinfer_spans_dropped_total{reason=\"queue_full\"}").unwrap();
    assert!(dropped > 0.0, "{text}");
    host.shutdown().unwrap();
}

#[test]
fn the_last_spans_are_sent_at_the_end() {
    let collector = Collector::start(&["200 OK|{}"]);
    let more = [("OTEL_BSP_SCHEDULE_DELAY", "600000")];
    let endpoint = format!("http://{}", collector.address);
    let settings = TraceSettings::read(|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
        name => more
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).into()),
    });
    let options = ObserveOptions {
        traces: settings.unwrap(),
        ..ObserveOptions::default()
    };
    let mut host = Fixture::new(|config| config.observer = Some(Observer::new(options).unwrap()));
    host.get("/v2/served");
    host.shutdown().unwrap();
    assert_eq!(collector.next().spans()[0]["name"], "GET /{path}");
}
