//! Uploading blobs, in chunks, going on where it broke off.

use std::io::{ErrorKind, Read};

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use twinfer::{Error, Result, bail, err};
use twinfer_package::{Descriptor, Verifier};

use super::Inner;
use crate::auth::Scope;
use crate::error::{from_io, label, shorten};
use crate::net::{Answer, Call, header, said, transient};

/// The longest answer about an upload that is read.
const MAX_ANSWER: u64 = 64 << 10;
/// The largest chunk that a registry may demand.
const MAX_CHUNK: usize = 128 << 20;

/// How an attempt to send a chunk ended.
enum Sent {
    /// All of it is there.
    Done(HeaderMap),
    /// Something is there, or nothing: ask.
    Ask(String),
}

/// An upload under way.
pub(super) struct Upload<'a> {
    inner: &'a Inner,
    repository: &'a str,
    scope: &'a Scope,
    descriptor: &'a Descriptor,
    what: String,
    location: Url,
    chunk_bytes: usize,
}

impl<'a> Upload<'a> {
    /// Begins an upload.
    pub fn begin(
        inner: &'a Inner,
        repository: &'a str,
        scope: &'a Scope,
        descriptor: &'a Descriptor,
    ) -> Result<Self> {
        let what = format!("upload of {}", label(descriptor));
        let url = inner.url(&format!("v2/{repository}/blobs/uploads/"))?;
        let (location, headers) = session(inner, scope, &what, url)?;
        let smallest: Option<usize> =
            header(&headers, "oci-chunk-min-length").and_then(|n| n.parse().ok());
        let chunk_bytes = inner.net.options.chunk_bytes.max(1);
        Ok(Self {
            inner,
            repository,
            scope,
            descriptor,
            what,
            location,
            chunk_bytes: chunk_bytes.max(smallest.unwrap_or(0)).min(MAX_CHUNK),
        })
    }

    /// Sends the content, and ends the upload only when it is what it should be.
    ///
    /// # Errors
    /// `size_mismatch`, `digest_mismatch`; `network` when it cannot go on: it must then begin
    /// anew; `out_of_space`, `unauthorized`, `storage` when the registry refuses.
    pub fn send(mut self, content: &mut dyn Read) -> Result<()> {
        let sent = self.send_all(content);
        if sent.is_err() {
            // Best effort: registries clear away what was left, later.
            let mut call = self.call(Method::DELETE, Bytes::new());
            call.retry = false;
            let _ = self
                .inner
                .net
                .fetch(&call, self.inner.access(self.scope), MAX_ANSWER);
        }
        sent
    }

    fn send_all(&mut self, content: &mut dyn Read) -> Result<()> {
        let mut verifier = Some(Verifier::new(self.descriptor));
        let mut at = 0;
        while let Some(mut checked) = verifier.take() {
            let chunk = self.read(content)?;
            checked.update(&chunk)?;
            let end = checked.seen();
            // A short chunk is the end; a full one may be, by the size.
            let last = chunk.len() < self.chunk_bytes || end == self.descriptor.size;
            if last {
                if chunk.len() == self.chunk_bytes {
                    checked.update(&self.read_some(content, 1)?)?;
                }
                checked.finish()?;
            } else {
                verifier = Some(checked);
            }
            self.chunk(at, chunk, last)?;
            at = end;
        }
        Ok(())
    }

    fn read(&self, content: &mut dyn Read) -> Result<Bytes> {
        let left = usize::try_from(self.descriptor.size).unwrap_or(usize::MAX);
        // One byte more than there should be shows content that is too long.
        self.read_some(content, self.chunk_bytes.min(left.saturating_add(1)))
    }

    /// Reads so many bytes, or what there is.
    fn read_some(&self, content: &mut dyn Read, count: usize) -> Result<Bytes> {
        let mut chunk = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match content.read(&mut chunk[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(from_io(&self.what, e)),
            }
        }
        chunk.truncate(filled);
        Ok(chunk.into())
    }

    /// Sends the bytes from `at` on.
    fn chunk(&mut self, at: u64, chunk: Bytes, last: bool) -> Result<()> {
        let mut there = 0;
        let mut failures = 0;
        loop {
            let reason = match self.try_chunk(at, chunk.slice(there..), there, last)? {
                Sent::Done(headers) if last => return self.check_end(&headers),
                Sent::Done(headers) => return self.follow(&headers),
                Sent::Ask(reason) => reason,
            };
            failures += 1;
            if failures >= self.inner.net.options.attempts {
                return Err(self.lost(&reason, failures));
            }
            self.inner.net.run(self.inner.net.pause(failures, None));
            match self.status()? {
                Some(end) if end >= at && end - at <= chunk.len() as u64 => {
                    there = usize::try_from(end - at).unwrap_or_default();
                }
                // The answer to the last request may have been all that was lost.
                _ if last && self.arrived()? => return Ok(()),
                _ if at == 0 => {
                    let url = format!("v2/{}/blobs/uploads/", self.repository);
                    let url = self.inner.url(&url)?;
                    self.location = session(self.inner, self.scope, &self.what, url)?.0;
                    there = 0;
                }
                _ => return Err(self.lost(&reason, failures)),
            }
        }
    }

