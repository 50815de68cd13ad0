//! Whether a package may be opened, decided before anything of it is read.

mod signatures;

use std::sync::Arc;

use twinfer::{ModelConfig, Result, bail, err};

use crate::limits::{MAX_BUNDLE_BYTES, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES};
use crate::reference::referrers_tag;
use crate::signing::{Artifact, Referrers};
use crate::trust::{SignedTagsMode, Terms};
use crate::{
    Bundle, Descriptor, Digest, Envelope, Index, Manifest, PackageReader, Parts, Reference, Role,
    SignedTags, Store, TrustPolicy, media,
};

/// What the caller knows of the time and of the past: the core has no clock and no memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Seconds since 1970.
    pub now: u64,
    /// The highest counter of signed tags of this name that was accepted before.
    pub last_counter: Option<u64>,
}

/// Why a package may be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The policy has nothing against it. The names of the accepted keys that signed it;
    /// none where the policy allows unsigned packages.
    Allowed {
        /// As the policy calls them.
        keys: Vec<String>,
    },
    /// The policy wants a warning.
    Warned {
        /// What to say.
        reason: String,
    },
}

/// What was decided, and what to remember of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Why the package may be opened.
    pub verdict: Verdict,
    /// The counter of the signed tags that were accepted: the next [`Seen::last_counter`].
    pub counter: Option<u64>,
    /// Seconds since 1970 until which the decision holds; `None` for as long as index and
    /// policy are the same.
    pub until: Option<u64>,
}

/// A package that may be opened.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The manifest that the reference points to.
    pub descriptor: Descriptor,
    /// Its content.
    pub manifest: Vec<u8>,
    /// What was decided.
    pub decision: Decision,
    config: Option<(Digest, Vec<u8>)>,
}

impl Admitted {
    /// Begins to read the package; what was read already is not asked for again.
    ///
    /// # Errors
    /// Those of [`PackageReader`].
    pub fn reader(self, parts: Parts) -> Result<(PackageReader, Decision)> {
        let digest = self.descriptor.digest;
        let mut reader = PackageReader::new(self.descriptor)?.parts(parts);
        reader.supply(&digest, self.manifest)?;
        if let Some((digest, bytes)) = self.config {
            reader.supply(&digest, bytes)?;
        }
        Ok((reader, self.decision))
    }
}

/// Decides whether a package of a registry may be opened.
///
/// # Errors
/// Those of [`Admission`], and of the registry.
pub fn admit(
    store: &dyn Store,
    reference: &Reference,
    policy: &TrustPolicy,
    seen: Seen,
) -> Result<Admitted> {
    let index = store.index_of(reference)?;
    Admission::new(&index, reference, policy, seen)?.run(store)
}

/// Decides whether a package may be opened, without any input or output of its own: it says
/// what it needs, the caller gets that and hands it in, as with [`PackageReader`].
///
/// It asks for signatures, signed tags and the manifest only. Where the policy has a minimum
/// version it asks last for `twinfer.json`, which says the version, and which by then is known
/// to be the one that was signed. No byte of the model is asked for.
#[derive(Debug)]
pub struct Admission {
    index: Arc<Index>,
    reference: Reference,
    policy: TrustPolicy,
    terms: Terms,
    seen: Seen,
    wanted: Vec<(Descriptor, Part)>,
    stage: Stage,
    descriptor: Option<Descriptor>,
    tags: Option<SignedTags>,
    manifest: Option<(Manifest, Vec<u8>)>,
    /// Signatures that are attached, whoever made them.
    attached: usize,
    bundles: Vec<Result<Bundle>>,
    verdict: Option<Verdict>,
    config: Option<(Digest, Vec<u8>)>,
}

/// What a wanted content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    TagsManifest,
    Tags,
    Manifest,
    Referrers,
    Signature,
    Bundle,
    Config,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Tags,
    Package,
    Version,
    Done,
}

