//! A guest that does everything a guest must not do, one thing a route. The
//! host's tests run it; nothing else does.
#![cfg(all(target_family = "wasm", target_os = "wasi"))]
#![allow(missing_docs, clippy::panic)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use spin_sdk::http::{IntoResponse, Request, Response};
use spin_sdk::http_service;
use spin_sdk::wasip3::clocks::monotonic_clock;

static SERVED: AtomicU64 = AtomicU64::new(0);

#[http_service]
async fn handle(request: Request) -> impl IntoResponse {
    let served = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
    let path = request.uri().path().to_owned();
    let number = request
        .uri()
        .query()
        .and_then(|q| q.parse::<u64>().ok())
        .unwrap_or(0);
    if path == "/own-page" {
        let mut page = answer(200, "<p>of the component".into());
        let headers = page.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        headers.insert(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'"),
        );
        return page;
    }
    let text = match path.as_str() {
        "/v2/served" => served.to_string(),
        "/v2/echo" => echo(request).await,
        "/v2/unread" => "body not read".into(),
        "/v2/loop" => endless(),
        "/v2/hang" => std::future::pending().await,
        "/v2/sleep" => sleep(number).await,
        "/v2/busy" => busy(number),
        "/v2/background" => background(number),
        "/v2/memory" => hoard(number),
        "/v2/panic" => panic!("as asked"),
        "/v2/who" => who().into(),
        "/v2/missing" => {
            if who().contains("slim") {
                engine_function_missing();
            }
            who().into()
        }
        "/v2/recursion" => recursion(number).to_string(),
        "/v2/large" => "x".repeat(usize::try_from(number).unwrap_or(0)),
        "/v2/network" => network().await,
        "/v2/write" => format!(
            "{:?}",
            std::fs::write("/registry/written", "x").map_err(|e| e.kind())
        ),
        "/v2/escape" => format!(
            "{:?}",
            std::fs::read("/registry/../../etc/passwd").map_err(|e| e.kind())
        ),
        "/v2/read" => {
            std::fs::read_to_string("/registry/index.json").unwrap_or_else(|e| e.to_string())
        }
        "/v2/keep" => keep(number),
        "/v2/fill" => fill(number),
        "/v2/env" => std::env::vars()
            .map(|(k, v)| format!("{k}={v}\n"))
            .collect(),
        "/v2/print" => print_lines(),
        _ => return answer(404, "no such misdeed".into()),
    };
    answer(200, text)
}

fn answer(status: u16, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = spin_sdk::http::StatusCode::from_u16(status).unwrap_or_default();
    response
}

async fn echo(request: Request) -> String {
    let (parts, body) = request.into_parts();
    let length = body.collect().await.map_or(0, |body| body.to_bytes().len());
    format!(
        "{} {} {length}\n{:?}",
        parts.method, parts.uri, parts.headers
    )
}

/// A test that makes a slim component of this one writes another word there.
fn who() -> &'static str {
    std::hint::black_box("this is the full one")
}

/// What the stubs of a slim component call.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn engine_function_missing() {
    core::arch::wasm32::unreachable()
}

/// Keeps a number for good, in a file of its own.
fn keep(number: u64) -> String {
    let written = std::fs::write("/cache/new", number.to_string())
        .and_then(|()| std::fs::rename("/cache/new", format!("/cache/{number}")));
    match written {
        Ok(()) => format!("kept {number}"),
        Err(error) => format!("lost {number}: {error}"),
    }
}

/// Writes so many bytes, and takes away what of them was written if not all were.
fn fill(number: u64) -> String {
    let bytes = vec![1; usize::try_from(number).unwrap_or(0)];
    let written = std::fs::write("/cache/fill", bytes).map_err(|e| e.kind());
    if written.is_err() {
        let _ = std::fs::remove_file("/cache/fill");
    }
    format!("{written:?}")
}

fn endless() -> String {
    println!("begun");
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

async fn sleep(milliseconds: u64) -> String {
    // What a test waits for, instead of guessing when it gets here.
    println!("begun");
    monotonic_clock::wait_for(milliseconds * 1_000_000).await;
    "slept".into()
}

fn busy(milliseconds: u64) -> String {
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_millis(milliseconds) {
        std::hint::black_box(0);
    }
    "worked".into()
}

fn background(milliseconds: u64) -> String {
    spin_sdk::wasip3::spawn(async move {
        monotonic_clock::wait_for(milliseconds * 1_000_000).await;
        println!("background work done");
    });
    "answered before the work was done".into()
}

/// `number` MiB, all touched.
fn hoard(number: u64) -> String {
    let all: Vec<Vec<u8>> = (0..number).map(|i| vec![i as u8 | 1; 1 << 20]).collect();
    std::hint::black_box(&all).len().to_string()
}

fn recursion(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if depth == u64::MAX {
        0
    } else {
        recursion(depth + 1) + frame[1]
    }
}

async fn network() -> String {
    match spin_sdk::http::get("http://127.0.0.1:9/").await {
        Ok(response) => format!("got {}", response.status()),
        Err(error) => format!("refused: {error:?}"),
    }
}

fn print_lines() -> String {
    println!("one");
    eprintln!("two\nthree");
    eprint!("no line end");
    "printed".into()
}
