//! A static host that can be counted, stopped and made to lie.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Serves a folder under `/r/`.
pub struct Web {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `GET /r/index.json 200`
    log: Vec<String>,
    down: bool,
    lying: bool,
    redirect: Option<String>,
}

impl Web {
    pub fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            folder: folder.into(),
            state: Mutex::default(),
        });
        let address = listener.local_addr().unwrap();
        let ours = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ours = ours.clone();
                std::thread::spawn(move || ours.serve(&stream));
            }
        });
        Self { address, shared }
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn url(&self) -> String {
        format!("http://{}/r", self.address)
    }

    pub fn requests(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().log.clone()
    }

    /// How many requests had such a line.
    pub fn count(&self, part: &str) -> usize {
        let requests = self.requests();
        requests.iter().filter(|line| line.contains(part)).count()
    }

    pub fn set_down(&self, down: bool) {
        self.shared.state.lock().unwrap().down = down;
    }

    pub fn set_lying(&self, lying: bool) {
        self.shared.state.lock().unwrap().lying = lying;
    }

    pub fn redirect_to(&self, origin: &str) {
        self.shared.state.lock().unwrap().redirect = Some(origin.into());
    }
}

impl Shared {
    /// One request for each connection.
    fn serve(&self, stream: &TcpStream) {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let Some(first) = lines.next() else { return };
        let headers: HashMap<String, String> = lines
            .take_while(|line| !line.is_empty())
            .filter_map(|line| {
                let (name, value) = line.split_once(": ")?;
                Some((name.to_lowercase(), value.to_owned()))
            })
            .collect();
        let path = first.split(' ').nth(1).unwrap_or_default();
        let mut state = self.state.lock().unwrap();
        if state.down {
            return;
        }
        let (status, more, mut body) = match &state.redirect {
            Some(origin) => (302, format!("location: {origin}{path}\r\n"), Vec::new()),
            None => self.answer(path, &headers),
        };
        if state.lying && path.contains("/blobs/") && !body.is_empty() {
            body[0] ^= 1;
        }
        state.log.push(format!("GET {path} {status}"));
        drop(state);
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n"
        );
        let mut stream = stream;
        // Whoever goes away early is no failure of ours.
        let _ = stream.write_all(&[head.as_bytes(), &body].concat());
    }

    fn answer(&self, path: &str, headers: &HashMap<String, String>) -> (u16, String, Vec<u8>) {
        let file = path.strip_prefix("/r/").filter(|path| !path.contains(".."));
        let Some(bytes) = file.and_then(|file| std::fs::read(self.folder.join(file)).ok()) else {
            return (404, String::new(), Vec::new());
        };
        let etag = format!("\"{}\"", twinfer_package::Digest::of(&bytes).hex());
        if headers.get("if-none-match") == Some(&etag) {
            return (304, format!("etag: {etag}\r\n"), Vec::new());
        }
        let range = headers.get("range").and_then(|range| {
            let from = range.strip_prefix("bytes=")?.strip_suffix('-')?;
            from.parse::<usize>().ok()
        });
        match range {
            Some(from) if from < bytes.len() => {
                let (last, all) = (bytes.len() - 1, bytes.len());
                let more = format!("content-range: bytes {from}-{last}/{all}\r\n");
                (206, more, bytes[from..].to_vec())
            }
            _ => (200, format!("etag: {etag}\r\n"), bytes),
        }
    }
}
