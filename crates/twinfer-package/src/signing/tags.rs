//! The signed list of the tags of a name: which tag points where, as of when, and until when
//! that may be believed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use twinfer::{Result, bail, err};

use super::{Envelope, PrivateKey, signed_json};
use crate::{Digest, Reference, media, tag_version};

/// The largest counter: what a number of JavaScript still holds exactly.
pub const MAX_COUNTER: u64 = (1 << 53) - 1;

const FORMAT: u32 = 1;

/// The payload of the envelope (`application/vnd.twinfer.tags.v1+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SignedTags {
    /// Always 1.
    pub format_version: u32,
    /// The name of the model.
    pub name: String,
    /// Grows with every list that is signed.
    pub counter: u64,
    /// When it was signed (RFC 3339, UTC).
    pub issued: String,
    /// From when it counts no more (RFC 3339, UTC).
    pub expires: String,
    /// The digest of the package manifest, by tag.
    pub tags: BTreeMap<String, Digest>,
}

impl SignedTags {
    /// A list that is signed now and holds for some days.
    ///
    /// # Errors
    /// `invalid_request` for a counter over [`MAX_COUNTER`], or times that have no date.
    pub fn new(
        name: &str,
        counter: u64,
        now: u64,
        seconds: u64,
        tags: BTreeMap<String, Digest>,
    ) -> Result<Self> {
        if counter > MAX_COUNTER {
            bail!(
                InvalidRequest,
                "the counter of `{name}` cannot grow further"
            );
        }
        Ok(Self {
            format_version: FORMAT,
            name: name.into(),
            counter,
            issued: date(now)?,
            expires: date(now.saturating_add(seconds))?,
            tags,
        })
    }

    /// Signs the list.
    ///
    /// # Errors
    /// `internal`.
    pub fn sign(&self, key: &PrivateKey) -> Result<Envelope> {
        Envelope::sign(media::TAGS, crate::json::to_json(self)?, key, true)
    }

    /// Reads a payload that was verified.
    ///
    /// # Errors
    /// `invalid_signature`; `unsupported_format_version` for a newer format.
    pub fn from_json(payload: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format_version: u32,
        }
        const WHAT: &str = "signed list of tags";
        // The version first: another format may have other fields.
        let Head { format_version } = signed_json(WHAT, payload)?;
        if format_version != FORMAT {
            bail!(
                UnsupportedFormatVersion,
                "the {WHAT} has format_version {format_version}, this version of Twinfer reads {FORMAT}: update Twinfer"
            );
        }
        let list: Self = signed_json(WHAT, payload)?;
        let (issued, expires) = (seconds(&list.issued)?, seconds(&list.expires)?);
        if list.counter > MAX_COUNTER || expires < issued {
            bail!(
                InvalidSignature,
                "the {WHAT} has a counter over {MAX_COUNTER}, or expires before it was issued"
            );
        }
        Ok(list)
    }

    /// Seconds since 1970 from which it counts no more.
    ///
    /// # Errors
    /// `invalid_signature`.
    pub fn expires_at(&self) -> Result<u64> {
        seconds(&self.expires)
    }

    /// What the list says that a reference without a digest points to: the tag in full and
    /// the digest. A bare name is the highest version in the list.
    ///
    /// # Errors
    /// `invalid_signature` for a tag that is not in the list; `unknown_version` for a list
    /// without versions.
    pub(crate) fn resolve(&self, reference: &Reference) -> Result<(&str, &Digest)> {
        let Some(tag) = reference.tag() else {
            let versions = || {
                self.tags
                    .iter()
                    .filter_map(|(tag, digest)| Some((tag_version(tag)?, tag.as_str(), digest)))
            };
            let highest = versions()
                .filter(|(version, ..)| version.pre.is_empty())
                .max_by(|a, b| a.0.cmp(&b.0))
                .or_else(|| versions().max_by(|a, b| a.0.cmp(&b.0)));
            return highest
                .map(|(_, tag, digest)| (tag, digest))
                .ok_or_else(|| {
                    err!(
                        UnknownVersion,
                        "the signed list of tags of `{}` has no version",
                        self.name
                    )
                });
        };
        self.tags
            .get_key_value(tag)
            .map(|(tag, digest)| (tag.as_str(), digest))
            .ok_or_else(|| {
                err!(
                    InvalidSignature,
                    "`{}:{tag}` is not in the signed list of tags: it was added after the list was signed; sign again with `twinfer sign-tags`, if this is meant",
                    self.name
                )
            })
    }
}

/// The last second that a date of RFC 3339 can name.
const LAST: u64 = 253_402_300_799;

fn date(seconds: u64) -> Result<String> {
    if seconds > LAST {
        bail!(InvalidRequest, "there is no date so far in the future");
    }
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    Ok(humantime::format_rfc3339_seconds(time).to_string())
}

fn seconds(date: &str) -> Result<u64> {
    humantime::parse_rfc3339(date)
        .ok()
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map(|since| since.as_secs())
        .ok_or_else(|| {
            err!(
                InvalidSignature,
                "`{}` is not a date of the form 2026-11-25T00:00:00Z",
                crate::digest::shorten(date)
            )
        })
}
