//! A server that runs, what it logs, and its clients.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::support::{Place, sample};

/// How long anything may take that a test waits for. The first server compiles the component, on a
/// busy machine for minutes.
const PATIENCE: Duration = Duration::from_secs(400);

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
    /// otherwise.
    pub fn start(place: &Place, arguments: &[&str]) -> Self {
        // One compiles, the others then find it in the cache.
        static COMPILING: Mutex<()> = Mutex::new(());
        let _one = COMPILING
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let component = component();
        let compiled = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
        let mut all = vec!["serve", "--no-page", "--listen", "127.0.0.1:0"];
        if !arguments.contains(&"--instances") {
            all.extend(["--instances", "2"]);
        }
        all.extend(["--component", component.to_str().unwrap()]);
        all.extend(["--cache", compiled.to_str().unwrap()]);
        if !arguments.contains(&"--poll") {
            all.extend(["--poll", "0.1"]);
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

    /// Waits for an answer of this version, and gives its probability.
    pub fn wait_for_version(&self, path: &str, version: &str) -> Json {
        let begin = Instant::now();
        loop {
            let answer = predict(self.port, path);
            if answer.json["model_version"] == version {
                return answer.json["outputs"].clone();
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "{} {:#?}",
                answer.json,
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

fn component() -> PathBuf {
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
    let exchange = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        std::io::Result::Ok(text)
    };
    let text = exchange().unwrap_or_else(|error| error.to_string());
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

/// Asks `risk` for the first golden example; `path` is after its name.
pub fn predict(port: u16, path: &str) -> Answer {
    request(
        port,
        "POST",
        &format!("/v2/models/risk{path}/predict"),
        &record(),
    )
}

fn golden(model: &str) -> Json {
    let file = Path::new(&sample(&format!("tumour-risk-{model}"))).join("golden.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

fn record() -> String {
    golden("mlp")["cases"][0]["input"]["record"].to_string()
}

/// What the golden examples say that a model answers with.
pub fn expected(model: &str) -> f64 {
    let expected = &golden(model)["cases"][0]["expect"]["outputs"];
    expected["probabilities"]["1"].as_f64().unwrap()
}

/// Packs `risk` with this version, a model (`mlp` or `forest`), and the golden examples of one;
/// gives its digest.
pub fn pack(place: &Place, version: &str, model: &str, examples: &str) -> String {
    let (model, examples) = (
        sample(&format!("tumour-risk-{model}")),
        sample(&format!("tumour-risk-{examples}")),
    );
    let recipe = fs::read_to_string(format!("{model}/twinfer.toml")).unwrap();
    let mut text = String::new();
    for line in recipe.lines() {
        match line.split(" = ").next() {
            Some("name") => text += "name = \"risk\"\n",
            Some("version") => text += &format!("version = \"{version}\"\n"),
            Some("metrics" | "card" | "license") if !line.contains("MIT") => {}
            _ => text += &format!("{line}\n"),
        }
    }
    let training = text.find("[training]").unwrap();
    let columns = text.find("# The columns").unwrap();
    text.replace_range(training..columns, "");
    // The outputs have names too.
    text = text.replacen(
        "name = \"risk\"\ntensor = \"output_label\"",
        "name = \"label\"\ntensor = \"output_label\"",
        1,
    );
    text = text.replacen(
        "name = \"risk\"\ntensor = \"output_probability\"",
        "name = \"probabilities\"\ntensor = \"output_probability\"",
        1,
    );
    text = text.replacen(
        "name = \"risk\"\ntensor = \"X\"",
        "name = \"record\"\ntensor = \"X\"",
        1,
    );
    place.write("risk/twinfer.toml", text);
    place.write(
        "risk/model.onnx",
        fs::read(format!("{model}/model.onnx")).unwrap(),
    );
    place.write(
        "risk/golden.json",
        fs::read(format!("{examples}/golden.json")).unwrap(),
    );
    let packed = place.json(&["pack", "risk", "--no-self-test", "--force"]);
    packed["digest"].as_str().unwrap().to_owned()
}

/// A static host of a folder, as long as this lives.
pub struct StaticHost {
    pub port: u16,
    end: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl StaticHost {
    /// On a free port, or on one where such a host was before.
    pub fn start(folder: PathBuf, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                // A client that goes away is its own affair.
                let _ = stream.and_then(|stream| answer(stream, &folder));
            }
        });
        Self {
            port,
            end,
            thread: Some(thread),
        }
    }

    pub fn location(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

impl Drop for StaticHost {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().unwrap().join();
    }
}

fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut request = String::new();
    let mut lines = BufReader::new(&stream);
    lines.read_line(&mut request)?;
    let mut line = String::from("first");
    while !line.trim().is_empty() {
        line.clear();
        lines.read_line(&mut line)?;
    }
    let path = request.split(' ').nth(1).unwrap_or("/");
    let (status, body) = match fs::read(folder.join(path.trim_start_matches('/'))) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}