impl Admission {
    /// Begins with an `index.json`.
    ///
    /// # Errors
    /// Those of reading the index and of [`crate::resolve`]; `revoked_package`;
    /// `unsigned_index` when the policy demands signed tags that are not there.
    pub fn new(
        index_json: &[u8],
        reference: &Reference,
        policy: &TrustPolicy,
        seen: Seen,
    ) -> Result<Self> {
        Self::with_index(
            Arc::new(Index::from_json(index_json)?),
            reference,
            policy,
            seen,
        )
    }

    /// Begins with an index that was read before.
    ///
    /// # Errors
    /// As [`Admission::new`].
    pub fn with_index(
        index: Arc<Index>,
        reference: &Reference,
        policy: &TrustPolicy,
        seen: Seen,
    ) -> Result<Self> {
        let mut admission = Self {
            index,
            reference: reference.clone(),
            policy: policy.clone(),
            terms: policy.terms(reference.name()).clone(),
            seen,
            wanted: Vec::new(),
            stage: Stage::Tags,
            descriptor: None,
            tags: None,
            manifest: None,
            attached: 0,
            bundles: Vec::new(),
            verdict: None,
            config: None,
        };
        admission.begin()?;
        admission.advance()?;
        Ok(admission)
    }

    fn begin(&mut self) -> Result<()> {
        let name = self.reference.name();
        // What there is at all comes first: `unknown_model` says more than `unsigned_index`.
        self.descriptor = Some(self.index.resolve(&self.reference)?);
        // A digest says more than any tag; and without keys nobody can have signed the tags.
        if self.reference.digest().is_some() || self.terms.keys.is_empty() {
            return Ok(());
        }
        match self.index.named(name, crate::SIGNED_TAGS)? {
            Some(tags) => self.want(tags, Part::TagsManifest, MAX_MANIFEST_BYTES),
            None if self.terms.signed_tags == SignedTagsMode::Required => bail!(
                UnsignedIndex,
                "`{name}` has no signed list of its tags, which the trust policy demands; sign them with `twinfer sign-tags {name}`, or ask for a digest"
            ),
            None => Ok(()),
        }
    }

    /// Supplies everything from a registry.
    ///
    /// # Errors
    /// Those of [`Admission::supply`], and of the registry.
    pub fn run(mut self, store: &dyn Store) -> Result<Admitted> {
        loop {
            let needs = self.needs();
            if needs.is_empty() {
                return self.finish();
            }
            for descriptor in needs {
                self.supply(&descriptor.digest, store.blob(&descriptor)?)?;
            }
        }
    }

    /// What must still be supplied; empty when all is there.
    pub fn needs(&self) -> Vec<Descriptor> {
        let mut needs: Vec<Descriptor> = Vec::new();
        for (descriptor, _) in &self.wanted {
            if needs.iter().all(|n| n.digest != descriptor.digest) {
                needs.push(descriptor.clone());
            }
        }
        needs
    }

    /// Takes the content of one of the descriptors of [`Admission::needs`].
    ///
    /// # Errors
    /// `size_mismatch`, `digest_mismatch`: it is not what was asked for, and can be supplied
    /// again. Any other says why the package is refused: those of [`Admission::new`],
    /// `unsigned_package`, `untrusted_key`, `invalid_signature`, `version_too_old`,
    /// `index_expired`, `index_replayed`, and those of a malformed manifest.
    pub fn supply(&mut self, digest: &Digest, bytes: Vec<u8>) -> Result<()> {
        let at = self.wanted.iter().position(|(d, _)| d.digest == *digest);
        let Some(at) = at else {
            bail!(
                InvalidRequest,
                "{digest} is not needed, or was supplied before"
            );
        };
        self.wanted[at].0.verify(&bytes)?;
        let (descriptor, part) = self.wanted.swap_remove(at);
        self.take(part, &descriptor, bytes)?;
        self.advance()
    }

