//! Reading manifests.

use bytes::Bytes;
use reqwest::header::{ACCEPT as ACCEPT_HEADER, HeaderValue, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use twinfer::{Result, bail};
use twinfer_package::limits::MAX_MANIFEST_BYTES;
use twinfer_package::{Descriptor, Digest, media, referrers_tag};

use super::{ACCEPT, Inner, KEPT, pull};
use crate::auth::Scope;
use crate::error::shorten;
use crate::net::{Call, said};
use crate::walk::children;

/// A reference of the index that is being made, and what it points to.
pub(super) type Line = (Option<String>, Descriptor);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    media_type: Option<String>,
    artifact_type: Option<String>,
}

/// What a tag pointed to when it was asked for, so that the next answer can be "the same".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub what: String,
    pub etag: String,
    pub found: Descriptor,
}

impl Inner {
    /// Gets a manifest by its tag or digest; `None` where there is none.
    pub(super) async fn manifest(&self, repository: &str, tag: &str) -> Result<Option<Descriptor>> {
        let known = self.ask(repository, tag, None).await?;
        Ok(known.map(|known| known.found))
    }

    /// The same, where what is known may still hold: then its content does not come again.
    pub(super) async fn ask(
        &self,
        repository: &str,
        tag: &str,
        known: Option<&Known>,
    ) -> Result<Option<Known>> {
        let what = format!("{repository}:{tag}");
        let url = self.url(&format!("v2/{repository}/manifests/{tag}"))?;
        let mut call = Call::get(url, &what);
        call.headers
            .insert(ACCEPT_HEADER, HeaderValue::from_static(ACCEPT));
        if let Some(known) = known
            && let Ok(etag) = HeaderValue::from_str(&known.etag)
        {
            call.headers.insert(IF_NONE_MATCH, etag);
        }
        let scope = pull(repository);
        let answer = self
            .net
            .answer(&call, self.access(&scope), MAX_MANIFEST_BYTES)
            .await?;
        match (answer.status, known) {
            (StatusCode::OK, _) => {}
            (StatusCode::NOT_MODIFIED, Some(known)) => return Ok(Some(known.clone())),
            (StatusCode::NOT_FOUND, _) => return Ok(None),
            _ => bail!(
                Network,
                "{what}: {} answered with {}",
                self.host,
                said(&answer)
            ),
        }
        let kind = answer.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_owned();
        let told = answer.header("docker-content-digest").map(str::to_owned);
        let etag = answer.header("etag").map(str::to_owned);
        let (descriptor, bytes) = describe(&what, &kind, answer.body)?;
        let told = told.filter(|told| told.starts_with("sha256:"));
        let asked = Some(tag.to_owned()).filter(|tag| tag.contains(':'));
        for wanted in [told, asked].into_iter().flatten() {
            if wanted != descriptor.digest.to_string() {
                bail!(
                    DigestMismatch,
                    "{what}: {} sent a manifest with the digest {}, not {}",
                    self.host,
                    descriptor.digest,
                    shorten(&wanted)
                );
            }
        }
        self.learn(repository, &descriptor.digest, &bytes);
        Ok(Some(Known {
            what: tag.into(),
            etag: etag.unwrap_or_else(|| format!("\"{}\"", descriptor.digest)),
            found: descriptor,
        }))
    }

    /// Remembers a verified manifest, and where what it refers to is.
    pub(crate) fn learn(&self, repository: &str, digest: &Digest, bytes: &Bytes) {
        let below = children("", bytes).unwrap_or_default();
        let mut seen = self.seen();
        if seen.manifests.len() >= KEPT {
            seen.manifests.clear();
        }
        seen.manifests.insert(*digest, bytes.clone());
        let digests = below.iter().map(|d| d.digest).chain([*digest]);
        for digest in digests {
            seen.repositories.insert(digest, repository.to_owned());
        }
    }

