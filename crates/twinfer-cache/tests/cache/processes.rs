//! Several processes with one folder.

use std::time::{Duration, Instant};

use twinfer_cache::{Backend, FolderBackend, LockMode};

use crate::child::start;
use crate::world::run;

#[test]
fn several_processes_fetch_once() {
    let folder = tempfile::tempdir().unwrap();
    let children = [(); 4].map(|()| start("fetch", folder.path()));
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let asked = std::fs::read_dir(folder.path().join("asked")).unwrap();
    assert_eq!(asked.count(), 1);
    let locks = std::fs::read_dir(folder.path().join("cache/locks")).unwrap();
    assert_eq!(locks.count(), 0, "locks are there only while they are held");
}

#[test]
fn who_is_killed_blocks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let backend = FolderBackend::new(folder.path().join("cache"));
    let take = |name: &str, mode| run(backend.lock(name, mode, false)).unwrap();
    let mut child = start("hold", folder.path());
    let begin = Instant::now();
    while !folder.path().join("ready").exists() {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(take("alone", LockMode::Shared).is_none());
    assert!(take("alone", LockMode::Exclusive).is_none());
    assert!(take("shared", LockMode::Exclusive).is_none());
    // Sharing ends without taking the lock of the other away.
    drop(take("shared", LockMode::Shared).unwrap());
    assert!(take("shared", LockMode::Exclusive).is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(take("alone", LockMode::Exclusive).is_some());
    assert!(take("shared", LockMode::Exclusive).is_some());
}
