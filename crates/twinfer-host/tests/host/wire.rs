//! Requests that no library would send.

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::{Fixture, is_patience, read_answer};

#[test]
fn a_request_reaches_the_guest_whole() {
    let fixture = Fixture::new(|_| {});
    let answer = fixture.post("/v2/echo?a=b%20c", "application/x-test", &[7; 100_000]);
    let text = answer.text();
    assert!(
        text.starts_with("POST http://test/v2/echo?a=b%20c 100000\n"),
        "{text}"
    );
    assert!(text.contains("application/x-test"), "{text}");
    assert!(text.contains("x-request-id"), "{text}");
    assert_eq!(
        answer.header("content-length"),
        Some(text.len().to_string().as_str())
    );
}

#[test]
fn a_chunked_body_is_a_body() {
    let fixture = Fixture::new(|_| {});
    let head = "POST /v2/echo HTTP/1.1\r\nhost: t\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = fixture.send(format!("{head}3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n"));
    assert!(
        answer.text().starts_with("POST http://t/v2/echo 8\n"),
        "{}",
        answer.text()
    );
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let fixture = Fixture::new(|config| config.limits.max_body = 1000);
    assert_eq!(fixture.post("/v2/echo", "a/b", &[0; 1000]).status, 200);
    fixture
        .post("/v2/echo", "a/b", &[0; 1001])
        .expect_error(413, "body_too_large");
    // A client that goes on sending still gets to read the refusal.
    fixture
        .post("/v2/echo", "a/b", &vec![0; 5_000_000])
        .expect_error(413, "body_too_large");
    // Only announced.
    let announced = "POST /v2/echo HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n";
    let mut stream = fixture.connect();
    stream.write_all(announced.as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
    // Not announced.
    let head = "POST /v2/echo HTTP/1.1\r\nhost: t\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = fixture.send(format!("{head}3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1001)));
    answer.expect_error(413, "body_too_large");
    fixture.get("/v2/served").expect_text("2");
}

#[test]
fn a_head_over_the_limit_is_refused() {
    let fixture = Fixture::new(|config| config.limits.max_head = 8192);
    let long = "x".repeat(20_000);
    assert_eq!(
        fixture
            .get_with("/v2/served", &format!("long: {long}\r\n"))
            .status,
        431
    );
    assert!([414, 431].contains(&fixture.get(&format!("/v2/{long}")).status));
    let many: String = (0..150).map(|i| format!("h{i}: 1\r\n")).collect();
    assert_eq!(fixture.get_with("/v2/served", &many).status, 431);
    fixture.get("/v2/served").expect_text("1");
}

#[test]
fn what_is_no_http_is_refused() {
    let fixture = Fixture::new(|_| {});
    for bytes in [
        b"hello\r\n\r\n".as_slice(),
        b"GET /v2/served HTTP/9.9\r\n\r\n",
        b"GET  /v2/served HTTP/1.1\r\n\r\n",
        b"GET /v2/served HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /v2/echo HTTP/1.1\r\nhost: t\r\ncontent-length: x\r\n\r\n",
        b"POST /v2/echo HTTP/1.1\r\nhost: t\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ] {
        let mut stream = fixture.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 4"),
            "{:?} -> {text}",
            String::from_utf8_lossy(bytes)
        );
    }
    fixture.get("/v2/served").expect_text("1");
}

#[test]
fn a_body_that_never_comes_times_out() {
    let fixture = Fixture::new(|config| config.limits.read_timeout = Duration::from_millis(300));
    let mut stream = fixture.connect();
    stream.write_all(b"POST /v2/echo HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 10\r\n\r\nabc").unwrap();
    read_answer(&mut stream).expect_error(504, "timeout");
    // A head that never comes.
    let mut stream = fixture.connect();
    stream.write_all(b"GET /v2/ser").unwrap();
    // The host closes it, before our own patience ends.
    let read = stream.read_to_end(&mut Vec::new());
    assert!(!is_patience(&read));
    fixture.get("/v2/served").expect_text("1");
}

#[test]
fn a_body_that_breaks_off_harms_nobody() {
    let fixture = Fixture::new(|_| {});
    let mut stream = fixture.connect();
    stream
        .write_all(b"POST /v2/echo HTTP/1.1\r\nhost: t\r\ncontent-length: 1000\r\n\r\nabc")
        .unwrap();
    drop(stream);
    fixture.get("/v2/served").expect_text("1");
}

#[test]
fn a_body_that_the_guest_ignores_is_no_problem() {
    let fixture = Fixture::new(|_| {});
    fixture
        .post("/v2/unread", "a/b", &vec![1; 3_000_000])
        .expect_text("body not read");
    fixture.get("/v2/served").expect_text("2");
}

#[test]
fn request_ids_are_kept_or_made() {
    let fixture = Fixture::new(|_| {});
    let kept = fixture.get_with("/v2/served", "x-request-id: abc-1.2:3\r\n");
    assert_eq!(kept.header("x-request-id"), Some("abc-1.2:3"));
    fixture.wait_for_log(&[
        "\"event\":\"request\"",
        "\"request\":\"abc-1.2:3\"",
        "\"status\":200",
        "/v2/served",
    ]);
    let made = fixture.get_with("/v2/served", "x-request-id: \"quoted\"\r\n");
    assert!(!made.header("x-request-id").unwrap().contains('"'));
}

#[test]
fn a_connection_serves_many_requests() {
    let fixture = Fixture::new(|_| {});
    let mut stream = fixture.connect();
    for _ in 0..3 {
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n")
            .unwrap();
    }
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert_eq!(all.matches("HTTP/1.1 200 OK").count(), 4);
}
