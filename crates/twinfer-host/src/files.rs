//! One file as an answer: conditional requests, ranges, streaming.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, ReadBuf, Take};

use crate::cache::hex;
use crate::reply::{Body, Failure, ReplyCode, empty};

/// Bytes read from a file at a time.
const CHUNK: usize = 256 << 10;
/// The largest file whose digest is computed for its entity tag; an index of
/// 10,000 packages is smaller.
const MAX_DIGESTED: u64 = 4 << 20;

/// How long a file may be kept without asking again.
#[derive(Debug, Clone)]
pub(crate) enum Freshness {
    /// Its name is its digest: for ever. Holds the entity tag.
    Immutable(String),
    /// Ask every time; the entity tag is the digest of what is in it.
    ByContent,
    /// Ask every time; the entity tag is its size and time of change.
    ByTime,
}

/// Answers a GET or HEAD with a file.
pub(crate) async fn serve(
    method: &Method,
    request: &HeaderMap,
    path: &Path,
    content_type: &'static str,
    freshness: Freshness,
) -> Result<Response<Body>, Failure> {
    let opened = open(path).await?;
    let Some((mut file, metadata)) = opened else {
        return Err(Failure::new(ReplyCode::NotFound, "there is no such file"));
    };
    let size = metadata.len();
    let (etag, cache_control) = match freshness {
        Freshness::Immutable(tag) => (quoted(&tag), "public, max-age=31536000, immutable"),
        Freshness::ByContent if size <= MAX_DIGESTED => (content_tag(&mut file).await?, "no-cache"),
        Freshness::ByContent | Freshness::ByTime => (time_tag(&metadata), "no-cache"),
    };
    if matches_any(request.get(IF_NONE_MATCH), &etag) {
        return Ok(with_headers(
            empty(StatusCode::NOT_MODIFIED),
            &[(ETAG, &etag), (CACHE_CONTROL, cache_control)],
        ));
    }
    let range = wanted_range(request, &etag, size);
    let headers = [
        (ETAG, etag.as_str()),
        (CACHE_CONTROL, cache_control),
        (CONTENT_TYPE, content_type),
        (ACCEPT_RANGES, "bytes"),
    ];
    let (status, start, length) = match range {
        Wanted::Everything => (StatusCode::OK, 0, size),
        Wanted::Part { start, end } => (StatusCode::PARTIAL_CONTENT, start, end - start + 1),
        Wanted::Nothing => {
            let answer = empty(StatusCode::RANGE_NOT_SATISFIABLE);
            return Ok(with_headers(
                answer,
                &[(CONTENT_RANGE, &format!("bytes */{size}"))],
            ));
        }
    };
    let body = if method == Method::HEAD {
        None
    } else {
        Some(part(file, start, length).await?)
    };
    let mut answer = with_headers(empty(status), &headers);
    if status == StatusCode::PARTIAL_CONTENT {
        answer = with_headers(
            answer,
            &[(
                CONTENT_RANGE,
                &format!("bytes {start}-{}/{size}", start + length - 1),
            )],
        );
    }
    answer = with_headers(answer, &[(CONTENT_LENGTH, &length.to_string())]);
    if let Some(body) = body {
        *answer.body_mut() = body;
    }
    Ok(answer)
}

type Opened = Option<(tokio::fs::File, std::fs::Metadata)>;

/// `None` when it is missing or no file.
async fn open(path: &Path) -> Result<Opened, Failure> {
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) => return missing_or_failed(&error),
    };
    let metadata = file.metadata().await.map_err(|e| unreadable(&e))?;
    Ok(metadata.is_file().then_some((file, metadata)))
}

fn missing_or_failed(error: &io::Error) -> Result<Opened, Failure> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            Ok(None)
        }
        // A name that the file system cannot hold (too long) is not there either.
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => Ok(None),
        _ => Err(unreadable(error)),
    }
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(ReplyCode::Internal, "the file cannot be read").because(error.to_string())
}

async fn part(mut file: tokio::fs::File, start: u64, length: u64) -> Result<Body, Failure> {
    if start > 0 {
        file.seek(io::SeekFrom::Start(start))
            .await
            .map_err(|e| unreadable(&e))?;
    }
    file.set_max_buf_size(CHUNK);
    Ok(FileBody {
        file: file.take(length),
        left: length,
        buffer: vec![0; CHUNK.min(length as usize)],
    }
    .boxed_unsync())
}

fn with_headers(mut answer: Response<Body>, headers: &[(HeaderName, &str)]) -> Response<Body> {
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}

