//! Putting signatures and signed tags into a registry.

use serde::Serialize;
use twinfer::{Result, bail};

use super::{Artifact, Bundle, Envelope, PrivateKey, Referrers, SignedTags, Statement};
use crate::limits::MAX_MANIFEST_BYTES;
use crate::{
    Descriptor, Digest, Index, Manifest, Reference, SIGNED_TAGS, Store, Transaction, WritableStore,
    media, referrers_tag, resolve,
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
    let mut attached = Attached {
        package: descriptor.digest,
        signature: signature.digest,
        key: bundle.hint().map(Into::into),
        added: false,
    };
    let pinned = reference.clone().pinned(descriptor.digest);
    let tag = referrers_tag(&descriptor.digest);
    let (before, mut referrers) = read_referrers(store, &pinned, &tag)?;
    if !referrers.add(&signature) {
        return Ok(attached);
    }
    let json_of_referrers = referrers.to_json()?;
    let entry = Descriptor::new(media::INDEX, &json_of_referrers);
    let mut change = store.begin(reference.name())?;
    let mut index = change.index()?;
    // Read before the change began, so that a store need not be readable during one.
    if index.named(reference.name(), &tag)?.map(|d| d.digest) != before {
        bail!(
            Storage,
            "somebody else signed {pinned} at the same time: sign again"
        );
    }
    put_artifact(&mut *change, &layer, &json, &signature, &signature_json)?;
    change.put(&entry, &mut &json_of_referrers[..])?;
    index.name(reference.name(), &tag, &entry);
    change.commit(&index)?;
    attached.added = true;
    Ok(attached)
}

fn read_referrers(
    store: &dyn WritableStore,
    pinned: &Reference,
    tag: &str,
) -> Result<(Option<Digest>, Referrers)> {
    let index = Index::from_json(&store.index_of(pinned)?)?;
    let Some(entry) = index.named(pinned.name(), tag)? else {
        return Ok((None, Referrers::default()));
    };
    if entry.size > MAX_MANIFEST_BYTES {
        bail!(
            InvalidSignature,
            "the list of signatures of {pinned} has {} bytes; at most {MAX_MANIFEST_BYTES} are read",
            entry.size
        );
    }
    let json = store.blob(&entry)?;
    entry.verify(&json)?;
    Ok((Some(entry.digest), Referrers::from_json(&json)?))
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
    put_artifact(&mut *change, &layer, &json, &manifest, &manifest_json)?;
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

fn put_artifact(
    change: &mut dyn Transaction,
    layer: &Descriptor,
    content: &[u8],
    manifest: &Descriptor,
    manifest_json: &[u8],
) -> Result<()> {
    change.put(layer, &mut &content[..])?;
    change.put(&Artifact::empty_config(), &mut &Artifact::EMPTY[..])?;
    change.put(manifest, &mut &manifest_json[..])
}

impl Bundle {
    /// What it says, without any verification: to compare before it is attached.
    fn claims(&self) -> Result<Statement> {
        Statement::from_json(self.payload())
    }
}
