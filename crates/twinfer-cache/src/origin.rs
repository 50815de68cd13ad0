//! Where content comes from: a registry over whatever network there is. One attempt each; the
//! cache tries again.

use twinfer::{Result, err};
use twinfer_package::limits::MAX_MANIFEST_BYTES;
use twinfer_package::{Descriptor, Digest, Reference, media};

/// Content that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes; `None` where only the digest is known (a pinned manifest).
    pub size: Option<u64>,
    /// What messages and progress call it: a file name, or `manifest`.
    pub name: String,
    /// It is a manifest or a list of manifests: OCI registries have those at another address.
    pub manifest: bool,
}

impl Wanted {
    /// The manifest of a pinned reference.
    pub fn manifest(digest: Digest) -> Self {
        Self {
            digest,
            size: None,
            name: "manifest".into(),
            manifest: true,
        }
    }

    /// How many bytes are read of it at most.
    pub fn limit(&self) -> u64 {
        self.size.unwrap_or(MAX_MANIFEST_BYTES)
    }

    /// For messages.
    pub fn label(&self) -> String {
        format!("{} ({})", self.name, self.digest)
    }

    /// As a descriptor that messages call by its name.
    pub(crate) fn labelled(&self, size: u64) -> Descriptor {
        let mut descriptor = self.descriptor(size);
        descriptor
            .annotations
            .insert(twinfer_package::TITLE.into(), self.name.clone());
        descriptor
    }

    /// As a descriptor, once its length is known.
    pub fn descriptor(&self, size: u64) -> Descriptor {
        Descriptor {
            media_type: match self.manifest {
                true => media::MANIFEST.into(),
                false => "application/octet-stream".into(),
            },
            digest: self.digest,
            size,
            artifact_type: None,
            annotations: Default::default(),
        }
    }
}

impl From<&Descriptor> for Wanted {
    fn from(descriptor: &Descriptor) -> Self {
        let manifest = matches!(&*descriptor.media_type, media::MANIFEST | media::INDEX);
        let name = match descriptor.file_name() {
            Some(name) => name,
            None if manifest => "manifest",
            None if descriptor.media_type == media::MODEL_CONFIG => "config",
            None => "signature",
        };
        Self {
            digest: descriptor.digest,
            size: Some(descriptor.size),
            name: name.into(),
            manifest,
        }
    }
}

/// How long an answer holds (RFC 9111, "HTTP Caching", sections 4.2 and 5.2.2; RFC 5861).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// Milliseconds for which nobody need be asked again; 0 where the server does not say.
    pub fresh_for: u64,
    /// Milliseconds after that in which it may be used while it is asked for again; `None`
    /// where the server sets no limit.
    pub stale_for: Option<u64>,
    /// It may be kept at all.
    pub keep: bool,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            fresh_for: 0,
            stale_for: None,
            keep: true,
        }
    }
}

impl Freshness {
    /// Reads `cache-control`, `expires`, `date` and `age`.
    pub fn of_headers<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let mut freshness = Self::default();
        let mut max_age = None;
        let mut revalidate = false;
        for directive in header("cache-control").unwrap_or_default().split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = || value.trim().trim_matches('"').parse::<u64>().ok();
            match &*name.trim().to_ascii_lowercase() {
                "no-store" => freshness.keep = false,
                "no-cache" => (max_age, revalidate) = (Some(0), true),
                "must-revalidate" => revalidate = true,
                "max-age" => max_age = max_age.or(seconds()),
                "stale-while-revalidate" => freshness.stale_for = seconds().map(to_milliseconds),
                _ => {}
            }
        }
        let date = |name: &str| httpdate::parse_http_date(header(name)?).ok();
        // Both dates are of the server: a wrong clock here changes nothing.
        let expires = || match (date("expires"), date("date")) {
            (Some(expires), Some(date)) => expires.duration_since(date).ok().map(|d| d.as_secs()),
            _ => None,
        };
        let age = header("age")
            .and_then(|age| age.trim().parse().ok())
            .unwrap_or(0u64);
        let lifetime = max_age.or_else(expires).unwrap_or(0);
        freshness.fresh_for = to_milliseconds(lifetime.saturating_sub(age));
        if revalidate {
            freshness.stale_for = Some(0);
        }
        freshness
    }
}

/// At most ten years, so that sums with a point in time never overflow.
fn to_milliseconds(seconds: u64) -> u64 {
    const TEN_YEARS: u64 = 10 * 366 * 86_400;
    seconds.min(TEN_YEARS) * 1000
}

