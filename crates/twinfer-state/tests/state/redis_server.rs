//! A real Redis for tests, which can be killed and started again. Tests of other crates have this
//! file too.
#![allow(dead_code)]

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that ends with the test; its data is in a folder that outlives the process.
pub struct RedisServer {
    folder: tempfile::TempDir,
    pub port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// `None` where there is none, and that is said; with `TWINFER_TEST_ALL` it is a failure.
    pub fn start(test: &str) -> Option<Self> {
        Self::with(test, &[])
    }

    pub fn with(test: &str, arguments: &[&str]) -> Option<Self> {
        if Command::new("redis-server")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            assert!(
                std::env::var_os("TWINFER_TEST_ALL").is_none_or(|all| all != "1"),
                "{test}: redis-server"
            );
            // Not captured, so that it is seen.
            let _ = writeln!(std::io::stderr(), "SKIPPED {test}: redis-server");
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Self {
            folder: tempfile::tempdir().unwrap(),
            port: free.local_addr().unwrap().port(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            child: None,
        };
        drop(free);
        server.start_again();
        Some(server)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// With what was acknowledged before it was killed.
    pub fn start_again(&mut self) {
        let port = self.port.to_string();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port, "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.arguments)
            .stdout(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "no Redis");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// At once, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Lets it hang, or go on: `-STOP`, `-CONT`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// What `redis-cli` says.
    pub fn say(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli")
            .args(["-p", &port])
            .args(words)
            .output();
        String::from_utf8_lossy(&output.unwrap().stdout)
            .trim()
            .to_owned()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
