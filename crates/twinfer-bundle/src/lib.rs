//! Several HTTP messages in one body: how a host hands requests to the component together, and
//! gets their answers.
//!
//! A bundle is a request like any other, to the path that all its requests have, with the
//! content type [`CONTENT_TYPE`] and, in the header [`TOKEN`], a secret of the host: what clients
//! send is never taken for one. Its body is the messages one after the other, each as four bytes
//! of length (little-endian) and a head, four bytes of length and a body. The head is a first
//! line (`METHOD URI`, or the status) and a line for each header, `name: value`, with a line feed
//! at the end of each.
#![deny(missing_docs)]

use std::fmt::{self, Display};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};

/// The content type of bundles in both directions.
pub const CONTENT_TYPE: &str = "application/vnd.twinfer.bundle";
/// The header with the secret of the host.
pub const TOKEN: &str = "x-twinfer-bundle";
/// The header of the answer that says how many of the requests ran together with others.
pub const JOINED: &str = "x-twinfer-joined";
/// More messages than a host puts together.
const MAX_MESSAGES: usize = 4096;

/// A body that is no bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this is no bundle of messages: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// The body of a bundle of requests.
pub fn of_requests(requests: &[Request<Bytes>]) -> Bytes {
    let mut body = BytesMut::new();
    for request in requests {
        let first = format!("{} {}", request.method(), request.uri());
        put(&mut body, &first, request.headers(), request.body());
    }
    body.freeze()
}

/// The body of a bundle of answers.
pub fn of_responses(responses: &[Response<Bytes>]) -> Bytes {
    let mut body = BytesMut::new();
    for response in responses {
        let status = response.status();
        put(
            &mut body,
            status.as_str(),
            response.headers(),
            response.body(),
        );
    }
    body.freeze()
}

/// The requests in a body.
///
/// # Errors
/// For a body that is no bundle of requests.
pub fn requests(mut body: Bytes) -> Result<Vec<Request<Bytes>>, Malformed> {
    let mut requests = Vec::new();
    while let Some((first, headers, content)) = take(&mut body, requests.len())? {
        let (method, uri) = first
            .split_once(' ')
            .ok_or(Malformed("a request has no address"))?;
        let mut request = Request::new(content);
        *request.method_mut() = Method::from_bytes(method.as_bytes())
            .map_err(|_| Malformed("a method cannot be read"))?;
        *request.uri_mut() = uri
            .parse::<Uri>()
            .map_err(|_| Malformed("an address cannot be read"))?;
        *request.headers_mut() = headers;
        requests.push(request);
    }
    Ok(requests)
}

/// The answers in a body.
///
/// # Errors
/// For a body that is no bundle of answers.
pub fn responses(mut body: Bytes) -> Result<Vec<Response<Bytes>>, Malformed> {
    let mut responses = Vec::new();
    while let Some((first, headers, content)) = take(&mut body, responses.len())? {
        let mut response = Response::new(content);
        *response.status_mut() = StatusCode::from_bytes(first.as_bytes())
            .map_err(|_| Malformed("a status cannot be read"))?;
        *response.headers_mut() = headers;
        responses.push(response);
    }
    Ok(responses)
}

fn put(to: &mut BytesMut, first: &str, headers: &HeaderMap, body: &Bytes) {
    let mut head = first.as_bytes().to_vec();
    head.push(b'\n');
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.push(b'\n');
    }
    // Both are held in memory, within limits far below four gigabytes.
    to.put_u32_le(u32::try_from(head.len()).unwrap_or(u32::MAX));
    to.put_slice(&head);
    to.put_u32_le(u32::try_from(body.len()).unwrap_or(u32::MAX));
    to.put_slice(body);
}

type Message = (String, HeaderMap, Bytes);

fn take(body: &mut Bytes, before: usize) -> Result<Option<Message>, Malformed> {
    if body.is_empty() {
        return Ok(None);
    }
    if before >= MAX_MESSAGES {
        return Err(Malformed("it has too many messages"));
    }
    let head = part(body)?;
    let content = part(body)?;
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let first = lines.next().ok_or(Malformed("a head is empty"))?;
    let first = std::str::from_utf8(first).map_err(|_| Malformed("a head is no text"))?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.windows(2).position(|pair| pair == b": ");
        let (name, value) = line.split_at(colon.ok_or(Malformed("a header has no value"))?);
        let name = HeaderName::from_bytes(name).map_err(|_| Malformed("a header has no name"))?;
        let value = value.get(2..).unwrap_or_default();
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| Malformed("the value of a header cannot be read"))?;
        headers.append(name, value);
    }
    Ok(Some((first.to_owned(), headers, content)))
}

fn part(body: &mut Bytes) -> Result<Bytes, Malformed> {
    if body.len() < 4 {
        return Err(Malformed("it ends in the middle"));
    }
    let length = body.get_u32_le() as usize;
    if body.len() < length {
        return Err(Malformed("it ends in the middle"));
    }
    Ok(body.split_to(length))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_bundled_comes_out() {
        let one = Request::post("/v2/models/m/predict?a=b")
            .header("content-type", "application/json")
            .header("x-a", HeaderValue::from_bytes(b"\xff: x").unwrap())
            .header("x-a", "2")
            .body(Bytes::from_static(b"{}\n\0"))
            .unwrap();
        let two = Request::get("/").body(Bytes::new()).unwrap();
        let body = of_requests(&[one.clone(), two]);
        let back = requests(body.clone()).unwrap();
        assert_eq!(back.len(), 2);
        assert_eq!(back[0].uri(), one.uri());
        assert_eq!(back[0].headers(), one.headers());
        assert_eq!(
            (back[0].body(), back[1].method()),
            (one.body(), &Method::GET)
        );
        // It is no bundle of answers, and no part of it is one of requests.
        assert!(responses(body.clone()).is_err());
        for end in 1..body.len() {
            let cut = requests(body.slice(..end));
            assert!(cut.is_err() || cut.is_ok_and(|all| all.len() == 1), "{end}");
        }
    }

    #[test]
    fn answers_too() {
        let mut answer = Response::new(Bytes::from_static(b"x"));
        *answer.status_mut() = StatusCode::IM_A_TEAPOT;
        let back = responses(of_responses(&[answer])).unwrap();
        assert_eq!(
            (back[0].status().as_u16(), &back[0].body()[..]),
            (418, &b"x"[..])
        );
        assert_eq!(responses(Bytes::new()).unwrap().len(), 0);
        let many = of_responses(&vec![Response::new(Bytes::new()); MAX_MESSAGES + 1]);
        assert!(responses(many).is_err());
    }
}
