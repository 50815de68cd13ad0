//! Requests whose end is not where it seems: nobody gets to send a second one in the first.

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::Fixture;

/// Connections end soon when nothing more comes. A client that closes its side would be one that
/// has gone, and get no answer.
fn fixture() -> Fixture {
    Fixture::new(|config| config.limits.read_timeout = Duration::from_secs(1))
}

/// What comes back until the connection ends, when this is sent and nothing after it.
fn send(fixture: &Fixture, bytes: &[u8]) -> String {
    let mut stream = fixture.connect();
    // The host may have closed it by then.
    let _ = stream.write_all(bytes);
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

fn answers(text: &str) -> Vec<&str> {
    text.match_indices("HTTP/1.1 ")
        .map(|(at, _)| &text[at + 9..at + 12])
        .collect()
}

const HIDDEN: &str = "GET /v2/served HTTP/1.1\r\nhost: t\r\n\r\n";

/// RFC 9112, 6.1: such a request may be answered by its transfer encoding, and then the connection
/// must be closed. A proxy that went by the length has sent the rest as a body.
#[test]
fn two_ways_to_say_where_a_body_ends() {
    let fixture = fixture();
    let body = format!("0\r\n\r\n{HIDDEN}");
    let (length, coded) = (
        format!("content-length: {}", body.len()),
        "transfer-encoding: chunked",
    );
    for (first, second) in [(length.as_str(), coded), (coded, length.as_str())] {
        let request =
            format!("POST /v2/echo HTTP/1.1\r\nhost: t\r\n{first}\r\n{second}\r\n\r\n{body}");
        let text = send(&fixture, request.as_bytes());
        assert_eq!(answers(&text), ["200"], "{text}");
        assert!(text.contains("/v2/echo 0\n"), "{text}");
    }
    fixture.get("/v2/served").expect_text("3");
}

#[test]
fn lengths_that_are_none_are_refused() {
    let fixture = fixture();
    for headers in [
        "content-length: 3\r\ncontent-length: 30",
        "content-length: 3, 30",
        "content-length: -1",
        "content-length: +3",
        "content-length: 0x3",
        "content-length: 3 0",
        "content-length: 99999999999999999999999",
        "content-length:",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: xchunked",
        "transfer-encoding: identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding : chunked",
        "transfer-encoding:\u{b}chunked",
        "x: 1\r\n transfer-encoding: chunked",
    ] {
        let request = format!("POST /v2/echo HTTP/1.1\r\nhost: t\r\n{headers}\r\n\r\nabc{HIDDEN}");
        let text = send(&fixture, request.as_bytes());
        assert_eq!(answers(&text), ["400"], "{headers:?}: {text}");
    }
    // A version that has no chunks.
    let request =
        format!("POST /v2/echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}");
    assert!(!send(&fixture, request.as_bytes()).contains("200 OK"));
    fixture.get("/v2/served").expect_text("1");
}

#[test]
fn chunks_that_are_none_are_refused() {
    let fixture = fixture();
    let head = "POST /v2/echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n";
    for body in [
        "zz\r\nabc\r\n0\r\n\r\n".to_owned(),
        "-1\r\nabc\r\n0\r\n\r\n".into(),
        "3\r\nabcdef\r\n0\r\n\r\n".into(),
        "ffffffffffffffffff\r\nabc\r\n0\r\n\r\n".into(),
        "\r\n\r\n".into(),
        "3;\nabc\r\n0\r\n\r\n".into(),
        // An extension without an end, and trailers without an end.
        format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(1 << 20)),
        format!("0\r\n{}\r\n", "t: 1\r\n".repeat(100_000)),
        // It breaks off.
        "3\r\nab".into(),
        "3\r\nabc\r\n".into(),
    ] {
        let text = send(&fixture, format!("{head}{body}{HIDDEN}").as_bytes());
        let answers = answers(&text);
        let refused = answers.is_empty() || matches!(answers[..], ["400" | "431" | "504"]);
        assert!(refused, "{:?}: {text}", &body[..body.len().min(60)]);
    }
    fixture.get("/v2/served").expect_text("1");
}

/// With extensions and trailers, in pieces of every size.
#[test]
fn chunks_that_are_right_are_taken() {
    let fixture = fixture();
    let head = "POST /v2/echo HTTP/1.1\r\nhost: t\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = "3;a=b\r\nabc\r\nA\r\n0123456789\r\n000001\r\nx\r\n0\r\nsome: trailer\r\n\r\n";
    let bytes = format!("{head}{body}");
    for size in [1, 7, 1000] {
        let mut stream = fixture.connect();
        for piece in bytes.as_bytes().chunks(size) {
            stream.write_all(piece).unwrap();
        }
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.contains("/v2/echo 14\n"), "{text}");
    }
}

/// A body without an end is refused at the limit, however it comes.
#[test]
fn an_endless_body_is_refused_at_the_limit() {
    let fixture = Fixture::new(|config| config.limits.max_body = 100_000);
    let head = "POST /v2/echo HTTP/1.1\r\nhost: t\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = fixture.connect();
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    // Until nobody takes more.
    let mut reader = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || while stream.write_all(chunk.as_bytes()).is_ok() {});
    let mut start = [0; 12];
    reader.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
    sending.join().unwrap();
    fixture.get("/v2/served").expect_text("1");
}

#[test]
fn a_length_that_is_wrong_costs_one_request() {
    let fixture = fixture();
    let head =
        |length| format!("POST /v2/echo HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n\r\n");
    // Too short: what is left over is no request.
    let text = send(&fixture, format!("{}abcdef\r\n\r\n", head(3)).as_bytes());
    assert_eq!(answers(&text), ["200", "400"], "{text}");
    assert!(text.contains("/v2/echo 3\n"), "{text}");
    // Too long: it breaks off, and nothing is run.
    let text = send(&fixture, format!("{}abcdef", head(30)).as_bytes());
    assert!(!text.contains("200 OK"), "{text}");
    fixture.get("/v2/served").expect_text("2");
}

#[test]
fn hosts_and_targets_that_two_would_read_in_two_ways() {
    let fixture = fixture();
    for (request, status) in [
        ("GET /v2/served HTTP/1.1\r\n\r\n", "400"),
        (
            "GET /v2/served HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
            "400",
        ),
        ("OPTIONS * HTTP/1.1\r\nhost: t\r\n\r\n", "400"),
        ("CONNECT a:1 HTTP/1.1\r\nhost: t\r\n\r\n", "405"),
        ("TRACE / HTTP/1.1\r\nhost: t\r\n\r\n", "405"),
        ("GET v2/served HTTP/1.1\r\nhost: t\r\n\r\n", "400"),
        ("GET http://t/v2/served HTTP/1.1\r\nhost: t\r\n\r\n", "200"),
        ("GET /v2/served HTTP/1.0\r\n\r\n", "200"),
    ] {
        let text = send(&fixture, request.as_bytes());
        let first = answers(&text.replace("HTTP/1.0 ", "HTTP/1.1 ")).join(" ");
        assert_eq!(first, status, "{request:?}: {text}");
    }
    fixture.get("/v2/served").expect_text("3");
}
