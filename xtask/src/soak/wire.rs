//! A connection that is kept, and the ways to misuse one.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Longer than the host's own limit for a request.
const TIMEOUT: Duration = Duration::from_secs(90);

/// One connection to the host.
pub struct Connection {
    stream: TcpStream,
    left: Vec<u8>,
}

/// An answer: its status, its head in lower case, its body.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a field, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value.trim())
            .next()
    }
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: soak\r\n").into_bytes();
    for (name, value) in fields {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
    bytes.extend(body);
    bytes
}

impl Connection {
    /// Connects to `host:port`.
    pub fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self {
            stream,
            left: Vec::new(),
        })
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request)?;
        self.answer()
    }

    /// Sends a request in so many pieces, with a pause after each, and reads its answer a little at a time.
    pub fn ask_slowly(
        &mut self,
        request: &[u8],
        pieces: usize,
        pause: Duration,
    ) -> io::Result<Answer> {
        for piece in request.chunks(request.len().div_ceil(pieces).max(1)) {
            self.stream.write_all(piece)?;
            std::thread::sleep(pause);
        }
        self.answer()
    }

    /// Sends a part of a request, or a whole one, and goes without reading.
    pub fn break_off(mut self, part: &[u8]) -> io::Result<()> {
        self.stream.write_all(part)?;
        self.stream.shutdown(Shutdown::Both)
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(at) = find(&self.left, b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(&self.left[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut answer = Answer {
            status: status.ok_or_else(|| bad("no status"))?,
            head,
            body: Vec::new(),
        };
        self.left.drain(..end);
        answer.body = if answer.field("transfer-encoding") == Some("chunked") {
            self.chunks()?
        } else {
            let length = answer
                .field("content-length")
                .and_then(|value| value.parse().ok());
            self.take(length.ok_or_else(|| bad("no length"))?)?
        };
        Ok(answer)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = find(&self.left, b"\r\n") {
                    break at;
                }
                self.more()?;
            };
            let line = String::from_utf8_lossy(&self.left[..end]).into_owned();
            let size =
                usize::from_str_radix(line.trim(), 16).map_err(|_| bad("no size of a chunk"))?;
            self.left.drain(..end + 2);
            let part = self.take(size)?;
            self.take(2)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend(part);
        }
    }

    fn take(&mut self, size: usize) -> io::Result<Vec<u8>> {
        while self.left.len() < size {
            self.more()?;
        }
        Ok(self.left.drain(..size).collect())
    }

    fn more(&mut self) -> io::Result<()> {
        let mut part = [0; 16 * 1024];
        match self.stream.read(&mut part)? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the host closed the connection",
            )),
            count => {
                self.left.extend(&part[..count]);
                Ok(())
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the answer is not HTTP: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn answers_of_one_connection_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked).unwrap();
            // Two answers in one piece, then the connection ends in the third.
            let chunked = "HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nX-A: B\r\nContent-Length: 2\r\n\r\nhi{chunked}HTTP/1.1 200"
            )
            .unwrap();
        });
        let mut connection = Connection::open(&address).unwrap();
        let answer = connection
            .ask(&request("GET", "/", &[("a", "b")], b""))
            .unwrap();
        assert_eq!(
            (answer.status, answer.field("x-a"), &answer.body[..]),
            (200, Some("b"), &b"hi"[..])
        );
        let answer = connection.ask(b"").unwrap();
        assert_eq!((answer.status, &answer.body[..]), (404, &b"abcde"[..]));
        assert!(connection.ask(b"").is_err());
        server.join().unwrap();
    }
}
