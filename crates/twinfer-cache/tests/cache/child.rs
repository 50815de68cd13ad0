//! Other processes: this test program again, told what to do by its environment.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use twinfer::Result;
use twinfer_cache::{
    Asked, Backend, Body, Cache, Env, FolderBackend, LockMode, Opened, Options, Origin, Wanted,
};
use twinfer_package::{Digest, Reference};

use crate::packages::{noise, quiet};
use crate::world::run;

const TASK: &str = "TWINFER_CACHE_TEST_TASK";
const FOLDER: &str = "TWINFER_CACHE_TEST_FOLDER";

/// Starts one, with a task that [`child`] knows.
pub fn start(task: &str, folder: &Path) -> Child {
    command(task, folder).spawn().unwrap()
}

pub fn command(task: &str, folder: &Path) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    prepare(&mut command, task, folder);
    command
}

/// As [`command`], but its files can have no more than some kilobytes: to it, the disk is full.
pub fn limited(task: &str, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    // In units of 512 or 1024 bytes, as the shell likes it.
    command.args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" \"$@\""]);
    command.arg(std::env::current_exe().unwrap());
    prepare(&mut command, task, folder);
    command
}

fn prepare(command: &mut Command, task: &str, folder: &Path) {
    command
        .args(["--exact", "child::child", "--nocapture"])
        .env(TASK, task)
        .env(FOLDER, folder)
        .stdout(Stdio::null());
}

/// What the other processes do; as a test of its own it does nothing.
#[test]
fn child() {
    let (Ok(task), Some(folder)) = (std::env::var(TASK), std::env::var_os(FOLDER)) else {
        return;
    };
    let folder = Path::new(&folder);
    let (task, argument) = task.split_once(' ').unwrap_or((&task, ""));
    match task {
        "fetch" => fetch(folder),
        "hold" => hold(folder),
        "work" => crate::kills::work(folder, argument.parse().unwrap()),
        "full" => crate::folder::on_a_full_disk(folder),
        other => panic!("{other} is no task"),
    }
}

/// The real clock; its timer blocks, which harms nobody who is alone.
pub struct Real;

impl Env for Real {
    fn now(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_millis() as u64
    }

    async fn sleep(&self, milliseconds: u64) {
        // What is only raced against is not waited for.
        crate::world::take_turns().await;
        match milliseconds {
            0..1000 => std::thread::sleep(Duration::from_millis(milliseconds)),
            _ => std::future::pending().await,
        }
    }

    fn random(&self) -> f64 {
        0.5
    }
}

/// Writes down that it was asked, and takes its time.
pub struct Counting<'a>(pub &'a Path);

pub struct Slow(Vec<u8>);

impl Origin for Counting<'_> {
    type Body = Slow;

    fn id(&self) -> &str {
        "counting"
    }

    fn index_key(&self, _reference: &Reference) -> String {
        String::new()
    }

    async fn index(&self, _reference: &Reference, _validator: Option<&str>) -> Result<Asked> {
        panic!("nobody asks");
    }

    async fn open(&self, wanted: &Wanted, offset: u64, _anew: bool) -> Result<Opened<Slow>> {
        let folder = self.0.join("asked");
        std::fs::create_dir_all(&folder).unwrap();
        let name = format!("{}-{}", wanted.digest.hex(), std::process::id());
        std::fs::write(folder.join(name), offset.to_string()).unwrap();
        Ok(Opened {
            body: Slow(shared().split_off(offset as usize)),
            offset,
        })
    }
}

impl Body for Slow {
    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(30));
        let later = self.0.split_off(self.0.len().min(100_000));
        Ok(Some(std::mem::replace(&mut self.0, later)))
    }
}

/// What all of them want.
pub fn shared() -> Vec<u8> {
    noise(1, 500_000)
}

fn fetch(folder: &Path) {
    let bytes = shared();
    let wanted = Wanted {
        digest: Digest::of(&bytes),
        size: Some(bytes.len() as u64),
        name: "shared".into(),
        manifest: false,
    };
    let backend = FolderBackend::new(folder.join("cache"));
    let cache = Cache::new(backend, Real, Options::default());
    let content = run(cache.get(&[Counting(folder)], &wanted, &quiet)).unwrap();
    assert!(content.into_bytes() == bytes);
}

/// Holds locks until it is killed.
fn hold(folder: &Path) {
    let backend = FolderBackend::new(folder.join("cache"));
    let alone = run(backend.lock("alone", LockMode::Exclusive, false)).unwrap();
    let shared = run(backend.lock("shared", LockMode::Shared, false)).unwrap();
    assert!(alone.is_some() && shared.is_some());
    std::fs::write(folder.join("ready"), "").unwrap();
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}
