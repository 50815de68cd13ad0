//! A host in a process of its own: this test program again, told what to do by its environment.
//! It can be killed, and has limits of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use twinfer_host::{Host, HostConfig, LogSink};

use crate::support::misbehaving_guest;

const FOLDER: &str = "TWINFER_HOST_TEST_FOLDER";
const LISTEN: &str = "TWINFER_HOST_TEST_LISTEN";
const CACHE: &str = "TWINFER_HOST_TEST_CACHE";

/// A host that runs; killed at the end.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
    /// What it logged before it listened.
    pub log: Vec<String>,
}

/// What the shell does before the host begins: as many files as there may be.
pub const MANY_FILES: &str = "ulimit -n $(ulimit -Hn)";
/// Files of some kilobytes: to the host, the disk is full.
pub const SMALL_FILES: &str = "trap '' XFSZ; ulimit -f 200";

impl Server {
    /// Starts one with the registry and the packages of the guest in `folder`.
    pub fn start(folder: &Path, cache: &Path, listen: &str, before: &str) -> Self {
        std::fs::create_dir_all(folder.join("registry")).unwrap();
        let program = std::env::current_exe().unwrap();
        let mut process = Command::new("sh")
            .args(["-c", &format!("{before}; exec \"$0\" \"$@\"")])
            .arg(program)
            .args(["--exact", "child::child", "--nocapture"])
            .env(FOLDER, folder)
            .env(CACHE, cache)
            .env(LISTEN, listen)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = Vec::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the host did not start").unwrap();
            if let Some(address) = line.strip_prefix("listening on ") {
                break address.parse().unwrap();
            }
            log.push(line);
        };
        // It goes on logging, and must not wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            address,
            log,
        }
    }

    /// SIGKILL, and until it is gone.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the other process does; as a test of its own it does nothing.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let mut config = HostConfig {
        listen: std::env::var(LISTEN).unwrap().parse().unwrap(),
        cache: std::env::var_os(CACHE).map(Into::into),
        package_cache: Some(folder.join("packages")),
        log: LogSink::Function(std::sync::Arc::new(|line| println!("{line}"))),
        ..HostConfig::new(misbehaving_guest(), folder.join("registry"))
    };
    // The paths of this guest are none of Twinfer's.
    config.access.guarded = false;
    config.limits.max_instances = 2;
    config.limits.max_connections = 20_000;
    config.limits.max_connections_per_address = 20_000;
    config.limits.read_timeout = std::time::Duration::from_secs(600);
    let host = Host::start(config).unwrap();
    println!("listening on {}", host.local_addr());
    host.wait().unwrap();
}
