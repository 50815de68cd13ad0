//! How the server lies.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a registry does wrong. Where it is about a layer, it is the one with the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Nothing.
    None,
    /// A bit of the layer is flipped, always.
    WrongDigest,
    /// A bit of the layer is flipped, the first time.
    WrongDigestOnce,
    /// The layer ends early, and the server says that this is all.
    TooShort,
    /// The layer goes on after its end.
    TooLong,
    /// The connection is closed in the middle of the layer, the first time.
    CutOnce,
    /// The connection is closed after each [`PIECE`].
    CutOften,
    /// The connection is closed in the middle, and nothing follows.
    CutForEver,
    /// The connection is closed in the middle, the first time, and ranges are ignored.
    CutNoRange,
    /// The layer comes in drops: [`DROP`] bytes every [`DRIP`].
    SlowDrip,
    /// After the head of the answer, nothing comes.
    Stall,
    /// After the head of the answer, nothing comes, the first time.
    StallOnce,
    /// The layer is not there.
    NotFound,
    /// The layer is not there, the first time.
    NotFoundOnce,
    /// Nothing is there, the first time that the index is asked for.
    NoIndexOnce,
    /// The server is overloaded, the first time.
    UnavailableOnce,
    /// Cut, and then 206 with all of it, and says so.
    Whole206,
    /// Cut, and then 206 which says that it begins where it was asked to, and begins at 0.
    Lying206,
    /// Cut, and then 206 which begins later than it was asked to, and says so.
    Later206,
    /// Everything is somewhere else: on another origin.
    Redirect,
    /// The layer is somewhere else: there.
    RedirectLoop,
    /// The layer is compressed, though nobody asked for that.
    Gzip,
    /// Everything is called `text/html`.
    ContentType,
    /// A page in the place of the layer, with status 200.
    HtmlLayer,
    /// A page in the place of the index, with status 200.
    HtmlIndex,
    /// Something else than JSON in the place of the index, with status 200.
    BrokenIndex,
    /// The index holds for an hour.
    MaxAge,
    /// The index must not be kept.
    NoStore,
    /// The connection is closed without an answer.
    Dead,
}

/// Bytes of the layer between two cuts: more than what counts as progress for the cache.
pub const PIECE: usize = 70_000;
/// Bytes of a drop.
pub const DROP: usize = 24;
/// Time between two drops.
pub const DRIP: Duration = Duration::from_millis(50);

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // As serde names it, which paths and lists have in common.
        self.serialize(f)
    }
}

impl Fault {
    /// The fault with this name.
    pub fn named(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }
}

/// An answer, before it is sent.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The status; 0 for closing the connection without an answer.
    pub status: u16,
    /// Fields besides those that every answer has.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The connection is closed after so many bytes of it.
    pub cut: Option<usize>,
    /// It comes in drops.
    pub drip: bool,
    /// Nothing of it comes.
    pub stall: bool,
}

impl Plan {
    /// An answer with this status.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.into())],
            body: body.into(),
            cut: None,
            drip: false,
            stall: false,
        }
    }

    /// Some text.
    pub fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain", text)
    }

    /// A page.
    pub fn page() -> Self {
        let page = "<!doctype html>\n<title>Welcome</title>\n<p>Please log in.</p>\n";
        Self::new(200, "text/html; charset=utf-8", page)
    }

    /// Content, from an offset on where one was asked for.
    pub fn content(content: &[u8], from: Option<usize>) -> Self {
        match from {
            None => Self::new(200, "application/octet-stream", content),
            Some(from) if from < content.len() => Self::part(content, from, from),
            Some(_) => {
                let mut plan = Self::text(416, "there is no such range");
                plan.headers
                    .push(("content-range", format!("bytes */{}", content.len())));
                plan
            }
        }
    }

    /// Content from an offset on, which the answer may give wrongly.
    fn part(content: &[u8], said: usize, from: usize) -> Self {
        let length = content.len() - said.max(from);
        let body = &content[from..from + length];
        let mut plan = Self::new(206, "application/octet-stream", body);
        let (last, all) = (said + length - 1, content.len());
        plan.headers
            .push(("content-range", format!("bytes {said}-{last}/{all}")));
        plan
    }

    /// Elsewhere.
    pub fn redirect(to: String) -> Self {
        let mut plan = Self::text(302, "elsewhere");
        plan.headers.push(("location", to));
        plan
    }

    fn cut(self, after: usize) -> Self {
        Self {
            cut: Some(after),
            ..self
        }
    }
}

