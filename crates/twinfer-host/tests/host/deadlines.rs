//! How long a client waits, and what becomes of a request after that.

use std::time::Duration;

use crate::support::Fixture;

#[test]
fn a_request_is_not_run_longer_than_its_client_waits() {
    let fixture = Fixture::new(|_| {});
    for header in [
        "x-request-timeout: 0.3",
        "x-request-timeout: 300ms",
        "x-envoy-expected-rq-timeout-ms: 300",
        "x-request-timeout: 60\r\nx-envoy-expected-rq-timeout-ms: 300",
    ] {
        let answer = fixture.get_with("/v2/sleep?3600000", &format!("{header}\r\n"));
        answer.expect_error(504, "timeout");
        assert!(answer.text().contains("gave itself"), "{}", answer.text());
    }
    fixture
        .get_with("/v2/loop", "x-request-timeout: 0.3\r\n")
        .expect_error(504, "timeout");
    // The host's own limit is the smaller one.
    let fixture = Fixture::new(|config| config.limits.request_timeout = Duration::from_millis(300));
    let answer = fixture.get_with("/v2/sleep?3600000", "x-request-timeout: 3600\r\n");
    answer.expect_error(504, "timeout");
    assert!(answer.text().contains("within 300 ms"), "{}", answer.text());
}

#[test]
fn what_passed_in_the_queue_never_runs() {
    let fixture = Fixture::new(|config| config.limits.max_instances = 1);
    fixture.get("/v2/served").expect_text("1");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| fixture.get("/v2/sleep?3000").status);
        fixture.wait_until_begun();
        let waited = fixture.get_with("/v2/served", "x-request-timeout: 0.2\r\n");
        waited.expect_error(504, "timeout");
        assert!(
            waited.text().contains("waited for an instance"),
            "{}",
            waited.text()
        );
        assert_eq!(first.join().unwrap(), 200);
    });
    // The one that slept, and this one.
    fixture.get("/v2/served").expect_text("3");
}

#[test]
fn a_body_counts_too() {
    let fixture = Fixture::new(|_| {});
    let head = "POST /v2/echo HTTP/1.1\r\nhost: t\r\nconnection: close\r\nx-request-timeout: 0.2\r\ncontent-length: 10\r\n\r\nabc";
    let answer = fixture.send(head);
    answer.expect_error(504, "timeout");
    assert!(
        answer.text().contains("its body arrived"),
        "{}",
        answer.text()
    );
    fixture.get("/v2/served").expect_text("1");
}

#[test]
fn the_component_is_told_what_is_left() {
    let fixture = Fixture::new(|config| config.limits.request_timeout = Duration::from_secs(20));
    let left = |headers: &str| {
        let text = fixture.get_with("/v2/echo", headers).text();
        assert!(!text.contains("x-envoy"), "{text}");
        let (_, rest) = text.split_once("\"x-request-timeout\": \"").unwrap();
        rest.split('"').next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(left(""), 20.0);
    assert_eq!(left("x-request-timeout: 3600\r\n"), 20.0);
    let some = left("x-request-timeout: 15\r\nx-envoy-expected-rq-timeout-ms: 16000\r\n");
    assert!(some > 0.0 && some <= 15.0, "{some}");
}

#[test]
fn what_is_no_duration_is_named() {
    let fixture = Fixture::new(|_| {});
    for header in [
        "x-request-timeout: soon",
        "x-request-timeout: 0",
        "x-request-timeout: -1",
        "x-envoy-expected-rq-timeout-ms: 1.5",
    ] {
        let answer = fixture.get_with("/v2/served", &format!("{header}\r\n"));
        answer.expect_error(400, "invalid_request");
        assert!(answer.text().contains(header.split(':').next().unwrap()));
    }
    fixture.get("/v2/served").expect_text("1");
}