/// What a registry answered when it was asked for its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The same as the answer that the validator came with.
    Unchanged(Freshness),
    /// Another.
    Changed {
        /// `index.json`, or as much of it as has to do with the reference.
        index: Vec<u8>,
        /// What to ask with the next time, in the form of this kind of registry (an ETag).
        validator: Option<String>,
        /// How long it holds.
        freshness: Freshness,
    },
}

/// Content that was opened.
#[derive(Debug)]
pub struct Opened<B> {
    /// Its bytes.
    pub body: B,
    /// Where they begin: where they were asked from, or 0 where the server begins anew.
    pub offset: u64,
}

/// A registry that content is fetched from. One attempt for each call: trying again, going on
/// after a cut, taking turns between mirrors and verifying is what the cache does.
#[expect(
    async_fn_in_trait,
    reason = "neither pages nor components have threads to send to"
)]
pub trait Origin {
    /// A stream.
    type Body: Body;

    /// Its address, the same for the same registry: references are kept under it.
    fn id(&self) -> &str;

    /// Under what the index is kept: the same for all references that the same document
    /// answers. A static host has one for all (``), an OCI registry one for each `name:tag`.
    fn index_key(&self, reference: &Reference) -> String;

    /// Asks for the index, conditionally where a validator is known.
    ///
    /// # Errors
    /// `network` for what may be better the next time; `unauthorized`, `storage`, `not_found`,
    /// `invalid_manifest`, `invalid_parameter` for what will not.
    async fn index(&self, reference: &Reference, validator: Option<&str>) -> Result<Asked>;

    /// Opens content from this offset on, without compression. `anew` asks to go around caches
    /// on the way: what came before was damaged.
    ///
    /// # Errors
    /// As for [`Origin::index`]; `missing_blob` where it is not there (`unknown_version` for a
    /// pinned manifest).
    async fn open(&self, wanted: &Wanted, offset: u64, anew: bool) -> Result<Opened<Self::Body>>;

    /// The deployment of a model as it is: `deployments/NAME.json` beside the index. `None` where
    /// there is none, and from registries that have no place for one.
    ///
    /// # Errors
    /// `network` for what may be better the next time.
    async fn deployment(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let _ = name;
        Ok(None)
    }
}

/// Bytes that arrive.
#[expect(
    async_fn_in_trait,
    reason = "neither pages nor components have threads to send to"
)]
pub trait Body {
    /// The next ones; `None` at the end.
    ///
    /// # Errors
    /// `network` when the connection broke.
    async fn next(&mut self) -> Result<Option<Vec<u8>>>;
}

/// What happens when there is no registry to ask.
pub(crate) fn no_origin() -> twinfer::Error {
    err!(Network, "there is no registry to ask")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &'static str)]) -> Freshness {
        Freshness::of_headers(|name| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v))
    }

    #[test]
    fn freshness_is_what_the_server_says() {
        let dates = ("date", "Thu, 26 Nov 2026 10:00:00 GMT");
        let later = ("expires", "Thu, 26 Nov 2026 10:01:00 GMT");
        for (headers, fresh_for, stale_for, keep) in [
            (&[][..], 0, None, true),
            (&[("cache-control", "max-age=60")], 60_000, None, true),
            (
                &[("cache-control", "public, Max-Age=\"60\"")],
                60_000,
                None,
                true,
            ),
            (
                &[("cache-control", "max-age=60"), ("age", "45")],
                15_000,
                None,
                true,
            ),
            (
                &[("cache-control", "max-age=60"), ("age", "90")],
                0,
                None,
                true,
            ),
            (
                &[("cache-control", "no-cache, max-age=60")],
                0,
                Some(0),
                true,
            ),
            (&[("cache-control", "no-store")], 0, None, false),
            (
                &[("cache-control", "max-age=1, stale-while-revalidate=9")],
                1000,
                Some(9000),
                true,
            ),
            (
                &[("cache-control", "max-age=1, must-revalidate")],
                1000,
                Some(0),
                true,
            ),
            (&[later, dates], 60_000, None, true),
            (
                &[later, dates, ("cache-control", "max-age=5")],
                5000,
                None,
                true,
            ),
            (&[("expires", "0"), dates], 0, None, true),
            (&[later], 0, None, true),
            (
                &[("cache-control", "max-age=99999999999999999999")],
                0,
                None,
                true,
            ),
            (
                &[("cache-control", "max-age=18446744073709551615")],
                316_224_000_000,
                None,
                true,
            ),
        ] {
            let wanted = Freshness {
                fresh_for,
                stale_for,
                keep,
            };
            assert_eq!(of(headers), wanted, "{headers:?}");
        }
    }
}