    /// The package may be opened, when nothing is needed any more.
    ///
    /// # Errors
    /// `missing_blob` when something is.
    pub fn finish(self) -> Result<Admitted> {
        if let Some((missing, _)) = self.wanted.first() {
            bail!(MissingBlob, "{} was not supplied", missing.label());
        }
        let incomplete = || err!(Internal, "a package was admitted before it was looked at");
        let (_, manifest) = self.manifest.ok_or_else(incomplete)?;
        let until = match &self.tags {
            Some(tags) => Some(tags.expires_at()?),
            None => None,
        };
        Ok(Admitted {
            descriptor: self.descriptor.ok_or_else(incomplete)?,
            manifest,
            decision: Decision {
                verdict: self.verdict.ok_or_else(incomplete)?,
                counter: self.tags.as_ref().map(|tags| tags.counter),
                until,
            },
            config: self.config,
        })
    }

    fn want(&mut self, descriptor: Descriptor, part: Part, limit: u64) -> Result<()> {
        if descriptor.size > limit {
            bail!(
                InvalidSignature,
                "{} says it has {} bytes; at most {limit} are read",
                descriptor.label(),
                descriptor.size
            );
        }
        self.wanted.push((descriptor, part));
        Ok(())
    }

    fn take(&mut self, part: Part, descriptor: &Descriptor, bytes: Vec<u8>) -> Result<()> {
        match part {
            Part::TagsManifest => {
                let artifact =
                    Artifact::from_json(&bytes, media::TAGS, media::DSSE, MAX_MANIFEST_BYTES)?;
                self.want(artifact.layer, Part::Tags, MAX_MANIFEST_BYTES)
            }
            Part::Tags => self.check_tags(&Envelope::from_json(&bytes)?),
            Part::Manifest => {
                self.manifest = Some((Manifest::from_json(&bytes)?, bytes));
                Ok(())
            }
            Part::Referrers => {
                let signatures = Referrers::from_json(&bytes)?.signatures()?;
                self.attached = signatures.len();
                // Where no key is accepted, there is nothing to verify.
                if !self.terms.keys.is_empty() {
                    for signature in signatures {
                        self.want(signature, Part::Signature, MAX_MANIFEST_BYTES)?;
                    }
                }
                Ok(())
            }
            Part::Signature => match self.signature(&bytes) {
                Ok(layer) => self.want(layer, Part::Bundle, MAX_BUNDLE_BYTES),
                // Only a reason to refuse when there is no good one beside it.
                Err(error) => {
                    self.bundles.push(Err(error));
                    Ok(())
                }
            },
            Part::Bundle => {
                self.bundles.push(Bundle::from_json(&bytes));
                Ok(())
            }
            Part::Config => self.check_version(descriptor, bytes),
        }
    }

    /// The bundle in the manifest of a signature.
    fn signature(&self, json: &[u8]) -> Result<Descriptor> {
        let artifact = Artifact::from_json(json, media::BUNDLE, media::BUNDLE, MAX_BUNDLE_BYTES)?;
        if artifact.subject != self.descriptor.as_ref().map(|d| d.digest) {
            bail!(
                InvalidSignature,
                "a signature is attached to this package, but says that it is about another"
            );
        }
        Ok(artifact.layer)
    }

    /// Goes on as far as possible with what is there.
    fn advance(&mut self) -> Result<()> {
        while self.wanted.is_empty() && self.stage != Stage::Done {
            match self.stage {
                Stage::Tags => {
                    self.stage = Stage::Package;
                    self.want_package()?;
                }
                Stage::Package => {
                    self.stage = Stage::Version;
                    self.judge()?;
                }
                Stage::Version | Stage::Done => self.stage = Stage::Done,
            }
        }
        Ok(())
    }

    fn want_package(&mut self) -> Result<()> {
        let descriptor = self
            .descriptor
            .clone()
            .ok_or_else(|| err!(Internal, "nothing was resolved"))?;
        self.refuse_revoked(&descriptor.digest)?;
        let referrers = self
            .index
            .named(self.reference.name(), &referrers_tag(&descriptor.digest))?;
        if let Some(referrers) = referrers {
            self.want(referrers, Part::Referrers, MAX_MANIFEST_BYTES)?;
        }
        self.want(descriptor, Part::Manifest, MAX_MANIFEST_BYTES)
    }

