//! Reading a package, wherever its bytes come from.

use std::collections::{BTreeMap, BTreeSet};

use twinfer::{ModelConfig, Result, bail, err};

use crate::limits::MAX_MANIFEST_BYTES;
use crate::package::Documents;
use crate::provenance::{Baseline, metrics};
use crate::{
    Content, Descriptor, Digest, Golden, Manifest, ModelPackConfig, Package, Provenance, Role,
    Store, media, role,
};

/// Which layers are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Parts {
    /// What there is to say about the model, without its weights and examples: the
    /// configuration and the documents. Such a package does not load.
    Description,
    /// What a prediction needs: the configuration and the model.
    #[default]
    Model,
    /// And the golden examples.
    Tested,
    /// Every layer.
    All,
}

/// Reads a package without doing any input or output itself: it says what it needs, the
/// caller gets that from a folder, a network or a cache, and hands it in. Nothing is parsed
/// before its digest and size are right.
///
/// ```no_run
/// # fn fetch(_: &twinfer_package::Descriptor) -> twinfer::Result<Vec<u8>> { Ok(vec![]) }
/// # fn read(manifest: twinfer_package::Descriptor) -> twinfer::Result<twinfer_package::Package> {
/// let mut reader = twinfer_package::PackageReader::new(manifest)?;
/// loop {
///     let needs = reader.needs();
///     if needs.is_empty() {
///         break reader.finish();
///     }
///     for descriptor in needs {
///         reader.supply(&descriptor.digest, fetch(&descriptor)?)?;
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct PackageReader {
    descriptor: Descriptor,
    parts: Parts,
    manifest: Option<Manifest>,
    blobs: BTreeMap<Digest, Vec<u8>>,
}

impl PackageReader {
    /// Begins with the descriptor of a manifest, as [`crate::resolve`] gives it.
    ///
    /// # Errors
    /// `invalid_manifest` when it cannot be that of a package.
    pub fn new(descriptor: Descriptor) -> Result<Self> {
        if descriptor.media_type != media::MANIFEST {
            bail!(
                InvalidManifest,
                "{} is not the manifest of a package",
                descriptor.label()
            );
        }
        if descriptor.size > MAX_MANIFEST_BYTES {
            bail!(
                InvalidManifest,
                "{} says it has {} bytes; at most {MAX_MANIFEST_BYTES} are read",
                descriptor.label(),
                descriptor.size
            );
        }
        Ok(Self {
            descriptor,
            parts: Parts::default(),
            manifest: None,
            blobs: BTreeMap::new(),
        })
    }

    /// Which layers are wanted; [`Parts::Model`] without this.
    #[must_use]
    pub fn parts(mut self, parts: Parts) -> Self {
        self.parts = parts;
        self
    }

