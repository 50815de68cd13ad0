//! What the tests of following ask, pack and serve from.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::server::{Answer, PATIENCE, Server, request};
use crate::support::{Place, sample};

/// Asks `risk` for the first golden example; `path` is after its name.
pub fn predict(port: u16, path: &str) -> Answer {
    request(
        port,
        "POST",
        &format!("/v2/models/risk{path}/predict"),
        &record(),
    )
}

/// Waits for an answer of this version, and gives its outputs.
pub fn wait_for_version(server: &Server, path: &str, version: &str) -> Json {
    let begin = Instant::now();
    loop {
        let answer = predict(server.port, path);
        if answer.json["model_version"] == version {
            return answer.json["outputs"].clone();
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "{} {:#?}",
            answer.json,
            server.log()
        );
        thread::sleep(Duration::from_millis(10));
    }
}

fn golden(model: &str) -> Json {
    let file = Path::new(&sample(&format!("tumour-risk-{model}"))).join("golden.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// The record of that example.
pub fn record() -> String {
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
