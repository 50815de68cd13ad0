//! A web server with a registry that lies, for many clients at a time: what a client asks for
//! under `/<fault>/<session>/` is counted for that session alone.
//!
//! | address | what |
//! |---|---|
//! | `/<fault>/<session>/index.json`, `…/oci-layout`, `…/blobs/sha256/<hex>` | the registry |
//! | `/<fault>/<session>~<n>/…` | a mirror of it |
//! | `/_log/<session>` | what the session asked for since the last time, as JSON |
//! | `/_seen/<session>` | how often it has asked for the index since the last log, as text |
//! | `/_set/<session>/<fault>` | from now on this fault, whatever the path says; `own` for what it says |
//! | `/_set/<session>/live-<n>` | moves the tag to version n |

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fault::{self, DRIP, DROP, Fault, Plan};
use super::list::Asked;
use super::registry::Made;

/// Between the last byte and a cut. Browsers forget what came and was not read yet when the
/// connection breaks, so without it there would be nothing to go on with.
const BEFORE_CUT: Duration = Duration::from_millis(300);
/// Before the end of the name of a session that is a mirror of another one: it lies and counts
/// for itself, and what it was asked for is in the log of that one.
pub const BESIDE: char = '~';
/// The longest that a connection is held.
const LONGEST: Duration = Duration::from_secs(90);

/// The server, until this value goes.
pub struct LyingServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    nobody: (TcpStream, SocketAddr),
}

struct Shared {
    made: Made,
    layers: HashSet<String>,
    /// The other origin, for redirects.
    elsewhere: String,
    sessions: Mutex<HashMap<String, Session>>,
    ended: AtomicBool,
}

#[derive(Default)]
struct Session {
    /// The version that the tag points to; 0 for the first.
    live: u32,
    fault: Option<Fault>,
    layers: usize,
    indexes: usize,
    log: Vec<Asked>,
}

/// A request.
struct Request {
    method: String,
    path: String,
    fields: HashMap<String, String>,
}

impl LyingServer {
    /// Starts it on a free port of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub fn start(made: Made) -> io::Result<Self> {
        let (listener, other) = (listen()?, listen()?);
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            layers: made.layers.values().cloned().collect(),
            made,
            elsewhere: format!("http://{}", other.local_addr()?),
            sessions: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        for listener in [listener, other] {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.listen(&listener));
        }
        // The near end of a connection: nobody else gets this port, and nobody listens there.
        let nobody = TcpStream::connect(address)?;
        let free = nobody.local_addr()?;
        Ok(Self {
            shared,
            address,
            nobody: (nobody, free),
        })
    }

    /// `http://host:port`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The origin to which it redirects.
    pub fn elsewhere(&self) -> String {
        self.shared.elsewhere.clone()
    }

    /// An origin where nobody listens.
    pub fn nobody(&self) -> String {
        format!("http://{}", self.nobody.1)
    }
}

impl Drop for LyingServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = self.nobody.0.shutdown(Shutdown::Both);
        for address in [self.origin(), self.shared.elsewhere.clone()] {
            let _ = TcpStream::connect(address.trim_start_matches("http://"));
        }
    }
}

fn listen() -> io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0")
}

