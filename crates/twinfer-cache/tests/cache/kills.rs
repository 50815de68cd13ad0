//! A process can be killed at any moment, and leaves a valid cache.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use twinfer_cache::{Backend, Cache, FolderBackend, LoadOptions, Options, Policy};
use twinfer_package::{Descriptor, Digest, MemoryStore};

use crate::child::start;
use crate::origin::Scripted;
use crate::packages::{noise, publish, quiet, reference, registry};
use crate::world::{Virtual, pass, run};

const KILLS: usize = 500;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// A number from a seed, and the next seed.
fn next(seed: &mut u64, below: u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed >> 20) % below
}

fn model(name: usize, version: u64) -> Vec<u8> {
    noise(
        10 * name as u64 + version,
        150_000 + 1000 * version as usize,
    )
}

/// Each name in its first version.
fn published() -> Rc<MemoryStore> {
    let store = registry();
    for (number, name) in NAMES.iter().enumerate() {
        publish(&store, name, "1.0.0", model(number, 1));
    }
    store
}

fn cache(folder: &Path) -> Cache<FolderBackend, Virtual> {
    let options = Options {
        quota: Some(700_000),
        pin: 60_000,
        ..Options::default()
    };
    Cache::new(FolderBackend::new(folder), Virtual::default(), options)
}

/// Loads, moves tags, evicts, verifies and clears until it is killed.
pub fn work(folder: &Path, mut seed: u64) {
    let store = published();
    let origins = [Scripted::new(&store)];
    let cache = cache(folder);
    let options = LoadOptions {
        policy: Policy::Online,
        ..LoadOptions::default()
    };
    run(async {
        loop {
            let number = next(&mut seed, 3) as usize;
            let name = NAMES[number];
            match next(&mut seed, 12) {
                0 => {
                    let version = 2 + next(&mut seed, 3);
                    publish(
                        &store,
                        name,
                        &format!("{version}.0.0"),
                        model(number, version),
                    );
                }
                1 => drop(cache.prune(next(&mut seed, 700_000)).await.unwrap()),
                2 => drop(cache.verify().await.unwrap()),
                3 if next(&mut seed, 4) == 0 => drop(cache.clear().await.unwrap()),
                4 => pass(40_000),
                5 => {
                    let bytes = model(number, 1);
                    let wanted = Descriptor::new("x/y", &bytes);
                    cache
                        .ensure(&origins, &(&wanted).into(), &quiet)
                        .await
                        .unwrap();
                }
                _ => {
                    let live = reference(&format!("{name}:live"));
                    cache.load(&origins, &live, &options, &quiet).await.unwrap();
                }
            }
        }
    });
}

#[test]
fn five_hundred_kills_leave_a_valid_cache() {
    let seed = std::env::var("TWINFER_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let mut seed: u64 = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        since.as_nanos() as u64 | 1
    });
    println!("TWINFER_SEED={seed} repeats these {KILLS} kills, as far as the machine does");
    let folder = tempfile::tempdir().unwrap();
    let store = published();
    let origins = [Scripted::new(&store)];
    let (mut with_locks, mut with_partials) = (0, 0);
    for kill in 0..KILLS / 2 {
        let two = [(); 2].map(|()| {
            let task = format!("work {}", next(&mut seed, u64::MAX) | 1);
            start(&task, folder.path())
        });
        for mut child in two {
            std::thread::sleep(Duration::from_micros(next(&mut seed, 30_000)));
            child.kill().unwrap();
            let status = child.wait().unwrap();
            // None for a signal: whoever failed would have ended by itself.
            assert_eq!(status.code(), None, "kill {kill}");
        }
        let left = |name: &str| {
            let entries = std::fs::read_dir(folder.path().join(name));
            usize::from(entries.is_ok_and(|mut entries| entries.next().is_some()))
        };
        with_locks += left("locks");
        with_partials += left("partial");
        check(folder.path());
        let number = next(&mut seed, 3) as usize;
        let live = reference(&format!("{}:1.0.0", NAMES[number]));
        let options = LoadOptions::default();
        let cache = cache(folder.path());
        let loaded = run(cache.load(&origins, &live, &options, &quiet)).unwrap();
        assert!(
            loaded.package.model_bytes() == model(number, 1),
            "kill {kill}"
        );
    }
    println!("after {with_locks} rounds there were locks, after {with_partials} partial blobs");
    assert!(
        with_locks > 0 && with_partials > 0,
        "nobody was killed at work"
    );
}

/// Everything that is there is whole.
fn check(folder: &Path) {
    let backend = FolderBackend::new(folder);
    for (digest, size) in run(backend.blobs()).unwrap() {
        let bytes = run(backend.read(&digest, size)).unwrap().unwrap();
        assert_eq!(Digest::of(&bytes), digest);
    }
    for (key, document) in run(backend.documents("")).unwrap() {
        let head = document.split(|byte| *byte == b'\n').next().unwrap();
        let parsed = serde_json::from_slice::<serde_json::Value>(head);
        assert!(parsed.is_ok(), "{key}: {document:?}");
    }
}
