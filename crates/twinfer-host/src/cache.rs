//! Compiled components on disk.
//!
//! A compiled component is native code that is run without further checks, so
//! an entry is used only if its digest matches what was written: its name says
//! both what it was made of and what it must be. That guards against damage, not
//! against an attacker with access to the folder: the folder belongs to its owner
//! alone. An entry is nothing but the code, so that it can be mapped: what is
//! never run is never read, and hosts of one component share its memory.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::HostError;
use crate::log::{Log, LogLevel};

/// Part of each key; the number changes with the entries' form.
const FORM: &[u8; 16] = b"twinfer-cwasm-3\n";
/// Bytes that are hashed at once.
const PIECE: usize = 256 << 10;
/// Entries kept; the least recently written go first. One is some 50 MB.
const MAX_ENTRIES: usize = 8;

/// The component, from the cache if it has it, else compiled (and then cached,
/// where a failure to write is only a warning).
pub(crate) fn load(
    engine: &Engine,
    wasm: &[u8],
    entry: Option<&Entry>,
    log: &Log,
) -> Result<Component, HostError> {
    let started = std::time::Instant::now();
    if let Some(entry) = entry
        && let Some(component) = read(engine, entry, log)
    {
        log.event(
            LogLevel::Info,
            "component_loaded",
            serde_json::json!({"from": "cache", "ms": started.elapsed().as_millis() as u64}),
        );
        return Ok(component);
    }
    let component = Component::new(engine, wasm)
        .map_err(|e| HostError::component(format!("the component does not compile: {e:#}")))?;
    log.event(
        LogLevel::Info,
        "component_loaded",
        serde_json::json!({"from": "compiler", "ms": started.elapsed().as_millis() as u64}),
    );
    if let Some(entry) = entry
        && let Err(error) = write(&component, entry)
    {
        log.event(
            LogLevel::Warn,
            "cache_not_written",
            serde_json::json!({"folder": entry.folder, "error": error.to_string()}),
        );
    }
    Ok(component)
}

/// Everything that the compiled code depends on: the component's bytes, and
/// what wasmtime itself names as such (version, settings, target, features).
fn key(engine: &Engine, wasm: &[u8]) -> String {
    let mut hasher = Sha(Sha256::new());
    hasher.write(FORM);
    hasher.write(&Sha256::digest(wasm));
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hex(&hasher.0.finalize())
}

/// Lets a `Hash` feed a cryptographic digest: 64 bits would be few for a key.
struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Where a compiled component is: `KEY.DIGEST.cwasm`.
#[derive(Clone)]
pub(crate) struct Entry {
    folder: PathBuf,
    key: String,
}

impl Entry {
    /// That of this component for this engine.
    pub(crate) fn new(folder: &Path, engine: &Engine, wasm: &[u8]) -> Self {
        Self {
            folder: folder.to_path_buf(),
            key: key(engine, wasm),
        }
    }

    /// The file that is there, with the digest that it should have.
    fn find(&self) -> Option<(PathBuf, String)> {
        let files = fs::read_dir(&self.folder).ok()?.flatten();
        files.into_iter().find_map(|file| {
            let name = file.file_name().into_string().ok()?;
            let rest = name.strip_prefix(&self.key)?.strip_prefix('.')?;
            let digest = rest.strip_suffix(".cwasm")?.to_owned();
            Some((file.path(), digest))
        })
    }

    fn file(&self, code: &[u8]) -> PathBuf {
        let digest = hex(&Sha256::digest(code));
        self.folder.join(format!("{}.{digest}.cwasm", self.key))
    }
}

/// The component of an entry, if it is there. A corrupt or foreign one is a miss, and goes.
pub(crate) fn read(engine: &Engine, entry: &Entry, log: &Log) -> Option<Component> {
    let (file, digest) = entry.find()?;
    let miss = |why: String| {
        log.event(
            LogLevel::Warn,
            "cache_entry_ignored",
            serde_json::json!({"file": file, "why": why}),
        );
        // Otherwise it would be found again beside the next one.
        let _ = fs::remove_file(&file);
    };
    match digest_of(&file) {
        Ok(found) if found == digest => {}
        Ok(_) => {
            miss("its digest does not match".into());
            return None;
        }
        Err(error) => {
            miss(error.to_string());
            return None;
        }
    }
    // SAFETY: the file is what `write` stored from `Component::serialize`, as its digest says, and
    // nobody changes it: a new one takes another name or its place. wasmtime itself refuses
    // another version or setting.
    match unsafe { Component::deserialize_file(engine, &file) } {
        Ok(component) => Some(component),
        Err(error) => {
            miss(format!("{error:#}"));
            None
        }
    }
}

