//! The clients: steady ones, slow ones, and those that go in the middle.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cases::Case;
use super::live::{Live, now};
use super::tally::Tally;
use super::wire::{Answer, Connection};

/// After so many requests a steady client takes a new connection.
const REQUESTS_A_CONNECTION: u64 = 50;
/// A slow client sends its request in so many pieces.
const PIECES: usize = 6;
const PAUSE: Duration = Duration::from_millis(250);

/// What all clients share.
pub struct Clients<'a> {
    /// `host:port`.
    pub address: &'a str,
    /// Requests whose answers never change.
    pub cases: &'a [Case],
    /// Requests to the alias that is moved; every version has the same answers.
    pub moving: &'a [Case],
    /// The digests that the alias has had or is about to get.
    pub digests: &'a Mutex<BTreeSet<String>>,
    /// Requests to the model that is released.
    pub released: &'a [Case],
    /// Which versions of that are live.
    pub live: &'a Live,
    /// Where everything is counted.
    pub tally: &'a Tally,
    /// When they end.
    pub until: Instant,
}

impl Clients<'_> {
    fn on(&self) -> bool {
        Instant::now() < self.until
    }

    /// One request after the other, on connections that are kept for a while.
    pub fn steady(&self, seed: u64) {
        let mut chance = Chance::new(seed);
        while self.on() {
            let Some(mut connection) = self.open("connection") else {
                continue;
            };
            for _ in 0..REQUESTS_A_CONNECTION {
                let case = self.choose(&mut chance);
                let from = now();
                let answer = connection.ask(&case.bytes);
                let closed = answer
                    .as_ref()
                    .is_ok_and(|answer| answer.field("connection") == Some("close"));
                if !self.judge(case, case.kind, from, answer) || closed || !self.on() {
                    break;
                }
            }
        }
    }

    /// Requests that trickle in.
    pub fn slow(&self, seed: u64) {
        let mut chance = Chance::new(seed);
        while self.on() {
            let Some(mut connection) = self.open("slow") else {
                continue;
            };
            let case = self.choose(&mut chance);
            let from = now();
            let answer = connection.ask_slowly(&case.bytes, PIECES, PAUSE);
            self.judge(case, "slow", from, answer);
        }
    }

    /// Connections that break off: before the request, in its head, in its body, before the answer.
    pub fn broken(&self, seed: u64) {
        let mut chance = Chance::new(seed);
        while self.on() {
            let Some(connection) = self.open("broken off") else {
                continue;
            };
            let case = self.choose(&mut chance);
            let sent = match chance.below(4) {
                0 => 0,
                1 => 20,
                2 => case.bytes.len() - case.bytes.len() / 3,
                _ => case.bytes.len(),
            };
            match connection.break_off(&case.bytes[..sent.min(case.bytes.len())]) {
                // The host may have seen that it ends before we did.
                Ok(()) | Err(_) => self.tally.expected("broken off", "no answer".into()),
            }
            std::thread::sleep(Duration::from_millis(50 + 10 * chance.below(20)));
        }
    }

    fn open(&self, kind: &'static str) -> Option<Connection> {
        Connection::open(self.address)
            .inspect_err(|error| {
                self.tally
                    .unexpected(kind, format!("no connection: {error}"));
                std::thread::sleep(Duration::from_millis(100));
            })
            .ok()
    }

    /// Any kind of request as often as any other, and of a kind any request.
    fn choose(&self, chance: &mut Chance) -> &Case {
        match chance.below(8) {
            0 => return &self.moving[chance.index(self.moving.len())],
            1 => return &self.released[chance.index(self.released.len())],
            _ => {}
        }
        let kinds: BTreeSet<&str> = self.cases.iter().map(|case| case.kind).collect();
        let kind = kinds.iter().nth(chance.index(kinds.len()));
        let of_kind: Vec<&Case> = self
            .cases
            .iter()
            .filter(|case| Some(&case.kind) == kind)
            .collect();
        of_kind[chance.index(of_kind.len())]
    }

    /// Counts an answer; says whether the connection can go on.
    fn judge(
        &self,
        case: &Case,
        kind: &'static str,
        from: f64,
        answer: std::io::Result<Answer>,
    ) -> bool {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.tally
                    .unexpected(kind, format!("{}: {error}", case.name));
                return false;
            }
        };
        match case
            .check(&answer)
            .and_then(|found| self.of_known_package(case, &answer).map(|()| found))
            .and_then(|found| self.of_live_version(case, from, &answer).map(|()| found))
        {
            Ok(None) => self.tally.right(kind),
            Ok(Some(code)) => self.tally.expected(kind, code),
            Err(wrong) => self.tally.unexpected(kind, wrong),
        }
        true
    }

    /// What answers for the released model must be live.
    fn of_live_version(&self, case: &Case, from: f64, answer: &Answer) -> Result<(), String> {
        if !self.released.iter().any(|of| std::ptr::eq(of, case)) {
            return Ok(());
        }
        let version = answer.field("x-twinfer-version").unwrap_or("no version");
        let live = self.live.check(version, from, now());
        live.map_err(|wrong| format!("{}: {wrong}", case.name))
    }

    /// The alias must be one of those that it was, or is to be.
    fn of_known_package(&self, case: &Case, answer: &Answer) -> Result<(), String> {
        if !self.moving.iter().any(|moving| std::ptr::eq(moving, case)) {
            return Ok(());
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let digest = body["digest"]
            .as_str()
            .or(body["parameters"]["digest"].as_str())
            .unwrap_or_default();
        let known = self
            .digests
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .contains(digest);
        known.then_some(()).ok_or_else(|| {
            format!(
                "{}: answered by `{digest}`, which the alias never was",
                case.name
            )
        })
    }
}

