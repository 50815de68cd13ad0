//! A server with access control, and somebody who releases.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::follow::observe::value;
use crate::follow::server::{pack, record};
use crate::server::{PATIENCE, Server, exchange};
use crate::support::Place;

/// `risk` in two versions that answer differently, a server, and two keys.
pub struct World {
    pub place: Place,
    pub server: Server,
    pub operator: String,
    pub visitor: String,
    digests: Vec<(String, String)>,
    arguments: Vec<String>,
}

/// An answer with its head.
pub struct Answer {
    pub status: u16,
    pub json: Json,
    pub body: String,
    head: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn version(&self) -> Option<&str> {
        self.json["model_version"].as_str()
    }
}

impl World {
    pub fn new(arguments: &[&str]) -> Self {
        let place = Place::new();
        let digests = [("1.0.0", "mlp"), ("2.0.0", "forest")]
            .map(|(version, model)| (version.to_owned(), pack(&place, version, model, model)));
        Self::of(place, digests.to_vec(), arguments)
    }

    pub fn of(place: Place, digests: Vec<(String, String)>, arguments: &[&str]) -> Self {
        let key = |id: &str, scopes: &str| {
            let made = place.json(&["api-key", "--id", id, "--scopes", scopes]);
            let hash = made["settings"]["sha256"].as_str().unwrap();
            let scopes: Vec<String> = scopes.split(',').map(|s| format!("{s:?}")).collect();
            let lines = format!(
                "[[keys]]\nid = \"{id}\"\nsha256 = \"{hash}\"\nscopes = [{}]\n",
                scopes.join(", ")
            );
            (made["key"].as_str().unwrap().to_owned(), lines)
        };
        let (operator, mine) = key("operator", "predict,packages,admin");
        let (visitor, theirs) = key("visitor", "predict");
        let settings = format!("open = [\"predict\", \"packages\", \"metrics\"]\n{mine}{theirs}");
        place.write("access.toml", settings);
        place.write("operator.key", &operator);
        let mut all = vec!["--access".to_owned(), "access.toml".to_owned()];
        all.extend(arguments.iter().map(ToString::to_string));
        let server = start(&place, &all);
        Self {
            place,
            server,
            operator,
            visitor,
            digests,
            arguments: all,
        }
    }

    /// The server is killed, and another one takes its place.
    pub fn restart(&mut self) {
        self.server.kill();
        self.server = start(&self.place, &self.arguments);
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    pub fn digest(&self, version: &str) -> String {
        let found = self.digests.iter().find(|(known, _)| known == version);
        found.unwrap().1.clone()
    }

    fn arguments<'a>(&self, address: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
        let place = ["--server", address, "--key-file", "operator.key"];
        [&["deploy"], arguments, &place].concat()
    }

    /// `twinfer deploy …` at the server.
    pub fn deploy(&self, arguments: &[&str]) -> Json {
        let address = format!("http://127.0.0.1:{}", self.port());
        self.place.json(&self.arguments(&address, arguments))
    }

    pub fn text(&self, arguments: &[&str]) -> String {
        let address = format!("http://127.0.0.1:{}", self.port());
        self.place.good(&self.arguments(&address, arguments))
    }

    pub fn refused(&self, arguments: &[&str], code: &str) {
        let address = format!("http://127.0.0.1:{}", self.port());
        self.place
            .bad(&self.arguments(&address, arguments), code, 1);
    }

    pub fn status(&self) -> Json {
        self.deploy(&["status", "risk"])
    }

    /// The value of a series of `/metrics`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        value(&self.server, series)
    }

    /// Waits until the document with this revision is in force.
    pub fn until_in_force(&mut self, revision: u64) {
        until_in_force(&self.server, self.port(), "risk", revision);
        // Requests are assigned by it now; a moment later they are counted by it too.
        until(|| self.status()["here"]["revision"] == revision);
    }

    pub fn predict(&self, path: &str) -> Answer {
        self.predict_as(path, "")
    }

    pub fn predict_as(&self, path: &str, headers: &str) -> Answer {
        let path = format!("/v2/models/risk{path}/predict");
        ask(self.port(), "POST", &path, headers, &record())
    }
}

fn start(place: &Place, arguments: &[String]) -> Server {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Server::start(place, &arguments)
}

/// Waits until a server has this document in force.
pub fn until_in_force(server: &Server, port: u16, name: &str, revision: u64) {
    let begin = Instant::now();
    let path = format!("/registry/deployments/{name}.json");
    loop {
        let found = ask(port, "GET", &path, "", "");
        if found.json["revision"] == revision {
            return;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "no revision {revision}, but {}: {:#?}",
            found.body,
            server.log()
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until it is so.
#[track_caller]
pub fn until(done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "it did not come to be");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A request on a connection of its own.
pub fn ask(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let text = match exchange(port, method, path, headers, body) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => error.to_string(),
    };
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        json: serde_json::from_str(body).unwrap_or_default(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
