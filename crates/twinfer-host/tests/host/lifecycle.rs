//! Instances over time, overload, the orderly end, the compiled cache.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use twinfer_host::{Host, HostConfig, HostErrorKind, LogSink};

use crate::support::{Fixture, misbehaving_guest, read_answer};

#[test]
fn an_instance_is_reused() {
    let fixture = Fixture::new(|_| {});
    for expected in 1..=5 {
        fixture.get("/v2/served").expect_text(&expected.to_string());
    }
}

#[test]
fn an_instance_is_replaced_after_its_share() {
    let fixture = Fixture::new(|config| config.limits.max_requests_per_instance = 2);
    let seen: Vec<_> = (0..5).map(|_| fixture.get("/v2/served").text()).collect();
    assert_eq!(seen, ["1", "2", "1", "2", "1"]);
}

#[test]
fn an_idle_instance_is_dropped() {
    let fixture = Fixture::new(|config| config.limits.idle_timeout = Duration::from_millis(100));
    fixture.get("/v2/served").expect_text("1");
    fixture.wait_for_log(&["instance_ended", "idle"]);
    fixture.get("/v2/served").expect_text("1");
}

#[test]
fn a_full_queue_is_refused_at_once() {
    let fixture = Fixture::new(|config| {
        config.limits.max_instances = 1;
        config.limits.max_queue = 1;
    });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| fixture.get("/v2/sleep?4000").status);
        fixture.wait_until_begun();
        // One of them waits, and the other is told at once, whichever comes later.
        let mut others = [(); 2].map(|()| Some(scope.spawn(|| fixture.get("/v2/served"))));
        let refused = loop {
            let mut ended = others.iter_mut();
            match ended.find(|other| other.as_ref().is_some_and(|other| other.is_finished())) {
                Some(other) => break other.take().unwrap().join().unwrap(),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        refused.expect_error(503, "overloaded");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert!(!first.is_finished(), "it was not told at once");
        // The host itself is still alive, which is what a probe wants to know.
        fixture.get("/healthz").expect_text("ok\n");
        fixture.get("/livez").expect_text("ok\n");
        let waited = others.into_iter().flatten().map(|other| other.join());
        assert!(waited.flatten().all(|answer| answer.status == 200));
        assert_eq!(first.join().unwrap(), 200);
    });
}

#[test]
fn waiting_for_an_instance_has_an_end() {
    let fixture = Fixture::new(|config| {
        config.limits.max_instances = 1;
        config.limits.queue_timeout = Duration::from_millis(100);
    });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| fixture.get("/v2/sleep?3000").status);
        fixture.wait_until_begun();
        fixture.get("/v2/served").expect_error(503, "overloaded");
        assert_eq!(first.join().unwrap(), 200);
    });
}