/// Of the file that is open, not of its name: that may be another one by now, and a tag of
/// other content would be kept with it for ever.
async fn content_tag(file: &mut tokio::fs::File) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut limited = (&mut *file).take(MAX_DIGESTED);
    let read = limited.read_to_end(&mut bytes).await;
    read.map_err(|e| unreadable(&e))?;
    file.rewind().await.map_err(|e| unreadable(&e))?;
    Ok(quoted(&format!("sha256:{}", hex(&Sha256::digest(&bytes)))))
}

fn time_tag(metadata: &std::fs::Metadata) -> String {
    let changed = metadata
        .modified()
        .ok()
        .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    quoted(&format!("{:x}-{:x}", changed.as_nanos(), metadata.len()))
}

/// `If-None-Match`: a list of tags or `*`, weak ones count as well.
fn matches_any(header: Option<&HeaderValue>, etag: &str) -> bool {
    let Some(Ok(text)) = header.map(HeaderValue::to_str) else {
        return false;
    };
    text.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

#[derive(Debug, PartialEq)]
enum Wanted {
    Everything,
    /// First and last byte, both included.
    Part {
        start: u64,
        end: u64,
    },
    /// A range outside of the file.
    Nothing,
}

/// One range is served; several, or anything unclear, means the whole file, as
/// RFC 9110 allows.
fn wanted_range(request: &HeaderMap, etag: &str, size: u64) -> Wanted {
    let unchanged = request
        .get(IF_RANGE)
        .is_none_or(|tag| tag.as_bytes() == etag.as_bytes());
    let Some(Ok(range)) = request.get(RANGE).map(HeaderValue::to_str) else {
        return Wanted::Everything;
    };
    if !unchanged {
        return Wanted::Everything;
    }
    parse_range(range, size).unwrap_or(Wanted::Everything)
}

fn parse_range(range: &str, size: u64) -> Option<Wanted> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    let number = |text: &str| {
        if text.bytes().all(|b| b.is_ascii_digit()) {
            text.parse::<u64>().ok()
        } else {
            None
        }
    };
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(if suffix == 0 || size == 0 {
            Wanted::Nothing
        } else {
            Wanted::Part {
                start: size.saturating_sub(suffix),
                end: size - 1,
            }
        });
    }
    let start = number(first)?;
    let end = if last.is_empty() {
        u64::MAX
    } else {
        number(last)?
    };
    if end < start {
        return None;
    }
    Some(if start >= size {
        Wanted::Nothing
    } else {
        Wanted::Part {
            start,
            end: end.min(size - 1),
        }
    })
}

/// Streams a part of a file.
struct FileBody {
    file: Take<tokio::fs::File>,
    left: u64,
    buffer: Vec<u8>,
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let mut buffer = ReadBuf::new(&mut this.buffer);
        ready!(Pin::new(&mut this.file).poll_read(cx, &mut buffer))?;
        let read = Bytes::copy_from_slice(buffer.filled());
        if read.is_empty() {
            // Cut short behind our back: break off, so that the client sees it.
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        this.left -= read.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(read))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |start, end| Some(Wanted::Part { start, end });
        for (range, size, expected) in [
            ("bytes=0-0", 10, part(0, 0)),
            ("bytes=2-5", 10, part(2, 5)),
            ("bytes=2-", 10, part(2, 9)),
            ("bytes=-3", 10, part(7, 9)),
            ("bytes=-30", 10, part(0, 9)),
            ("bytes=5-100", 10, part(5, 9)),
            ("bytes=10-", 10, Some(Wanted::Nothing)),
            ("bytes=-0", 10, Some(Wanted::Nothing)),
            ("bytes=0-", 0, Some(Wanted::Nothing)),
            ("bytes=5-2", 10, None),
            ("bytes=0-1,3-4", 10, None),
            ("bytes=+1-2", 10, None),
            ("bytes=99999999999999999999-", 10, None),
            ("lines=1-2", 10, None),
            ("bytes=", 10, None),
            ("bytes=a-b", 10, None),
        ] {
            assert_eq!(parse_range(range, size), expected, "{range}");
        }
    }

    #[test]
    fn entity_tags() {
        let header = |text: &str| HeaderValue::from_str(text).unwrap();
        for (sent, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            assert_eq!(
                matches_any(Some(&header(sent)), "\"a\""),
                expected,
                "{sent}"
            );
        }
        assert!(!matches_any(None, "\"a\""));
    }
}