    /// The digest of the manifest.
    pub fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }

    /// The bytes of the manifest.
    pub fn manifest_size(&self) -> u64 {
        self.descriptor.size
    }

    /// What must still be supplied: the manifest at first, then layers, which can be got at
    /// the same time. Empty when all is there.
    pub fn needs(&self) -> Vec<Descriptor> {
        let Some(manifest) = &self.manifest else {
            return vec![self.descriptor.clone()];
        };
        let mut seen = BTreeSet::new();
        let missing = |wanted: &&Descriptor| {
            !self.blobs.contains_key(&wanted.digest) && seen.insert(wanted.digest)
        };
        self.wanted(manifest).filter(missing).cloned().collect()
    }

    fn wanted<'a>(&'a self, manifest: &'a Manifest) -> impl Iterator<Item = &'a Descriptor> {
        let wanted = |layer: &&Descriptor| match role(layer) {
            Role::Config => true,
            Role::Model | Role::Shard => self.parts != Parts::Description,
            Role::Golden => matches!(self.parts, Parts::Tested | Parts::All),
            Role::Metrics | Role::Provenance | Role::File => {
                matches!(self.parts, Parts::Description | Parts::All)
            }
            Role::Baseline => self.parts == Parts::All,
        };
        std::iter::once(&manifest.config).chain(manifest.layers.iter().filter(wanted))
    }

    /// The bytes of all that is wanted, for progress; `None` before the manifest is there.
    pub fn total_size(&self) -> Option<u64> {
        let manifest = self.manifest.as_ref()?;
        Some(self.wanted(manifest).map(|d| d.size).sum())
    }

    /// Takes the content of one of the descriptors of [`PackageReader::needs`].
    ///
    /// # Errors
    /// `size_mismatch`, `digest_mismatch`: it is not what was asked for, and can be supplied
    /// again; `invalid_manifest` and its like for a malformed manifest.
    pub fn supply(&mut self, digest: &Digest, bytes: Vec<u8>) -> Result<()> {
        let content = Content::check(self.wanted_as(digest)?, bytes)?;
        self.take(content)
    }

    /// Takes content that was checked before.
    ///
    /// # Errors
    /// As of [`PackageReader::supply`].
    pub fn supply_content(&mut self, content: Content) -> Result<()> {
        let wanted = self.wanted_as(content.digest())?;
        if wanted.size != content.bytes().len() as u64 {
            wanted.verify(content.bytes())?;
        }
        self.take(content)
    }

    /// The descriptor under which this content is still wanted.
    fn wanted_as(&self, digest: &Digest) -> Result<&Descriptor> {
        let wanted = match &self.manifest {
            None => Some(&self.descriptor),
            Some(manifest) => self.wanted(manifest).find(|d| d.digest == *digest),
        };
        let wanted = wanted.filter(|d| d.digest == *digest && !self.blobs.contains_key(digest));
        wanted.ok_or_else(|| {
            err!(
                InvalidRequest,
                "{digest} is not needed, or was supplied before"
            )
        })
    }

    fn take(&mut self, content: Content) -> Result<()> {
        let digest = *content.digest();
        let bytes = content.into_bytes();
        if self.manifest.is_some() {
            self.blobs.insert(digest, bytes);
            return Ok(());
        }
        let manifest = Manifest::from_json(&bytes)?;
        for (wanted, name) in [
            (Role::Model, media::MODEL_NAME),
            (Role::Config, media::CONFIG_NAME),
        ] {
            match manifest.layers_of(wanted).count() {
                1 => {}
                n => bail!(
                    InvalidPackage,
                    "the package has {n} layers for {name}, expected 1: it was not made by `twinfer pack`"
                ),
            }
        }
        self.manifest = Some(manifest);
        Ok(())
    }

    /// Supplies everything from a registry.
    ///
    /// # Errors
    /// Those of [`PackageReader::supply`], [`PackageReader::finish`] and of the registry.
    pub fn run(mut self, store: &dyn Store) -> Result<Package> {
        loop {
            let needs = self.needs();
            if needs.is_empty() {
                return self.finish();
            }
            for content in store.contents(&needs)? {
                self.supply_content(content)?;
            }
        }
    }

    /// The package, when nothing is needed any more.
    ///
    /// # Errors
    /// `missing_blob` when something is, and the errors of malformed parts.
    pub fn finish(mut self) -> Result<Package> {
        if let Some(missing) = self.needs().first() {
            bail!(MissingBlob, "{} was not supplied", missing.label());
        }
        let manifest = self
            .manifest
            .take()
            .ok_or_else(|| err!(MissingBlob, "the manifest was not supplied"))?;
        let of_role = |wanted: Role| {
            manifest
                .layers_of(wanted)
                .find_map(|layer| self.blobs.get(&layer.digest))
        };
        let config_json = of_role(Role::Config)
            .ok_or_else(|| err!(MissingBlob, "{} was not supplied", media::CONFIG_NAME))?;
        let config = ModelConfig::from_json(config_json)?;
        crate::check_name(&config.name).map_err(|e| e.context(media::CONFIG_NAME))?;
        if let Some(json) = of_role(Role::Baseline) {
            Baseline::from_json(json)?;
        }
        let provenance = match of_role(Role::Provenance) {
            Some(json) => Some(Provenance::from_json(json)?),
            None => None,
        };
        let metrics = match of_role(Role::Metrics) {
            Some(json) => Some(metrics(json)?),
            None => None,
        };
        let golden = match of_role(Role::Golden) {
            Some(json) => Some(Golden::from_json(json)?),
            None => None,
        };
        let model_pack = match self.blobs.get(&manifest.config.digest) {
            Some(json) => ModelPackConfig::from_json(json)?,
            None => bail!(MissingBlob, "the ModelPack config was not supplied"),
        };
        let digests: Vec<Digest> = manifest.layers.iter().map(|layer| layer.digest).collect();
        if model_pack.modelfs.diff_ids != digests {
            bail!(
                InvalidPackage,
                "modelfs.diffIds of the ModelPack config are not the digests of the layers"
            );
        }
        Ok(Package::assemble(
            self.descriptor.digest,
            manifest,
            model_pack,
            Documents {
                config,
                golden,
                metrics,
                provenance,
            },
            self.blobs,
        ))
    }
}