#[test]
fn a_client_that_goes_away_does_not_cost_the_instance() {
    let fixture = Fixture::new(|config| config.limits.max_instances = 1);
    fixture.get("/v2/served").expect_text("1");
    let mut stream = fixture.connect();
    stream
        .write_all(b"GET /v2/sleep?200 HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    fixture.wait_until_begun();
    drop(stream);
    fixture.get("/v2/served").expect_text("3");
}

#[test]
fn requests_in_flight_finish_at_shutdown() {
    let mut fixture = Fixture::new(|_| {});
    let mut busy = fixture.connect();
    busy.write_all(b"GET /v2/sleep?1500 HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    let idle = fixture.connect();
    fixture.wait_until_begun();
    fixture.shutdown().unwrap();
    read_answer(&mut busy).expect_text("slept");
    assert!(
        std::net::TcpStream::connect(fixture.address).is_err(),
        "still accepting"
    );
    drop(idle);
}

/// The signal goes to the whole test program, where only this host listens.
#[cfg(unix)]
#[test]
fn sigterm_ends_it_in_order() {
    let mut fixture = Fixture::new(|config| config.handle_signals = true);
    let mut busy = fixture.connect();
    busy.write_all(b"GET /v2/sleep?1000 HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    fixture.wait_until_begun();
    let id = std::process::id().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-TERM", &id])
        .status();
    assert!(killed.unwrap().success());
    fixture.host.take().unwrap().wait().unwrap();
    read_answer(&mut busy).expect_text("slept");
    assert!(fixture.log().contains("SIGTERM"));
}

#[test]
fn a_shutdown_that_takes_too_long_says_so() {
    let mut fixture =
        Fixture::new(|config| config.limits.shutdown_timeout = Duration::from_millis(100));
    let mut busy = fixture.connect();
    busy.write_all(b"GET /v2/sleep?20000 HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    fixture.wait_until_begun();
    let error = fixture.shutdown().unwrap_err().to_string();
    assert!(error.contains("cut off"), "{error}");
}

fn start_with(component: &Path, cache: &Path) -> (Result<String, HostErrorKind>, Vec<String>) {
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = lines.clone();
    let registry = tempfile::tempdir().unwrap();
    let mut config = HostConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        cache: Some(cache.to_owned()),
        log: LogSink::Function(std::sync::Arc::new(move |line| {
            sink.lock().unwrap().push(line.to_owned())
        })),
        ..HostConfig::new(component, registry.path())
    };
    // The paths of this guest are none of Twinfer's.
    config.access.guarded = false;
    let result = Host::start(config);
    let answer = result.map_err(|e| e.kind()).map(|host| {
        let request = b"GET /v2/served HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
        crate::support::exchange(host.local_addr(), request).text()
    });
    let lines = lines.lock().unwrap().clone();
    (answer, lines)
}

fn loaded_from(lines: &[String]) -> &str {
    let line = lines
        .iter()
        .find(|line| line.contains("component_loaded"))
        .unwrap();
    if line.contains("\"from\":\"cache\"") {
        "cache"
    } else {
        "compiler"
    }
}

#[test]
fn the_compiled_component_is_cached_and_a_damaged_one_is_not_used() {
    let cache = tempfile::tempdir().unwrap();
    let guest = misbehaving_guest();
    let (answer, lines) = start_with(&guest, cache.path());
    assert_eq!(
        (answer.as_deref(), loaded_from(&lines)),
        (Ok("1"), "compiler")
    );
    let (answer, lines) = start_with(&guest, cache.path());
    assert_eq!((answer.as_deref(), loaded_from(&lines)), (Ok("1"), "cache"));

    let entries: Vec<PathBuf> = std::fs::read_dir(cache.path())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    let mut bytes = std::fs::read(&entries[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&entries[0], &bytes).unwrap();
    let (answer, lines) = start_with(&guest, cache.path());
    assert_eq!(
        (answer.as_deref(), loaded_from(&lines)),
        (Ok("1"), "compiler")
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("cache_entry_ignored")),
        "{lines:?}"
    );
    let (_, lines) = start_with(&guest, cache.path());
    assert_eq!(loaded_from(&lines), "cache");
}

#[test]
fn what_is_no_component_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wasm");
    for bytes in [
        b"".as_slice(),
        b"no wasm",
        b"\0asm\x01\0\0\0",
        b"\0asm\x0d\0\x01\0",
    ] {
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(
            start_with(&file, folder.path()).0,
            Err(HostErrorKind::Component),
            "{bytes:?}"
        );
    }
    assert_eq!(
        start_with(&folder.path().join("missing"), folder.path()).0,
        Err(HostErrorKind::Component)
    );
}

/// What keeps the real component portable: with such an import no test of it would start.
#[test]
fn a_component_that_imports_more_than_wasi_is_refused_by_name() {
    let name = b"acme:things/thing";
    // A type section with an empty instance type, and an import of that type.
    let types = [7, 3, 1, 0x42, 0];
    let mut imports = vec![10, name.len() as u8 + 5, 1, 0, name.len() as u8];
    imports.extend(name);
    imports.extend([5, 0]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wasm");
    std::fs::write(
        &file,
        [b"\0asm\x0d\0\x01\0".as_slice(), &types, &imports].concat(),
    )
    .unwrap();
    let error = Host::start(HostConfig::new(&file, folder.path()))
        .err()
        .unwrap();
    assert_eq!(error.kind(), HostErrorKind::Component);
    assert!(error.to_string().contains("acme:things/thing"), "{error}");
}

#[test]
fn a_taken_address_and_a_missing_registry_are_named() {
    let fixture = Fixture::new(|_| {});
    let start = |registry: &Path| {
        let config = HostConfig {
            listen: fixture.address,
            log: LogSink::None,
            ..HostConfig::new(misbehaving_guest(), registry)
        };
        Host::start(HostConfig {
            cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")),
            ..config
        })
        .err()
        .unwrap()
    };
    assert_eq!(start(&fixture.registry()).kind(), HostErrorKind::Listen);
    assert_eq!(
        start(Path::new("/no/such/folder")).kind(),
        HostErrorKind::Config
    );
}
