//! Clients that take their time: to send, and to read.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use twinfer_host::HostConfig;

use crate::child::{MANY_FILES, Server};
use crate::support::{Fixture, connect, exchange, is_patience};

const LARGE: usize = 40_000_000;

fn impatient(config: &mut HostConfig) {
    config.limits.read_timeout = Duration::from_millis(300);
}

/// HTTP/2 begins with these: RFC 9113, 3.4, and settings without any.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[test]
fn a_connection_without_a_request_has_an_end() {
    let fixture = Fixture::new(impatient);
    for bytes in [
        &b""[..],
        b"G",
        b"GET /v2/served HTTP/1.1\r\nhost: t\r\n",
        // What could still become either version of HTTP.
        b"PRI * HT",
        PREFACE,
        // After a request, too.
        b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n",
    ] {
        let mut stream = fixture.connect();
        stream.write_all(bytes).unwrap();
        let read = stream.read_to_end(&mut Vec::new());
        assert!(!is_patience(&read), "{:?}", String::from_utf8_lossy(bytes));
    }
    fixture.get("/v2/served").expect_text("1");
}

/// A head that never ends, though there is always a little more of it.
#[test]
fn a_head_that_comes_drop_by_drop_has_an_end() {
    let fixture = Fixture::new(impatient);
    for begin in [&b"GET / HTTP/1.1\r\nx: "[..], PREFACE] {
        let mut stream = fixture.connect();
        stream.write_all(begin).unwrap();
        // An HTTP/2 ping that wants no answer, in the place of a letter.
        let drop = match begin == PREFACE {
            true => &b"\0\0\x08\x06\x01\0\0\0\0\0\0\0\0\0\0\0\0"[..],
            false => b"x",
        };
        let closed = (0..2000).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            stream.write_all(drop).is_err()
        });
        assert!(closed, "it is still open");
    }
    fixture.get("/v2/served").expect_text("1");
}

fn stalled(config: &mut HostConfig) {
    config.limits.write_timeout = Duration::from_millis(500);
}

fn ask_for_large(fixture: &Fixture, path: &str) -> TcpStream {
    let mut stream = fixture.connect();
    let head = format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn a_client_that_stops_reading_is_cut_off() {
    let fixture = Fixture::new(stalled);
    std::fs::write(fixture.page().join("large.bin"), vec![7; LARGE]).unwrap();
    for (round, path) in [format!("/v2/large?{LARGE}"), "/large.bin".into()]
        .iter()
        .enumerate()
    {
        let mut stream = ask_for_large(&fixture, path);
        stream.read_exact(&mut [0; 100]).unwrap();
        while fixture.count(&["connection_failed", "does not take its answer"]) == round {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut rest = Vec::new();
        let read = stream.read_to_end(&mut rest);
        assert!(!is_patience(&read));
        assert!(rest.len() < LARGE, "{path}: {}", rest.len());
    }
    fixture.get("/v2/served").expect_text("2");
}

#[test]
fn a_client_that_reads_slowly_gets_all() {
    let fixture = Fixture::new(|config| config.limits.write_timeout = Duration::from_secs(2));
    let mut stream = ask_for_large(&fixture, &format!("/v2/large?{LARGE}"));
    let (mut piece, mut sum) = (Vec::new(), 0);
    // Longer than the limit, and always a little.
    loop {
        std::thread::sleep(Duration::from_millis(100));
        piece.clear();
        match (&mut stream).take(1 << 20).read_to_end(&mut piece).unwrap() {
            0 => break,
            length => sum += length,
        }
    }
    assert!(sum > LARGE, "{sum}");
    assert_eq!(fixture.count(&["connection_failed"]), 0);
}

/// Of HTTP/2 one can read everything and still not let the other side send its answer.
#[test]
fn a_window_of_http_2_that_stays_closed_is_noticed() {
    let fixture = Fixture::new(stalled);
    let path = format!("/v2/large?{LARGE}");
    // GET, http, this path, this host: RFC 7541, indexed fields and literals without an index.
    let mut fields = vec![0x82, 0x86, 0x04, path.len() as u8];
    fields.extend(path.as_bytes());
    fields.extend([0x01, 1, b't']);
    let mut stream = fixture.connect();
    stream.write_all(PREFACE).unwrap();
    // HEADERS of stream 1, which ends both the head and the request.
    let head = [0, 0, fields.len() as u8, 1, 5, 0, 0, 0, 1];
    stream.write_all(&[&head[..], &fields].concat()).unwrap();
    let mut all = Vec::new();
    let read = stream.read_to_end(&mut all);
    assert!(!is_patience(&read), "it is still open");
    // The first window, and no more.
    assert!((65_535..100_000).contains(&all.len()), "{}", all.len());
    fixture.wait_for_log(&["connection_failed", "does not take its answer"]);
}

/// As many as the limits of this process allow, which is said; each is somewhere else in its
/// request.
#[test]
fn ten_thousand_slow_connections_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let mut server = Server::start(folder.path(), &cache, "127.0.0.1:0", MANY_FILES);
    let beginnings = [
        &b""[..],
        b"GET /v2/served HTTP/1.1\r\nhost: t",
        b"POST /v2/echo HTTP/1.1\r\nhost: t\r\ncontent-length: 1000\r\n\r\nx",
        PREFACE,
    ];
    let mut slow = Vec::new();
    while slow.len() < 10_000 {
        // Out of files, or of ports: these are all that there can be.
        let Ok(mut stream) = TcpStream::connect(server.address) else {
            break;
        };
        if stream
            .write_all(beginnings[slow.len() % beginnings.len()])
            .is_err()
        {
            break;
        }
        slow.push(stream);
    }
    println!("{} slow connections", slow.len());
    // Room for those below, where files were what there was too little of.
    slow.truncate(slow.len().saturating_sub(20).max(100));
    assert!(slow.len() > 400, "{}", slow.len());
    for _ in 0..50 {
        let request = b"GET /v2/served HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
        let answer = exchange(server.address, request);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // They are still there, and one of them gets what it asks for after all.
    let mut stream = slow.swap_remove(1);
    stream.write_all(b"\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(server.is_running());
    drop(connect(server.address));
}
