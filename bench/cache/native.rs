//! Times of the versioned cache on the host, in one process: loads of a package from a server,
//! cold and warm, and what verification costs. Called by `host.py`.
//!
//! ```text
//! twinfer-cache-bench --server URL --reference NAME:VERSION --folder DIR --rounds N
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;
use twinfer_cache::{Cache, Env, FolderBackend, LoadOptions, Options, Policy};
use twinfer_package::{Digest, Parts, Reference};
use twinfer_registry::{NetOptions, RegistryOrigin};

/// One block of each of these many is hashed in a sampled check.
const SAMPLED: usize = 16;
/// Bytes of a block.
const BLOCK: usize = 1 << 20;

struct System;

impl Env for System {
    fn now(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |now| now.as_millis() as u64)
    }

    async fn sleep(&self, milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }

    fn random(&self) -> f64 {
        0.5
    }
}

type Times = BTreeMap<&'static str, Vec<f64>>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut given = BTreeMap::new();
    let mut arguments = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        given.insert(name, value);
    }
    let text = |name: &str| given.get(name).ok_or(format!("{name} is missing"));
    let folder = PathBuf::from(text("--folder")?);
    let reference: Reference = text("--reference")?.parse()?;
    let location = text("--server")?.parse()?;
    let rounds: usize = text("--rounds")?.parse()?;
    let runtime = Runtime::new()?;
    let origins = [RegistryOrigin::new(&location, &NetOptions::default())?];
    let mut times = Times::new();
    for _ in 0..rounds {
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        for (step, policy) in [
            ("cold", Policy::Online),
            ("warm, asking", Policy::Online),
            ("warm, offline", Policy::Offline),
        ] {
            let cache = Cache::new(FolderBackend::new(&folder), System, Options::default());
            let options = LoadOptions {
                policy,
                parts: Parts::All,
                ..LoadOptions::default()
            };
            let begun = Instant::now();
            let loaded = runtime.block_on(cache.load(&origins, &reference, &options, &|_| {}))?;
            times.entry(step).or_default().push(milliseconds(begun));
            drop(loaded);
        }
        verification(&folder.join("blobs/sha256"), &mut times)?;
    }
    let bytes: u64 = blobs(&folder.join("blobs/sha256"))?
        .iter()
        .filter_map(|path| Some(path.metadata().ok()?.len()))
        .sum();
    println!("{}", json!({ "bytes": bytes, "milliseconds": times }));
    Ok(())
}

/// What is read in a warm load, read and hashed in several ways.
fn verification(folder: &Path, times: &mut Times) -> Result<(), Box<dyn Error>> {
    let paths = blobs(folder)?;
    let begun = Instant::now();
    let contents: Vec<Vec<u8>> = paths.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    times.entry("read").or_default().push(milliseconds(begun));
    let begun = Instant::now();
    for (path, content) in paths.iter().zip(&contents) {
        let hex = path.file_name().and_then(|name| name.to_str());
        assert_eq!(Some(&*Digest::of(content).hex()), hex);
    }
    times
        .entry("hash all")
        .or_default()
        .push(milliseconds(begun));
    let begun = Instant::now();
    let mut sum = 0u8;
    for content in &contents {
        for block in content.chunks(BLOCK).step_by(SAMPLED) {
            sum ^= Sha256::digest(block)[0];
        }
    }
    // Looked at, so that it is not left out.
    std::hint::black_box(sum);
    let sampled = times.entry("hash one block of sixteen").or_default();
    sampled.push(milliseconds(begun));
    Ok(())
}

fn blobs(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}
