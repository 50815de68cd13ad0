//! Putting signatures and signed tags into a registry.

use serde::Serialize;
use twinfer::{Result, bail};

use super::{Artifact, Bundle, Envelope, PrivateKey, SignedTags, Statement};
use crate::attachment::attach;
use crate::limits::MAX_MANIFEST_BYTES;
use crate::{
    Descriptor, Digest, Index, Manifest, Reference, SIGNED_TAGS, Store, WritableStore, media,
    resolve,
};

/// What was attached.
#[derive(Debug, Clone, Serialize)]
pub struct Attached {
    /// The package.
    pub package: Digest,
    /// The manifest of the signature.
    pub signature: Digest,
    /// The key's name; `None` for a bundle that does not say it.
    pub key: Option<String>,
    /// Whether it was not there before.
    pub added: bool,
}

/// What is signed with.
#[derive(Debug, Clone, Copy)]
pub enum Signer<'a> {
    /// A key: the bundle is made.
    Key(&'a PrivateKey),
    /// A bundle that another tool made.
    Bundle(&'a [u8]),
}

/// Attaches a package signature to a package of a registry. Signing again with the same key
/// gives the same bytes, and adds nothing.
///
/// The files of a bundle by another tool must be those of the package, but its signature is
/// not verified: the key is not known here.
///
/// # Errors
/// Those of finding and reading the package; `invalid_signature` for a bundle that is
/// malformed or over other files; those of writing.
pub fn attach_signature(
    store: &dyn WritableStore,
    reference: &Reference,
    signer: Signer<'_>,
) -> Result<Attached> {
    let descriptor = resolve(&store.index_of(reference)?, reference)?;
    let manifest = store.blob(&descriptor)?;
    descriptor.verify(&manifest)?;
    let manifest = Manifest::from_json(&manifest)?;
    let json = match signer {
        Signer::Key(key) => Bundle::sign(reference.name(), &manifest, key)?,
        Signer::Bundle(json) => json.to_vec(),
    };
    let bundle = Bundle::from_json(&json)?;
    if let Signer::Bundle(_) = signer {
        bundle
            .claims()
            .and_then(|statement| statement.covers(&manifest))?;
    }
    let layer = Artifact::file(media::BUNDLE, "model.sig", &json);
    let (signature, signature_json) = Artifact::write(media::BUNDLE, &layer, Some(&descriptor))?;
    let empty = Artifact::empty_config();
    let contents = [
        (&layer, &json[..]),
        (&empty, Artifact::EMPTY),
        (&signature, &signature_json),
    ];
    let pinned = reference.clone().pinned(descriptor.digest);
    let added = attach(store, &pinned, &descriptor, &contents, &mut |referrers| {
        referrers.add(&signature);
        Ok(())
    })?;
    Ok(Attached {
        package: descriptor.digest,
        signature: signature.digest,
        key: bundle.hint().map(Into::into),
        added,
    })
}

/// Publishes a signed list of tags, in the place of the one before.
///
/// # Errors
/// Those of writing.
pub fn publish_tags(
    store: &dyn WritableStore,
    tags: &SignedTags,
    key: &PrivateKey,
) -> Result<Digest> {
    let json = tags.sign(key)?.to_json()?;
    let layer = Artifact::file(media::DSSE, "tags.json", &json);
    let (manifest, manifest_json) = Artifact::write(media::TAGS, &layer, None)?;
    let mut change = store.begin(&tags.name)?;
    let mut index = change.index()?;
    change.put(&layer, &mut &json[..])?;
    change.put(&Artifact::empty_config(), &mut &Artifact::EMPTY[..])?;
    change.put(&manifest, &mut &manifest_json[..])?;
    index.name(&tags.name, SIGNED_TAGS, &manifest);
    change.commit(&index)?;
    Ok(manifest.digest)
}

/// The list of tags that a registry has, with its envelope, as it is: not verified.
///
/// # Errors
/// Those of reading; `invalid_signature` when it is malformed.
pub fn published_tags(store: &dyn Store, name: &str) -> Result<Option<(Envelope, SignedTags)>> {
    let reference: Reference = name.parse()?;
    let index = Index::from_json(&store.index_of(&reference)?)?;
    let Some(entry) = index.named(name, SIGNED_TAGS)? else {
        return Ok(None);
    };
    let read = |descriptor: &Descriptor| {
        if descriptor.size > MAX_MANIFEST_BYTES {
            bail!(
                InvalidSignature,
                "the signed tags of `{name}` have {} bytes; at most {MAX_MANIFEST_BYTES} are read",
                descriptor.size
            );
        }
        let bytes = store.blob(descriptor)?;
        descriptor.verify(&bytes).map(|()| bytes)
    };
    let artifact =
        Artifact::from_json(&read(&entry)?, media::TAGS, media::DSSE, MAX_MANIFEST_BYTES)?;
    let envelope = Envelope::from_json(&read(&artifact.layer)?)?;
    let tags = SignedTags::from_json(&envelope.payload)?;
    Ok(Some((envelope, tags)))
}

impl Bundle {
    /// What it says, without any verification: to compare before it is attached.
    fn claims(&self) -> Result<Statement> {
        Statement::from_json(self.payload())
    }
}
