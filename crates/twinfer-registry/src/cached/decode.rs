//! Content that comes compressed, though it was asked for as it is: files that were stored
//! compressed on a host are sent so to everybody.

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::header::HeaderMap;
use twinfer::{Error, Result, bail, err};

use crate::error::shorten;
use crate::net::header;

/// How content is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    /// Of an answer; `None` for content as it is.
    ///
    /// # Errors
    /// `network` for one that is not read here.
    pub fn of(headers: &HeaderMap, what: &str) -> Result<Option<Self>> {
        let named = header(headers, "content-encoding").unwrap_or_default();
        match &*named.trim().to_ascii_lowercase() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "deflate" => Ok(Some(Self::Deflate)),
            _ => bail!(
                Network,
                "{what}: the server sends it with the content encoding `{}`, though it was asked for it without: switch that off for the files of the registry",
                shorten(named)
            ),
        }
    }
}

/// Takes compressed bytes in pieces, and gives the others.
pub(super) struct Decoder {
    kind: Kind,
    what: String,
}

enum Kind {
    /// Nothing came yet. What is called `deflate` has the header of zlib, or, against the rule
    /// (RFC 9110, section 8.4.1.2), none.
    Undecided,
    Gzip(MultiGzDecoder<Vec<u8>>),
    Zlib(ZlibDecoder<Vec<u8>>),
    Raw(DeflateDecoder<Vec<u8>>),
}

impl Decoder {
    pub fn new(coding: Coding, what: &str) -> Self {
        let kind = match coding {
            Coding::Gzip => Kind::Gzip(MultiGzDecoder::new(Vec::new())),
            Coding::Deflate => Kind::Undecided,
        };
        Self {
            kind,
            what: what.into(),
        }
    }

    /// What this piece gives: perhaps nothing yet.
    ///
    /// # Errors
    /// `network` for what is not compressed so.
    pub fn next(&mut self, piece: &[u8]) -> Result<Vec<u8>> {
        if let (Kind::Undecided, Some(first)) = (&self.kind, piece.first()) {
            self.kind = match first & 0x0f {
                8 => Kind::Zlib(ZlibDecoder::new(Vec::new())),
                _ => Kind::Raw(DeflateDecoder::new(Vec::new())),
            };
        }
        let written = match &mut self.kind {
            Kind::Undecided => return Ok(Vec::new()),
            Kind::Gzip(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Kind::Zlib(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Kind::Raw(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
        };
        written.map_err(|e| self.damaged(&e))?;
        Ok(self.take())
    }

    /// What is left at the end.
    ///
    /// # Errors
    /// `network` when it ended too early.
    pub fn finish(&mut self) -> Result<Vec<u8>> {
        let finished = match &mut self.kind {
            Kind::Undecided => return Ok(Vec::new()),
            Kind::Gzip(decoder) => decoder.try_finish(),
            Kind::Zlib(decoder) => decoder.try_finish(),
            Kind::Raw(decoder) => decoder.try_finish(),
        };
        finished.map_err(|e| self.damaged(&e))?;
        Ok(self.take())
    }

    fn take(&mut self) -> Vec<u8> {
        match &mut self.kind {
            Kind::Undecided => Vec::new(),
            Kind::Gzip(decoder) => std::mem::take(decoder.get_mut()),
            Kind::Zlib(decoder) => std::mem::take(decoder.get_mut()),
            Kind::Raw(decoder) => std::mem::take(decoder.get_mut()),
        }
    }

    fn damaged(&self, error: &io::Error) -> Error {
        err!(
            Network,
            "{}: the server says that it is compressed, and it cannot be read so: {error}",
            self.what
        )
    }
}

/// The whole of a small answer, as it is; of one with more than `limit` bytes, a few more than
/// that.
///
/// # Errors
/// `network`.
pub(crate) fn decoded(
    headers: &HeaderMap,
    body: Vec<u8>,
    limit: u64,
    what: &str,
) -> Result<Vec<u8>> {
    let Some(coding) = Coding::of(headers, what)? else {
        return Ok(body);
    };
    let mut decoder = Decoder::new(coding, what);
    let mut all = Vec::new();
    for piece in body.chunks(4096) {
        all.extend(decoder.next(piece)?);
        if all.len() as u64 > limit {
            return Ok(all);
        }
    }
    all.extend(decoder.finish()?);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    fn headers(coding: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("content-encoding", coding.parse().unwrap());
        headers
    }

    #[test]
    fn what_is_compressed_is_read_in_any_pieces() {
        let text = "the same words again and again, ".repeat(1000).into_bytes();
        let level = Compression::default();
        let mut gzip = GzEncoder::new(Vec::new(), level);
        gzip.write_all(&text).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), level);
        zlib.write_all(&text).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), level);
        raw.write_all(&text).unwrap();
        for (coding, compressed) in [
            ("GZip", gzip.finish().unwrap()),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", raw.finish().unwrap()),
        ] {
            let headers = headers(coding);
            let read = |bytes: &[u8]| decoded(&headers, bytes.to_vec(), u64::MAX, "it");
            assert_eq!(read(&compressed).unwrap(), text, "{coding}");
            let coding = Coding::of(&headers, "it").unwrap().unwrap();
            let mut decoder = Decoder::new(coding, "it");
            let mut all = Vec::new();
            for byte in &compressed {
                all.extend(decoder.next(std::slice::from_ref(byte)).unwrap());
            }
            all.extend(decoder.finish().unwrap());
            assert_eq!(all, text);
            // Cut off, and something else.
            assert!(read(&compressed[..compressed.len() / 2]).is_err());
            assert!(read(b"{\"schemaVersion\": 2}").is_err());
            let bomb = decoded(&headers, compressed.clone(), 1000, "it").unwrap();
            assert!(bomb.len() > 1000);
        }
        let error = Coding::of(&headers("br"), "it").unwrap_err();
        assert!(error.to_string().contains("`br`"), "{error}");
        assert_eq!(Coding::of(&headers("identity"), "it").unwrap(), None);
    }
}
