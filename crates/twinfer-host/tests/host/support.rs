//! Starting hosts and talking to them in plain bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use twinfer_host::{Host, HostConfig, LogLevel, LogSink, RunningHost};

/// A host with its folders and its log.
pub struct Fixture {
    pub host: Option<RunningHost>,
    pub address: SocketAddr,
    pub folder: tempfile::TempDir,
    lines: Arc<Mutex<Vec<String>>>,
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Where the guest is, or how to build it: a test never passes by skipping.
fn built(variable: &str, file: &str) -> PathBuf {
    let path = std::env::var_os(variable)
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../target/wasm32-wasip2/wasm-dev")
                .join(file)
        });
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build -p twinfer-worker --lib --example misbehave --target wasm32-wasip2 --profile wasm-dev`, or set {variable}",
        path.display()
    );
    path
}

pub fn misbehaving_guest() -> PathBuf {
    built("TWINFER_TEST_GUEST", "examples/misbehave.wasm")
}

pub fn real_component() -> PathBuf {
    built("TWINFER_COMPONENT", "twinfer_worker.wasm")
}

/// The one of `worker-key-value/`.
pub fn key_value_component() -> PathBuf {
    built(
        "TWINFER_KEY_VALUE_COMPONENT",
        "twinfer_worker_key_value.wasm",
    )
}

impl Fixture {
    /// A host of the misbehaving guest.
    pub fn new(change: impl FnOnce(&mut HostConfig)) -> Self {
        Self::with(misbehaving_guest(), change)
    }

    pub fn with(component: PathBuf, change: impl FnOnce(&mut HostConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (registry, page) = (folder.path().join("registry"), folder.path().join("page"));
        std::fs::create_dir_all(&registry).unwrap();
        std::fs::create_dir_all(&page).unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let mut config = HostConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            page: Some(page),
            // Shared between tests and runs: compiling takes seconds.
            cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")),
            log: LogSink::Function(Arc::new(move |line| {
                sink.lock().unwrap().push(line.to_owned())
            })),
            log_level: LogLevel::Debug,
            ..HostConfig::new(component, &registry)
        };
        config.limits.max_instances = 2;
        // These tests are not about who may ask: see `access.rs`.
        config.access.guarded = false;
        change(&mut config);
        // One compiles, the others then find it in the cache.
        static COMPILING: Mutex<()> = Mutex::new(());
        let host = {
            let _one = COMPILING
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            Host::start(config).unwrap()
        };
        Self {
            address: host.local_addr(),
            host: Some(host),
            folder,
            lines,
        }
    }

    pub fn page(&self) -> PathBuf {
        self.folder.path().join("page")
    }

    pub fn registry(&self) -> PathBuf {
        self.folder.path().join("registry")
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(format!(
            "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
        ))
    }

    pub fn get_with(&self, path: &str, headers: &str) -> Answer {
        self.send(format!(
            "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n"
        ))
    }

    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
        );
        self.send([head.as_bytes(), body].concat())
    }

    pub fn send(&self, request: impl AsRef<[u8]>) -> Answer {
        exchange(self.address, request.as_ref())
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// How many lines of the log have all of these.
    pub fn count(&self, parts: &[&str]) -> usize {
        let lines = self.lines.lock().unwrap();
        let has = |line: &&String| parts.iter().all(|part| line.contains(part));
        lines.iter().filter(has).count()
    }

    pub fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits until a guest is at work: one that loops or sleeps says so.
    pub fn wait_until_begun(&self) {
        self.wait_for_log(&["guest_output", "begun"]);
    }

    /// Waits until the log has a line with all of these.
    pub fn wait_for_log(&self, parts: &[&str]) {
        let found = || {
            self.lines
                .lock()
                .unwrap()
                .iter()
                .any(|line| parts.iter().all(|part| line.contains(part)))
        };
        for _ in 0..2400 {
            if found() {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("no log line with {parts:?} in\n{}", self.log());
    }

    pub fn shutdown(&mut self) -> Result<(), twinfer_host::HostError> {
        self.host.take().unwrap().shutdown()
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
}

/// Sends bytes, reads until the end, takes the answer apart.
pub fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(address);
    // A refusal may come before everything is sent.
    let _ = stream.write_all(request);
    read_answer(&mut stream)
}

/// The same, where the other side may be gone: whole answers or nothing.
pub fn try_exchange(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .ok()?;
    stream.write_all(request).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let answer = bytes
        .windows(4)
        .any(|w| w == b"\r\n\r\n")
        .then(|| parse(&bytes))?;
    let length: usize = answer.header("content-length")?.parse().ok()?;
    (answer.body.len() == length).then_some(answer)
}

/// Whether it was our patience that ended, and not the connection.
pub fn is_patience(read: &std::io::Result<usize>) -> bool {
    let patience = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
    read.as_ref()
        .is_err_and(|error| patience.contains(&error.kind()))
}

pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let _ = stream.shutdown(Shutdown::Both);
    parse(&bytes)
}

pub fn parse(bytes: &[u8]) -> Answer {
    let Some(split) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        panic!("no answer in {:?}", String::from_utf8_lossy(bytes));
    };
    let head = std::str::from_utf8(&bytes[..split]).unwrap();
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers: Vec<_> = lines
        .map(|line| {
            line.split_once(": ")
                .map(|(k, v)| (k.to_lowercase(), v.to_owned()))
                .unwrap()
        })
        .collect();
    let mut body = bytes[split + 4..].to_vec();
    if headers
        .iter()
        .any(|(k, v)| k == "transfer-encoding" && v == "chunked")
    {
        body = unchunk(&body);
    }
    Answer {
        status,
        headers,
        body,
    }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
    body
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(k, _)| k == name)
            .map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.text()))
    }

    /// Checks the status, and that the body is an error of this code.
    #[track_caller]
    pub fn expect_error(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        let json = self.json();
        assert_eq!(json["code"], code, "{json}");
        assert!(
            json["error"]
                .as_str()
                .is_some_and(|message| message.len() > 10),
            "{json}"
        );
    }

    #[track_caller]
    pub fn expect_text(&self, text: &str) {
        assert_eq!((self.status, self.text().as_str()), (200, text));
    }
}
