//! Writing: blobs, then manifests, then tags.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use twinfer::{Result, bail, err};
use twinfer_package::limits::MAX_MANIFEST_BYTES;
use twinfer_package::{
    Descriptor, Digest, Index, SIGNED_TAGS, Transaction, Verifier, referrers_subject, tag_version,
};

use super::upload::{Upload, mount};
use super::{Inner, origin};
use crate::auth::Scope;
use crate::entries::{Entry, entries, find, index_json, merge};
use crate::error::{from_io, label};
use crate::net::{Call, said};
use crate::walk::is_manifest;

/// A change of one repository.
pub(super) struct Change {
    inner: Arc<Inner>,
    name: String,
    repository: String,
    scope: Scope,
    /// The tags as they were when this change began to look.
    before: RefCell<Option<Index>>,
    manifests: BTreeMap<Digest, Bytes>,
    /// The registry said that it lists what is attached to a manifest by itself.
    lists_referrers: bool,
}

impl Change {
    pub fn new(inner: Arc<Inner>, name: &str) -> Self {
        let repository = inner.repository(name);
        Self {
            scope: Scope {
                repository: repository.clone(),
                push: true,
            },
            inner,
            name: name.into(),
            repository,
            before: RefCell::default(),
            manifests: BTreeMap::new(),
            lists_referrers: false,
        }
    }

    fn wait<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        self.inner.net.run(answer)
    }

    /// Sends a manifest under its digest or a tag.
    fn put_manifest(&mut self, tag: &str, kind: &str, content: Bytes) -> Result<()> {
        #[derive(Deserialize)]
        struct Head {
            subject: Option<serde_json::Value>,
        }
        let what = format!("{}:{tag}", self.repository);
        let digest = Digest::of(&content).to_string();
        let url = self
            .inner
            .url(&format!("v2/{}/manifests/{tag}", self.repository))?;
        let attached =
            serde_json::from_slice::<Head>(&content).is_ok_and(|head| head.subject.is_some());
        let mut call = Call::new(Method::PUT, url, &what);
        let kind = HeaderValue::from_str(kind)
            .map_err(|_| err!(InvalidManifest, "{what}: the media type is malformed"))?;
        call.headers.insert(CONTENT_TYPE, kind);
        call.body = content;
        let access = self.inner.access(&self.scope);
        let answer = self.inner.net.fetch(&call, access, MAX_MANIFEST_BYTES)?;
        if !answer.status.is_success() {
            bail!(
                Storage,
                "{what}: {} refused the manifest: {}",
                self.inner.host,
                said(&answer)
            );
        }
        if let Some(other) = answer.header("docker-content-digest")
            && other != digest
        {
            bail!(
                DigestMismatch,
                "{what}: {} stored the manifest as {other}, not {digest}",
                self.inner.host
            );
        }
        self.lists_referrers |= attached && answer.header("oci-subject").is_some();
        Ok(())
    }

    /// The bytes of a manifest: of this change, or of the registry.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Bytes> {
        if let Some(content) = self.manifests.get(&descriptor.digest) {
            return Ok(content.clone());
        }
        let digest = descriptor.digest.to_string();
        let found = self.wait(self.inner.manifest(&self.repository, &digest))?;
        let kept = self.inner.seen().manifests.get(&descriptor.digest).cloned();
        match found.and(kept) {
            Some(content) => Ok(content),
            None => bail!(
                MissingBlob,
                "{} is not in {}, and was not put there",
                label(descriptor),
                self.repository
            ),
        }
    }

    /// Lets a tag point to a manifest, if nobody else changed it meanwhile.
    fn tag(&mut self, entry: &Entry, before: &[Entry]) -> Result<()> {
        let Entry {
            tag, descriptor, ..
        } = entry;
        let was = find(before, &self.name, tag).map(|d| d.digest);
        let now = self.wait(self.inner.head(&self.repository, tag))?;
        let now = now.map(|d| d.digest);
        if now == Some(descriptor.digest) {
            return Ok(());
        }
        if tag_version(tag).is_some() && now != was && now.is_some() {
            bail!(
                VersionExists,
                "{}:{tag} was pushed by somebody else at the same time, with other content; raise the version",
                self.name
            );
        }
        let mut content = self.manifest(descriptor)?;
        if let Some(subject) = referrers_subject(tag) {
            let by_itself = self.lists_referrers
                || self
                    .wait(self.inner.referrers_by_api(&self.repository, &subject))?
                    .is_some();
            if by_itself {
                return Ok(());
            }
            if now != was
                && let Some(now) = self.wait(self.inner.manifest(&self.repository, tag))?
            {
                content = merge(&content, &self.manifest(&now)?)?.into();
            }
        }
        self.put_manifest(tag, &descriptor.media_type, content)
    }

    fn untag(&self, tag: &str) -> Result<()> {
        let what = format!("{}:{tag}", self.repository);
        let url = self
            .inner
            .url(&format!("v2/{}/manifests/{tag}", self.repository))?;
        let call = Call::new(Method::DELETE, url, &what);
        let access = self.inner.access(&self.scope);
        let answer = self.inner.net.fetch(&call, access, MAX_MANIFEST_BYTES)?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(()),
            status if status.is_success() => Ok(()),
            _ => bail!(
                Storage,
                "{what}: {} does not remove tags ({}): use its own tools",
                self.inner.host,
                said(&answer)
            ),
        }
    }
}

