//! A registry of our own that does wrong what it is told to do wrong.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use twinfer_package::Digest;

/// What it has, and what happened.
#[derive(Default)]
pub struct State {
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// By `repository/tag` and `repository/digest`: media type and content.
    pub manifests: BTreeMap<String, (String, Vec<u8>)>,
    /// Of a static host, by path.
    pub files: BTreeMap<String, Vec<u8>>,
    pub uploads: BTreeMap<usize, Vec<u8>>,
    /// Requests as `METHOD path status`, in their order.
    pub log: Vec<String>,
    /// Bytes of bodies that were received in uploads, kept or not.
    pub received: u64,
    /// Bytes of blobs that were sent.
    pub sent: u64,
    /// What is done wrong.
    pub faults: Faults,
}

/// What is done wrong.
#[derive(Default, Clone)]
pub struct Faults {
    /// The next so many downloads of blobs are cut off after this many bytes.
    pub cut_downloads: (u32, usize),
    /// The next so many chunks of uploads are cut off when this many bytes were received;
    /// they are kept.
    pub cut_uploads: (u32, usize),
    /// The next so many requests are answered with 500.
    pub errors: u32,
    /// No ranges in downloads.
    pub no_ranges: bool,
    /// The API for referrers is there.
    pub referrers_api: bool,
    /// A bearer token is demanded, which the address `/token` gives.
    pub bearer: bool,
    /// Every request is answered with 401, whatever it brings.
    pub always_401: bool,
    /// Answers instead of the content: path prefix, status, headers, body.
    pub instead: Vec<(String, u16, String, Vec<u8>)>,
    /// Headers of the index of a static host.
    pub index_headers: String,
    /// Files of a static host come with this content encoding, whatever was asked for.
    pub encoding: Option<&'static str>,
    /// Ranges begin a byte too late.
    pub shifted_ranges: bool,
    /// Nobody answers.
    pub gone: bool,
    /// Content of this path never ends.
    pub endless: Option<String>,
}

pub struct Fake {
    pub port: u16,
    pub state: Arc<Mutex<State>>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    length: usize,
}

impl Fake {
    pub fn start(faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            faults,
            ..State::default()
        }));
        let shared = state.clone();
        // It ends with the process of the tests.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || {
                    let _ = serve(stream, port, &state);
                });
            }
        });
        Self { port, state }
    }

    pub fn location(&self) -> String {
        format!("oci://127.0.0.1:{}/models", self.port)
    }

    /// The address of the static host, with the files of a folder on it.
    pub fn publish(&self, folder: &std::path::Path) -> String {
        let mut files = BTreeMap::new();
        let mut waiting = vec![(folder.to_owned(), "/registry".to_owned())];
        while let Some((folder, path)) = waiting.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let path = format!("{path}/{}", entry.file_name().to_str().unwrap());
                match entry.file_type().unwrap().is_dir() {
                    true => waiting.push((entry.path(), path)),
                    false => drop(files.insert(path, std::fs::read(entry.path()).unwrap())),
                }
            }
        }
        self.state.lock().unwrap().files = files;
        format!("http://127.0.0.1:{}/registry/", self.port)
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().log.len()
    }

    pub fn set(&self, faults: Faults) {
        self.state.lock().unwrap().faults = faults;
    }

    /// How many requests begin so.
    pub fn count(&self, beginning: &str) -> usize {
        let state = self.state.lock().unwrap();
        state
            .log
            .iter()
            .filter(|line| line.starts_with(beginning))
            .count()
    }
}

fn serve(stream: TcpStream, port: u16, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(request) = head(&mut reader)? {
        if state.lock().unwrap().faults.gone {
            return writer.shutdown(Shutdown::Both);
        }
        let answer = answer(&request, &mut reader, port, state);
        let Some((status, headers, body)) = answer else {
            // Cut off in the middle of the request.
            return writer.shutdown(Shutdown::Both);
        };
        state
            .lock()
            .unwrap()
            .log
            .push(format!("{} {} {status}", request.method, request.path));
        let is_head = request.method == "HEAD";
        let endless = state.lock().unwrap().faults.endless.clone();
        if endless.is_some_and(|path| request.path.starts_with(&path)) && !is_head {
            write!(
                writer,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{headers}\r\n"
            )?;
            loop {
                write!(writer, "8000\r\n{:32768}\r\n", "")?;
            }
        }
        write!(
            writer,
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        )?;
        if is_head {
            continue;
        }
        let is_blob = request.path.contains("/blobs/sha256");
        let mut keep = body.len();
        if is_blob {
            let mut state = state.lock().unwrap();
            if state.faults.cut_downloads.0 > 0 && body.len() > state.faults.cut_downloads.1 {
                state.faults.cut_downloads.0 -= 1;
                keep = state.faults.cut_downloads.1;
            }
            state.sent += keep as u64;
        }
        writer.write_all(&body[..keep])?;
        writer.flush()?;
        if keep < body.len() {
            return writer.shutdown(Shutdown::Both);
        }
    }
    Ok(())
}

