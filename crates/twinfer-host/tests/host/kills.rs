//! SIGKILL under load, and what is there afterwards.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::child::Server;
use crate::support::{Answer, try_exchange};

fn get(address: SocketAddr, path: &str) -> Option<Answer> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
    try_exchange(address, head.as_bytes())
}

/// Lets the guest keep numbers until it is told to stop; gives those that it said it had kept.
fn load(address: SocketAddr, next: &AtomicU64, kept: &Mutex<BTreeSet<u64>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let answer = get(address, &format!("/v2/keep?{number}"));
        // A connection that breaks off acknowledges nothing.
        if answer.is_some_and(|answer| answer.text() == format!("kept {number}")) {
            kept.lock().unwrap().insert(number);
        }
    }
}

fn there(folder: &Path) -> BTreeSet<u64> {
    let files = std::fs::read_dir(folder.join("packages")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.parse().ok()).collect()
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill_and_the_port_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    let mut server = Server::start(folder.path(), &cache, "127.0.0.1:0", "true");
    let address = server.address;
    assert!(
        server
            .log
            .iter()
            .any(|line| line.contains("\"from\":\"compiler\""))
    );
    let (next, kept) = (AtomicU64::new(1), Mutex::new(BTreeSet::new()));
    for round in 1..=3 {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| load(address, &next, &kept, &stop));
            }
            // Under load, at some moment of it.
            while kept.lock().unwrap().len() < round * 40 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            server.kill();
            stop.store(true, Ordering::Relaxed);
        });
        let kept = kept.lock().unwrap().clone();
        assert!(kept.is_subset(&there(folder.path())), "{kept:?}");
        // At once, on the same port, though connections of the last one are not forgotten yet.
        server = Server::start(folder.path(), &cache, &address.to_string(), "true");
        assert_eq!(server.address, address);
        let from_cache = |line: &String| line.contains("\"from\":\"cache\"");
        assert!(server.log.iter().any(from_cache), "{:?}", server.log);
        assert_eq!(get(address, "/v2/served").unwrap().text(), "1");
    }
}

/// Killed while it compiles and writes, again and again: what it leaves is never half an entry.
#[test]
fn a_kill_while_the_cache_is_written_leaves_no_half_entry() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    // Half of an entry, as if written by a process that was killed then.
    let mut server = Server::start(folder.path(), &cache, "127.0.0.1:0", "true");
    server.kill();
    let entry = std::fs::read_dir(&cache)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = std::fs::read(&entry).unwrap();
    let temporary = entry.with_extension("tmp-1-0");
    std::fs::write(&temporary, &whole[..whole.len() / 2]).unwrap();
    std::fs::write(&entry, &whole[..whole.len() / 2]).unwrap();
    let server = Server::start(folder.path(), &cache, "127.0.0.1:0", "true");
    let told = |what: &str| server.log.iter().any(|line| line.contains(what));
    assert!(
        told("cache_entry_ignored") && told("\"from\":\"compiler\""),
        "{:?}",
        server.log
    );
    assert!(std::fs::read(&entry).unwrap() == whole, "it is whole again");
    assert_eq!(get(server.address, "/v2/served").unwrap().text(), "1");
}