/// The order in which tags are written: what a reader checks before what it asks for.
fn rank(tag: &str) -> u8 {
    match tag {
        _ if referrers_subject(tag).is_some() => 0,
        _ if tag_version(tag).is_some() => 1,
        SIGNED_TAGS => 3,
        _ => 2,
    }
}

impl Transaction for Change {
    fn index(&self) -> Result<Index> {
        let mut before = self.before.borrow_mut();
        if let Some(index) = &*before {
            return Ok(index.clone());
        }
        let lines = self.wait(self.inner.index_of_name(&self.name))?;
        let index = Index::from_json(&index_json(&lines)?)?;
        *before = Some(index.clone());
        Ok(index)
    }

    fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        self.inner.has(&self.repository, &self.scope, descriptor)
    }

    fn put(&mut self, descriptor: &Descriptor, content: &mut dyn Read) -> Result<()> {
        if !is_manifest(&descriptor.media_type) {
            let upload = Upload::begin(&self.inner, &self.repository, &self.scope, descriptor)?;
            return upload.send(content);
        }
        if descriptor.size > MAX_MANIFEST_BYTES {
            bail!(
                InvalidManifest,
                "{} has {} bytes; manifests have at most {MAX_MANIFEST_BYTES}",
                label(descriptor),
                descriptor.size
            );
        }
        let mut bytes = Vec::new();
        content
            .take(descriptor.size + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| from_io(&label(descriptor), e))?;
        let mut verifier = Verifier::new(descriptor);
        verifier.update(&bytes)?;
        verifier.finish()?;
        let content = Bytes::from(bytes);
        self.manifests.insert(descriptor.digest, content.clone());
        self.put_manifest(
            &descriptor.digest.to_string(),
            &descriptor.media_type,
            content,
        )
    }

    fn mount(&mut self, descriptor: &Descriptor, from: &str) -> Result<bool> {
        let Some(from) = from.strip_prefix(&origin(&self.inner.base)) else {
            return Ok(false);
        };
        if is_manifest(&descriptor.media_type) || from == self.repository {
            return Ok(false);
        }
        mount(&self.inner, &self.repository, &self.scope, descriptor, from)
    }

    fn commit(mut self: Box<Self>, index: &Index) -> Result<()> {
        let before = entries(&self.index()?)?;
        let of_name = |all: Vec<Entry>| -> Vec<Entry> {
            all.into_iter().filter(|e| e.name == self.name).collect()
        };
        let mut after = of_name(entries(index)?);
        after.sort_by_key(|e| rank(&e.tag));
        for entry in &after {
            if find(&before, &self.name, &entry.tag).map(|d| d.digest)
                != Some(entry.descriptor.digest)
            {
                self.tag(entry, &before)?;
            }
        }
        for gone in &before {
            if find(&after, &self.name, &gone.tag).is_none() {
                self.untag(&gone.tag)?;
            }
        }
        Ok(())
    }
}