fn head(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut parts = line.split_whitespace();
    let method = parts.next().unwrap_or_default().to_owned();
    let target = parts.next().unwrap_or_default().to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((key, value)) => {
                headers.insert(key.to_ascii_lowercase(), value.trim().to_owned());
            }
            None => break,
        }
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok());
    Ok(Some(Request {
        method,
        path: path.into(),
        query: query.replace("%3A", ":").replace("%2F", "/"),
        headers,
        length: length.unwrap_or(0),
    }))
}

type Answer = (u16, String, Vec<u8>);

fn plain(status: u16) -> Option<Answer> {
    Some((status, String::new(), Vec::new()))
}

fn answer(
    request: &Request,
    reader: &mut impl Read,
    port: u16,
    state: &Mutex<State>,
) -> Option<Answer> {
    let Request {
        method,
        path,
        query,
        headers,
        length,
    } = request;
    let uploading = path.contains("/blobs/uploads/") && matches!(method.as_str(), "PATCH" | "PUT");
    let cut = {
        let mut state = state.lock().unwrap();
        let cut =
            uploading && state.faults.cut_uploads.0 > 0 && *length > state.faults.cut_uploads.1;
        if cut {
            state.faults.cut_uploads.0 -= 1;
        }
        cut.then_some(state.faults.cut_uploads.1)
    };
    let mut body = vec![0; cut.unwrap_or(*length)];
    reader.read_exact(&mut body).ok()?;
    let mut state = state.lock().unwrap();
    let state = &mut *state;
    if path == "/token" {
        return Some((200, String::new(), b"{\"token\":\"sesame\"}".to_vec()));
    }
    for (prefix, status, headers, body) in &state.faults.instead {
        if path.starts_with(prefix.as_str()) {
            return Some((*status, headers.clone(), body.clone()));
        }
    }
    if state.faults.errors > 0 {
        state.faults.errors -= 1;
        return plain(500);
    }
    let token = headers
        .get("authorization")
        .is_some_and(|a| a == "Bearer sesame");
    if state.faults.always_401 || (state.faults.bearer && !token) {
        let realm = format!("http://127.0.0.1:{port}/token");
        let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"fake\"\r\n");
        return Some((401, challenge, Vec::new()));
    }
    if let Some(file) = state.files.get(path) {
        return Some(static_file(path, file, headers, &state.faults));
    }
    let Some(rest) = path.strip_prefix("/v2/") else {
        return plain(404);
    };
    if let Some((repository, rest)) = rest.split_once("/blobs/uploads/") {
        let _ = repository;
        let at = |n: usize| {
            format!(
                "Location: {}\r\n",
                path.split("/uploads/").next().unwrap_or("").to_owned() + &format!("/uploads/{n}")
            )
        };
        if method == "POST" {
            let mount = query.split('&').find_map(|q| q.strip_prefix("mount="));
            if mount.is_some_and(|digest| state.blobs.contains_key(digest)) {
                return plain(201);
            }
            let n = state.log.len();
            state.uploads.insert(n, Vec::new());
            return Some((202, at(n), Vec::new()));
        }
        let n: usize = rest.parse().ok()?;
        let Some(upload) = state.uploads.get_mut(&n) else {
            return plain(404);
        };
        if matches!(method.as_str(), "PATCH" | "PUT") {
            let begin = headers
                .get("content-range")
                .and_then(|r| r.split('-').next()?.parse::<usize>().ok());
            if begin.is_some_and(|begin| begin != upload.len()) {
                return plain(416);
            }
            state.received += body.len() as u64;
            upload.extend_from_slice(&body);
            if cut.is_some() {
                return None;
            }
        }
        match method.as_str() {
            "PUT" => {
                let digest = query
                    .split('&')
                    .find_map(|q| q.strip_prefix("digest="))?
                    .to_owned();
                if Digest::of(upload).to_string() != digest {
                    return plain(400);
                }
                let content = state.uploads.remove(&n)?;
                state.blobs.insert(digest, content);
                return plain(201);
            }
            "DELETE" => {
                state.uploads.remove(&n);
                return plain(204);
            }
            _ => {
                let end = upload.len().saturating_sub(1);
                let status = if method == "PATCH" { 202 } else { 204 };
                return Some((status, format!("{}Range: 0-{end}\r\n", at(n)), Vec::new()));
            }
        }
    }
    if let Some((_, digest)) = rest.split_once("/blobs/") {
        let Some(blob) = state.blobs.get(digest) else {
            return plain(404);
        };
        return Some(content(blob, headers, &state.faults));
    }
    if let Some((repository, tag)) = rest.split_once("/manifests/") {
        let key = format!("{repository}/{tag}");
        if method == "PUT" {
            let digest = Digest::of(&body).to_string();
            let kind = headers.get("content-type").cloned().unwrap_or_default();
            let subject = serde_json::from_slice::<serde_json::Value>(&body)
                .ok()
                .and_then(|m| Some(m["subject"]["digest"].as_str()?.to_owned()));
            let mut answer = format!("Docker-Content-Digest: {digest}\r\n");
            if let Some(subject) = subject.filter(|_| state.faults.referrers_api) {
                answer += &format!("OCI-Subject: {subject}\r\n");
            }
            state.manifests.insert(
                format!("{repository}/{digest}"),
                (kind.clone(), body.clone()),
            );
            state.manifests.insert(key, (kind, body));
            return Some((201, answer, Vec::new()));
        }
        let Some((kind, content)) = state.manifests.get(&key) else {
            return plain(404);
        };
        let digest = Digest::of(content);
        let etag = format!("\"{digest}\"");
        if headers.get("if-none-match") == Some(&etag) {
            return plain(304);
        }
        let headers =
            format!("Content-Type: {kind}\r\nDocker-Content-Digest: {digest}\r\nETag: {etag}\r\n");
        return Some((200, headers, content.clone()));
    }
    if let Some((repository, digest)) = rest.split_once("/referrers/") {
        if !state.faults.referrers_api {
            return plain(404);
        }
        let list: Vec<serde_json::Value> = state.manifests.iter().filter_map(|(key, (kind, content))| {
            key.strip_prefix(repository)?.strip_prefix("/sha256:")?;
            let json: serde_json::Value = serde_json::from_slice(content).ok()?;
            (json["subject"]["digest"] == digest).then(|| serde_json::json!({"mediaType": kind, "digest": Digest::of(content), "size": content.len(), "artifactType": json["artifactType"]}))
        }).collect();
        let kind = "application/vnd.oci.image.index.v1+json";
        let body = serde_json::json!({"schemaVersion": 2, "mediaType": kind, "manifests": list})
            .to_string();
        return Some((200, format!("Content-Type: {kind}\r\n"), body.into_bytes()));
    }
    if let Some(repository) = rest.strip_suffix("/tags/list") {
        let tags: Vec<&str> = state
            .manifests
            .keys()
            .filter_map(|k| k.strip_prefix(repository)?.strip_prefix('/'))
            .filter(|t| !t.contains(':'))
            .collect();
        // Two on a page.
        let last = query.split('&').find_map(|q| q.strip_prefix("last="));
        let from = last
            .and_then(|last| tags.iter().position(|t| *t == last))
            .map_or(0, |i| i + 1);
        let page: Vec<&str> = tags.iter().skip(from).take(2).copied().collect();
        let more = (from + 2 < tags.len())
            .then(|| format!("Link: <{path}?n=2&last={}>; rel=\"next\"\r\n", page[1]));
        let status = if tags.is_empty() { 404 } else { 200 };
        return Some((
            status,
            more.unwrap_or_default(),
            serde_json::json!({"tags": page}).to_string().into_bytes(),
        ));
    }
    plain(if rest.is_empty() { 200 } else { 404 })
}