/// The answer to the request with this number (from 1 on) for the layer.
pub fn layer(fault: Fault, number: usize, from: Option<usize>, content: &[u8]) -> Plan {
    use Fault as F;
    let (first, half) = (number == 1, content.len() / 2);
    let honest = Plan::content(content, from);
    match fault {
        F::WrongDigest => Plan::content(&flipped(content), from),
        F::WrongDigestOnce if first => Plan::content(&flipped(content), from),
        F::TooShort => Plan::content(&content[..content.len() - 16], None),
        F::TooLong => Plan::content(&[content, &[0; 16]].concat(), None),
        F::CutOnce | F::CutNoRange | F::Whole206 | F::Lying206 | F::Later206 if first => {
            honest.cut(half)
        }
        F::CutOften => honest.cut(PIECE),
        F::CutForEver if from.is_none() => honest.cut(half),
        F::CutForEver => honest.cut(0),
        F::CutNoRange => Plan::content(content, None),
        F::Whole206 => Plan::part(content, 0, 0),
        F::Lying206 if number == 2 => Plan::part(content, from.unwrap_or(0), 0),
        F::Later206 => {
            let later = (from.unwrap_or(0) + 100).min(content.len() - 1);
            Plan::part(content, later, later)
        }
        F::SlowDrip => Plan {
            drip: true,
            ..honest
        },
        F::Stall => Plan {
            stall: true,
            ..honest
        },
        F::StallOnce if first => Plan {
            stall: true,
            ..honest
        },
        F::NotFound => Plan::text(404, "not found"),
        F::NotFoundOnce if first => Plan::text(404, "not found"),
        F::UnavailableOnce if first => Plan::text(503, "overloaded"),
        F::Gzip => {
            let mut plan = Plan::content(&stored_gzip(content), None);
            plan.headers.push(("content-encoding", "gzip".into()));
            plan
        }
        F::ContentType => Plan {
            headers: vec![("content-type", "text/html".into())],
            ..honest
        },
        F::HtmlLayer => Plan::page(),
        _ => honest,
    }
}

/// The answer to the request with this number for the index, which has this validator.
pub fn index(fault: Fault, number: usize, validator: &str, known: bool, content: &[u8]) -> Plan {
    use Fault as F;
    match fault {
        F::HtmlIndex => return Plan::page(),
        F::BrokenIndex => return Plan::new(200, "application/json", "{\"schemaVersion\": 2, "),
        F::NoIndexOnce if number == 1 => return Plan::text(404, "not found"),
        _ => {}
    }
    let content_type = match fault {
        F::ContentType => "text/html",
        _ => "application/json",
    };
    let mut plan = match known {
        true => Plan::new(304, content_type, ""),
        false => Plan::new(200, content_type, content),
    };
    plan.headers.push(("etag", validator.into()));
    match fault {
        F::MaxAge => plan.headers.push(("cache-control", "max-age=3600".into())),
        F::NoStore => plan.headers.push(("cache-control", "no-store".into())),
        _ => {}
    }
    plan
}

fn flipped(content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    let middle = content.len() / 2;
    content[middle] ^= 0x40;
    content
}

/// A gzip file (RFC 1952) of blocks that are not compressed (RFC 1951, section 3.2.4).
fn stored_gzip(content: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut blocks = content.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        file.push(u8::from(blocks.peek().is_none()));
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(&(!length).to_le_bytes());
        file.extend_from_slice(block);
    }
    file.extend_from_slice(&crc32(content).to_le_bytes());
    file.extend_from_slice(&(content.len() as u32).to_le_bytes());
    file
}

fn crc32(content: &[u8]) -> u32 {
    !content.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| match crc & 1 {
            1 => (crc >> 1) ^ 0xedb8_8320,
            _ => crc >> 1,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_the_names_of_their_paths() {
        assert_eq!(Fault::WrongDigestOnce.to_string(), "wrong-digest-once");
        assert_eq!(Fault::named("whole206"), Some(Fault::Whole206));
        assert_eq!(Fault::named("_log"), None);
    }

    #[test]
    fn parts_say_where_they_begin_whether_that_is_true_or_not() {
        let content: Vec<u8> = (0..100).collect();
        let range = |plan: &Plan| plan.headers[1].1.clone();
        let honest = Plan::content(&content, Some(40));
        assert_eq!(
            (honest.status, range(&honest).as_str()),
            (206, "bytes 40-99/100")
        );
        assert_eq!(honest.body, content[40..]);
        let lying = layer(Fault::Lying206, 2, Some(40), &content);
        assert_eq!(range(&lying), "bytes 40-99/100");
        assert_eq!(lying.body, content[..60]);
        assert_eq!(Plan::content(&content, Some(100)).status, 416);
    }

    #[test]
    fn the_checksum_is_that_of_gzip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
