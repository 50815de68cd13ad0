//! A disk that is full, and a cache that is damaged while it is used.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::child::{SMALL_FILES, Server};
use crate::support::{Fixture, exchange};

fn get(server: &Server, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
    exchange(server.address, head.as_bytes()).text()
}

/// The compiled component is not kept and the guest cannot write; everything else goes on.
fn goes_on(server: &mut Server, cache: &Path) {
    let told = server
        .log
        .iter()
        .any(|line| line.contains("cache_not_written"));
    assert!(told, "{:?}", server.log);
    let left = std::fs::read_dir(cache).map_or(0, Iterator::count);
    assert_eq!(left, 0, "half an entry takes room");
    for _ in 0..3 {
        let written = get(server, "/v2/fill?2000000");
        assert!(written.starts_with("Err"), "{written}");
        assert!(get(server, "/v2/served").parse::<u64>().is_ok());
    }
    // What fits is still written.
    assert_eq!(get(server, "/v2/keep?1"), "kept 1");
    assert!(server.is_running());
}

#[test]
fn with_files_that_cannot_grow_everything_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    let mut server = Server::start(folder.path(), &cache, "127.0.0.1:0", SMALL_FILES);
    goes_on(&mut server, &cache);
}

/// A file system of its own; where nothing can be mounted, the test above is what there is.
#[cfg(target_os = "linux")]
#[test]
fn on_a_full_disk_everything_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("full");
    std::fs::create_dir(&full).unwrap();
    let mount = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let command = command.args(arguments).arg(&full).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !mount("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"]) {
        println!("no mounts here: only with a limit of the process");
        return;
    }
    let cache = full.join("compiled");
    let mut server = Server::start(&full, &cache, "127.0.0.1:0", "true");
    goes_on(&mut server, &cache);
    drop(server);
    assert!(mount("umount", &[]));
}

/// Whoever damages it does so by another file under the same name. Who has the old one goes on
/// with it; who starts then compiles, and says why.
#[test]
fn a_cache_entry_that_is_damaged_under_load_harms_nobody() {
    let cache = tempfile::tempdir().unwrap();
    let start = || Fixture::new(|config| config.cache = Some(cache.path().to_owned()));
    let fixture = start();
    let entry = std::fs::read_dir(cache.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            for _ in 0..200 {
                assert_eq!(fixture.get("/v2/served").status, 200);
            }
        });
        let mut round = 0;
        while !load.is_finished() || round == 0 {
            round += 1;
            let mut bytes = std::fs::read(&entry).unwrap();
            let length = bytes.len();
            bytes[round * 4096 % length] ^= 1;
            let damaged = cache.path().join("damaged");
            std::fs::write(&damaged, &bytes).unwrap();
            std::fs::rename(&damaged, &entry).unwrap();
            let other = start();
            other.get("/v2/served").expect_text("1");
            assert_eq!(other.count(&["cache_entry_ignored", "digest"]), 1);
            assert_eq!(other.count(&["component_loaded", "compiler"]), 1);
        }
    });
    // With pages that were never read before.
    fixture.get("/v2/recursion?1").expect_error(500, "internal");
    assert_eq!(fixture.get("/v2/served").status, 200);
}