/// Content, or a part of it.
fn content(blob: &[u8], headers: &BTreeMap<String, String>, faults: &Faults) -> Answer {
    let from = headers.get("range").and_then(|r| {
        r.strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    match from.filter(|_| !faults.no_ranges) {
        Some(from) if from >= blob.len() => (416, String::new(), Vec::new()),
        Some(from) => {
            let from = from + usize::from(faults.shifted_ranges);
            let range = format!(
                "Content-Range: bytes {from}-{}/{}\r\n",
                blob.len() - 1,
                blob.len()
            );
            (206, range, blob[from..].to_vec())
        }
        None => (200, String::new(), blob.to_vec()),
    }
}

fn static_file(
    path: &str,
    file: &[u8],
    headers: &BTreeMap<String, String>,
    faults: &Faults,
) -> Answer {
    let mut more = String::new();
    if path.ends_with("index.json") {
        let etag = format!("\"{}\"", &Digest::of(file).hex()[..16]);
        more = format!("ETag: {etag}\r\n{}", faults.index_headers);
        if headers.get("if-none-match") == Some(&etag) {
            return (304, more, Vec::new());
        }
    }
    let mut file = file.to_vec();
    if let Some(encoding) = faults.encoding {
        use flate2::{Compression, write::GzEncoder};
        more = format!("{more}Content-Encoding: {encoding}\r\n");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&file).unwrap();
        file = encoder.finish().unwrap();
    }
    let (status, range, body) = content(&file, headers, faults);
    (status, format!("{more}{range}"), body)
}