fn digest_of(file: &Path) -> io::Result<String> {
    let mut file = fs::File::open(file)?;
    let mut piece = vec![0; PIECE];
    let mut hasher = Sha256::new();
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            length => hasher.update(&piece[..length]),
        }
    }
}

fn write(component: &Component, entry: &Entry) -> io::Result<()> {
    let code = component
        .serialize()
        .map_err(|e| io::Error::other(format!("{e:#}")))?;
    create_private(&entry.folder)?;
    let file = entry.file(&code);
    let temporary = temporary(&file);
    let written = write_entry(&temporary, &code).and_then(|()| fs::rename(&temporary, &file));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    evict(&entry.folder);
    Ok(())
}

fn write_entry(path: &Path, code: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(code)?;
    file.sync_all()
}

/// A name of our own, so that two hosts starting at once do not meet.
fn temporary(entry: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    entry.with_extension(format!("tmp-{}-{number}", std::process::id()))
}

#[cfg(unix)]
fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(not(unix))]
fn create_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

/// Keeps the folder small. Failures do not matter: the next write tries again.
fn evict(folder: &Path) {
    let Ok(files) = fs::read_dir(folder) else {
        return;
    };
    let mut entries: Vec<_> = files
        .flatten()
        .filter(|file| file.path().extension().is_some_and(|e| e == "cwasm"))
        .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
        .collect();
    entries.sort_by_key(|(changed, _)| std::cmp::Reverse(*changed));
    for (_, path) in entries.into_iter().skip(MAX_ENTRIES) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogSink;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn quiet() -> Log {
        Log::new(LogSink::None, LogLevel::Error)
    }

    fn only_entry(folder: &Path) -> PathBuf {
        let files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|f| f.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }

    fn loaded(engine: &Engine, folder: &Path) -> Component {
        let entry = Entry::new(folder, engine, EMPTY);
        load(engine, EMPTY, Some(&entry), &quiet()).unwrap()
    }

    fn found(engine: &Engine, folder: &Path) -> bool {
        let entry = Entry::new(folder, engine, EMPTY);
        read(engine, &entry, &quiet()).is_some()
    }

    #[test]
    fn hit_after_miss() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        assert!(!found(&engine, folder.path()));
        let _ = loaded(&engine, folder.path());
        assert!(found(&engine, folder.path()));
    }

    #[test]
    fn damage_anywhere_is_a_miss_and_is_repaired() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let _ = loaded(&engine, folder.path());
        let entry = only_entry(folder.path());
        let good = fs::read(&entry).unwrap();
        let flipped = |position: usize| {
            let mut bad = good.clone();
            bad[position] ^= 1;
            bad
        };
        let damaged = [0, good.len() / 2, good.len() - 1].map(flipped);
        let cut = [0, 10, good.len() - 1].map(|length| good[..length].to_vec());
        for bad in damaged.iter().chain(&cut) {
            // Not in its place: what is mapped must not change.
            fs::remove_file(&entry).unwrap();
            fs::write(&entry, bad).unwrap();
            assert!(!found(&engine, folder.path()), "{} bytes", bad.len());
            let _ = loaded(&engine, folder.path());
            assert!(found(&engine, folder.path()));
        }
    }

    #[test]
    fn key_depends_on_bytes_and_settings() {
        let engine = Engine::default();
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
        assert_ne!(key(&engine, EMPTY), key(&other, EMPTY));
        assert_ne!(key(&engine, EMPTY), key(&engine, b"x"));
        assert_eq!(key(&engine, EMPTY), key(&Engine::default(), EMPTY));
    }

    #[test]
    fn unwritable_folder_still_loads() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let _ = loaded(&Engine::default(), &file.path().join("below"));
    }
}