    fn try_chunk(&self, at: u64, part: Bytes, there: usize, last: bool) -> Result<Sent> {
        let begin = at + there as u64;
        let end = begin + part.len() as u64;
        let mut call = self.call(if last { Method::PUT } else { Method::PATCH }, part);
        call.retry = false;
        if last {
            call.url
                .query_pairs_mut()
                .append_pair("digest", &self.descriptor.digest.to_string());
        }
        call.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        // A range of nothing cannot be written.
        if end > begin
            && let Ok(range) = HeaderValue::from_str(&format!("{begin}-{}", end - 1))
        {
            call.headers.insert(CONTENT_RANGE, range);
        }
        let access = self.inner.access(self.scope);
        let answer = match self.inner.net.fetch(&call, access, MAX_ANSWER) {
            Ok(answer) => answer,
            Err(error) if error.code() == twinfer::ErrorCode::Network => {
                return Ok(Sent::Ask(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        match answer.status {
            status if status.is_success() => Ok(Sent::Done(answer.headers)),
            status if transient(status) => Ok(Sent::Ask(said(&answer))),
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND => {
                Ok(Sent::Ask(said(&answer)))
            }
            _ => Err(self.refused(&answer)),
        }
    }

    fn call(&self, method: Method, body: Bytes) -> Call<'_> {
        let mut call = Call::new(method, self.location.clone(), &self.what);
        call.body = body;
        call
    }

    /// Takes over where to go on.
    fn follow(&mut self, headers: &HeaderMap) -> Result<()> {
        if let Some(next) = location(self.inner, &self.location, &self.what, headers)? {
            self.location = next;
        }
        Ok(())
    }

    /// How many bytes have arrived; `None` when the registry does not know, or no longer.
    fn status(&mut self) -> Result<Option<u64>> {
        let call = self.call(Method::GET, Bytes::new());
        let access = self.inner.access(self.scope);
        let answer = self.inner.net.fetch(&call, access, MAX_ANSWER)?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        let range = answer.header("range").map(str::to_owned);
        self.follow(&answer.headers)?;
        let end = range.as_deref().and_then(|range| {
            let end: u64 = range
                .trim_start_matches("bytes=")
                .strip_prefix("0-")?
                .parse()
                .ok()?;
            // `0-0` is one byte, but also what Debian's registry says about none.
            (end > 0).then_some(end + 1)
        });
        Ok(end)
    }

    /// Whether the blob is there after all.
    fn arrived(&self) -> Result<bool> {
        self.inner.has(self.repository, self.scope, self.descriptor)
    }

    fn check_end(&self, headers: &HeaderMap) -> Result<()> {
        let digest = self.descriptor.digest.to_string();
        match header(headers, "docker-content-digest") {
            Some(other) if other != digest => bail!(
                DigestMismatch,
                "{}: the registry received {}",
                self.what,
                shorten(other)
            ),
            _ => Ok(()),
        }
    }

    fn lost(&self, reason: &str, failures: u32) -> Error {
        err!(
            Network,
            "{} to {} broke off ({failures} failures), and cannot go on: {reason}; try again",
            self.what,
            self.inner.host
        )
    }

    fn refused(&self, answer: &Answer) -> Error {
        let said = said(answer);
        let host = &self.inner.host;
        match answer.status.as_u16() {
            413 | 507 => err!(
                OutOfSpace,
                "{}: {host} has no room for it: {said}",
                self.what
            ),
            _ => err!(Storage, "{}: {host} refused it: {said}", self.what),
        }
    }
}

/// Begins an upload, and gives where it goes on.
fn session(inner: &Inner, scope: &Scope, what: &str, url: Url) -> Result<(Url, HeaderMap)> {
    let answer = post(inner, scope, what, url.clone())?;
    if answer.status != StatusCode::ACCEPTED {
        bail!(
            Storage,
            "{what}: {} refused it: {}",
            inner.host,
            said(&answer)
        );
    }
    match location(inner, &url, what, &answer.headers)? {
        Some(location) => Ok((location, answer.headers)),
        None => bail!(Network, "{what}: {} does not say where to", inner.host),
    }
}

fn post(inner: &Inner, scope: &Scope, what: &str, url: Url) -> Result<Answer> {
    let call = Call::new(Method::POST, url, what);
    inner.net.fetch(&call, inner.access(scope), MAX_ANSWER)
}

/// The address in `Location`, if it may be used.
fn location(inner: &Inner, base: &Url, what: &str, headers: &HeaderMap) -> Result<Option<Url>> {
    let Some(text) = header(headers, "location") else {
        return Ok(None);
    };
    let url = base.join(text).map_err(|e| {
        err!(
            Network,
            "{what}: the registry names the address `{}`: {e}",
            shorten(text)
        )
    })?;
    if !inner.auth.covers(&url) {
        // Elsewhere is allowed (storage of a cloud), without credentials; but not in the clear.
        inner.net.check_address(&url)?;
        if inner.base.scheme() == "https" && url.scheme() != "https" {
            bail!(
                Network,
                "{what}: the registry wants it sent to {url}, without TLS"
            );
        }
    }
    Ok(Some(url))
}

/// Takes a blob over from another repository of the registry; false when it does not.
pub(super) fn mount(
    inner: &Inner,
    repository: &str,
    scope: &Scope,
    descriptor: &Descriptor,
    from: &str,
) -> Result<bool> {
    let what = format!("taking over {}", label(descriptor));
    let mut url = inner.url(&format!("v2/{repository}/blobs/uploads/"))?;
    url.query_pairs_mut()
        .append_pair("mount", &descriptor.digest.to_string())
        .append_pair("from", from);
    let answer = post(inner, scope, &what, url.clone())?;
    match answer.status {
        StatusCode::CREATED => Ok(true),
        // It began an upload instead, which is left to expire.
        StatusCode::ACCEPTED | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            if let Ok(Some(url)) = location(inner, &url, &what, &answer.headers) {
                let mut call = Call::new(Method::DELETE, url, &what);
                call.retry = false;
                let _ = inner.net.fetch(&call, inner.access(scope), MAX_ANSWER);
            }
            Ok(false)
        }
        _ => bail!(
            Storage,
            "{what}: {} refused it: {}",
            inner.host,
            said(&answer)
        ),
    }
}
