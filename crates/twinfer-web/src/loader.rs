//! The order in which a package is read, without any I/O.

use serde::Serialize;
use twinfer::{Error, ErrorCode, Result, bail};
use twinfer_package::{
    Admission, Decision, Descriptor, Digest, Package, PackageReader, Parts, Reference, Seen,
    TrustPolicy, media, resolve,
};

/// Content that the caller must get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Need {
    /// Its digest, which is also its address in a registry.
    pub digest: String,
    /// Its length in bytes; absent where only the digest is known.
    pub size: Option<u64>,
    /// What progress and messages call it: the file name of a layer, or `manifest`.
    pub name: String,
}

/// Reads a package: what the caller gets is checked before it is used.
///
/// With an index a reference is resolved in it. Without one it must have a digest, and
/// nothing but that digest is trusted: no index is asked for, so that a pinned package opens
/// from a cache alone.
#[derive(Debug)]
pub struct Loader {
    reference: Reference,
    /// Present until a trust policy has decided.
    admission: Option<Admission>,
    /// Absent until the manifest of a pinned reference is there, and until the policy decided.
    reader: Option<PackageReader>,
    decision: Option<Decision>,
}

impl Loader {
    /// Begins to read.
    ///
    /// # Errors
    /// `invalid_reference`, `invalid_digest`; `invalid_request` for a reference without a
    /// digest where there is no index; those of [`resolve`].
    pub fn new(reference: &str, index: Option<&[u8]>) -> Result<Self> {
        let reference: Reference = reference.parse()?;
        let reader = match index {
            Some(index) => Some(PackageReader::new(
                resolve(index, &reference).map_err(not_a_page(index))?,
            )?),
            None if reference.digest().is_some() => None,
            None => bail!(
                InvalidRequest,
                "`{reference}` has no digest: it can only be resolved with an index"
            ),
        };
        Ok(Self {
            reference,
            admission: None,
            reader,
            decision: None,
        })
    }

    /// Begins to read a package that a trust policy must admit. The index is needed also for a
    /// digest: it says where the signatures are.
    ///
    /// # Errors
    /// `invalid_policy`; those of [`Loader::new`] and of [`Admission`].
    pub fn trusted(reference: &str, index: &[u8], policy: &[u8], seen: Seen) -> Result<Self> {
        let policy = TrustPolicy::from_json(policy)?;
        let reference: Reference = reference.parse()?;
        let admission =
            Admission::new(index, &reference, &policy, seen).map_err(not_a_page(index))?;
        Ok(Self {
            reference,
            admission: Some(admission),
            reader: None,
            decision: None,
        })
    }

    /// What the trust policy decided; absent without a policy, and before it decided.
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    /// What must still be supplied: with a trust policy first what it decides by, then the
    /// manifest, then the layers that a prediction needs. Empty when all is there.
    pub fn needs(&self) -> Vec<Need> {
        if let Some(admission) = &self.admission {
            return admission.needs().iter().map(need).collect();
        }
        match (&self.reader, self.reference.digest()) {
            (Some(reader), _) => reader.needs().iter().map(need).collect(),
            (None, Some(digest)) => vec![Need {
                digest: digest.to_string(),
                size: None,
                name: MANIFEST.into(),
            }],
            (None, None) => Vec::new(),
        }
    }

    /// Bytes of all layers that are wanted; absent before the manifest is there.
    pub fn total_size(&self) -> Option<u64> {
        self.reader.as_ref()?.total_size()
    }

    /// Takes what was needed.
    ///
    /// # Errors
    /// `digest_mismatch`, `size_mismatch`: it was not what was asked for and can be supplied
    /// again; `invalid_manifest` and its like.
    pub fn supply(&mut self, digest: &str, bytes: Vec<u8>) -> Result<()> {
        let digest: Digest = digest.parse()?;
        if let Some(admission) = &mut self.admission {
            admission.supply(&digest, bytes)?;
            if admission.needs().is_empty()
                && let Some(admission) = self.admission.take()
            {
                let (reader, decision) = admission.finish()?.reader(Parts::Model)?;
                self.reader = Some(reader);
                self.decision = Some(decision);
            }
            return Ok(());
        }
        if let Some(reader) = &mut self.reader {
            return reader.supply(&digest, bytes);
        }
        let descriptor = Descriptor::new(media::MANIFEST, &bytes);
        if Some(&descriptor.digest) != self.reference.digest() {
            return Err(not_a_page(&bytes)(Error::new(
                ErrorCode::DigestMismatch,
                format!(
                    "the manifest has the digest {}, not {digest}: it was damaged or exchanged",
                    descriptor.digest
                ),
            )));
        }
        let mut reader = PackageReader::new(descriptor)?;
        reader.supply(&digest, bytes)?;
        self.reader = Some(reader);
        Ok(())
    }

    /// The package, when nothing is needed any more.
    ///
    /// # Errors
    /// `missing_blob` when something is; those of malformed parts; `invalid_package` for the
    /// package of another model.
    pub fn finish(self) -> Result<Package> {
        let Some(reader) = self.reader else {
            bail!(
                MissingBlob,
                "the manifest of `{}` was not supplied",
                self.reference
            );
        };
        let package = reader.finish()?;
        package.check_reference(&self.reference)?;
        Ok(package)
    }
}

const MANIFEST: &str = "manifest";

pub(crate) fn need(descriptor: &Descriptor) -> Need {
    Need {
        digest: descriptor.digest.to_string(),
        size: Some(descriptor.size),
        name: name(descriptor).into(),
    }
}

fn name(descriptor: &Descriptor) -> &str {
    match (descriptor.file_name(), &*descriptor.media_type) {
        (Some(name), _) => name,
        (None, media::MANIFEST) => MANIFEST,
        (None, media::MODEL_CONFIG) => "config",
        (None, _) => "signature",
    }
}

/// A server that answers every address with its page, with status 200, is the most common
/// mistake in front of a registry: the message names it.
fn not_a_page(bytes: &[u8]) -> impl Fn(Error) -> Error {
    let page = bytes.trim_ascii_start().first() == Some(&b'<');
    move |error| {
        match page {
        true => error.context("the server answered with an HTML page instead of the registry's file; check the address"),
        false => error,
    }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_index_only_a_digest_will_do() {
        let digest = Digest::of(b"manifest");
        let loader = Loader::new(&format!("m@{digest}"), None).unwrap();
        let needs = loader.needs();
        assert_eq!(needs.len(), 1);
        assert_eq!(
            (needs[0].digest.as_str(), needs[0].size),
            (digest.to_string().as_str(), None)
        );
        assert_eq!(
            Loader::new("m:1.0.0", None).unwrap_err().code(),
            ErrorCode::InvalidRequest
        );
        assert_eq!(
            Loader::new("M", None).unwrap_err().code(),
            ErrorCode::InvalidReference
        );
    }

    #[test]
    fn a_pinned_manifest_must_have_its_digest() {
        let digest = Digest::of(b"manifest");
        let mut loader = Loader::new(&format!("m@{digest}"), None).unwrap();
        let error = loader
            .supply(&digest.to_string(), b"other".to_vec())
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::DigestMismatch);
        // It can be supplied again; the right bytes are looked into.
        let error = loader
            .supply(&digest.to_string(), b"manifest".to_vec())
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidManifest);
        assert_eq!(loader.finish().unwrap_err().code(), ErrorCode::MissingBlob);
    }

    #[test]
    fn a_page_in_the_place_of_the_index_is_named() {
        let error = Loader::new("m:1.0.0", Some(b"\n<!doctype html>")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidManifest);
        assert!(error.message().contains("HTML page"), "{error}");
    }
}
