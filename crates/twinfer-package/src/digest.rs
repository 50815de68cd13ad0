//! Digests: the names of immutable content.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use twinfer::{Error, Result, bail};

use crate::Descriptor;

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits.
///
/// Other algorithms are refused: one algorithm means that equal content has one name, so
/// that blobs and caches never hold it twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema, ts_rs::TS),
    schemars(with = "String"),
    ts(type = "string")
)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of a stream.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn of_stream(content: &mut dyn Read) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => return Ok(Self(hasher.finalize().into())),
                Ok(read) => hasher.update(&buffer[..read]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// The 64 hexadecimal digits: the file name in an image layout.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// The 32 bytes.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Bytes in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        hex.push(char::from_digit((byte >> 4).into(), 16).unwrap_or('0'));
        hex.push(char::from_digit((byte & 15).into(), 16).unwrap_or('0'));
    }
    hex
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// # Errors
    /// `invalid_digest` for anything but `sha256:` and 64 digits 0-9 a-f.
    fn from_str(text: &str) -> Result<Self> {
        let Some(hex) = text.strip_prefix("sha256:") else {
            bail!(
                InvalidDigest,
                "`{}` is not a digest that is read here: expected sha256: and 64 hexadecimal digits",
                shorten(text)
            );
        };
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            bail!(
                InvalidDigest,
                "`{}` has {} digits after sha256:, expected 64",
                shorten(text),
                hex.chars().count()
            );
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => bail!(
                    InvalidDigest,
                    "`{}` has a character that is not one of 0-9 a-f",
                    shorten(text)
                ),
            }
        }
        Ok(Self(bytes))
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// What a malformed digest in JSON is reported as. Serde carries only text, so the code is
/// recognised by this beginning (see `json.rs`).
pub(crate) const INVALID_DIGEST: &str = "invalid digest: ";

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|e| format!("{INVALID_DIGEST}{e}"))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Foreign text for a message: short, on one line.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut short: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

/// Checks content against its descriptor while it streams in.
///
/// Bytes that pass through are not to be trusted, nor committed to a cache, before
/// [`Verifier::finish`] said that they are what was asked for.
pub struct Verifier {
    wanted: Descriptor,
    hasher: Sha256,
    seen: u64,
}

impl Verifier {
    /// A check for the content of this descriptor.
    pub fn new(wanted: &Descriptor) -> Self {
        Self {
            wanted: wanted.clone(),
            hasher: Sha256::new(),
            seen: 0,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// `size_mismatch` as soon as there are more than the descriptor says, so that a server
    /// that never ends is cut off.
    pub fn update(&mut self, bytes: &[u8]) -> Result<()> {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        if self.seen > self.wanted.size {
            bail!(
                SizeMismatch,
                "{} must have {} bytes, more came",
                self.wanted.label(),
                self.wanted.size
            );
        }
        self.hasher.update(bytes);
        Ok(())
    }

    /// How many bytes came so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The verdict at the end of the content.
    ///
    /// # Errors
    /// `size_mismatch` for content that is too short, `digest_mismatch` for other content.
    pub fn finish(self) -> Result<()> {
        let label = self.wanted.label();
        if self.seen != self.wanted.size {
            bail!(
                SizeMismatch,
                "{label} must have {} bytes, got {}: it was cut short",
                self.wanted.size,
                self.seen
            );
        }
        let got = Digest(self.hasher.finalize().into());
        if got != self.wanted.digest {
            bail!(
                DigestMismatch,
                "{label} has the digest {got}, not {}: it was damaged or exchanged; fetch or pack it again",
                self.wanted.digest
            );
        }
        Ok(())
    }
}

/// Bytes whose size and digest were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    digest: Digest,
    bytes: Vec<u8>,
}

impl Content {
    /// Checks bytes against their descriptor.
    ///
    /// # Errors
    /// `size_mismatch`, `digest_mismatch`.
    pub fn check(wanted: &Descriptor, bytes: Vec<u8>) -> Result<Self> {
        wanted.verify(&bytes)?;
        Ok(Self {
            digest: wanted.digest,
            bytes,
        })
    }

    /// Their digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A [`Verifier`] that keeps what passes through it, so that it need not be checked again.
pub struct Collector {
    verifier: Verifier,
    bytes: Vec<u8>,
}

impl Collector {
    /// Begins with nothing.
    pub fn new(wanted: &Descriptor) -> Self {
        Self {
            verifier: Verifier::new(wanted),
            bytes: Vec::new(),
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// `size_mismatch`, as of [`Verifier::update`]; `out_of_memory`.
    pub fn update(&mut self, bytes: &[u8]) -> Result<()> {
        self.verifier.update(bytes)?;
        // The size is what somebody says: room for all is made when a part of it has come.
        let room = match self.bytes.capacity() - self.bytes.len() < bytes.len() {
            true => {
                usize::try_from(self.verifier.wanted.size).unwrap_or(usize::MAX) - self.bytes.len()
            }
            false => 0,
        };
        let room = if self.bytes.is_empty() {
            bytes.len()
        } else {
            room
        };
        if self.bytes.try_reserve_exact(room).is_err() {
            bail!(
                OutOfMemory,
                "there is no memory for the {} bytes of {}",
                self.verifier.wanted.size,
                self.verifier.wanted.label()
            );
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The content, when it is what was wanted.
    ///
    /// # Errors
    /// As of [`Verifier::finish`].
    pub fn finish(self) -> Result<Content> {
        let digest = self.verifier.wanted.digest;
        self.verifier.finish()?;
        Ok(Content {
            digest,
            bytes: self.bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfer::ErrorCode;

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), Digest::of(b""));
    }

    #[test]
    fn other_texts_are_refused() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for text in [
            "",
            "sha256:",
            hex,
            &format!("sha512:{hex}{hex}"),
            &format!("sha256:{}", &hex[1..]),
            &format!("sha256:{hex}0"),
            &format!("sha256:{}", hex.to_uppercase()),
            &format!("sha256:{}é", &hex[2..]),
            &format!("sha256:../{}", &hex[3..]),
        ] {
            assert_eq!(
                text.parse::<Digest>().unwrap_err().code(),
                ErrorCode::InvalidDigest,
                "{text}"
            );
        }
    }

    #[test]
    fn a_stream_is_checked_for_length_and_content() {
        let wanted = Descriptor::new("text/plain", b"hello");
        let check = |parts: &[&[u8]]| -> Result<()> {
            let mut verifier = Verifier::new(&wanted);
            for part in parts {
                verifier.update(part)?;
            }
            verifier.finish()
        };
        assert!(check(&[b"he", b"", b"llo"]).is_ok());
        assert_eq!(
            check(&[b"hell"]).unwrap_err().code(),
            ErrorCode::SizeMismatch
        );
        assert_eq!(
            check(&[b"hello", b"!"]).unwrap_err().code(),
            ErrorCode::SizeMismatch
        );
        assert_eq!(
            check(&[b"hellO"]).unwrap_err().code(),
            ErrorCode::DigestMismatch
        );
    }
}