    fn refuse_revoked(&self, digest: &Digest) -> Result<()> {
        if self.policy.revokes(digest) {
            bail!(RevokedPackage, "the trust policy revokes {digest}");
        }
        Ok(())
    }

    /// Everything but the version is there.
    fn judge(&mut self) -> Result<()> {
        let Some((manifest, _)) = &self.manifest else {
            bail!(Internal, "the manifest is not there");
        };
        for layer in &manifest.layers {
            self.refuse_revoked(&layer.digest)?;
        }
        self.verdict = Some(signatures::judge(
            &self.terms,
            manifest,
            self.attached,
            &self.bundles,
        )?);
        if self.terms.minimum_version.is_some() {
            let config = manifest.layers_of(Role::Config).next().cloned();
            let config = config.ok_or_else(|| {
                err!(
                    InvalidPackage,
                    "the package has no {}: it was not made by `twinfer pack`",
                    media::CONFIG_NAME
                )
            })?;
            self.want(config, Part::Config, MAX_CONFIG_BYTES)?;
        }
        Ok(())
    }

    /// The version of `twinfer.json`: an annotation of the manifest is not signed, and a tag
    /// says what the registry likes.
    fn check_version(&mut self, descriptor: &Descriptor, bytes: Vec<u8>) -> Result<()> {
        let config = ModelConfig::from_json(&bytes)?;
        let version = crate::tag_version(&config.version).ok_or_else(|| {
            err!(
                InvalidPackage,
                "the package has the version `{}`, which is none",
                crate::digest::shorten(&config.version)
            )
        })?;
        if let Some(minimum) = &self.terms.minimum_version
            && version < *minimum
        {
            bail!(
                VersionTooOld,
                "the package has the version {version}; the trust policy accepts {minimum} and later"
            );
        }
        self.config = Some((descriptor.digest, bytes));
        Ok(())
    }

    /// Checks the signed tags, and that the index says the same.
    fn check_tags(&mut self, envelope: &Envelope) -> Result<()> {
        let name = self.reference.name();
        let keys = self.terms.keys.iter().map(|(_, key)| key);
        let Some((_, payload)) = envelope.verify(media::TAGS, keys)? else {
            // As if it were not there: whoever can put it there can also take it away.
            if self.terms.signed_tags == SignedTagsMode::Optional {
                return Ok(());
            }
            bail!(
                UntrustedKey,
                "the list of tags of `{name}` is signed by no key that the trust policy accepts for this name"
            );
        };
        let tags = SignedTags::from_json(payload)?;
        if tags.name != name {
            bail!(
                InvalidSignature,
                "the signed list of tags is that of `{}`, not of `{name}`",
                crate::digest::shorten(&tags.name)
            );
        }
        let lowest = self
            .seen
            .last_counter
            .unwrap_or(0)
            .max(self.terms.minimum_counter);
        if tags.counter < lowest {
            bail!(
                IndexReplayed,
                "the signed list of tags of `{name}` has the counter {}, but {lowest} was seen before or is demanded: this is an old list",
                tags.counter
            );
        }
        if self.seen.now >= tags.expires_at()? {
            bail!(
                IndexExpired,
                "the signed list of tags of `{name}` expired {}: renew it with `twinfer sign-tags {name}`, or check the clock",
                tags.expires
            );
        }
        let (tag, digest) = tags.resolve(&self.reference)?;
        let descriptor = self.index.resolve(&Reference::new(name, tag)?)?;
        if descriptor.digest != *digest {
            bail!(
                InvalidSignature,
                "`{name}:{tag}` is {}, but the signed list of tags says {digest}: the tag was moved after the list was signed",
                descriptor.digest
            );
        }
        self.descriptor = Some(descriptor);
        self.tags = Some(tags);
        Ok(())
    }
}
