//! Content as a stream that goes on where it broke off.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::{Response, StatusCode, Url};
use twinfer::{Error, Result, bail, err};
use twinfer_package::Descriptor;

use crate::auth::{Auth, Scope};
use crate::error::{causes, from_io, label};
use crate::net::{Call, Net, failed, header};

/// Progress after which failures are counted anew: a bad line may break a long download
/// often, a server that gives a byte at a time may not hold us for ever.
const PROGRESS: u64 = 1 << 20;

/// Where content is fetched from.
pub(crate) struct Source {
    pub net: Arc<Net>,
    pub auth: Option<(Arc<Auth>, Scope)>,
    pub url: Url,
    pub accept: Option<&'static str>,
}

/// The content of a descriptor: not verified, and at most one byte longer than it should be.
pub(crate) struct Download {
    source: Source,
    what: String,
    /// Where it ends at the latest.
    limit: u64,
    /// Bytes that were received.
    at: u64,
    response: Option<Response>,
    pending: Bytes,
    failures: u32,
    failed_at: u64,
}

impl Download {
    /// Begins a download.
    ///
    /// # Errors
    /// `missing_blob`, `network`, `unauthorized`.
    pub fn begin(source: Source, descriptor: &Descriptor) -> Result<Self> {
        let mut download = Self {
            source,
            what: label(descriptor),
            limit: descriptor.size.saturating_add(1),
            at: 0,
            response: None,
            pending: Bytes::new(),
            failures: 0,
            failed_at: 0,
        };
        download.response = Some(download.request()?);
        Ok(download)
    }

    /// The whole content in memory.
    ///
    /// # Errors
    /// `out_of_memory`, `network`, `unauthorized`.
    pub fn into_vec(mut self, size: u64) -> Result<Vec<u8>> {
        // The size is what somebody says: it is not reserved before bytes came.
        let mut bytes = Vec::new();
        let expected = usize::try_from(size.min(PROGRESS)).unwrap_or_default();
        bytes
            .try_reserve(expected)
            .map_err(|_| err!(OutOfMemory, "there is no memory for {}", self.what))?;
        let what = self.what.clone();
        self.read_to_end(&mut bytes)
            .map_err(|e| from_io(&what, e))?;
        Ok(bytes)
    }

    /// Asks for what is missing.
    fn request(&mut self) -> Result<Response> {
        let mut call = Call::get(self.source.url.clone(), &self.what);
        if let Some(accept) = self.source.accept {
            call.headers
                .insert("accept", HeaderValue::from_static(accept));
        }
        if self.at > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", self.at))
        {
            call.headers.insert(RANGE, range);
        }
        let net = &self.source.net;
        let access = self.source.auth.as_ref().map(|(a, scope)| (&**a, scope));
        let response = net.run(net.send(&call, access))?;
        match response.status() {
            StatusCode::OK => {
                check_no_page(&response, &self.what)?;
                // A server without ranges begins again: what was there is read over.
                let mut response = response;
                if self.at > 0 {
                    self.pending = self.skip(&mut response)?;
                }
                Ok(response)
            }
            StatusCode::PARTIAL_CONTENT if self.at > 0 => {
                let begins = format!("bytes {}-", self.at);
                match header(response.headers(), CONTENT_RANGE.as_str()) {
                    Some(range) if range.starts_with(&begins) => Ok(response),
                    other => bail!(
                        Network,
                        "{}: the server was asked for the bytes from {} on, and gave `{}`",
                        self.what,
                        self.at,
                        other.unwrap_or("no Content-Range")
                    ),
                }
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => bail!(
                MissingBlob,
                "{} is not in the registry: {} does not exist",
                self.what,
                self.source.url
            ),
            status => Err(failed(&call, &format!("status {status}"), 1)),
        }
    }

    /// Reads over what was received before; gives what comes after it in the same piece.
    fn skip(&self, response: &mut Response) -> Result<Bytes> {
        let mut left = self.at;
        while let Some(mut chunk) = self
            .source
            .net
            .run(response.chunk())
            .map_err(|e| err!(Network, "{}: {}", self.what, causes(&e)))?
        {
            if chunk.len() as u64 > left {
                chunk.advance(usize::try_from(left).unwrap_or_default());
                return Ok(chunk);
            }
            left -= chunk.len() as u64;
        }
        bail!(
            Network,
            "{}: on the second attempt there were fewer bytes",
            self.what
        );
    }

    /// The next piece; empty at the end.
    fn next(&mut self) -> Result<Bytes> {
        loop {
            if !self.pending.is_empty() {
                let pending = std::mem::take(&mut self.pending);
                return Ok(self.accept(pending));
            }
            if self.at >= self.limit {
                return Ok(Bytes::new());
            }
            let received = match self.response.as_mut() {
                Some(response) => self
                    .source
                    .net
                    .run(response.chunk())
                    .map_err(|e| causes(&e)),
                None => match self.request() {
                    Ok(response) => {
                        self.response = Some(response);
                        continue;
                    }
                    // It was tried often enough inside, but for a second loss.
                    Err(error) => return Err(error),
                },
            };
            match received {
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(Some(chunk)) => return Ok(self.accept(chunk)),
                Ok(None) => return Ok(Bytes::new()),
                Err(reason) => self.lost(&reason)?,
            }
        }
    }

    fn accept(&mut self, mut chunk: Bytes) -> Bytes {
        let room = usize::try_from(self.limit - self.at).unwrap_or(usize::MAX);
        chunk.truncate(room);
        self.at += chunk.len() as u64;
        chunk
    }

    /// The connection broke: once more, or not.
    fn lost(&mut self, reason: &str) -> Result<()> {
        self.response = None;
        if self.at >= self.failed_at + PROGRESS {
            self.failures = 0;
        }
        self.failed_at = self.at;
        self.failures += 1;
        let net = &self.source.net;
        if self.failures >= net.options.attempts {
            bail!(
                Network,
                "{}: the transfer from {} broke off {} times, at last after {} bytes: {reason}; try again",
                self.what,
                self.source.url,
                self.failures,
                self.at
            );
        }
        net.run(net.pause(self.failures, None));
        Ok(())
    }
}

/// A host that answers every address with its start page has no registry.
pub(crate) fn check_no_page(response: &Response, what: &str) -> Result<()> {
    match header(response.headers(), CONTENT_TYPE.as_str()) {
        Some(kind) if kind.starts_with("text/html") => Err(no_page(what, response.url())),
        _ => Ok(()),
    }
}

pub(crate) fn no_page(what: &str, url: &Url) -> Error {
    err!(
        Network,
        "{what}: {url} is a web page, not a part of a registry: check the address"
    )
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut chunk = self.next().map_err(io::Error::other)?;
        let count = chunk.len().min(buffer.len());
        chunk.copy_to_slice(&mut buffer[..count]);
        // What did not fit was counted as received.
        self.at -= chunk.len() as u64;
        self.pending = chunk;
        Ok(count)
    }
}
