//! Signatures of derived engines.
//!
//! What is signed is the config of the engine: its file by digest, the full engine that it was made
//! of, and the packages that it was made for. So nobody can put a signed engine in the place of
//! another one, or list it for a package that it does not have in it.

use serde::Serialize;
use twinfer::{Error, Result, bail};

use super::{DerivedEngine, ENVELOPE, SIGNED_ENGINE, verify_engines};
use crate::attachment::{attach, read_list};
use crate::limits::MAX_BUNDLE_BYTES;
use crate::signing::{Artifact, signed_json};
use crate::{
    Descriptor, Digest, Envelope, Index, PrivateKey, Reference, Store, TrustPolicy, WritableStore,
    media, referrers_tag,
};

/// File name of the envelope in its artifact.
const ENVELOPE_NAME: &str = "engine.sig";

/// An engine that was signed.
#[derive(Debug, Clone, Serialize)]
pub struct SignedEngine {
    /// The engine, without its signatures.
    pub engine: DerivedEngine,
    /// The manifest of the signature.
    pub signature: Digest,
    /// The key's name.
    pub key: String,
    /// Whether it was not there before.
    pub added: bool,
}

/// Signs the engines that are attached to a package, after they were checked as by
/// [`verify_engines`]. Signing again with the same key gives the same bytes, and adds nothing.
///
/// # Errors
/// Those of [`verify_engines`], and of writing.
pub fn sign_engines(
    store: &dyn WritableStore,
    reference: &Reference,
    key: &PrivateKey,
) -> Result<Vec<SignedEngine>> {
    let engines = verify_engines(store, reference)?;
    let index = Index::from_json(&store.index_of(reference)?)?;
    let package = Descriptor {
        annotations: Default::default(),
        ..index.resolve(reference)?
    };
    let sign = |engine: &DerivedEngine| sign_engine(store, reference, &package, engine, key);
    engines.iter().map(sign).collect()
}

fn sign_engine(
    store: &dyn WritableStore,
    reference: &Reference,
    package: &Descriptor,
    engine: &DerivedEngine,
    key: &PrivateKey,
) -> Result<SignedEngine> {
    let engine = engine.unsigned();
    let config = engine.config()?;
    let signed = Digest::of(&config).to_string();
    let envelope = Envelope::sign(media::ENGINE_CONFIG, config, key, true)?.to_json()?;
    let layer = Artifact::file(media::DSSE, ENVELOPE_NAME, &envelope);
    let empty = Artifact::empty_config();
    let annotations = [
        (SIGNED_ENGINE.to_owned(), signed),
        (ENVELOPE.to_owned(), layer.digest.to_string()),
    ];
    let (signature, signature_json) = Artifact::write_with(
        media::ENGINE_SIGNATURE,
        &empty,
        &layer,
        Some(package),
        annotations.into(),
    )?;
    let contents = [
        (&layer, &envelope[..]),
        (&empty, Artifact::EMPTY),
        (&signature, &signature_json),
    ];
    let added = attach(store, reference, package, &contents, &mut |referrers| {
        // It may have been replaced since it was checked.
        if !(referrers.engines().iter()).any(|(_, listed)| listed.unsigned() == engine) {
            bail!(
                Storage,
                "the engine {} was replaced at the same time: sign again",
                engine.digest
            );
        }
        referrers.add(&signature);
        Ok(())
    })?;
    Ok(SignedEngine {
        engine,
        signature: signature.digest,
        key: key.public()?.hint().into(),
        added,
    })
}

/// The envelopes in which an engine of a package was signed, each checked to be over this engine.
/// By whom they are is not known yet.
///
/// # Errors
/// `invalid_signature` for one that is malformed, attached to another package, or over something
/// else; those of reading.
pub fn engine_signatures(
    store: &dyn Store,
    reference: &Reference,
    engine: &DerivedEngine,
) -> Result<Vec<Envelope>> {
    let index = Index::from_json(&store.index_of(reference)?)?;
    let package = index.resolve(reference)?.digest;
    let entry = index.named(reference.name(), &referrers_tag(&package))?;
    let signatures = read_list(store, entry.as_ref())?.engine_signatures(engine);
    let envelope = |(manifest, envelope): (Descriptor, Digest)| {
        let read = |descriptor: &Descriptor| {
            let bytes = store.blob(descriptor)?;
            descriptor.verify(&bytes).map(|()| bytes)
        };
        let artifact = Artifact::from_json(
            &read(&manifest)?,
            media::ENGINE_SIGNATURE,
            media::DSSE,
            MAX_BUNDLE_BYTES,
        )?;
        if artifact.layer.digest != envelope || artifact.subject != Some(package) {
            bail!(
                InvalidSignature,
                "a signature of an engine is not what the list of the package says, or is about another package"
            );
        }
        let envelope = Envelope::from_json(&read(&artifact.layer)?)?;
        is_over(&envelope.payload, engine).map(|()| envelope)
    };
    signatures.into_iter().map(envelope).collect()
}

fn is_over(payload: &[u8], engine: &DerivedEngine) -> Result<()> {
    let signed: DerivedEngine = signed_json("signed engine", payload)?;
    if signed != engine.unsigned() {
        bail!(
            InvalidSignature,
            "the signature is over another engine, or over one that was made for other packages"
        );
    }
    Ok(())
}

impl TrustPolicy {
    /// The keys of the policy that signed an engine for packages of this name, with the envelopes
    /// of [`engine_signatures`]. An engine is code, so it is never accepted unsigned: the keys
    /// are those that the rule names for engines, and one good signature is enough.
    ///
    /// # Errors
    /// `revoked_package`; `unsigned_package` without envelopes; `untrusted_key` where none is by
    /// such a key; `invalid_signature` where one claims to be and is not, and no other is good.
    pub fn engine_signers(
        &self,
        name: &str,
        engine: &DerivedEngine,
        signatures: &[Envelope],
    ) -> Result<Vec<String>> {
        if self.revokes(&engine.digest) {
            bail!(
                RevokedPackage,
                "the trust policy revokes the engine {}",
                engine.digest
            );
        }
        if signatures.is_empty() {
            bail!(UnsignedPackage, "the engine is not signed");
        }
        let accepted = &self.terms(name).engine_keys;
        let mut keys: Vec<String> = Vec::new();
        let mut wrong: Option<Error> = None;
        for envelope in signatures {
            let signed = envelope.verify(media::ENGINE_CONFIG, accepted.iter().map(|(_, key)| key));
            match signed.and_then(|signed| {
                let by = |(at, payload)| is_over(payload, engine).map(|()| at);
                signed.map(by).transpose()
            }) {
                Ok(at) => keys.extend(
                    at.and_then(|at| accepted.get(at))
                        .map(|(key, _)| key.clone()),
                ),
                Err(error) => wrong = wrong.or(Some(error)),
            }
        }
        keys.sort();
        keys.dedup();
        match wrong {
            _ if !keys.is_empty() => Ok(keys),
            Some(wrong) => Err(wrong),
            None => bail!(
                UntrustedKey,
                "the engine is signed by no key that the trust policy accepts for engines of this name"
            ),
        }
    }
}