/// Numbers by chance, the same for the same seed (xorshift64*, Vigna 2016).
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % limit.max(1)
    }

    fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::cases::Expect;
    use crate::soak::wire::request;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn a_host_that_answers_wrongly_or_from_another_package_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {
                        let body = r#"{"digest":"sha256:2","outputs":{"p":1}}"#;
                        let _ = write!(
                            stream,
                            "HTTP/1.1 200 OK\r\nx-twinfer-version: 2.0.0\r\ncontent-length: {}\r\n\r\n{body}",
                            body.len()
                        );
                    }
                });
            }
        });
        let case = |expected: i32| Case {
            kind: "record",
            name: format!("wants {expected}"),
            bytes: request("GET", "/", &[], b""),
            expect: Expect::Outputs(
                serde_json::json!({"p": expected}),
                crate::compare::Tolerance::EXACT,
            ),
        };
        let (cases, moving, released) = ([case(1), case(2)], [case(1)], [case(1)]);
        let live = Live::default();
        live.begin(&["1.0.0"]);
        let digests = Mutex::new(BTreeSet::from(["sha256:1".to_string()]));
        let tally = Tally::default();
        let clients = Clients {
            address: &address,
            cases: &cases,
            moving: &moving,
            digests: &digests,
            released: &released,
            live: &live,
            tally: &tally,
            until: Instant::now() + Duration::from_millis(300),
        };
        clients.steady(1);
        let steady = tally.result().0["record"].clone();
        assert!(steady.right + steady.unexpected > 0, "{steady:?}");
        // What it asks for is by chance: each once, whatever that was.
        let tally = Tally::default();
        let clients = Clients {
            tally: &tally,
            ..clients
        };
        for case in cases.iter().chain(&moving).chain(&released) {
            let from = now();
            let answer = Connection::open(&address).and_then(|mut one| one.ask(&case.bytes));
            clients.judge(case, case.kind, from, answer);
        }
        let (counts, messages) = tally.result();
        assert!(
            counts["record"].right > 0 && counts["record"].unexpected > 0,
            "{counts:?}"
        );
        for said in [
            "wants 2: p: 1, expected 2",
            "answered by `sha256:2`",
            "2.0.0 answered, which was not live then",
        ] {
            assert!(
                messages.iter().any(|message| message.contains(said)),
                "{said}: {messages:?}"
            );
        }
    }

    #[test]
    fn chance_is_spread_and_can_be_had_again() {
        let take = |seed| {
            let mut chance = Chance::new(seed);
            (0..1000).map(|_| chance.index(10)).collect::<Vec<_>>()
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
        for digit in 0..10 {
            assert!(take(7).iter().filter(|&&found| found == digit).count() > 50);
        }
    }
}