    /// What a tag points to, without its content; `None` where there is none.
    pub(super) async fn head(&self, repository: &str, tag: &str) -> Result<Option<Descriptor>> {
        let what = format!("{repository}:{tag}");
        let url = self.url(&format!("v2/{repository}/manifests/{tag}"))?;
        let mut call = Call::new(Method::HEAD, url, &what);
        call.headers
            .insert(ACCEPT_HEADER, HeaderValue::from_static(ACCEPT));
        let scope = pull(repository);
        let answer = self.net.answer(&call, self.access(&scope), 0).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => bail!(
                Network,
                "{what}: {} answered with {}",
                self.host,
                said(&answer)
            ),
        }
        let known = || -> Option<Descriptor> {
            Some(Descriptor {
                media_type: answer.header("content-type")?.split(';').next()?.into(),
                digest: answer.header("docker-content-digest")?.parse().ok()?,
                size: answer.header("content-length")?.parse().ok()?,
                artifact_type: None,
                annotations: Default::default(),
            })
        };
        match known() {
            Some(descriptor) => Ok(Some(descriptor)),
            // These headers are optional.
            None => self.manifest(repository, tag).await,
        }
    }

    /// The list of what is attached to a manifest, by the API where there is one.
    pub(super) async fn referrers(
        &self,
        repository: &str,
        digest: &Digest,
        known: Option<&Known>,
    ) -> Result<Option<Known>> {
        let tag = referrers_tag(digest);
        match self.referrers_by_api(repository, digest).await? {
            Some(found) => Ok(Some(Known {
                what: tag,
                etag: format!("\"{}\"", found.digest),
                found,
            })),
            None => self.ask(repository, &tag, known).await,
        }
    }

    /// The same by the API; `None` where the registry has no API.
    pub(super) async fn referrers_by_api(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Descriptor>> {
        let what = format!("what is attached to {digest}");
        let url = self.url(&format!("v2/{repository}/referrers/{digest}"))?;
        let scope = pull(repository);
        let answer = self
            .net
            .answer(
                &Call::get(url, &what),
                self.access(&scope),
                MAX_MANIFEST_BYTES,
            )
            .await?;
        let kind = answer.header("content-type").unwrap_or_default();
        // Some registries without the API answer with something else than 404.
        if answer.status != StatusCode::OK || !kind.starts_with(media::INDEX) {
            return match answer.status.is_server_error() {
                true => bail!(
                    Network,
                    "{what}: {} answered with {}",
                    self.host,
                    said(&answer)
                ),
                false => Ok(None),
            };
        }
        if answer.header("link").is_some() {
            bail!(
                InvalidManifest,
                "{what}: more than fits in one answer of {}",
                self.host
            );
        }
        let (descriptor, bytes) = describe(&what, media::INDEX, answer.body)?;
        self.learn(repository, &descriptor.digest, &bytes);
        Ok(Some(descriptor))
    }

    /// Whether this content is in the repository.
    pub(super) fn has(&self, repository: &str, scope: &Scope, wanted: &Descriptor) -> Result<bool> {
        let what = wanted.digest.to_string();
        let mut call = Call::new(Method::HEAD, self.content_url(repository, wanted)?, &what);
        call.headers
            .insert(ACCEPT_HEADER, HeaderValue::from_static(ACCEPT));
        let answer = self.net.fetch(&call, self.access(scope), 0)?;
        match answer.status {
            StatusCode::OK => Ok(answer
                .header("content-length")
                .is_none_or(|length| length == wanted.size.to_string())),
            StatusCode::NOT_FOUND => Ok(false),
            _ => bail!(
                Network,
                "{what}: {} answered with {}",
                self.host,
                said(&answer)
            ),
        }
    }
}

/// The descriptor of a manifest, by its content.
pub(crate) fn describe(what: &str, kind: &str, body: Vec<u8>) -> Result<(Descriptor, Bytes)> {
    if body.len() as u64 > MAX_MANIFEST_BYTES {
        bail!(
            InvalidManifest,
            "{what}: the manifest has more than {MAX_MANIFEST_BYTES} bytes"
        );
    }
    let head: Head = match serde_json::from_slice(&body) {
        Ok(head) => head,
        Err(_) if body.trim_ascii_start().starts_with(b"<") => {
            bail!(
                Network,
                "{what}: the answer is a web page: is this a registry?"
            )
        }
        Err(e) => bail!(InvalidManifest, "{what}: the manifest: {e}"),
    };
    let mut descriptor = Descriptor::new(head.media_type.as_deref().unwrap_or(kind), &body);
    descriptor.artifact_type = head.artifact_type;
    Ok((descriptor, body.into()))
}