impl Shared {
    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let shared = Arc::clone(self);
            // A client that goes away is none of our business.
            std::thread::spawn(move || shared.serve(stream).ok());
        }
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(LONGEST))?;
        stream.set_write_timeout(Some(LONGEST))?;
        stream.set_nodelay(true)?;
        let Some(request) = Request::read(&stream)? else {
            return Ok(());
        };
        let plan = match &*request.method {
            "OPTIONS" => Plan::text(204, ""),
            "GET" | "HEAD" => self.answer(&request),
            _ => Plan::text(405, "only GET"),
        };
        self.send(stream, &plan, request.method == "HEAD")
    }

    fn answer(&self, request: &Request) -> Plan {
        let parts: Vec<&str> = request.path.splitn(4, '/').collect();
        match parts[..] {
            ["", "_log", session] => {
                let log = std::mem::take(&mut self.session(session).log);
                match serde_json::to_vec(&log) {
                    Ok(log) => Plan::new(200, "application/json", log),
                    Err(error) => Plan::text(500, &error.to_string()),
                }
            }
            ["", "_seen", session] => {
                let session = self.session(session);
                let seen = session.log.iter().filter(|asked| asked.kind == "index");
                Plan::text(200, &seen.count().to_string())
            }
            ["", "_set", session, what] => self.set(session, what),
            ["", fault, session, path] => match Fault::named(fault) {
                Some(fault) => self.registry(fault, session, path, request),
                None => Plan::text(404, "there is no such fault"),
            },
            _ => Plan::text(404, "there is nothing here"),
        }
    }

    fn set(&self, session: &str, what: &str) -> Plan {
        let mut session = self.session(session);
        match (what.strip_prefix("live-"), Fault::named(what)) {
            (Some(version), _) => match version.parse() {
                Ok(version) => session.live = version,
                Err(_) => return Plan::text(400, "there is no such version"),
            },
            (None, Some(fault)) => {
                session.fault = Some(fault);
                (session.layers, session.indexes) = (0, 0);
            }
            (None, None) if what == "own" => session.fault = None,
            _ => return Plan::text(400, "there is no such fault"),
        }
        Plan::text(200, "done")
    }

    fn registry(&self, named: Fault, name: &str, path: &str, request: &Request) -> Plan {
        let mut session = self.session(name);
        let fault = session.fault.unwrap_or(named);
        let blob = path.strip_prefix("blobs/sha256/");
        let kind = match blob {
            Some(hex) if self.layers.contains(hex) => "layer",
            Some(_) => "blob",
            None if path == "index.json" => "index",
            None => "other",
        };
        let number = session.numbered(kind);
        let plan = match (fault, kind) {
            (Fault::Dead, _) => Plan::text(0, ""),
            (Fault::Redirect, _) => {
                Plan::redirect(format!("{}/none/{name}{BESIDE}r/{path}", self.elsewhere))
            }
            (Fault::RedirectLoop, "layer") => Plan::redirect(request.path.clone()),
            (_, "index") => self.index(fault, number, session.live.max(1), request),
            (_, "layer") => match self.blob(blob) {
                Some(content) => fault::layer(fault, number, request.from(), &content),
                None => Plan::text(404, "not found"),
            },
            _ => match self.file(path) {
                Some(content) => Plan::content(&content, request.from()),
                None => Plan::text(404, "not found"),
            },
        };
        let asked = request.asked(named, kind, path, plan.status);
        match name.split_once(BESIDE) {
            None => session.log.push(asked),
            Some((main, _)) => {
                drop(session);
                self.session(main).log.push(asked);
            }
        }
        plan
    }

    fn index(&self, fault: Fault, number: usize, live: u32, request: &Request) -> Plan {
        let validator = format!("\"live-{live}\"");
        let known = request.field("if-none-match") == Some(&validator);
        fault::index(
            fault,
            number,
            &validator,
            known,
            &self.made.index_with(live),
        )
    }

    fn blob(&self, hex: Option<&str>) -> Option<Vec<u8>> {
        self.file(&format!("blobs/sha256/{}", hex?))
    }

    fn file(&self, path: &str) -> Option<Vec<u8>> {
        // What a client may name: no way out of the folder.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-');
        match path.chars().all(plain) {
            true => std::fs::read(self.made.folder.join(path)).ok(),
            false => None,
        }
    }

    /// The session, made when it is first named. A new one, not a clone: the lock is held.
    fn session(&self, name: &str) -> Held<'_> {
        let sessions = self.sessions.lock();
        let mut sessions = sessions.unwrap_or_else(PoisonError::into_inner);
        sessions.entry(name.into()).or_default();
        Held {
            sessions,
            name: name.into(),
        }
    }

    fn send(&self, mut stream: TcpStream, plan: &Plan, only_head: bool) -> io::Result<()> {
        if plan.status == 0 {
            return stream.shutdown(Shutdown::Both);
        }
        let mut head = format!("HTTP/1.1 {} Answer\r\nconnection: close\r\n", plan.status);
        for (name, value) in CORS {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in &plan.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !matches!(plan.status, 204 | 304) {
            head.push_str(&format!("content-length: {}\r\n", plan.body.len()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if !only_head {
            self.send_body(&mut stream, plan)?;
        }
        stream.shutdown(Shutdown::Write)?;
        // Closing with bytes unread would reset the connection, and take what was sent with it.
        let _ = stream.read_to_end(&mut Vec::new());
        Ok(())
    }

    fn send_body(&self, stream: &mut TcpStream, plan: &Plan) -> io::Result<()> {
        let body = &plan.body[..plan.cut.unwrap_or(usize::MAX).min(plan.body.len())];
        if plan.stall {
            return self.wait(stream);
        }
        if !plan.drip {
            stream.write_all(body)?;
            if plan.cut.is_some() {
                std::thread::sleep(BEFORE_CUT);
            }
            return Ok(());
        }
        for drop in body.chunks(DROP) {
            stream.write_all(drop)?;
            std::thread::sleep(DRIP);
        }
        Ok(())
    }

    /// Until the client has had enough.
    fn wait(&self, stream: &mut TcpStream) -> io::Result<()> {
        let start = Instant::now();
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        while start.elapsed() < LONGEST && !self.ended.load(Ordering::Relaxed) {
            match stream.read(&mut [0; 16]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Pages of every origin may read everything.
const CORS: [(&str, &str); 5] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, HEAD"),
    ("access-control-allow-headers", "*"),
    (
        "access-control-expose-headers",
        "etag, content-range, content-length, content-encoding, cache-control, date, expires, age",
    ),
    ("access-control-max-age", "600"),
];

/// A session, with the lock.
struct Held<'a> {
    sessions: MutexGuard<'a, HashMap<String, Session>>,
    name: String,
}

impl std::ops::Deref for Held<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.sessions[&self.name]
    }
}

impl std::ops::DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        self.sessions.entry(self.name.clone()).or_default()
    }
}

impl Session {
    /// The number of this request, from 1 on.
    fn numbered(&mut self, kind: &str) -> usize {
        let counter = match kind {
            "layer" => &mut self.layers,
            "index" => &mut self.indexes,
            _ => return 0,
        };
        *counter += 1;
        *counter
    }
}

impl Request {
    fn read(stream: &TcpStream) -> io::Result<Option<Self>> {
        // None of ours has a longer head.
        let mut lines = BufReader::new(stream.take(64 << 10)).lines();
        let Some(first) = lines.next().transpose()? else {
            return Ok(None);
        };
        let mut words = first.split(' ').map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Ok(None);
        };
        let mut fields = HashMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            fields.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let path = path.split('?').next().unwrap_or_default().to_owned();
        Ok(Some(Self {
            method,
            path,
            fields,
        }))
    }

    fn field(&self, name: &str) -> Option<&String> {
        self.fields.get(name)
    }

    /// Where the range begins that is asked for.
    fn from(&self) -> Option<usize> {
        let range = self.field("range")?.strip_prefix("bytes=")?;
        range.split('-').next()?.parse().ok()
    }

    fn asked(&self, fault: Fault, kind: &str, path: &str, status: u16) -> Asked {
        Asked {
            fault,
            kind: kind.into(),
            path: path.into(),
            range: self.field("range").cloned(),
            if_none_match: self.field("if-none-match").cloned(),
            accept_encoding: self.field("accept-encoding").cloned(),
            status,
        }
    }
}
