//! `twinfer serve` in tests: what it logs, and requests to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::support::Place;

/// How long anything may take that a test waits for. The first server compiles the component, on a
/// busy machine for minutes.
pub const PATIENCE: Duration = Duration::from_secs(400);

/// `twinfer serve`, as long as this lives.
pub struct Server {
    child: Child,
    lines: Arc<Mutex<Vec<Json>>>,
    pub port: u16,
}

/// What the server answered.
pub struct Answer {
    pub status: u16,
    pub json: Json,
}

impl Server {
    /// With the registry `registry` of the place, looked at ten times a second unless said
    /// otherwise, and the full component unless another one is named.
    pub fn start(place: &Place, arguments: &[&str]) -> Self {
        // One compiles, the others then find it in the cache.
        static COMPILING: Mutex<()> = Mutex::new(());
        let _one = COMPILING
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let component = component();
        let compiled = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
        let mut all = vec!["serve", "--no-page", "--listen", "127.0.0.1:0"];
        all.extend(["--cache", compiled.to_str().unwrap()]);
        for (name, value) in [
            ("--instances", "2"),
            ("--component", component.to_str().unwrap()),
            ("--poll", "0.1"),
        ] {
            if !arguments.contains(&name) {
                all.extend([name, value]);
            }
        }
        all.extend(arguments);
        let mut child = place
            .command(&all)
            .env("XDG_CACHE_HOME", place.path("cache"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (sink, errors) = (lines.clone(), child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let json = serde_json::from_str(&line).unwrap_or(Json::String(line));
                sink.lock().unwrap().push(json);
            }
        });
        let mut server = Self {
            child,
            lines,
            port: 0,
        };
        let listening = server.wait_for("listening", |_| true);
        let address = listening["address"].as_str().unwrap();
        server.port = address.rsplit_once(':').unwrap().1.parse().unwrap();
        server
    }

    /// Kills it at once (SIGKILL).
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn log(&self) -> Vec<Json> {
        self.lines.lock().unwrap().clone()
    }

    /// The events of this kind so far.
    pub fn events(&self, event: &str) -> Vec<Json> {
        let log = self.log();
        log.into_iter()
            .filter(|line| line["event"] == event)
            .collect()
    }

    /// Waits for an event.
    pub fn wait_for(&mut self, event: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        let begin = Instant::now();
        loop {
            if let Some(line) = self.events(event).into_iter().find(|line| wanted(line)) {
                return line;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                begin.elapsed() < PATIENCE && ended.is_none(),
                "no `{event}` ({ended:?}) in {:#?}",
                self.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Ends it in order, and gives its exit code.
    #[cfg(unix)]
    pub fn end(mut self) -> Option<i32> {
        self.signal("-TERM");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The full component of the development build.
pub fn component() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/wasm32-wasip2/wasm-dev/twinfer_worker.wasm");
    let path = std::env::var_os("TWINFER_COMPONENT").map_or(built, Into::into);
    assert!(
        path.is_file(),
        "{} is not there: build it with `cargo xtask build`",
        path.display()
    );
    path
}

/// A request on a connection of its own; an error of the connection is status 0.
pub fn request(port: u16, method: &str, path: &str, body: &str) -> Answer {
    request_with(port, method, path, "", body)
}

/// The same, with more headers: lines that end.
pub fn request_with(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let answer = exchange(port, method, path, headers, body);
    let text = answer.and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other));
    let text = text.unwrap_or_else(|error| error.to_string());
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Answer {
        status: status.unwrap_or(0),
        json: serde_json::from_str(body).unwrap_or(Json::String(text)),
    }
}

pub fn get(port: u16, path: &str) -> Answer {
    request(port, "GET", path, "")
}

/// The whole answer to a request on a connection of its own.
pub fn exchange(
    port: u16,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}
